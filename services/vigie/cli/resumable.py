"""A file that is received in pieces, each with a token that goes on after it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import typer
from google.protobuf.json_format import MessageToDict, ParseDict

from vigie.cli.language import tr


class ResumableFile:
    """``FILE.part`` and, beside it, ``FILE.resume``: how far it is and the request that goes on.

    A context manager. `request` is the one to send: that of an earlier attempt where there was
    one, with its criteria (an instant meant as "now" stays the one it was) and its token.

    Args:
        target: the file when it is whole; must not exist yet.
        request: the request of a first attempt; has the field ``resume_token``.
        label: tells this download from others into the same file.

    Raises:
        typer.BadParameter: the target exists, or a part of it cannot be gone on with.
    """

    def __init__(self, target: Path, request: Any, label: str) -> None:
        if target.exists():
            raise typer.BadParameter(f"{target}: {tr('exists already', 'existe déjà')}")
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.resume")
        self._label = label
        self.request = request
        self.record_count = 0
        self._size = 0
        if self._notes.exists() and self._part.exists():
            self._take_up(type(request))
        self._stream: IO[bytes] = self._part.open("ab")
        self._stream.truncate(self._size)

    def _take_up(self, kind: type[Any]) -> None:
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
            mine = notes["label"] == self._label
            self.request = ParseDict(notes["request"], kind())
            self._size, self.record_count = int(notes["size"]), int(notes["records"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(self._notes) from error
        if self._part.stat().st_size < self._size:
            # The power went: the notes were kept, and what they speak of was not.
            raise self._damaged(self._part)
        if not mine:
            raise typer.BadParameter(
                tr(f"{self._part} belongs to another export; remove it and {self._notes}, or "
                   "choose another file",
                   f"{self._part} vient d'un autre export ; le supprimer avec {self._notes}, ou "
                   "choisir un autre fichier")
            )  # fmt: skip

    def _damaged(self, file: Path) -> typer.BadParameter:
        both = f"{self._notes}, {self._part}"
        return typer.BadParameter(
            tr(f"{file} is damaged; to begin anew, remove {both}",
               f"{file} est abîmé ; pour recommencer, supprimer {both}")
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def write(self, data: bytes, resume_token: str, records: int = 0) -> None:
        """Keep a piece, then the token that goes on after it."""
        self._stream.write(data)
        self._stream.flush()
        self._size += len(data)
        self.record_count += records
        self.request.resume_token = resume_token
        notes = {
            "request": MessageToDict(self.request, preserving_proto_field_name=True),
            "label": self._label,
            "size": self._size,
            "records": self.record_count,
        }
        fresh = self._notes.with_name(f"{self._notes.name}.new")
        fresh.write_text(json.dumps(notes), encoding="utf-8")
        fresh.replace(self._notes)

    def finish(self) -> None:
        """Give the file its name: it is whole."""
        os.fsync(self._stream.fileno())
        self._part.rename(self._target)
        self._notes.unlink(missing_ok=True)
