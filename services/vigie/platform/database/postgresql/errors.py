"""Which failures of PostgreSQL mean "the database is unavailable", decided once.

Classes of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) that speak of
the machine, the network or the deployment become DATABASE_UNAVAILABLE: whoever works through a
log waits, and nothing is put into quarantine for them. What speaks of the statement or its values
stays what it is: the caller's.
"""

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATABASE_UNAVAILABLE

UNREACHABLE: Final = "UNREACHABLE"
TIMED_OUT: Final = "TIMED_OUT"
POOL_EXHAUSTED: Final = "POOL_EXHAUSTED"
CONNECTION_LOST: Final = "CONNECTION_LOST"
OTHER: Final = "OTHER"
STATEMENT_STALE: Final = "0A000"
STATEMENT_ENDED: Final = "57014"

RETRIED: Final = frozenset({"40001", "40P01", STATEMENT_STALE})
"""Serialisation failure, deadlock, and a statement prepared before the schema changed: the server
has undone the whole transaction, and doing it again will very likely succeed."""

_UNAVAILABLE_CLASSES: Final = frozenset({"08", "28", "40", "53", "57", "58", "F0", "XX"})
_UNAVAILABLE_CODES: Final[dict[str, str]] = {
    "25006": "the server takes no writes (a standby, or set read-only)",
    "25P03": "the transaction stood idle for too long and was ended by the server",
    "25P04": "the transaction lasted too long and was ended by the server",
    "28P01": "the role or its password is refused",
    "3D000": "there is no such database",
    "3F000": "the schema is missing: run `vigie migrate`",
    "42501": "the role lacks a right: run `vigie migrate`",
    "42P01": "a table is missing: run `vigie migrate`",
    "42703": "a column is missing: run `vigie migrate`",
    "53100": "the disk of the server is full",
    "53300": "the server has no connection left",
    "55006": "the object is in use",
    "55P03": "another writer held its turn for too long",
    STATEMENT_ENDED: "the statement took too long and was ended by the server",
    "57P01": "the server is being stopped",
    "57P03": "the server is starting or stopping",
}
_DATA_CLASS: Final = "22"
_OF_DRIVER: Final[tuple[type[BaseException], ...]] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_MOST_DETAIL: Final = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failure of the database is.

    Attributes:
        code: SQLSTATE, or one of the names above; a metric label.
        message: one line for people, without values of statements.
        is_lost: the connection is gone.
    """

    code: str
    message: str
    is_lost: bool

    @property
    def may_be_repeated(self) -> bool:
        """Whether the server undid the transaction for a reason that passes at once."""
        return self.code in RETRIED

    def error(self, where: str) -> "DatabaseFailedError":
        """The error to raise; ``where`` names database and role."""
        return DatabaseFailedError(self, f"the database {where} cannot be used: {self.message}")


class DatabaseFailedError(VigieError):
    """DATABASE_UNAVAILABLE, and what lies behind it."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(DATABASE_UNAVAILABLE, message, code=failure.code)
        self.failure = failure


def failure_of(error: BaseException) -> Failure | None:
    """What ``error`` says of the database; ``None`` when it is about the statement itself.

    Understands errors of SQLAlchemy, of asyncpg and of the network beneath.
    """
    if isinstance(error, PoolTimeoutError):
        return Failure(POOL_EXHAUSTED, "no connection became free; see pool_size", is_lost=False)
    if isinstance(error, asyncio.TimeoutError):
        return Failure(TIMED_OUT, "it did not answer in time", is_lost=True)
    if isinstance(error, OSError):
        return Failure(UNREACHABLE, _network_line(error), is_lost=True)
    driver = driver_error(error)
    code = getattr(driver, "sqlstate", None)
    if driver is not None and isinstance(code, str):
        return _by_code(code, driver)
    if _says_closed(driver):
        return Failure(CONNECTION_LOST, _line(driver), is_lost=True)
    return None


def _says_closed(driver: BaseException | None) -> bool:
    """Whether asyncpg says, without a word of the server, that the connection is gone."""
    if isinstance(driver, asyncpg.InterfaceError):
        return "closed" in str(driver) and not isinstance(driver, asyncpg.DataError)
    return isinstance(driver, asyncpg.InternalClientError)


def other_failure(error: BaseException, *, is_lost: bool = False) -> Failure:
    """A failure that is not one of those above, where it can only be the database's."""
    return Failure(str(getattr(error, "sqlstate", None) or OTHER), _line(error), is_lost=is_lost)


def _by_code(code: str, driver: BaseException) -> Failure | None:
    is_stale = isinstance(driver, asyncpg.exceptions.InvalidCachedStatementError)
    known = _UNAVAILABLE_CODES.get(code)
    if not (is_stale or known or code[:2] in _UNAVAILABLE_CLASSES):
        return None
    text = _line(driver)
    is_lost = code[:2] == "08" or code in {"57P01", "57P02", "57P03", "25P03", "25P04"}
    return Failure(code, f"{known} ({text})" if known else text, is_lost)


def driver_error(error: BaseException) -> BaseException | None:
    """The error of asyncpg inside ``error``."""
    found: BaseException | None = error
    if isinstance(error, DBAPIError):
        found = error.orig
    for one in (getattr(found, "__cause__", None), found):
        if isinstance(one, _OF_DRIVER):
            return one
    return None


def as_data_error(error: BaseException) -> DataError | None:
    """A value that no column takes, as `sqlalchemy.exc.DataError`.

    asyncpg finds some of these before they are sent and calls that an error of the interface,
    which elsewhere means a connection that broke and waiting that may help.
    """
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    driver = driver_error(error)
    refused = isinstance(driver, asyncpg.DataError)
    if refused or str(getattr(driver, "sqlstate", None)).startswith(_DATA_CLASS):
        return DataError(error.statement, None, error.orig, hide_parameters=True)
    return None


def _network_line(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", None) or error
        return f"its certificate is not accepted: {_line(why)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {_line(getattr(error, 'reason', None) or error)}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}"
    return os.strerror(error.errno) if error.errno else _line(error)


def _line(error: object) -> str:
    """The first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_MOST_DETAIL]
