"""A file that is read again whenever its content changes."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Change:
    """What a file has become; ``problem``: why it cannot be read, and there is no content."""

    content: bytes
    problem: str = ""


class FollowedFile:
    """Tells when a file has become another; a file that disappears has become one, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = b""

    def read(self) -> bytes:
        """Its content, for the first time.

        Raises:
            OSError: it cannot be read.
        """
        content = self.path.read_bytes()
        self._digest = _digest(Change(content))
        return content

    async def changed(self) -> Change | None:
        """What it has become since it was looked at last, or ``None``: it is as it was."""
        now = await asyncio.to_thread(self._look)
        digest = _digest(now)
        if digest == self._digest:
            return None
        self._digest = digest
        return now

    def _look(self) -> Change:
        try:
            return Change(self.path.read_bytes())
        except OSError as error:
            return Change(b"", f"cannot be read: {error.strerror}")


def _digest(change: Change) -> bytes:
    return hashlib.sha256(change.problem.encode() or change.content).digest()
