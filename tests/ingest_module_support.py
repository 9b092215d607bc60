"""A whole ingest module on embedded platform parts, a scripted engine, and manual clocks."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from ingest_support import START_US, ScriptedEngine, eventually
from vigie.ingest.config import IngestConfig
from vigie.ingest.module import IngestModule, IngestPlatform
from vigie.ingest.supervisor.cameras import AllCameras, CameraAssignment
from vigie.ingest.v1.events_pb2 import Outage, SegmentEvent, StreamStatusEvent
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import Event, TopicSpec, open_event_log
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import open_directory_store
from vigie.platform.paging import Tokens
from vigie.platform.sealing import Sealer, SealingKey
from vigie.platform.supervisor import Supervisor
from vigie.registry.v1 import events_pb2 as registry

CAMERA = "cam-test-01"
HOUR_US = 3_600_000_000
SEALER = Sealer([SealingKey.of(b"k" * 32)])


def camera_state(
    *,
    lifecycle: registry.CameraLifecycle.ValueType = registry.CAMERA_LIFECYCLE_IN_SERVICE,
    valid_from_us: int = START_US - HOUR_US,
    valid_until_us: int = START_US + 1000 * HOUR_US,
    revision: int = 1,
    camera: str = CAMERA,
    **fields: object,
) -> registry.CameraState:
    state = registry.CameraState(
        camera=camera,
        revision=revision,
        lifecycle=lifecycle,
        zone="zone-a",
        stream_uri="rtsp://192.0.2.7/stream",
        **fields,  # type: ignore[arg-type]  # whatever a test sets
    )
    state.authorisations.add(
        authorisation="authorisations/a",
        valid_from=at(valid_from_us),
        valid_until=at(valid_until_us),
    )
    return state


def at(instant_us: int) -> Timestamp:
    return Timestamp(seconds=instant_us // 1_000_000, nanos=instant_us % 1_000_000 * 1000)


class Ingest:
    """What a test holds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wall = ManualWallClock(START_US)
        self.monotonic = ManualMonotonicClock()
        self.engine = ScriptedEngine()
        self.metrics = MetricsRegistry()
        self._events = 0

    async def open(self, assignment: CameraAssignment | None = None, **config: object) -> None:
        self.database = await open_database(self.root / "data" / "vigie.db")
        self.log = await open_event_log(self.database, self.wall)
        await self.log.declare([TopicSpec("cameras", compacted=True, partitions=1, why="test")])
        self.store = await open_directory_store(self.root / "store", self.wall)
        self.tasks = Supervisor()
        platform = IngestPlatform(
            event_log=self.log,
            store=self.store,
            logins=SEALER,
            tasks=self.tasks,
            metrics=self.metrics,
            wall_clock=self.wall,
            monotonic_clock=self.monotonic,
            identifiers=IdentifierSource(self.wall),
            tokens=Tokens(b"key"),
            data_directory=self.root / "data",
            jitter=random.Random(7),
            assignment=assignment or AllCameras(),
        )
        settings = IngestConfig.model_validate(
            {
                "instance": "ingest-test",
                "segment_seconds": 3,
                "start_distance_seconds": 0,
            }
            | config
        )
        self.module = IngestModule(
            settings, platform, {"native": self.engine, "libav": self.engine}
        )

    async def publish(self, state: registry.CameraState) -> None:
        self._events += 1
        await self.log.append(
            "cameras",
            [
                Event(
                    key=state.camera,
                    type="vigie.registry.v1.CameraState",
                    value=state.SerializeToString(),
                    id=f"camera-{self._events}-{self.wall.now_us()}",
                    time_us=self.wall.now_us(),
                    source="test",
                )
            ],
        )
        await self.told()

    async def told(self) -> None:
        """Wait until the module has read the topic of the cameras to its end.

        The log is read in real time, and what follows is paced by the manual clock: a test that
        moves the clock before would ask for something nobody has heard of yet.
        """
        [end] = await self.log.ends("cameras")
        cameras = self.module._cameras
        await eventually(lambda: cameras._after.get(end.partition) == end)

    async def pass_time(self, seconds: float) -> None:
        """Both clocks move together, in steps of a second at most."""
        while seconds > 0:
            step = min(1.0, seconds)
            self.wall.advance(step)
            await self.monotonic.advance(step)
            seconds -= step

    async def close(self) -> None:
        await self.module.stop(timeout_seconds=10)
        await self.log.close()
        await self.store.close()
        await self.database.close()
        assert self.tasks.error is None

    async def events(self) -> list[SegmentEvent]:
        return [
            SegmentEvent.FromString(stored.event.value or b"")
            async for stored in self.log.read("segments")
        ]

    async def outages(self) -> list[Outage]:
        """The last word on every outage, in the order of their starts."""
        newest: dict[str, Outage] = {}
        for event in await self.events():
            if event.HasField("outage"):
                newest[event.outage.outage] = event.outage
        return sorted(
            newest.values(), key=lambda outage: (outage.start_us, outage.end_us or 1 << 62)
        )

    async def status(self, camera: str = CAMERA) -> StreamStatusEvent:
        keeper = self.module.reception.keeper(camera)
        assert keeper is not None
        return keeper.status.message(self.wall.now_us())


@asynccontextmanager
async def opened(root: Path, **config: object) -> AsyncIterator[Ingest]:
    ingest = Ingest(root)
    await ingest.open(**config)
    await ingest.module.start()
    try:
        yield ingest
    finally:
        await ingest.close()


async def settled(ingest: Ingest) -> None:
    """Everything that was delivered is written, stored and told."""
    assert await ingest.module.path.drain_writers(10)
    assert await ingest.module.path.uploader.drain(10)
    for outbox in (ingest.module._segments, ingest.module._status_outbox):
        assert await outbox.flush(10)
