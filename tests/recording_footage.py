"""Footage whose every frame says its number, recorded as ingest records it."""

import hashlib
import io
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import numpy as np

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header, content_type
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.codec import VideoCodec
from vigie.media.parameters import ParameterSets
from vigie.media.timing import SampleTable
from vigie.platform.objectstore import ObjectStore
from vigie.recording.keys import end_key, segment_key

FPS = 25
GOP = 25
FRAME_TICKS = 90_000 // FPS
BITS = 12
BAR = 16
HEIGHT = 64
PRFT_BYTES = 32


def paint_number(number: int) -> np.ndarray:
    """A picture whose vertical bars are the binary digits of a number."""
    bars = [(235 if number >> bit & 1 else 16) for bit in range(BITS)]
    row = np.repeat(np.array(bars, dtype=np.uint8), BAR)
    return np.tile(row, (HEIGHT, 1))


def read_number(luma: np.ndarray) -> int:
    """The number in a decoded picture, of any size."""
    width = luma.shape[1] // BITS
    middle = luma[luma.shape[0] // 2]
    return sum(int(middle[bit * width + width // 2] > 125) << bit for bit in range(BITS))


@dataclass(frozen=True)
class Encoded:
    """Frames in decode order with their presentation number, by key-frame interval."""

    parameters: ParameterSets
    gops: tuple[tuple[tuple[bytes, int], ...], ...]
    delay_frames: int


@cache
def encoded(frames: int, b_frames: int = 0, level: str = "4.0") -> Encoded:
    """H.264 of pictures 0 to ``frames`` - 1; another level makes other parameter sets."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = BITS * BAR, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {
            "g": str(GOP),
            "keyint_min": str(GOP),
            "sc_threshold": "0",
            "bf": str(b_frames),
            "level": level,
            "preset": "ultrafast" if not b_frames else "veryfast",
            "crf": "18",
            "x264-params": "open-gop=0:scenecut=0",
        }
        for number in range(frames):
            luma = paint_number(number)
            chroma = np.full((HEIGHT // 2, BITS * BAR), 128, dtype=np.uint8)
            picture = np.concatenate([luma, chroma])[: HEIGHT * 3 // 2]
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    target.seek(0)
    gops: list[list[tuple[bytes, int]]] = []
    with av.open(target) as container:
        video = container.streams.video[0]
        extradata = video.codec_context.extradata
        assert extradata is not None
        parameters = ParameterSets.from_configuration(VideoCodec.H264, extradata)
        for packet in container.demux(video):
            if packet.size:
                if packet.is_keyframe:
                    gops.append([])
                number = round(packet.pts * packet.time_base * FPS)
                gops[-1].append((bytes(packet), number))
    delay = max(i + g[0][1] - n for g in gops for i, (_, n) in enumerate(g))
    return Encoded(parameters, tuple(tuple(gop) for gop in gops), max(0, delay))


@dataclass
class RecordedSegment:
    """A segment as it lies in the store, and what its event says."""

    camera: str
    run: str
    number: int
    start_us: int
    duration_us: int
    data: bytes
    media_start: int
    media_duration: int
    sample_count: int
    header_sha256: str
    codec: str
    seek_table: str
    mime: str
    first_frame: int
    key: str = ""

    def __post_init__(self) -> None:
        self.key = segment_key("footage", self.camera, self.run, self.start_us, self.number)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us

    def metadata(self) -> dict[str, str]:
        return {
            "Version": "1.0",
            "Source": self.camera,
            "FullContentType": self.mime,
            "VideoWidth": str(BITS * BAR),
            "VideoHeight": str(HEIGHT),
            "Timescale": "90000",
            "SeekTable": self.seek_table,
            "Vigie-Camera": self.camera,
            "Vigie-Run": self.run,
            "Vigie-Number": str(self.number),
            "Vigie-StartUs": str(self.start_us),
            "Vigie-DurationUs": str(self.duration_us),
            "Vigie-MediaStart": str(self.media_start),
            "Vigie-MediaDuration": str(self.media_duration),
            "Vigie-SampleCount": str(self.sample_count),
            "Vigie-Codec": self.codec,
            "Vigie-HeaderSha256": self.header_sha256,
            "Vigie-CameraClockOffsetUs": "-1500",
        }

    def event(self) -> ingest_pb2.SegmentEvent:
        stored = ingest_pb2.SegmentStored(
            object_key=self.key,
            run=self.run,
            number=self.number,
            start_us=self.start_us,
            duration_us=self.duration_us,
            media_start_ticks=self.media_start,
            media_duration_ticks=self.media_duration,
            timescale=90_000,
            sample_count=self.sample_count,
            size_bytes=len(self.data),
            sha256=self.sha256,
            codec=self.codec,
            width=BITS * BAR,
            height=HEIGHT,
            header_sha256=self.header_sha256,
            camera_clock_offset_us=-1500,
            has_camera_clock=True,
        )
        return ingest_pb2.SegmentEvent(camera=self.camera, segment_stored=stored)

    async def store(self, store: ObjectStore) -> None:
        await store.put_bytes(
            self.key,
            self.data,
            sha256=self.sha256,
            content_type=self.mime,
            metadata=self.metadata(),
        )


@dataclass
class RecordedRun:
    """A run of segments of whole key-frame intervals."""

    camera: str
    run: str
    segments: list[RecordedSegment] = field(default_factory=list)

    @property
    def end_us(self) -> int:
        return self.segments[-1].end_us

    def ended(self) -> ingest_pb2.SegmentEvent:
        end = ingest_pb2.RunEnded(
            run=self.run,
            end_us=self.end_us,
            segment_count=len(self.segments),
            reason=ingest_pb2.RUN_END_REASON_STOPPED,
            object_key=self.end_key,
        )
        return ingest_pb2.SegmentEvent(camera=self.camera, run_ended=end)

    @property
    def end_key(self) -> str:
        return end_key("footage", self.camera, self.run, self.end_us, len(self.segments))

    async def store_end(self, store: ObjectStore) -> None:
        await store.put_bytes(
            self.end_key,
            b"",
            sha256=hashlib.sha256(b"").hexdigest(),
            content_type="video/mp4",
            metadata={
                "Version": "1.0",
                "Source": self.camera,
                "Vigie-Camera": self.camera,
                "Vigie-Run": self.run,
                "Vigie-SegmentCount": str(len(self.segments)),
                "Vigie-EndUs": str(self.end_us),
                "Vigie-EndReason": "RUN_END_REASON_STOPPED",
            },
        )


def record_run(
    camera: str,
    run: str,
    start_us: int,
    *,
    seconds: int = 6,
    gops_per_segment: int = 2,
    ppm: int = 0,
    b_frames: int = 0,
    level: str = "4.0",
) -> RecordedRun:
    """Record pictures 0, 1, … as one run; the wall clock is ``ppm`` faster than the media."""
    source = encoded(seconds * FPS, b_frames, level)
    delay = source.delay_frames * FRAME_TICKS
    configuration = source.parameters.configuration
    header = build_header(configuration, presentation_delay=delay)
    recorded = RecordedRun(camera, run)

    def wall_us(ticks: int) -> int:
        return start_us + ticks * (1_000_000 + ppm) // 90_000

    for first in range(0, len(source.gops), gops_per_segment):
        group = source.gops[first : first + gops_per_segment]
        data, index = bytearray(header), RandomAccessTable()
        for number, gop in enumerate(group, first):
            base = number * GOP * FRAME_TICKS
            table = SampleTable(
                [FRAME_TICKS] * len(gop),
                [len(sample) for sample, _ in gop],
                [
                    n * FRAME_TICKS - (base + i * FRAME_TICKS) + delay
                    for i, (_, n) in enumerate(gop)
                ],
                [i == 0 for i in range(len(gop))],
            )
            index.append(base, len(data) + PRFT_BYTES)
            data += build_fragment(table, number + 1, base, wall_us=wall_us(base))
            data += b"".join(sample for sample, _ in gop)
        data += index.mfra()
        media_start = first * GOP * FRAME_TICKS
        media_end = media_start + len(group) * GOP * FRAME_TICKS
        recorded.segments.append(
            RecordedSegment(
                camera=camera,
                run=run,
                number=first // gops_per_segment,
                start_us=wall_us(media_start),
                duration_us=wall_us(media_end) - wall_us(media_start),
                data=bytes(data),
                media_start=media_start,
                media_duration=media_end - media_start,
                sample_count=sum(len(gop) for gop in group),
                header_sha256=hashlib.sha256(header).hexdigest(),
                codec=configuration.codec_string,
                seek_table=index.seek_table(),
                mime=content_type(configuration),
                first_frame=first * GOP,
            )
        )
    return recorded


def numbers_in(data: bytes, *, duration_ticks: int | None = None) -> list[int]:
    """The numbers of the pictures that a player shows of a file, at most so long.

    libav knows the beginning of an edit list, not its end: frames that are only references of
    others at the end of a clip come out of it, with times after the end.
    """
    with av.open(io.BytesIO(data)) as container:
        return [
            read_number(frame.to_ndarray(format="gray"))
            for frame in container.decode(video=0)
            if frame.pts >= 0 and (duration_ticks is None or frame.pts < duration_ticks)
        ]
