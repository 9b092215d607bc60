"""Failures of the file system in the words of the store, decided once."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vigie.platform.errors import VigieError
from vigie.platform.reasons import STORE_UNAVAILABLE


@contextmanager
def as_store_error(doing: str) -> Iterator[None]:
    """Report every OSError as STORE_UNAVAILABLE, with its name for machines."""
    try:
        yield
    except OSError as error:
        raise VigieError(
            STORE_UNAVAILABLE,
            f"cannot {doing}: {error.strerror or error}",
            errno=errno.errorcode.get(error.errno or 0, "unknown"),
        ) from error
