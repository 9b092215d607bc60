"""A file that says where a process serves, while it does."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vigie.platform.folders import make_durable_folder
from vigie.platform.module import ServiceBinding


class RunFile:
    """Writes the process identifier and ``facts`` as JSON; a `vigie.platform.module.Module`.

    It starts last and stops first, so that the file being there means: ready.

    Args:
        path: where.
        facts: what to say, asked when everything serves.
    """

    name = "run-file"

    def __init__(self, path: Path, facts: Callable[[], Mapping[str, str]]) -> None:
        self._path = path
        self._facts = facts

    def services(self) -> Sequence[ServiceBinding]:
        """None."""
        return ()

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        return None

    async def start(self) -> None:
        """Write the file, whole or not at all."""
        text = json.dumps({"process_id": os.getpid(), **self._facts()})
        await asyncio.to_thread(self._write, text)

    def _write(self, text: str) -> None:
        # A service that keeps nothing may be the first to look at the folder.
        make_durable_folder(self._path.parent, 0o700)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self._path)

    async def stop(self, *, timeout_seconds: float) -> None:
        """Remove the file."""
        del timeout_seconds
        await asyncio.to_thread(self._path.unlink, missing_ok=True)
