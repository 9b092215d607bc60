"""Destroys what is due, on time, on record, and again after any crash.

Steps for a batch of segments, each durable before the next begins:

1. one transaction: the holds are looked at once more; the destruction is recorded (register and
   event, invariant I3), the segment is marked, its span becomes a destroyed span. From here on
   the timeline says DESTROYED and nothing is played that may vanish;
2. the objects are deleted from the store;
3. one transaction: the rows go, the register notes that the objects are gone.

What a crash leaves after step 1 stands in the register without a time of destruction: the next
round begins with it. Deleting what is gone already succeeds. Where the store refuses because of a
hold that the index does not know, step 1 is undone and the refusal is counted: footage under a
hold is never destroyed (I4).

A hold counts from the moment it was told, also when its event waits or stands in quarantine: a
round lasts, so the topic is asked before each step 1 and again before each step 2, and the round
ends where the index does not have a hold. What has got one since step 1 is listed again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import ColumnElement, and_, delete, or_, select, update

from vigie.platform.clock import WallClock
from vigie.platform.database import Database, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.events import make_event
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import OBJECT_HELD, OBJECT_RETAINED
from vigie.recording.holdkeeper import holds_not_indexed
from vigie.recording.index import days, spans
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.tables import (
    DESTROYED_SPANS,
    DESTRUCTIONS,
    HOLD_CAMERAS,
    HOLD_OBJECTS,
    HOLDS,
    SEGMENTS,
    SPANS,
)
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.model import Segment
from vigie.recording.retention.folding import fold_register
from vigie.recording.retention.planner import Due, RetentionPlanner
from vigie.recording.retention.register import destruction_event, register_values
from vigie.recording.retention.run_ends import remove_run_ends
from vigie.recording.topics import DESTRUCTIONS_TOPIC

log = structlog.get_logger(__name__)
FAULT_POINTS: Final = (
    "retention.recording",
    "retention.recorded",
    "retention.deleted",
    "retention.forgotten",
)
_BATCH: Final = 100
_DELETED_AT_ONCE: Final = 8
_KEPT: Final = frozenset({OBJECT_HELD.name, OBJECT_RETAINED.name})
"""Reasons for which a store keeps an object."""
_SAME: Final = and_(
    SEGMENTS.c.object_key == DESTRUCTIONS.c.object_key,
    SEGMENTS.c.start_us == DESTRUCTIONS.c.start_us,
)


@dataclass(slots=True)
class SweepReport:
    """What one round of retention did."""

    at_us: int
    objects: int = 0
    size_bytes: int = 0
    resumed: int = 0
    run_ends: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    ended_early: bool = False
    """A hold was told that the index does not have."""

    def failed(self, reason: str) -> None:
        """Count something that did not succeed."""
        self.failures[reason] = self.failures.get(reason, 0) + 1


class _HoldsUnknownError(Exception):
    """A hold was told that the index does not have: nothing may be destroyed now."""


@dataclass(frozen=True, slots=True)
class SweeperParts:
    """What the sweeper stands on."""

    database: Database
    store: ObjectStore
    event_log: EventLog
    wall_clock: WallClock
    planner: RetentionPlanner
    metrics: RecordingMetrics
    faults: FaultPoints = NO_FAULTS


class RetentionSweeper:
    """Destroys what is due.

    Args:
        parts: what it stands on.
        ahead_us: what expires within this time is destroyed now, because the next round would be
            too late ("at most one month", not "about").
    """

    def __init__(self, parts: SweeperParts, *, ahead_us: int) -> None:
        self._parts = parts
        self._ahead_us = ahead_us

    async def sweep(self) -> SweepReport:
        """One round over all cameras.

        Raises:
            VigieError: database or event log are unavailable; the round is repeated later.
        """
        report = SweepReport(self._parts.wall_clock.now_us())
        try:
            await self._resume(report)
            for camera in await self._parts.planner.cameras():
                await self._sweep_camera(camera, report)
        except _HoldsUnknownError:
            report.ended_early = True
        gone = await remove_run_ends(self._parts.database, self._parts.store)
        report.run_ends = gone.removed
        for reason in gone.refused:
            self._failed(reason, report)
        await self._drop_days()
        await self._fold_register()
        if not report.failures:
            self._parts.metrics.retention_last.set(report.at_us / 1e6)
        log.info(
            "retention_done", objects=report.objects, resumed=report.resumed,
            size_bytes=report.size_bytes, failures=report.failures,
        )  # fmt: skip
        return report

    async def _sweep_camera(self, camera: str, report: SweepReport) -> None:
        batch: list[Due] = []
        # Of this moment: a round may last.
        at_us = self._parts.wall_clock.now_us() + self._ahead_us
        async for due in self._parts.planner.due(camera, at_us):
            batch.append(due)
            if len(batch) == _BATCH:
                await self._destroy(batch, report)
                batch = []
        await self._destroy(batch, report)

    def _failed(self, reason: str, report: SweepReport) -> None:
        report.failed(reason)
        self._parts.metrics.destruction_failures.labels(reason=reason).inc()

    async def _ask_for_holds(self, report: SweepReport) -> None:
        """Raises _HoldsUnknownError: a hold was told that the index does not have."""
        try:
            missing = await holds_not_indexed(self._parts.event_log, self._parts.database)
        except VigieError as error:
            missing = [error.reason.name]
        if missing:
            self._failed("HOLDS_NOT_INDEXED", report)
            log.warning("retention_waits_for_holds", holds=missing[:10], count=len(missing))
            raise _HoldsUnknownError

    async def _drop_days(self) -> None:
        """Days of the index that have become empty; the coming ones are made.

        Both are upkeep: where the database is busy it is done in the next round.
        """
        now_us = self._parts.wall_clock.now_us()
        try:
            async with self._parts.database.transaction() as connection:
                await days.make_days_ahead(connection, now_us)
                dropped = await days.drop_empty_days(connection, now_us)
        except VigieError as error:
            log.warning("index_days_postponed", reason=error.reason.name, error=str(error))
            return
        if dropped:
            log.info("index_days_dropped", count=dropped)

    async def _fold_register(self) -> None:
        """Entries of the register that have passed their time; upkeep as well."""
        try:
            folded = await fold_register(self._parts.database, self._parts.wall_clock.now_us())
        except VigieError as error:
            log.warning("register_folding_postponed", reason=error.reason.name, error=str(error))
            return
        if folded:
            log.info("register_folded", count=folded)

    async def _destroy(self, batch: Sequence[Due], report: SweepReport) -> None:
        if not batch:
            return
        await self._ask_for_holds(report)
        self._parts.faults.reach("retention.recording")
        async with self._parts.database.transaction() as connection:
            recorded = [due.segment for due in batch if await self._record(connection, due)]
        self._parts.faults.reach("retention.recorded")
        await self._delete(recorded, report)

    async def _record(self, connection: AsyncConnection, due: Due) -> bool:
        """Step 1 for one segment; false when a hold keeps it or it is gone."""
        segment = due.segment
        if await _is_held(connection, segment):
            return False
        now_us = self._parts.wall_clock.now_us()
        marked = await connection.execute(
            update(SEGMENTS)
            .where(*_row_of(segment), SEGMENTS.c.destroying_us.is_(None))
            .values(destroying_us=now_us)
        )
        if marked.rowcount == 0:
            return False
        register = register_values(segment, due.basis, now_us)
        await upsert(connection, DESTRUCTIONS, register, key=("object_key",))
        await spans.remove_segment(connection, SPANS, segment)
        await spans.add_segment(connection, DESTROYED_SPANS, segment)
        message = destruction_event(segment, due.basis, now_us)
        event = make_event(
            message,
            key=segment.camera,
            source="vigie/recording",
            wall_clock=self._parts.wall_clock,
            # The same destruction told again (after a crash, or a refusal of the store) is one.
            event_id=f"destruction:{segment.object_key}",
        )
        await self._parts.event_log.append(DESTRUCTIONS_TOPIC, [event], connection=connection)
        return True

    async def _resume(self, report: SweepReport) -> None:
        """Finish what an interrupted round has recorded."""
        after = ""
        while True:
            # The register knows what is unfinished by an index; the rows are far too many to ask.
            query = (
                select(SEGMENTS)
                .join(DESTRUCTIONS, _SAME)
                .where(
                    DESTRUCTIONS.c.destroyed_us.is_(None),
                    DESTRUCTIONS.c.object_key > after,
                    SEGMENTS.c.destroying_us.is_not(None),
                )
                .order_by(DESTRUCTIONS.c.object_key)
                .limit(_BATCH)
            )
            async with self._parts.database.reading() as connection:
                left = [segment_from_row(row) for row in await connection.execute(query)]
            if not left:
                return
            after = left[-1].object_key
            report.resumed += len(left)
            await self._delete(left, report)

    async def _delete(self, segments: Sequence[Segment], report: SweepReport) -> None:
        """Steps 2 and 3."""
        await self._ask_for_holds(report)
        held = await self._held(segments)
        for _ in held:
            self._failed(OBJECT_HELD.name, report)
        due = [segment for segment in segments if segment not in held]
        outcomes: list[str] = []
        for start in range(0, len(due), _DELETED_AT_ONCE):
            some = due[start : start + _DELETED_AT_ONCE]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._remove(segment, report)) for segment in some]
            outcomes += [task.result() for task in tasks]
        self._parts.faults.reach("retention.deleted")
        gone = [segment for segment, reason in zip(due, outcomes, strict=True) if not reason]
        refused = [
            segment for segment, reason in zip(due, outcomes, strict=True) if reason in _KEPT
        ]
        await self._forget(gone, [*held, *refused])
        self._parts.faults.reach("retention.forgotten")
        report.objects += len(gone)
        report.size_bytes += sum(segment.size_bytes for segment in gone)
        self._parts.metrics.objects_destroyed.inc(len(gone))
        self._parts.metrics.bytes_destroyed.inc(sum(segment.size_bytes for segment in gone))

    async def _held(self, segments: Sequence[Segment]) -> list[Segment]:
        """Those that a hold has taken in since their destruction was recorded."""
        async with self._parts.database.reading() as connection:
            return [segment for segment in segments if await _is_held(connection, segment)]

    async def _remove(self, segment: Segment, report: SweepReport) -> str:
        """Delete an object; empty, or the reason for which it is still there."""
        try:
            await self._parts.store.delete(segment.object_key)
        except VigieError as error:
            name = error.reason.name
            self._failed(name, report)
            log.warning("destruction_failed", object_key=segment.object_key, reason=name)
            return name
        return ""

    async def _forget(self, gone: Sequence[Segment], refused: Sequence[Segment]) -> None:
        now_us = self._parts.wall_clock.now_us()
        async with self._parts.database.transaction() as connection:
            for segment in gone:
                key = segment.object_key
                await connection.execute(delete(SEGMENTS).where(*_row_of(segment)))
                await connection.execute(
                    update(DESTRUCTIONS)
                    .where(DESTRUCTIONS.c.object_key == key)
                    .values(destroyed_us=now_us)
                )
            for segment in refused:
                await _restore(connection, segment)


def _row_of(segment: Segment) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The row of a segment; its time says in which day of the index it is."""
    return SEGMENTS.c.object_key == segment.object_key, SEGMENTS.c.start_us == segment.start_us


async def _is_held(connection: AsyncConnection, segment: Segment) -> bool:
    rows = select(HOLD_OBJECTS.c.hold).where(HOLD_OBJECTS.c.object_key == segment.object_key)
    holds = (
        select(HOLDS.c.hold)
        .join(HOLD_CAMERAS, HOLD_CAMERAS.c.hold == HOLDS.c.hold)
        .where(
            HOLD_CAMERAS.c.camera == segment.camera,
            HOLDS.c.released_us.is_(None),
            HOLDS.c.start_us < segment.end_us,
            HOLDS.c.end_us > segment.start_us,
        )
    )
    return (await connection.execute(select(or_(rows.exists(), holds.exists())))).scalar_one()


async def _restore(connection: AsyncConnection, segment: Segment) -> None:
    """Undo step 1: the store keeps the object, so it is listed again."""
    key = segment.object_key
    listed = update(SEGMENTS).where(*_row_of(segment), SEGMENTS.c.destroying_us.is_not(None))
    if not (await connection.execute(listed.values(destroying_us=None))).rowcount:
        return  # another process of recording was told otherwise, and it is gone or listed
    await connection.execute(delete(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key == key))
    await spans.remove_segment(connection, DESTROYED_SPANS, segment)
    await spans.add_segment(connection, SPANS, segment)
