"""Tells failures of one database: to the caller, to the metrics, and since when it is away."""

from collections.abc import Callable
from datetime import UTC, datetime

from vigie.platform.clock import WallClock, from_us
from vigie.platform.database.metrics import DatabaseMetrics
from vigie.platform.database.postgresql.errors import (
    STATEMENT_ENDED,
    TIMED_OUT,
    DatabaseFailedError,
    Failure,
    as_data_error,
    failure_of,
)
from vigie.platform.errors import VigieError


def untold(_code: str) -> None:
    """Nobody counts."""


class Failures:
    """The failures of one database.

    Args:
        where: database and role, for people.
        on_failure: told the code of each.
        metrics: of the context.
        wall_clock: says since when the database is away.
    """

    def __init__(
        self,
        where: str,
        on_failure: Callable[[str], None],
        metrics: DatabaseMetrics,
        wall_clock: WallClock,
    ) -> None:
        self._where = where
        self._on_failure = on_failure
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._away_since_us: int | None = None

    def connected(self) -> None:
        """The database answers (again)."""
        self._away_since_us = None

    def of_statement(self, error: Exception) -> Exception:
        """The error to raise for one of a statement; what took too long is counted."""
        failure = failure_of(error)
        if failure is not None:
            self.note_time_out(failure)
        return self.translated(error)

    def note_time_out(self, failure: Failure) -> None:
        """Count a statement, if it took too long."""
        if failure.code in {STATEMENT_ENDED, TIMED_OUT}:
            self._metrics.statement_timed_out(by_server=failure.code == STATEMENT_ENDED)

    def translated(self, error: Exception) -> Exception:
        """The error to raise for one from below."""
        if isinstance(error, DatabaseFailedError):
            return self.noted(error.failure)
        if isinstance(error, VigieError):
            return error
        failure = failure_of(error)
        if failure is not None:
            return self.noted(failure)
        return as_data_error(error) or error

    def noted(self, failure: Failure) -> DatabaseFailedError:
        """The error of a failure, counted; says since when where the database is away."""
        self._on_failure(failure.code)
        where = self._where
        if failure.is_lost:
            if self._away_since_us is None:
                self._away_since_us = self._wall_clock.now_us()
            where = f"{where}, away since {_time(self._away_since_us)},"
        return failure.error(where)


def _time(instant_us: int) -> str:
    return datetime.astimezone(from_us(instant_us), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
