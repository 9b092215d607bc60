"""Which failures of the driver mean "the database is unavailable", decided once."""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATABASE_UNAVAILABLE

# Primary result codes (https://www.sqlite.org/rescode.html) that speak of the machine, not of
# the statement. Extended codes carry the primary one in their low byte.
_UNAVAILABLE_SQLITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)


def as_unavailable(error: BaseException) -> VigieError | None:
    """DATABASE_UNAVAILABLE for ``error``, or ``None`` when it is about the statement itself.

    Integrity errors and programming errors are ``None``: they belong to the caller.
    """
    if isinstance(error, PoolTimeoutError):
        return VigieError(DATABASE_UNAVAILABLE, "no connection to the database became free")
    if not isinstance(error, DBAPIError):
        return None
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        if code & 0xFF not in _UNAVAILABLE_SQLITE_CODES:
            return None
    elif not error.connection_invalidated:
        return None
    return VigieError(DATABASE_UNAVAILABLE, f"the database cannot be used: {error.orig}")


def failure_code(error: BaseException) -> str:
    """The primary result code of SQLite behind an error (``SQLITE_CORRUPT``, …), or ``OTHER``."""
    name = getattr(getattr(error, "orig", None), "sqlite_errorname", None)
    return "_".join(name.split("_")[:2]) if isinstance(name, str) else "OTHER"
