"""Access and secret key from files, read again when these change."""

import os
import threading
from pathlib import Path

import structlog
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider

from vigie.platform.errors import VigieError
from vigie.platform.reasons import CONFIG_INVALID

log = structlog.get_logger(__name__)

_Seen = tuple[tuple[int, int, int], ...]


class FileCredentials(Provider):
    """Credentials that rotate without a restart. Thread-safe.

    Each request asks for them; the files are only read when one of them is another file, or was
    written, since. While they cannot be read, those read last go on being used.

    Args:
        access_key_file: its only line is the access key.
        secret_key_file: the same for the secret key.
    """

    def __init__(self, access_key_file: Path, secret_key_file: Path) -> None:
        self._files = (access_key_file, secret_key_file)
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._known: Credentials | None = None
        self.reloads = 0

    def retrieve(self) -> Credentials:
        """The credentials as the files have them now.

        Raises:
            VigieError: CONFIG_INVALID when they were never readable.
        """
        with self._lock:
            try:
                seen = tuple(_state(path) for path in self._files)
                if self._known is None or seen != self._seen:
                    self._known, self._seen = self._read(), seen
                    self.reloads += 1
            except (OSError, ValueError) as error:
                if self._known is None:
                    raise VigieError(
                        CONFIG_INVALID, f"the credentials of the S3 store cannot be read: {error}"
                    ) from error
                log.warning("s3_credentials_unreadable", error=str(error))
            return self._known

    def _read(self) -> Credentials:
        access_key, secret_key = (path.read_text("ascii").strip() for path in self._files)
        if not access_key or not secret_key:
            raise ValueError("a key file is empty")
        return Credentials(access_key, secret_key)


def _state(path: Path) -> tuple[int, int, int]:
    state = os.stat(path)  # noqa: PTH116 - follows the links by which mounted secrets are swapped
    return state.st_ino, state.st_mtime_ns, state.st_size
