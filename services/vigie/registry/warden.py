"""Looks at the authorisations now and then: warns of ends to come, counts, logs what has ended."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock, WallClock, from_us
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.metrics import MetricsRegistry
from vigie.registry import authorisationstore, authority, camerastore, coverage
from vigie.registry.lifecycle import IN_SERVICE, PLANNED, RETIRED, SUSPENDED, short_name
from vigie.registry.metrics import (
    AUTHORISATIONS,
    CAMERAS,
    CHECKS_FAILED,
    NEXT_END,
    UNAUTHORISED,
)
from vigie.registry.model import AuthorisationRecord
from vigie.registry.tables import cameras
from vigie.registry.v1.authorisations_pb2 import AuthorisationState
from vigie.registry.v1.cameras_pb2 import CameraAuthorisationState

_PREFIX: Final = "AUTHORISATION_STATE_"
_STATES: Final = ("SCHEDULED", "IN_FORCE", "EXPIRING", "EXPIRED", "REVOKED")
_TOLD: Final[Mapping[str, str]] = {
    "EXPIRING": "authorisation_expiring",
    "EXPIRED": "authorisation_expired",
}


class Warden:
    """Warns at least four months ahead that an authorisation ends (product.md, rule 1).

    No end is enforced here: ingest and recording know the ends of the terms themselves.
    """

    def __init__(
        self,
        database: Database,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: MetricsRegistry,
        *,
        interval_seconds: float,
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._interval_seconds = interval_seconds
        self._cameras = metrics.gauge(CAMERAS)
        self._unauthorised = metrics.gauge(UNAUTHORISED)
        self._authorisations = metrics.gauge(AUTHORISATIONS)
        self._next_end = metrics.gauge(NEXT_END)
        self._failed = metrics.counter(CHECKS_FAILED)
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("vigie.registry")

    def start(self) -> None:
        """Look from now on, once an interval."""
        self._task = asyncio.create_task(self._run(), name="registry-warden")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def look(self) -> None:
        """Look once: set the metrics, log what no process of the installation has told yet.

        What a program of the version before has left undone is made good.
        """
        now_us = self._wall_clock.now_us()
        async with self._database.reading() as connection:
            authorisations = await authorisationstore.find_all(connection)
            told = await authorisationstore.told_states(connection)
            in_service = await camerastore.find(connection, cameras.c.lifecycle == IN_SERVICE)
            for lifecycle in (PLANNED, IN_SERVICE, SUSPENDED, RETIRED):
                count = await camerastore.count(connection, cameras.c.lifecycle == lifecycle)
                self._cameras.labels(short_name(lifecycle)).set(count)
            terms = await coverage.terms(connection, [item.camera for item in in_service], now_us)
            unmarked = await coverage.left_unmarked(connection)
        if unmarked:
            await self._database.write(coverage.mark_left)
        unauthorised = CameraAuthorisationState.CAMERA_AUTHORISATION_STATE_NOT_AUTHORISED
        states = [authority.camera_state(listed, now_us) for listed in terms.values()]
        self._unauthorised.set(states.count(unauthorised))
        self._count(authorisations, now_us)
        for record in authorisations:
            state = _state(record, now_us)
            if told.get(record.authorisation) != (state if state in _TOLD else None):
                await self._tell(record, state)

    def _count(self, authorisations: Sequence[AuthorisationRecord], now_us: int) -> None:
        counts = dict.fromkeys(_STATES, 0)
        ends = []
        for record in authorisations:
            counts[_state(record, now_us)] += 1
            if record.in_force(now_us):
                ends.append(record.end_us)
        for state, count in counts.items():
            self._authorisations.labels(state).set(count)
        self._next_end.set((min(ends) - now_us) / MICROSECONDS_PER_SECOND if ends else -1)

    async def _tell(self, record: AuthorisationRecord, state: str) -> None:
        """Tell the log of a state: of all processes that see it, the one that notes it first."""

        def say() -> None:
            self._log.warning(
                _TOLD[state],
                authorisation=record.authorisation,
                number=record.number,
                valid_until=from_us(record.valid_until_us).isoformat(),
            )

        async def work(connection: AsyncConnection) -> None:
            told = state if state in _TOLD else None
            changed = await authorisationstore.note_told(connection, record.authorisation, told)
            if changed and told is not None:
                self._database.on_commit(connection, say)

        await self._database.write(work)

    async def _run(self) -> None:
        while True:
            # A failed look must not end the looking; it is counted, and the next one may do.
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - boundary of the task: logged, counted, tried again
                self._failed.inc()
                self._log.exception("authorisation_check_failed")
            await self._monotonic_clock.sleep(self._interval_seconds)


def _state(record: AuthorisationRecord, now_us: int) -> str:
    return AuthorisationState.Name(authority.state_of(record, now_us)).removeprefix(_PREFIX)
