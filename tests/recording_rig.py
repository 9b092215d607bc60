"""Recording whole: embedded log, database and store, its module, served over gRPC."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from google.protobuf.message import Message

from databases import open_any_database
from recording_footage import RecordedRun, RecordedSegment
from vigie.access.permissions import SERVICE_PERMISSIONS
from vigie.common.v1.types_pb2 import GapCause, Purpose, TimeWindow
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import (
    EventLog,
    PrometheusObserver,
    Quarantine,
    TopicSpec,
    make_event,
    open_event_log,
)
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.grpc.call import Caller
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore, open_directory_store
from vigie.recording.config import RecordingConfig
from vigie.recording.module import RecordingDependencies, RecordingModule, RestoredDatabase
from vigie.recording.requests import timestamp
from vigie.registry.v1 import events_pb2 as registry_pb2

PERMISSIONS = (
    "footage.timeline",
    "footage.play",
    "footage.clip",
    "footage.snapshot",
    "completeness.read",
    "holds.read",
    "retention.read",
    "destructions.read",
)
PURPOSE = Purpose(text="burglary of the night", case_reference="PV 2026/17")
FOREIGN_TOPICS = (
    TopicSpec("cameras", compacted=True, partitions=4, why="test"),
    TopicSpec("holds", compacted=True, partitions=4, why="test"),
    TopicSpec("segments", compacted=False, partitions=4, why="test"),
    TopicSpec("stream-status", compacted=True, partitions=4, why="test"),
)


@dataclass
class Rig:
    """The parts, and short ways to make things happen."""

    database: EmbeddedDatabase
    log: EventLog
    store: ObjectStore
    wall: ManualWallClock
    monotonic: ManualMonotonicClock
    metrics: MetricsRegistry
    quarantine: Quarantine
    module: RecordingModule
    observer: PrometheusObserver

    def __post_init__(self) -> None:
        self._ids = itertools.count()

    async def tell(
        self, topic: str, key: str, message: Message, *, time_us: int | None = None
    ) -> None:
        """Append one event; ``time_us``: of its envelope, now if not given."""
        # Unique also on an installation that was recorded by an earlier rig.
        event_id = f"e{self.wall.now_us()}-{next(self._ids)}"
        event = make_event(
            message,
            key=key,
            source="test",
            wall_clock=self.wall,
            event_id=event_id,
            time_us=time_us,
        )
        await self.log.append(topic, [event])

    async def settle(self) -> None:
        """Wait until the consumers have taken everything in, and the holds are placed."""
        for topic, group in (
            ("cameras", "recording-cameras"),
            ("holds", "recording-holds"),
            ("segments", "recording-index"),
        ):
            subscription = await self.log.subscribe(topic, group)
            async with asyncio.timeout(60):
                while await subscription.lag():
                    await asyncio.sleep(0.01)
            await subscription.close()

    async def camera(
        self,
        camera: str,
        at_us: int,
        *,
        zone: str = "zone-1",
        revision: int = 1,
        lifecycle: int = registry_pb2.CAMERA_LIFECYCLE_IN_SERVICE,
        retention_days: int = 0,
        valid_days: int = 400,
        told_us: int | None = None,
    ) -> None:
        """Tell the state of a camera from an instant on (``told_us``: said later than that)."""
        term = registry_pb2.AuthorisationTerm(
            authorisation=f"authorisations/{camera}",
            number="2026-0001",
            valid_from=timestamp(at_us),
            valid_until=timestamp(at_us + valid_days * 86_400_000_000),
            retention_days=retention_days,
        )
        state = registry_pb2.CameraState(
            camera=camera,
            revision=revision,
            effective_time=timestamp(at_us),
            lifecycle=registry_pb2.CameraLifecycle.ValueType(lifecycle),
            zone=zone,
            authorisations=[term],
        )
        told_us = min(at_us, self.wall.now_us()) if told_us is None else told_us
        await self.tell("cameras", camera, state, time_us=told_us)

    async def segment(self, segment: RecordedSegment) -> None:
        """Store one segment and tell it."""
        await segment.store(self.store)
        await self.tell("segments", segment.camera, segment.event())

    async def run(self, recorded: RecordedRun, *, ended: bool = True) -> None:
        """Store a run and tell it."""
        for segment in recorded.segments:
            await self.segment(segment)
        if ended:
            await recorded.store_end(self.store)
            await self.tell("segments", recorded.camera, recorded.ended())

    async def outage(
        self, camera: str, start_us: int, end_us: int, cause: int, *, known_us: int = 0
    ) -> None:
        """Tell an outage."""
        outage = ingest_pb2.Outage(
            outage=f"{camera}-{start_us}",
            start_us=start_us,
            end_us=end_us,
            cause=GapCause.ValueType(cause),
            detail="by the test",
            known_until_us=known_us,
        )
        await self.tell("segments", camera, ingest_pb2.SegmentEvent(camera=camera, outage=outage))

    async def hold(
        self, hold: str, camera: str, start_us: int, end_us: int, *, released: bool = False
    ) -> None:
        """Place or release a hold."""
        state = HoldState(
            hold=hold,
            cameras=[camera],
            start_us=start_us,
            end_us=end_us,
            legal_reference="REQ 12",
            evidence_request="evidenceRequests/e1",
            place_time=timestamp(self.wall.now_us()),
        )
        if released:
            state.release_time.CopyFrom(timestamp(self.wall.now_us()))
        await self.tell("holds", hold, state)
        await self.settle()
        await self.module.keeper.work()


def window(start_us: int, end_us: int) -> TimeWindow:
    return TimeWindow(start_time=timestamp(start_us), end_time=timestamp(end_us))


@asynccontextmanager
async def recording_rig(
    folder: Path,
    now_us: int,
    *,
    config: RecordingConfig | None = None,
    faults: FaultPoints = NO_FAULTS,
    restored: RestoredDatabase | None = None,
) -> AsyncIterator[Rig]:
    """Recording, started, on an empty (or an earlier) installation in ``folder``."""
    wall, monotonic = ManualWallClock(now_us), ManualMonotonicClock()
    database = await open_any_database(folder / "data" / "vigie.sqlite")
    log = await open_event_log(database, wall)
    store = await open_directory_store(folder / "store", wall)
    metrics = MetricsRegistry()
    quarantine = Quarantine(database, wall, log)
    observer = PrometheusObserver(metrics.registry)
    await log.declare(FOREIGN_TOPICS)
    module = RecordingModule(
        config or RecordingConfig(retention_enabled=False),
        RecordingDependencies(
            database,
            log,
            quarantine,
            store,
            wall,
            monotonic,
            metrics,
            faults=faults,
            observer=observer,
            restored=restored,
        ),
    )
    try:
        await module.start()
        yield Rig(database, log, store, wall, monotonic, metrics, quarantine, module, observer)
    finally:
        await module.stop(timeout_seconds=5)
        await store.close()
        await log.close()
        await database.close()


def everyone() -> Mapping[str, Caller]:
    """Callers of the tests by token: one with every permission, one in zone-2 only, one nowhere."""
    return {
        "all": caller_with("all@test", *PERMISSIONS),
        "zone1": caller_with("one@test", *PERMISSIONS, zones=["zone-1"]),
        "zone2": caller_with("two@test", *PERMISSIONS, zones=["zone-2"]),
        "nobody": caller_with("nobody@test"),
        "evidence": caller_with("service:evidence", *SERVICE_PERMISSIONS, service=True),
        "audit": caller_with("service:audit", *SERVICE_PERMISSIONS, service=True),
    }


@asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[RunningHost]:
    """The services of a rig over gRPC."""
    async with running_host(rig.module.services(), everyone()) as host:
        yield host


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason of a refused call."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, error.details()
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""
