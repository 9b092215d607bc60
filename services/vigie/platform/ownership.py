"""Whose a place on other machines is, as this machine remembers it: a bucket, a prefix of topics.

A mark in the place itself says to which installation it belongs. What is remembered here tells a
place that was emptied, or exchanged for another one, from one that is new.
"""

import json
from pathlib import Path

import structlog

from vigie.platform.folders import make_durable_folder, write_shared_file_durably

log = structlog.get_logger(__name__)


class RememberedOwners:
    """Place -> installation, in a small file. It blocks: for worker threads.

    It is a second look, and the mark the first: without it the product works, and warns.

    Args:
        folder: where the file lies; ``None``: nothing is remembered.
        file: its name.
    """

    def __init__(self, folder: Path | None, file: str) -> None:
        self._path = None if folder is None else folder / file

    def recall(self, place: str) -> str:
        """To whom a place belonged; "" where it is not known."""
        if self._path is None:
            return ""
        try:
            return self._told(self._path).get(place, "")
        except (OSError, ValueError, TypeError) as error:
            log.warning("owner_memory_unreadable", path=str(self._path), error=str(error))
            return ""

    def remember(self, place: str, installation: str) -> None:
        """Keep to whom a place belongs, durably; what is known of other places stays."""
        if self._path is None:
            return
        try:
            make_durable_folder(self._path.parent)
            try:
                told = self._told(self._path)
            except (ValueError, TypeError):  # it is no such file: begun anew
                told = {}
            text = json.dumps(told | {place: installation}, sort_keys=True) + "\n"
            # Services on one machine share the folder and start at once.
            write_shared_file_durably(self._path, text.encode())
        except OSError as error:
            log.warning("owner_not_remembered", path=str(self._path), error=str(error))

    @staticmethod
    def _told(path: Path) -> dict[str, str]:
        try:
            content = path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        return {str(place): str(name) for place, name in dict(json.loads(content)).items()}
