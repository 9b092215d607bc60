"""Removes accesses from the searchable table at the end of their time.

The access log is kept for at most three years (CNIL recommendation on logging: six months to
three years by class; this form knows one class). The topic expires by itself; the table follows.
"""

from typing import Final

import sqlalchemy as sa
import structlog

from vigie.audit.recorder import TOPICS
from vigie.audit.tables import ACCESSES, OBJECTS, ZONES
from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock, WallClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError

RETENTION_DAYS: Final = TOPICS[0].retention_days
_DAY_US: Final = 24 * 3600 * MICROSECONDS_PER_SECOND
_PIECE: Final = 1000
_ROUND_SECONDS: Final = 3600.0


class AccessRetention:
    """Removes what has passed its time, a piece at a time, so that recording never waits long."""

    def __init__(
        self, database: Database, *, wall_clock: WallClock, monotonic_clock: MonotonicClock
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._log = structlog.get_logger("vigie.audit")

    async def run(self) -> None:
        """One round an hour, until cancelled; a round that fails is tried again in the next."""
        while True:
            try:
                removed = await self.remove_expired()
            except VigieError as error:
                self._log.warning("access_retention_postponed", reason=error.reason.name)
            else:
                if removed:
                    self._log.info("accesses_removed", count=removed, after_days=RETENTION_DAYS)
            await self._monotonic_clock.sleep(_ROUND_SECONDS)

    async def remove_expired(self) -> int:
        """Remove every row whose time has passed.

        Returns:
            How many accesses were removed.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        before_us = self._wall_clock.now_us() - RETENTION_DAYS * _DAY_US
        removed = 0
        while True:
            count = await self._remove_piece(before_us)
            removed += count
            if count < _PIECE:
                return removed

    async def _remove_piece(self, before_us: int) -> int:
        oldest = (
            sa.select(ACCESSES.c.record)
            .where(ACCESSES.c.time_us < before_us)
            .order_by(ACCESSES.c.time_us, ACCESSES.c.record)
            .limit(_PIECE)
        )
        async with self._database.transaction() as connection:
            records = list((await connection.execute(oldest)).scalars())
            for start in range(0, len(records), 500):
                piece = records[start : start + 500]
                for table in (OBJECTS, ZONES, ACCESSES):
                    await connection.execute(sa.delete(table).where(table.c.record.in_(piece)))
        return len(records)
