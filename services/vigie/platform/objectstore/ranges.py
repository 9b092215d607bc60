"""Reading a range of a file in the directory store."""

import os
import stat
import threading
from pathlib import Path

from vigie.platform.errors import VigieError
from vigie.platform.reasons import RANGE_INVALID, STORE_UNAVAILABLE


class RangeReader:
    """An open file and how much of it is still wanted. Blocking; read by one thread at a time.

    Raises:
        OSError: the file cannot be opened.
        VigieError: RANGE_INVALID.
    """

    def __init__(self, path: Path, key: str, offset: int, length: int | None) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        state = os.fstat(self._descriptor)
        if not stat.S_ISREG(state.st_mode):
            self.close()
            raise IsADirectoryError(path)
        size_bytes = state.st_size
        wanted = size_bytes - offset if length is None else length
        if offset < 0 or wanted < 0 or offset + wanted > size_bytes:
            self.close()
            raise VigieError(
                RANGE_INVALID,
                f"{key} has {size_bytes} bytes; asked for {wanted} from {offset}",
                field="offset",
                key=key,
            )
        self._offset = offset
        self._remaining = wanted

    def read(self, chunk_size: int) -> bytes:
        """The next bytes, at most ``chunk_size``; empty at the end of the range, or once closed."""
        with self._lock:
            if self._remaining == 0 or self._descriptor < 0:
                return b""
            chunk = os.pread(self._descriptor, min(chunk_size, self._remaining), self._offset)
        if not chunk:
            # Objects never change: a file that shrank under us was altered by somebody else.
            raise VigieError(STORE_UNAVAILABLE, f"{self._key} became shorter while it was read")
        self._offset += len(chunk)
        self._remaining -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file (idempotent).

        Waits for a read that another thread has begun: a cancelled reader must not close a
        descriptor whose number the next file gets while the old read still uses it.
        """
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __del__(self) -> None:
        # The opening was cancelled: nobody has this reader, so nobody else will close it.
        self.close()
