"""A simulated camera through the native engine into the store: every frame, in order, in time."""

import random
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ingest_module_support import SEALER, Ingest, camera_state
from ingest_support import eventually, frames_of
from vigie.common.v1 import types_pb2
from vigie.ingest.config import IngestConfig
from vigie.ingest.module import IngestModule, IngestPlatform
from vigie.ingest.supervisor.cameras import CameraAssignment
from vigie.ingest.v1.events_pb2 import SegmentStored
from vigie.media.bmff.reader import read_fragments
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import TopicSpec, open_event_log
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.objectstore import open_directory_store
from vigie.platform.paging import Tokens
from vigie.platform.supervisor import Supervisor
from vigie.simcam import (
    CameraConfig,
    Fault,
    FaultParameters,
    FootageSpec,
    ServerConfig,
    SimCamServer,
    mark_of_sample,
)

TOLERANCE_US = 40_000
FILM = FootageSpec(width=192, height=96, frame_count=50, gop_frames=25, bitrate_bps=400_000)


class LiveIngest(Ingest):
    """The module with the product's own engines and the machine's clocks."""

    async def open(self, assignment: CameraAssignment | None = None, **config: object) -> None:
        del assignment
        self.system_wall = SystemWallClock()
        clock = SystemMonotonicClock()
        self.database = await open_database(self.root / "data" / "vigie.db")
        self.log = await open_event_log(self.database, self.system_wall)
        await self.log.declare([TopicSpec("cameras", compacted=True, partitions=1, why="test")])
        self.store = await open_directory_store(self.root / "store", self.system_wall)
        self.tasks = Supervisor()
        platform = IngestPlatform(
            event_log=self.log,
            store=self.store,
            logins=SEALER,
            tasks=self.tasks,
            metrics=self.metrics,
            wall_clock=self.system_wall,
            monotonic_clock=clock,
            identifiers=IdentifierSource(self.system_wall),
            tokens=Tokens(b"key"),
            data_directory=self.root / "data",
            jitter=random.Random(3),
        )
        settings = IngestConfig.model_validate(
            {"segment_seconds": 2, "reconnect_first_seconds": 0.05} | config
        )
        self.module = IngestModule(settings, platform)

    async def segments(self) -> list[SegmentStored]:
        stored = [e.segment_stored for e in await self.events() if e.HasField("segment_stored")]
        return sorted(stored, key=lambda segment: segment.start_us)


@pytest.fixture
async def simcam(footage_folder: Path) -> AsyncIterator[SimCamServer]:
    cameras = (CameraConfig(id="cam-sim-01", footage=FILM),)
    server = SimCamServer(
        ServerConfig(cameras=cameras, cache_folder=footage_folder, control_port=None)
    )
    await server.start()
    yield server
    await server.stop()


async def ingest_of(root: Path, simcam: SimCamServer) -> LiveIngest:
    ingest = LiveIngest(root)
    await ingest.open()
    await ingest.module.start()
    now_us = time.time_ns() // 1000
    state = camera_state(
        camera="cam-sim-01", valid_from_us=now_us - 10**9, valid_until_us=now_us + 10**12
    )
    state.stream_uri = simcam.url("cam-sim-01")
    ingest.wall.set(now_us)
    await ingest.publish(state)
    return ingest


async def marked(ingest: LiveIngest, segments: list[SegmentStored]) -> list[tuple[int, int, int]]:
    """Decode number, capture time and stored time of every stored frame."""
    found = []
    for segment in segments:
        chunks = [chunk async for chunk in ingest.store.read(segment.object_key)]
        content = b"".join(chunks)
        ticks = [
            at - segment.media_start_ticks
            for fragment in read_fragments(content)
            for at in _starts(fragment.base_decode_time, fragment.table.durations)
        ]
        for sample, tick in zip(frames_of(content), ticks, strict=True):
            mark = mark_of_sample(sample)
            assert mark is not None
            shown_us = tick * segment.duration_us // segment.media_duration_ticks
            found.append((mark.decode_number, mark.capture_us, segment.start_us + shown_us))
    return found


def _starts(base: int, durations: list[int]) -> list[int]:
    starts = [base]
    for duration in durations[:-1]:
        starts.append(starts[-1] + duration)
    return starts


def recorded(ingest: LiveIngest, segments: int) -> Callable[[], bool]:
    return lambda: ingest.metrics.value("vigie_ingest_segments_stored_total") >= segments


async def test_every_frame_in_order_at_its_time(tmp_path: Path, simcam: SimCamServer) -> None:
    ingest = await ingest_of(tmp_path, simcam)
    await eventually(recorded(ingest, 2), seconds=120)
    await ingest.module.stop(timeout_seconds=10)

    segments = await ingest.segments()
    frames = await marked(ingest, segments)
    numbers = [number for number, _, _ in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= 100
    worst = max(abs(stored - captured) for _, captured, stored in frames)
    assert worst <= TOLERANCE_US, f"{worst} microseconds"
    for before, after in pairwise(segments):
        assert before.start_us + before.duration_us == after.start_us
    assert segments[0].has_camera_clock
    await ingest.close()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.LOSE_PACKETS, types_pb2.GAP_CAUSE_PACKETS_LOST),
        (Fault.DROP_CONNECTION, types_pb2.GAP_CAUSE_CLOSED_BY_CAMERA),
    ],
)
async def test_a_fault_is_a_gap_with_its_cause_and_nothing_broken_is_stored(
    tmp_path: Path, simcam: SimCamServer, fault: Fault, cause: types_pb2.GapCause.ValueType
) -> None:
    ingest = await ingest_of(tmp_path, simcam)
    await eventually(recorded(ingest, 1), seconds=120)
    await simcam.inject("cam-sim-01", fault, parameters=FaultParameters(count=1))
    await eventually(recorded(ingest, 4), seconds=120)
    await ingest.module.stop(timeout_seconds=10)

    segments = await ingest.segments()
    frames = await marked(ingest, segments)
    numbers = [number for number, _, _ in frames]
    assert numbers == sorted(set(numbers))
    assert max(abs(stored - captured) for _, captured, stored in frames) <= TOLERANCE_US
    runs = list(dict.fromkeys(segment.run for segment in segments))
    assert len(runs) >= 2
    ends = [[s for s in segments if s.run == run][-1] for run in runs]
    starts = [next(s for s in segments if s.run == run) for run in runs]
    gap = (ends[0].start_us + ends[0].duration_us, starts[1].start_us)
    explained = [o for o in await ingest.outages() if gap[0] <= o.start_us < gap[1]]
    assert explained[0].start_us == gap[0]
    assert explained[-1].end_us == gap[1]
    assert cause in {outage.cause for outage in explained}
    await ingest.close()
