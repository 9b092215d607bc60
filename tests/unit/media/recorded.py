"""Segments as the recorder writes them, and what independent readers see in a file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av

from unit.media.encoded import AccessUnit, Packetiser
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header
from vigie.media.bmff.plan import MediaPlan, PlannedSegment, stream
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import read_fragments, read_header
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import make_depacketizer
from vigie.media.gop import Gop
from vigie.media.parameters import ParameterSets
from vigie.media.timing import RunTimeline

START_US = 1_790_000_000_123_456
PRFT = 32


@dataclass(frozen=True)
class Segment:
    data: bytes
    start_us: int
    duration_us: int
    seek_table: str

    def planned(self) -> PlannedSegment["Segment"]:
        header = read_header(self.data)
        fragments = read_fragments(self.data, header)
        return PlannedSegment(self, header, fragments, self.start_us, self.duration_us)


def gops_of(
    codec: VideoCodec, units: Sequence[AccessUnit], parameters: ParameterSets | None = None
) -> list[Gop]:
    reader = make_depacketizer(codec, 96, parameters)
    packetiser = Packetiser(codec)
    for unit in units:
        for packet in packetiser.packets(unit):
            reader.push(packet, 0, len(packet), 0)
    reader.flush()
    items = reader.take()
    assert all(isinstance(item, Gop) for item in items)
    return [item for item in items if isinstance(item, Gop)]


def record(
    codec: VideoCodec,
    units: Sequence[AccessUnit],
    *,
    gops_per_segment: int = 2,
    start_us: int = START_US,
    ppm: int = 0,
    parameters: ParameterSets | None = None,
) -> list[Segment]:
    """One run, its wall clock faster than the media by ``ppm``."""
    timeline = RunTimeline()
    timed = [(gop, timeline.append(gop)) for gop in gops_of(codec, units, parameters)]
    segments = []

    def wall_us(ticks: int) -> int:
        return start_us + ticks * (1_000_000 + ppm) // 90_000

    for first in range(0, len(timed), gops_per_segment):
        group = timed[first : first + gops_per_segment]
        data = bytearray(
            build_header(
                group[0][0].parameters.configuration,
                presentation_delay=timeline.presentation_delay,
            )
        )
        index = RandomAccessTable()
        for number, (gop, at) in enumerate(group, start=first + 1):
            index.append(at.key_time, len(data) + PRFT)
            base = at.base_decode_time
            data += build_fragment(at.table, number, base, wall_us=wall_us(base))
            data += b"".join(gop.frames)
        data += index.mfra()
        start, end = wall_us(group[0][1].base_decode_time), wall_us(group[-1][1].end_decode_time)
        segments.append(Segment(bytes(data), start, end - start, index.seek_table()))
    return segments


def plan_bytes(plan: MediaPlan[Segment]) -> bytes:
    data = b"".join(stream(plan, lambda source, at, size: source.data[at : at + size]))
    assert len(data) == plan.size_bytes
    return data


@dataclass(frozen=True)
class Seen:
    """What libav sees: times in ticks of 1/90000 s."""

    times: list[int]
    hashes: list[str]
    duration_us: int
    packets: list[bytes]


def libav_sees(data: bytes) -> Seen:
    with av.open(BytesIO(data), "r") as container:
        packets = [bytes(each) for each in container.demux(video=0) if each.size]
    with av.open(BytesIO(data), "r") as container:
        frames = list(container.decode(video=0))
        hashes = [hashlib.md5(frame.to_ndarray().tobytes()).hexdigest() for frame in frames]
        times = [frame.pts for frame in frames if frame.pts is not None]
        assert {frame.time_base for frame in frames} == {Fraction(1, 90_000)}
        return Seen(times, hashes, container.duration or 0, packets)
