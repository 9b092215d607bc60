"""Recording as the wiring sees it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import structlog

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database import Database, migrate
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import QUARANTINE_TOPIC, EventLog
from vigie.platform.eventlog.consumer import Consumer, ConsumerOptions, Handler
from vigie.platform.eventlog.observer import ConsumerObserver, SilentObserver
from vigie.platform.eventlog.quarantine import Quarantine
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.objectstore import ObjectStore
from vigie.recording.catchup import catch_up
from vigie.recording.config import RecordingConfig
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.index.days import make_days_ahead
from vigie.recording.index.handlers import IndexHandlers, parse_status
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.playback.clip import ClipMaker
from vigie.recording.playback.footage import Footage
from vigie.recording.playback.media import SegmentMedia
from vigie.recording.playback.play import Player
from vigie.recording.playback.snapshot import SnapshotMaker
from vigie.recording.rebuild.describing import Describer
from vigie.recording.rebuild.report import ReindexReport
from vigie.recording.retention.planner import RetentionPlanner
from vigie.recording.retention.sweeper import (
    RetentionSweeper,
    SweeperParts,
)
from vigie.recording.servicers.holds import HoldServicer
from vigie.recording.servicers.playback import PlaybackParts, PlaybackServicer
from vigie.recording.servicers.recording import RecordingServicer
from vigie.recording.servicers.retention import RetentionServicer
from vigie.recording.timeline.algebra import TailRule
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.topics import TOPICS
from vigie.recording.v1.playback_pb2_grpc import add_PlaybackServiceServicer_to_server
from vigie.recording.v1.recording_pb2_grpc import add_RecordingServiceServicer_to_server
from vigie.recording.v1.retention_pb2_grpc import (
    add_HoldServiceServicer_to_server,
    add_RetentionServiceServicer_to_server,
)

log = structlog.get_logger(__name__)
SEGMENTS_GROUP: Final = "recording-index"
CAMERAS_GROUP: Final = "recording-cameras"
HOLDS_GROUP: Final = "recording-holds"
_RETRY_SECONDS: Final = 1.0
_OFTENER: Final = 0.9
_SEGMENTS_AT_ONCE: Final = 500
"""Events of segments in one transaction: enough that statements and commit cost little each."""
_CATCH_UP_RETRY_SECONDS: Final = 10.0


class RestoredDatabase(Protocol):
    """Who knows whether the database is an older copy; see `NumberingMark`."""

    @property
    def bucket_ahead(self) -> bool:
        """Whether the bucket has footage that the database was never told of."""
        ...

    async def caught_up(self) -> None:
        """Note that it is indexed."""
        ...


@dataclass(frozen=True, slots=True)
class RecordingDependencies:
    """What recording stands on.

    Attributes:
        database: open; the tables are made at the start.
        event_log: open; topic ``destructions`` is declared at the start.
        quarantine: takes events that can never be processed.
        store: the bucket.
        wall_clock: tells now.
        monotonic_clock: paces retention and repetitions.
        metrics: where the metrics are made.
        observer: counts what the consumers do.
        faults: where tests strike.
        restored: tells that the database is older than the bucket; ``None``: it never is.
    """

    database: Database
    event_log: EventLog
    quarantine: Quarantine
    store: ObjectStore
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    metrics: MetricsRegistry
    observer: ConsumerObserver | None = None
    faults: FaultPoints = NO_FAULTS
    restored: RestoredDatabase | None = None


class RecordingModule:
    """See `vigie.platform.module.Module`."""

    def __init__(self, config: RecordingConfig, needs: RecordingDependencies) -> None:
        self._config = config
        self._needs = needs
        self._metrics = RecordingMetrics(needs.metrics)
        self._live = CompactedTable(
            needs.event_log, "stream-status", parse_status, needs.monotonic_clock
        )
        self.keeper = HoldKeeper(
            needs.database,
            needs.store,
            needs.wall_clock,
            needs.monotonic_clock,
            self._metrics,
            faults=needs.faults,
        )
        self._describer = Describer(
            needs.database,
            needs.store,
            changed=self.keeper.wake,
            left=self._metrics.undescribed_hours.set,
        )
        self.timelines = TimelineReader(
            needs.database,
            needs.wall_clock,
            self._live.get,
            TailRule(
                stale_after_us=round(config.status_stale_seconds * 1e6),
                settle_us=round(config.pending_settle_seconds * 1e6),
            ),
        )
        self.planner = RetentionPlanner(needs.database, ZoneInfo(config.legal_time_zone))
        self.sweeper = RetentionSweeper(
            SweeperParts(
                needs.database,
                needs.store,
                needs.event_log,
                needs.wall_clock,
                self.planner,
                self._metrics,
                needs.faults,
            ),
            ahead_us=round(config.retention_interval_seconds * 1e6),
        )
        self._services = self._make_services()
        self._consumers = self._make_consumers()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False

    def _make_services(self) -> Sequence[ServiceBinding]:
        needs, config = self._needs, self._config
        media = SegmentMedia(
            needs.store,
            cache_bytes=config.cache_bytes,
            verify=config.verify_before_play,
            count=lambda reason: self._metrics.damaged.labels(reason=reason).inc(),
        )
        footage = Footage(needs.database, media, self._describer)
        parts = PlaybackParts(
            timelines=self.timelines,
            player=Player(needs.database, self.timelines, footage),
            clips=ClipMaker(self.timelines, footage),
            snapshots=SnapshotMaker(
                self.timelines, footage, concurrency=config.snapshot_concurrency
            ),
        )
        package = "vigie.recording.v1"
        return (
            ServiceBinding(
                f"{package}.RecordingService",
                RecordingServicer(needs.database, self.timelines, describer=self._describer),
                add_RecordingServiceServicer_to_server,
            ),
            ServiceBinding(
                f"{package}.PlaybackService",
                PlaybackServicer(needs.database, parts, needs.monotonic_clock, self._metrics),
                add_PlaybackServiceServicer_to_server,
            ),
            ServiceBinding(
                f"{package}.HoldService",
                HoldServicer(needs.database, self.keeper, needs.monotonic_clock),
                add_HoldServiceServicer_to_server,
            ),
            ServiceBinding(
                f"{package}.RetentionService",
                RetentionServicer(needs.database, self.planner, needs.wall_clock),
                add_RetentionServiceServicer_to_server,
            ),
        )

    def _make_consumers(self) -> dict[str, Consumer]:
        needs = self._needs
        handlers = IndexHandlers(needs.database, needs.wall_clock, self._metrics, self.keeper.wake)
        batches = {SEGMENTS_GROUP: ConsumerOptions(batch_size=_SEGMENTS_AT_ONCE)}
        wanted: tuple[tuple[str, str, Handler], ...] = (
            ("cameras", CAMERAS_GROUP, handlers.cameras),
            ("holds", HOLDS_GROUP, handlers.holds),
            ("segments", SEGMENTS_GROUP, handlers.segments),
        )
        return {
            group: Consumer(
                needs.event_log,
                needs.database,
                needs.quarantine,
                needs.monotonic_clock,
                topic=topic,
                group=group,
                handler=handler,
                options=batches.get(group),
                observer=needs.observer or SilentObserver(),
                faults=needs.faults,
            )
            for topic, group, handler in wanted
        }

    @property
    def name(self) -> str:
        """See `Module.name`."""
        return "recording"

    @property
    def consumers(self) -> dict[str, Consumer]:
        """The consumers by group, for the command that replays quarantined events."""
        return dict(self._consumers)

    def services(self) -> Sequence[ServiceBinding]:
        """See `Module.services`."""
        return self._services

    async def start(self) -> None:
        """Make or migrate the tables, declare the topic, begin to consume and to keep holds."""
        await migrate(self._needs.database, MIGRATIONS)
        await self._make_days()
        await self._needs.event_log.declare([*TOPICS, QUARANTINE_TOPIC])
        for consumer in self._consumers.values():
            consumer.start()
        self.keeper.start()
        self._tasks.append(asyncio.create_task(self._follow_status(), name="recording-status"))
        if self._needs.restored is not None and self._needs.restored.bucket_ahead:
            self._metrics.catch_up.set(1)
            restored = self._needs.restored
            self._tasks.append(
                asyncio.create_task(self._catch_up(restored), name="recording-catch-up")
            )
        if await self._describer.pending():
            self._tasks.append(asyncio.create_task(self._describe(), name="recording-describe"))
        if self._config.retention_enabled:
            self._tasks.append(asyncio.create_task(self._retain(), name="recording-retention"))
        self._started = True

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if not self._started:
            return "recording has not started"
        troubles = (consumer.not_ready() for consumer in self._consumers.values())
        return next((trouble for trouble in troubles if trouble), None) or self._live.not_ready()

    async def stop(self, *, timeout_seconds: float) -> None:
        """See `Module.stop`: what ingest told before it stopped is still taken into the index."""
        self._started = False
        await asyncio.gather(
            *(c.drain(timeout_seconds=timeout_seconds / 2) for c in self._consumers.values())
        )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.gather(
            *(c.stop(timeout_seconds=timeout_seconds) for c in self._consumers.values())
        )
        await self.keeper.stop()
        await self._live.stop()

    async def _make_days(self) -> None:
        """Make the coming days of the index; retention does it again in each of its rounds."""
        now_us = self._needs.wall_clock.now_us()
        async with self._needs.database.transaction() as connection:
            await make_days_ahead(connection, now_us)

    async def _follow_status(self) -> None:
        """Read the stream status; it waits where ingest has not yet declared the topic."""
        while True:
            try:
                await self._live.start()
            except VigieError as error:
                log.info("stream_status_awaited", reason=error.reason.name)
                await self._needs.monotonic_clock.sleep(_RETRY_SECONDS)
            else:
                return

    async def _catch_up(self, restored: RestoredDatabase) -> None:
        """Index what a restored database does not know, however often it takes."""
        while True:
            try:
                await catch_up(self._needs.database, self._needs.store, self._metrics)
                await restored.caught_up()
            except VigieError as error:
                log.warning("catch_up_failed", reason=error.reason.name, error=str(error))
                await self._needs.monotonic_clock.sleep(_CATCH_UP_RETRY_SECONDS)
            else:
                self._metrics.catch_up.set(0)
                self.keeper.wake()
                return

    async def _describe(self) -> None:
        """Write the rows that a reindex has left to the product, however often it takes."""
        while True:
            report = ReindexReport()
            try:
                await self._describer.describe_all(report)
            except Exception as error:
                log.warning("describing_failed", error=str(error), exc_info=True)
                await self._needs.monotonic_clock.sleep(_CATCH_UP_RETRY_SECONDS)
            else:
                log.info("index_described", segments=report.segments, refused=report.refused)
                return

    async def _retain(self) -> None:
        """Run retention again and again.

        Rounds begin a little oftener than what is destroyed ahead of time, however long one lasts.
        """
        clock, interval = self._needs.monotonic_clock, self._config.retention_interval_seconds
        while True:
            began_us, wanted = clock.now_us(), interval * _OFTENER
            try:
                if (await self.sweeper.sweep()).ended_early:
                    wanted = 0.0
            except Exception as error:
                log.warning("retention_failed", error=str(error), exc_info=True)
                wanted = min(60.0, wanted)
            lasted = (clock.now_us() - began_us) / 1e6
            self._metrics.retention_round.set(lasted)
            if lasted > interval * _OFTENER:
                log.warning("retention_round_too_long", seconds=lasted, interval=interval)
            await clock.sleep(max(_RETRY_SECONDS, wanted - lasted))
