"""Footage, clocks and a whole write path for the tests of ingest: real ports, no mocks."""

import asyncio
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import av
import imageio_ffmpeg

from vigie.ingest.backoff import Backoff
from vigie.ingest.engine import (
    TIMESCALE,
    CodecParameters,
    ConnectionInfo,
    EndCause,
    FrameGroup,
    LiveFrames,
    SessionSink,
    SourceSpec,
)
from vigie.ingest.metrics import QUARANTINED
from vigie.ingest.recorder.camera import CameraRecorder, RecorderSettings, RecorderTools
from vigie.ingest.recorder.intake import CameraIntake
from vigie.ingest.recorder.media import ClearMediaWriter
from vigie.ingest.recorder.segment import SyncPolicy
from vigie.ingest.spool.layout import SpoolLayout
from vigie.ingest.spool.quota import QuotaLimits, SpoolQuota
from vigie.ingest.spool.records import EndRecord, RunRecord, SegmentRecord
from vigie.ingest.spool.repair import RunRepair
from vigie.ingest.timekeeping import RunClock
from vigie.ingest.topics import TOPICS
from vigie.ingest.upload.steps import UploadTools
from vigie.ingest.v1.events_pb2 import SegmentEvent, SegmentStored
from vigie.ingest.writepath import WritePath, WritePathSettings
from vigie.media.codec import VideoCodec
from vigie.media.parameters import ParameterSets
from vigie.platform.clock import ManualWallClock, SystemMonotonicClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import open_event_log
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore, open_directory_store

START_US = 1_790_000_000_000_000
FRAME_RATE = 25


@dataclass(frozen=True)
class Footage:
    """Samples of one encoding: frames in decode order, one group a second."""

    parameters: CodecParameters
    groups: tuple[tuple[tuple[bytes, int], ...], ...]
    """Per group: (bytes of the frame, presentation ticks)."""

    def group(
        self,
        index: int,
        *,
        start_us: int = START_US,
        start_ticks: int = 0,
        delay_us: int = 20_000,
        last: bool = False,
    ) -> FrameGroup:
        """Group ``index`` (the footage repeats) as an engine would hand it over."""
        frames = self.groups[index % len(self.groups)]
        shift = start_ticks + (index - index % len(self.groups)) * TIMESCALE
        ticks = [shift + presentation for _, presentation in frames]
        arrivals = [start_us + (tick - start_ticks) * 100 // 9 + delay_us for tick in ticks]
        following = self.groups[(index + 1) % len(self.groups)]
        turn = TIMESCALE * len(self.groups) if (index + 1) % len(self.groups) == 0 else 0
        return FrameGroup(
            frames=[frame for frame, _ in frames],
            size_bytes=sum(len(frame) for frame, _ in frames),
            presentation_ticks=ticks,
            next_ticks=None if last else shift + turn + min(tick for _, tick in following),
            arrival_us=arrivals,
            arrival_monotonic_us=[arrival - START_US + 1_000_000 for arrival in arrivals],
        )

    def frames(self, indices: Sequence[int]) -> list[bytes]:
        """The bytes of all frames of some groups."""
        return [frame for index in indices for frame, _ in self.groups[index % len(self.groups)]]


ENCODERS = {
    "h264": ["-c:v", "libx264", "-bf", "0"],
    "h264-b": ["-c:v", "libx264", "-bf", "2", "-x264-params", "open-gop=0"],
    "h265": ["-c:v", "libx265", "-x265-params", "log-level=error:bframes=0:open-gop=0"],
}


@lru_cache
def footage(kind: str = "h264", *, seconds: int = 8, size: str = "160x120") -> Footage:
    """Moving test pictures with a key frame every second."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-f", "lavfi",
        "-i", f"testsrc=size={size}:rate={FRAME_RATE}", "-t", str(seconds), *ENCODERS[kind],
        "-pix_fmt", "yuv420p", "-g", str(FRAME_RATE), "-keyint_min", str(FRAME_RATE),
        "-sc_threshold", "0", "-b:v", "100k", "-f", "matroska", "pipe:1",
    ]  # fmt: skip
    encoded = subprocess.run(command, capture_output=True, check=True).stdout
    with av.open(BytesIO(encoded), mode="r") as container:
        stream = container.streams.video[0]
        codec = VideoCodec("h264" if kind.startswith("h264") else "h265")
        assert stream.codec_context.extradata is not None
        sets = ParameterSets.from_configuration(codec, stream.codec_context.extradata)
        frames = [
            (bytes(packet), packet.is_keyframe, round(packet.pts * packet.time_base * TIMESCALE))
            for packet in container.demux(stream)
            if packet.size
        ]
    return Footage(_parameters(codec, sets), _groups(frames))


def _parameters(codec: VideoCodec, sets: ParameterSets) -> CodecParameters:
    configuration = sets.configuration
    return CodecParameters(
        codec=codec.value,
        codec_string=configuration.codec_string,
        parameter_sets=(*sets.vps, *sets.sps, *sets.pps),
        width=configuration.width,
        height=configuration.height,
        reorder_depth=configuration.info.reorder_frames or 0,
    )


def _groups(
    frames: list[tuple[bytes, bool, int]],
) -> tuple[tuple[tuple[bytes, int], ...], ...]:
    origin = min(ticks for _, _, ticks in frames)
    frame_ticks = TIMESCALE // FRAME_RATE
    groups: list[list[tuple[bytes, int]]] = []
    for data, key, ticks in frames:
        if key:
            groups.append([])
        # Matroska rounds to milliseconds; a camera's RTP clock does not.
        exact = round(Fraction(ticks - origin, frame_ticks)) * frame_ticks
        groups[-1].append((data, exact))
    return tuple(tuple(group) for group in groups)


@dataclass
class Told:
    """A listener that remembers, in order."""

    runs: list[RunRecord] = field(default_factory=list)
    segments: list[SegmentRecord] = field(default_factory=list)
    ends: list[EndRecord] = field(default_factory=list)
    interruptions: list[tuple[str, str, int]] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def run_began(self, run: RunRecord, start_us: int) -> None:
        self.runs.append(run)

    def segment_closed(self, record: SegmentRecord) -> None:
        self.segments.append(record)

    def run_ended(self, record: EndRecord) -> None:
        self.ends.append(record)

    def interrupted(self, cause: str, detail: str, at_us: int) -> None:
        self.interruptions.append((cause, detail, at_us))

    def run_damaged(self, camera: str, run: str) -> None:
        self.damaged.append((camera, run))


def recorder_tools(
    root: Path,
    *,
    faults: FaultPoints = NO_FAULTS,
    quota_bytes: int = 1 << 30,
    free_bytes: Callable[[], int] = lambda: 1 << 40,
    wall_clock: ManualWallClock | None = None,
) -> RecorderTools:
    """Real spool in ``root``."""
    layout = SpoolLayout(root)
    layout.create()
    wall = wall_clock or ManualWallClock(START_US)
    return RecorderTools(
        layout=layout,
        quota=SpoolQuota(QuotaLimits(quota_bytes, 1 << 20), free_bytes, wall.now_us),
        media=ClearMediaWriter,
        time=RunClock,
        identifiers=IdentifierSource(wall),
        wall_clock=wall,
        faults=faults,
    )


SETTINGS = RecorderSettings(
    instance="ingest-test",
    boot="boot-1",
    key_prefix="footage",
    sync=SyncPolicy.FRAGMENT,
    spread=False,
)


def camera_recorder(
    tools: RecorderTools,
    told: Told,
    *,
    camera: str = "cam-test-01",
    segment_seconds: int = 3,
    sync: SyncPolicy = SyncPolicy.FRAGMENT,
    spread: bool = False,
) -> CameraRecorder:
    settings = replace(SETTINGS, sync=sync, spread=spread)
    return CameraRecorder(
        camera, segment_seconds=segment_seconds, settings=settings, tools=tools, listener=told
    )


def frames_of(content: bytes) -> list[bytes]:
    """The samples of an MP4 file as PyAV reads them; any warning of libav fails the test."""
    with av.open(BytesIO(content), mode="r") as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


async def eventually(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Let the loop and the threads work until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class Losses:
    """Remembers what could not be stored."""

    def __init__(self) -> None:
        self.lost: list[tuple[SegmentRecord, str]] = []

    async def footage_lost(self, record: SegmentRecord, detail: str) -> None:
        self.lost.append((record, detail))


class Installation:
    """The embedded store and log with a write path on them, in one directory; restartable."""

    def __init__(self, root: Path, *, wall_clock: ManualWallClock | None = None) -> None:
        self.root = root
        self.wall = wall_clock or ManualWallClock(START_US)
        self.monotonic = SystemMonotonicClock()
        self.registry = MetricsRegistry()
        self.losses = Losses()
        self.told = Told()
        self.data_root = root / "data"
        self.store_root = root / "store"
        self.spool_root = root / "spool"

    async def open(
        self,
        *,
        faults: FaultPoints = NO_FAULTS,
        quota_bytes: int = 1 << 30,
        store: ObjectStore | None = None,
        boot: str = "boot-1",
        database_faults: FaultPoints = NO_FAULTS,
        link_sources: bool = False,
    ) -> "Installation":
        """Open the platform and start a write path."""
        database = self.data_root / "vigie.db"
        self.database = await open_database(database, faults=database_faults)
        self.log = await open_event_log(self.database, self.wall)
        await self.log.declare(TOPICS)
        self.directory_store = await open_directory_store(
            self.store_root, self.wall, link_sources=link_sources
        )
        self.store: ObjectStore = store or self.directory_store
        self.tools = recorder_tools(
            self.spool_root, faults=faults, quota_bytes=quota_bytes, wall_clock=self.wall
        )
        upload = UploadTools(
            instance="ingest-test",
            store=self.store,
            log=self.log,
            quota=self.tools.quota,
            repair=RunRepair(
                self.tools.layout,
                boot=boot,
                faults=faults,
                quarantined=self.registry.counter(QUARANTINED),
            ),
            wall_clock=self.wall,
            faults=faults,
            registry=self.registry,
            losses=self.losses,
        )
        self.path = WritePath(
            WritePathSettings(upload_backoff=Backoff(0.001, 0.002)),
            recording=SETTINGS,
            tools=self.tools,
            upload=upload,
            monotonic_clock=self.monotonic,
            source=random.Random(1),
            registry=self.registry,
        )
        await self.path.start()
        return self

    def intake(self, camera: str = "cam-test-01", *, segment_seconds: int = 3) -> CameraIntake:
        return self.path.intake(camera, segment_seconds=segment_seconds, listener=self.told)

    async def close(self, *, timeout_seconds: float = 60.0) -> None:
        """Stop in order."""
        await self.path.stop(timeout_seconds=timeout_seconds)
        await self._close_platform()

    async def crash(self) -> None:
        """Give up what runs without any of the steps of an orderly stop."""
        await self.path.uploader.stop()
        await asyncio.to_thread(self.path.pool.stop, 10)
        await self._close_platform()

    async def _close_platform(self) -> None:
        await self.log.close()
        await self.directory_store.close()
        await self.database.close()

    async def events(self) -> list[SegmentEvent]:
        """What stands on the topic `segments`."""
        return [
            SegmentEvent.FromString(stored.event.value or b"")
            async for stored in self.log.read("segments")
        ]

    async def stored(self) -> list[SegmentStored]:
        return [e.segment_stored for e in await self.events() if e.HasField("segment_stored")]

    async def content(self, key: str) -> bytes:
        return b"".join([chunk async for chunk in self.store.read(key)])

    def spool_files(self) -> list[str]:
        runs = self.spool_root / "runs"
        return sorted(str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file())


class ScriptedSession:
    """A session whose deliveries a test writes."""

    def __init__(self, source: SourceSpec, sink: SessionSink, engine: "ScriptedEngine") -> None:
        self.source = source
        self.sink = sink
        self.engine = engine
        self.is_open = True
        self._count = 0

    def close(self) -> None:
        self.end(EndCause.STOPPED, "")

    def end(self, cause: EndCause, detail: str = "") -> None:
        """The session is over; only the first time counts."""
        if self.is_open:
            self.is_open = False
            self.sink.ended(cause, detail)

    def play(self, film: Footage, indices: Sequence[int], *, last: bool = False) -> None:
        """Deliver groups as if they came now, by the wall clock of the engine."""
        if not self._count:
            self.sink.connected(ConnectionInfo("scripted", "test"))
            self.sink.parameters(film.parameters)
        for index in indices:
            ended = last and index == indices[-1]
            group = film.group(index, start_us=self.engine.start_us, last=ended)
            self.sink.received(len(group.frames), group.size_bytes, group.arrival_us[-1])
            self.sink.group(group)
            self._count += 1

    def tick(self, film: Footage, index: int, start: int, stop: int) -> None:
        """Deliver the frames of a group that one tick has completed."""
        frames = film.groups[index % len(film.groups)][start:stop]
        shift = (index - index % len(film.groups)) * TIMESCALE
        self.sink.frames(
            LiveFrames(
                data=b"".join(data for data, _ in frames),
                sizes=[len(data) for data, _ in frames],
                presentation_ticks=[shift + ticks for _, ticks in frames],
                key_frame=start == 0,
                arrival_us=self.engine.start_us + index * 1_000_000,
                parameters=film.parameters,
            )
        )


class ScriptedEngine:
    """An engine that receives what a test delivers."""

    def __init__(self, start_us: int = START_US) -> None:
        self.start_us = start_us
        self.sessions: list[ScriptedSession] = []
        self.refuse: EndCause | None = None

    def open(self, source: SourceSpec, sink: SessionSink) -> ScriptedSession:
        session = ScriptedSession(source, sink, self)
        self.sessions.append(session)
        if self.refuse is not None:
            session.end(self.refuse, "as the test wants")
        return session

    @property
    def current(self) -> list[ScriptedSession]:
        return [session for session in self.sessions if session.is_open]

    def start(self) -> None: ...

    def stop(self, *, timeout_seconds: float) -> None:
        for session in self.sessions:
            session.close()
