"""Places holds in the store and takes them off, as the index says.

The index is written first (in the transaction that consumes the event), the store after: from the
first moment on retention sees the hold, and whatever interrupts the work, what is left to do
stands in the index, and is looked for there. Placing and taking off are idempotent in the store.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import bindparam, delete, func, select, update

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, StoredEvent
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import OBJECT_NOT_FOUND
from vigie.recording.index import holdings
from vigie.recording.index.tables import (
    HOLD_OBJECTS,
    HOLD_PLACED,
    HOLD_TO_PLACE,
    HOLD_TO_TAKE_OFF,
    HOLDS,
)
from vigie.recording.metrics import RecordingMetrics

log = structlog.get_logger(__name__)
FAULT_POINTS: Final = (
    "holds.placing",
    "holds.taking_off",
    "holds.confirmed",
    "holds.noted",
    "holds.applied",
)
"""Steps of a round: before the store is asked, once it has confirmed, once that is written down."""
_BATCH: Final = 200
_AT_ONCE: Final = 4
"""As many objects at a time as the store has writers: each waits for the disk a few times."""
_ROW: Final = (
    HOLD_OBJECTS.c.hold == bindparam("of_hold"),
    HOLD_OBJECTS.c.object_key == bindparam("of_key"),
    HOLD_OBJECTS.c.state == bindparam("of_state"),
)
_PLACED: Final = update(HOLD_OBJECTS).where(*_ROW).values(state=HOLD_PLACED)
_TAKEN_OFF: Final = delete(HOLD_OBJECTS).where(*_ROW)
_RETRY_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 10.0


@dataclass(slots=True)
class Round:
    """What one round of work did."""

    placed: int = 0
    taken_off: int = 0
    failed: int = 0


class HoldKeeper:
    """Keeps the holds of the store in line with the index.

    Args:
        database: where the index is.
        store: where the objects are.
        wall_clock: when a hold was applied.
        monotonic_clock: waits before what failed is tried again.
        metrics: what is counted.
        faults: where tests strike.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: RecordingMetrics,
        *,
        faults: FaultPoints = NO_FAULTS,
    ) -> None:
        self._faults = faults
        self._database = database
        self._store = store
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that the index has changed; returns at once."""
        self._wake.set()

    def start(self) -> None:
        """Work in a task of its own; what an earlier process left undone comes first."""
        self._wake.set()
        self._task = asyncio.create_task(self._run(), name="recording-holds")

    async def stop(self) -> None:
        """End the task; what it did not finish stands in the index."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def wait_for_change(self, timeout_seconds: float) -> None:
        """Return when a round of work has ended, at latest after the time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _run(self) -> None:
        while True:
            await self._woken_or_needed()
            self._wake.clear()
            try:
                done = await self.work()
            except Exception as error:
                log.warning("holds_failed", error=str(error), exc_info=True)
                done = Round(failed=1)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            if done.failed:
                await self._monotonic_clock.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def _woken_or_needed(self) -> None:
        """Return when there is something to do.

        Nobody says so where the answer to a commit is lost that took effect, or where another
        process has taken a hold in and is gone: so it is looked for now and then.
        """
        while not self._wake.is_set():
            waking = asyncio.ensure_future(self._wake.wait())
            sleeping = asyncio.ensure_future(self._monotonic_clock.sleep(_LOOK_SECONDS))
            try:
                await asyncio.wait({waking, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waking.cancel()
                sleeping.cancel()
            if self._wake.is_set():
                return
            try:
                if await self._database.read(holdings.is_waiting):
                    return
            except VigieError as error:
                log.warning("holds_not_looked_for", reason=error.reason.name)

    async def work(self) -> Round:
        """Do everything that is to be done now."""
        done = Round()
        await self._each(HOLD_TO_PLACE, done)
        await self._each(HOLD_TO_TAKE_OFF, done)
        async with self._database.transaction() as connection:
            for hold in await holdings.mark_applied(connection, self._wall_clock.now_us()):
                log.info("hold_applied", hold=hold)
        self._faults.reach("holds.applied")
        async with self._database.reading() as connection:
            waiting = select(func.count()).where(HOLD_OBJECTS.c.state == HOLD_TO_PLACE)
            self._metrics.holds_pending.set((await connection.execute(waiting)).scalar_one())
        return done

    async def _each(self, state: int, done: Round) -> None:
        """Work through the rows of one state, in batches."""
        after = ("", "")
        while True:
            async with self._database.reading() as connection:
                batch = await holdings.work_to_do(connection, state, limit=_BATCH, after=after)
            if not batch:
                return
            after = batch[-1]
            finished: list[tuple[str, str]] = []
            for start in range(0, len(batch), _AT_ONCE):
                rows = batch[start : start + _AT_ONCE]
                performed = await asyncio.gather(
                    *(self._perform(state, *row, done) for row in rows)
                )
                finished += [row for row, good in zip(rows, performed, strict=True) if good]
            self._faults.reach("holds.confirmed")
            await self._note(state, finished)
            self._faults.reach("holds.noted")

    async def _perform(self, state: int, hold: str, key: str, done: Round) -> bool:
        try:
            if state == HOLD_TO_PLACE:
                self._faults.reach("holds.placing")
                await self._store.place_hold(key, hold)
                done.placed += 1
            else:
                self._faults.reach("holds.taking_off")
                await self._store.release_hold(key, hold)
                done.taken_off += 1
        except VigieError as error:
            if state == HOLD_TO_TAKE_OFF and error.reason.name == OBJECT_NOT_FOUND.name:
                return True
            done.failed += 1
            self._metrics.hold_failures.labels(reason=error.reason.name).inc()
            log.warning("hold_failed", hold=hold, object_key=key, reason=error.reason.name)
            async with self._database.transaction() as connection:
                await connection.execute(
                    update(HOLDS).where(HOLDS.c.hold == hold).values(problem=str(error))
                )
            return False
        return True

    async def _note(self, state: int, finished: list[tuple[str, str]]) -> None:
        """Write down what the store has confirmed, unless it was changed meanwhile."""
        if not finished:
            return
        rows = [{"of_hold": hold, "of_key": key, "of_state": state} for hold, key in finished]
        if state == HOLD_TO_TAKE_OFF:
            await self._database.write(lambda connection: connection.execute(_TAKEN_OFF, rows))
            return

        async def note(connection: AsyncConnection) -> int:
            await connection.execute(_PLACED, rows)
            return await holdings.take_off_unknown(connection, finished)

        if unknown := await self._database.write(note):
            log.info("holds_placed_too_late", objects=unknown)
            self.wake()


async def holds_not_indexed(event_log: EventLog, database: Database) -> list[str]:
    """Holds of topic ``holds`` that the index does not have as they are told there.

    Retention does not run while there are any: a hold that was placed counts, whether or not its
    event was consumed yet (or could be: one that stands in quarantine stops retention).
    """
    newest: dict[str, StoredEvent] = {}
    async for stored in event_log.read("holds"):
        newest[stored.event.key] = stored
    missing: list[str] = []
    async with database.reading() as connection:
        for key, stored in newest.items():
            facts = await holdings.read_hold(connection, key)
            if stored.event.value is None:
                if facts is not None and facts.released_us is None:
                    missing.append(key)
                continue
            try:
                state = parse_event(stored, HoldState)
            except Unprocessable:
                missing.append(key)
                continue
            if facts is None or not _agrees(facts, state):
                missing.append(key)
    return missing


def _agrees(facts: holdings.HoldFacts, state: HoldState) -> bool:
    return (
        (facts.start_us, facts.end_us) == (state.start_us, state.end_us)
        and set(facts.cameras) == set(state.cameras)
        and (facts.released_us is not None) == state.HasField("release_time")
    )
