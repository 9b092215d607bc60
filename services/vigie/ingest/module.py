"""The ingest context as the wiring sees it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from vigie.ingest import metrics, reasons
from vigie.ingest.backoff import Backoff
from vigie.ingest.config import IngestConfig
from vigie.ingest.engines import default_engines
from vigie.ingest.live.channel import LiveHub
from vigie.ingest.live.owners import LiveOwners
from vigie.ingest.overload import LagGauge
from vigie.ingest.recorder.camera import RecorderSettings, RecorderTools
from vigie.ingest.recorder.media import ClearMediaWriter
from vigie.ingest.services.live import LiveServicer
from vigie.ingest.services.probe import ProbeServicer
from vigie.ingest.services.streams import StreamServicer
from vigie.ingest.services.watching import parse_status
from vigie.ingest.spool.boot import boot_identifier
from vigie.ingest.spool.gauges import SpoolGauges
from vigie.ingest.spool.layout import SpoolLayout
from vigie.ingest.spool.quota import QuotaLimits, SpoolQuota, free_bytes
from vigie.ingest.spool.records import SegmentRecord
from vigie.ingest.spool.repair import RunRepair
from vigie.ingest.supervisor.cameras import (
    CAMERAS_TOPIC,
    AllCameras,
    CameraAssignment,
    overtaken,
    parse_camera,
)
from vigie.ingest.supervisor.keeper import KeeperTools
from vigie.ingest.supervisor.outages import lost_segment_event
from vigie.ingest.supervisor.outbox import Outbox
from vigie.ingest.supervisor.plan import Engines, LoginOpener
from vigie.ingest.supervisor.supervisor import ReceptionSupervisor, ReceptionTools
from vigie.ingest.supervisor.turns import Turns
from vigie.ingest.timekeeping import RunClock
from vigie.ingest.topics import TOPICS
from vigie.ingest.upload.events import SEGMENTS_TOPIC, STATUS_TOPIC
from vigie.ingest.upload.steps import UploadTools
from vigie.ingest.v1 import live_pb2_grpc, probe_pb2_grpc, streams_pb2_grpc
from vigie.ingest.v1.events_pb2 import StreamStatusEvent
from vigie.ingest.writepath import WritePath, WritePathSettings
from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.objectstore import ObjectStore
from vigie.platform.paging import Tokens
from vigie.platform.supervisor import Supervisor
from vigie.registry.v1.events_pb2 import CameraState

_log = structlog.get_logger(__name__)

STREAM_SERVICE: Final = "vigie.ingest.v1.StreamService"
LIVE_SERVICE: Final = "vigie.ingest.v1.LiveService"
PROBE_SERVICE: Final = "vigie.ingest.v1.ProbeService"


@dataclass(frozen=True, slots=True)
class IngestPlatform:
    """What ingest stands on.

    Attributes:
        event_log: topics `cameras` (read), `segments` and `stream-status` (written).
        store: where segments go.
        logins: opens sealed credentials of cameras.
        tasks: background tasks that may not die unseen.
        metrics: registry.
        wall_clock: says when.
        monotonic_clock: says how long.
        identifiers: of runs, outages and events.
        tokens: seals page and resume tokens.
        data_directory: of this installation; the spool lies in it unless configured otherwise.
        faults: fault points of the write path.
        assignment: which cameras are this process's own.
        address: where other services reach this process; empty where none has to.
        jitter: randomness of waits.
    """

    event_log: EventLog
    store: ObjectStore
    logins: LoginOpener
    tasks: Supervisor
    metrics: MetricsRegistry
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    identifiers: IdentifierSource
    tokens: Tokens
    data_directory: Path
    faults: FaultPoints = NO_FAULTS
    assignment: CameraAssignment = field(default_factory=AllCameras)
    address: Callable[[], str] = str
    jitter: random.Random = field(default_factory=random.Random)


class IngestModule:
    """Receives cameras, records them, stores the footage, shows it live.

    Args:
        config: the section ``[ingest]``.
        platform: what it stands on.
        engines: reception engines by name (``native``, ``libav``); ``None``: the product's own.
    """

    name = "ingest"

    def __init__(
        self, config: IngestConfig, platform: IngestPlatform, engines: Engines | None = None
    ) -> None:
        self._config = config
        self._platform = platform
        self._engines = (
            engines
            if engines is not None
            else default_engines(config, platform.wall_clock, platform.monotonic_clock)
        )
        registry = platform.metrics
        self._cameras: CompactedTable[CameraState] = CompactedTable(
            platform.event_log, CAMERAS_TOPIC, parse_camera, platform.monotonic_clock,
            overtaken=overtaken,
        )  # fmt: skip
        self._statuses: CompactedTable[StreamStatusEvent] = CompactedTable(
            platform.event_log, STATUS_TOPIC, parse_status, platform.monotonic_clock
        )
        self.hub = LiveHub(
            viewers=registry.gauge(metrics.VIEWERS), skipped=registry.counter(metrics.SKIPPED)
        )
        self.owners = LiveOwners(
            config.instance_name, self._statuses, platform.assignment, self.hub
        )
        self._statuses.on_change(self.owners.status_changed)
        directory = config.spool_directory or platform.data_directory / "spool"
        self._layout = SpoolLayout(directory)
        self.quota = SpoolQuota(
            QuotaLimits(config.spool_quota_bytes, config.spool_reserve_bytes),
            lambda: free_bytes(directory),
            platform.monotonic_clock.now_us,
        )
        self.path = self._write_path()
        self._segments = self._outbox(SEGMENTS_TOPIC)
        self._status_outbox = self._outbox(STATUS_TOPIC)
        self.reception = ReceptionSupervisor(self._cameras, self._reception_tools())
        self._gauges = SpoolGauges(
            pool=self.path.pool,
            backlog=self.path.uploader.backlog,
            quota=self.quota,
            quota_bytes=config.spool_quota_bytes,
            wall_clock=platform.wall_clock,
            registry=registry,
        )
        self._lag = LagGauge(self._engines.values(), platform.monotonic_clock, registry)
        self._background: list[asyncio.Task[None]] = []
        self._started = False

    def services(self) -> Sequence[ServiceBinding]:
        """StreamService, LiveService, ProbeService."""
        streams = StreamServicer(
            log=self._platform.event_log,
            statuses=self._statuses,
            cameras=self._cameras,
            tokens=self._platform.tokens,
            wall_clock=self._platform.wall_clock,
            heartbeat_seconds=self._config.heartbeat_seconds,
        )
        live = LiveServicer(self.hub, self._cameras)
        probing = ProbeServicer(
            self._engines,
            self._platform.logins,
            concurrency=self._config.probe_concurrency,
            verify_tls=self._config.verify_tls,
        )
        return (
            ServiceBinding(
                STREAM_SERVICE, streams, streams_pb2_grpc.add_StreamServiceServicer_to_server
            ),
            ServiceBinding(LIVE_SERVICE, live, live_pb2_grpc.add_LiveServiceServicer_to_server),
            ServiceBinding(
                PROBE_SERVICE, probing, probe_pb2_grpc.add_ProbeServiceServicer_to_server
            ),
        )

    async def start(self) -> None:
        """Recover the spool, know the cameras, begin to receive.

        Raises:
            VigieError: SPOOL_UNUSABLE; TOPIC_UNKNOWN, EVENT_LOG_UNAVAILABLE.
        """
        await self._platform.event_log.declare(TOPICS)
        # What may be away comes first: it may be tried again, and nothing must be there twice.
        try:
            await self._know_cameras()
            await self.path.start()
        except BaseException as error:
            await self._forget_cameras()
            if isinstance(error, OSError):
                raise VigieError(
                    reasons.SPOOL_UNUSABLE, f"{self._layout.root}: {error.strerror or error}"
                ) from error
            raise
        try:
            await self._start_reception()
        except BaseException:
            await self.path.stop(timeout_seconds=1.0)
            await self._forget_cameras()
            raise
        self._started = True

    async def _know_cameras(self) -> None:
        await self._cameras.start()
        await self._statuses.start()
        await self._platform.assignment.join()

    async def _forget_cameras(self) -> None:
        await self._platform.assignment.leave()
        await self._statuses.stop()
        await self._cameras.stop()

    async def _start_reception(self) -> None:
        for engine in self._engines.values():
            engine.start()
        spawn = self._platform.tasks.spawn
        self._background = [
            spawn("ingest-outages", self._segments.run()),
            spawn("ingest-status", self._status_outbox.run()),
            spawn("ingest-spool-gauges", self._measure()),
        ]
        await self.reception.start()

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if not self._started:
            return "ingest has not started"
        if self.quota.full:
            return "the spool is full: new footage is refused"
        if waiting := len(self.path.uploader.backlog.damaged()):
            return f"the disk of the spool refuses: {waiting} runs wait for their repair"
        return self._cameras.not_ready() or self._platform.assignment.not_ready()

    async def stop(self, *, timeout_seconds: float) -> None:
        """Close open segments, upload, flush, within the time; what is left is replayed.

        1. End the sessions: each delivers its last group. Leave the cameras to others.
        2. Stop the engines.
        3. Write, upload and tell what is left.
        4. Publish the last statuses.
        """
        if not self._started:
            return
        self._started = False
        clock = self._platform.monotonic_clock
        deadline_us = clock.now_us() + round(timeout_seconds * MICROSECONDS_PER_SECOND)

        def remaining(part: float = 1.0) -> float:
            left = (deadline_us - clock.now_us()) / MICROSECONDS_PER_SECOND
            return max(0.1, left * part)

        if not await self.reception.stop(timeout_seconds=remaining(0.4)):
            _log.warning("sessions_did_not_end")
        await self._leave_cameras(remaining(0.2))
        for engine in self._engines.values():
            # A third each at most: what hangs must not cost the footage that is here already.
            await asyncio.to_thread(engine.stop, timeout_seconds=remaining(0.3))
        await self.path.stop(timeout_seconds=remaining(0.8))
        await self._segments.flush(remaining(0.5))
        await self._status_outbox.flush(remaining(0.5))
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._forget_cameras()

    async def _leave_cameras(self, seconds: float) -> None:
        """Others need not wait until what is here has been written and stored."""
        try:
            async with asyncio.timeout(seconds):
                await self._platform.assignment.leave()
        except TimeoutError:
            _log.warning("cameras_left_without_goodbye")

    async def footage_lost(self, record: SegmentRecord, detail: str) -> None:
        """See `LossListener.footage_lost`."""
        platform = self._platform
        event = lost_segment_event(
            record,
            instance=self._config.instance_name,
            detail=detail,
            now_us=platform.wall_clock.now_us(),
        )
        await platform.event_log.append(SEGMENTS_TOPIC, [event])

    # --- putting it together --------------------------------------------------------------------

    def _write_path(self) -> WritePath:
        config, platform = self._config, self._platform
        boot = boot_identifier()
        tools = RecorderTools(
            layout=self._layout,
            quota=self.quota,
            media=ClearMediaWriter,
            time=RunClock,
            identifiers=platform.identifiers,
            wall_clock=platform.wall_clock,
            faults=platform.faults,
        )
        upload = UploadTools(
            instance=config.instance_name,
            store=platform.store,
            log=platform.event_log,
            quota=self.quota,
            repair=RunRepair(
                self._layout,
                boot=boot,
                faults=platform.faults,
                quarantined=platform.metrics.counter(metrics.QUARANTINED),
            ),
            wall_clock=platform.wall_clock,
            faults=platform.faults,
            registry=platform.metrics,
            losses=self,
        )
        return WritePath(
            WritePathSettings(
                writer_threads=config.writer_threads,
                queue_bytes=config.write_queue_bytes,
                upload_concurrency=config.upload_concurrency,
            ),
            recording=RecorderSettings(
                instance=config.instance_name,
                boot=boot,
                key_prefix=config.key_prefix,
                sync=config.spool_sync,
                spread=config.spread_segments,
            ),
            tools=tools,
            upload=upload,
            monotonic_clock=platform.monotonic_clock,
            source=platform.jitter,
            registry=platform.metrics,
        )

    def _outbox(self, topic: str) -> Outbox:
        platform = self._platform
        return Outbox(
            topic,
            platform.event_log,
            clock=platform.monotonic_clock,
            source=platform.jitter,
            failures=platform.metrics.counter(metrics.EVENT_FAILURES),
        )

    def _reception_tools(self) -> ReceptionTools:
        config, platform = self._config, self._platform
        registry = platform.metrics
        keepers = KeeperTools(
            engines=self._engines,
            logins=platform.logins,
            turns=Turns(platform.monotonic_clock, config.start_distance_seconds),
            backoff=Backoff(config.reconnect_first_seconds, config.reconnect_longest_seconds),
            random=platform.jitter,
            wall_clock=platform.wall_clock,
            monotonic_clock=platform.monotonic_clock,
            connections=registry.counter(metrics.CONNECTIONS),
            gaps=registry.counter(metrics.GAPS),
            verify_tls=config.verify_tls,
            segment_seconds=config.segment_seconds,
            refused_wait_seconds=config.refused_wait_seconds,
        )
        return ReceptionTools(
            instance=config.instance_name,
            new_id=platform.identifiers.hex,
            keepers=keepers,
            path=self.path,
            hub=self.hub,
            segments=self._segments,
            statuses=self._status_outbox,
            assignment=platform.assignment,
            wall_clock=platform.wall_clock,
            monotonic_clock=platform.monotonic_clock,
            registry=registry,
            tasks=platform.tasks,
            heartbeat_seconds=config.heartbeat_seconds,
            address=platform.address,
        )

    async def _measure(self) -> None:
        while True:
            self._gauges.measure()
            self._lag.measure()
            await self._platform.monotonic_clock.sleep(self._config.heartbeat_seconds)
