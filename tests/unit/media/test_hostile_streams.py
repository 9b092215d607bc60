"""What the fuzzer found in the path of the media, said plainly."""

import struct
import time

import pytest

from vigie.ingest.delivery import reorder_depth
from vigie.ingest.engine import CodecParameters, LiveFrames
from vigie.ingest.live.chunks import Chunker
from vigie.media.bmff.reader import read_fragments, read_header
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop, Limits
from vigie.media.timing import RunTimeline

SPS = bytes.fromhex("6742c01eda0280bfe584000003000400000300c83c58ba80")
PPS = bytes.fromhex("68ce3c80")
SECOND = 90_000


def packet(sequence: int, ticks: int, nal: bytes, *, marker: bool = False, ssrc: int = 7) -> bytes:
    second = 96 | (0x80 if marker else 0)
    return struct.pack("!BBHII", 0x80, second, sequence, ticks & 0xFFFFFFFF, ssrc) + nal


def slice_of(number: int, *, key: bool, first: bool = True) -> bytes:
    head = b"\x65" if key else b"\x41"
    return head + (b"\x88" if first else b"\x08") + bytes((number,)) * 20


def reader() -> Depacketizer:
    return make_depacketizer(VideoCodec.H264, 96)


def push(to: Depacketizer, packets: list[bytes]) -> list[Gop | Discontinuity]:
    for each in packets:
        to.push(each, 0, len(each), 0)
    to.flush()
    return to.take()


def marked_slices(frame: int, sequence: int, *, key: bool) -> list[bytes]:
    """A frame of three slices, each of them marked as if it were the last."""
    ticks = frame * 3600
    sets = [packet(0, ticks, SPS), packet(0, ticks, PPS)] if key else []
    slices = [
        packet(0, ticks, slice_of(frame, key=key, first=index == 0), marker=True)
        for index in range(3)
    ]
    numbered = [*sets, *slices]
    return [
        each[:2] + struct.pack("!H", sequence + at) + each[4:] for at, each in enumerate(numbered)
    ]


@pytest.mark.parametrize("lost", [slice(1, 3), slice(2, 3), slice(1, 2)])
def test_a_frame_whose_slices_are_all_marked_never_comes_out_without_one_of_them(
    lost: slice,
) -> None:
    packets = marked_slices(0, 0, key=True)
    broken = marked_slices(1, 5, key=False)
    after = [*marked_slices(2, 8, key=False), *marked_slices(3, 11, key=True)]
    del broken[lost]
    items = push(reader(), [*packets, *broken, *after])
    assert [item.timestamps for item in items if isinstance(item, Gop)] == [[0], [3 * 3600]]
    (loss,) = [item for item in items if isinstance(item, Discontinuity)]
    assert loss.reason is DiscontinuityReason.PACKETS_LOST


def test_an_ordinary_frame_before_a_gap_is_kept() -> None:
    packets = [
        packet(0, 0, SPS),
        packet(1, 0, PPS),
        packet(2, 0, slice_of(0, key=True), marker=True),
    ]
    packets += [packet(4, 7200, slice_of(2, key=False), marker=True)]
    items = push(reader(), packets)
    assert [len(item) for item in items if isinstance(item, Gop)] == [1]


def test_packets_before_another_source_are_not_counted_to_it() -> None:
    key = slice_of(0, key=True)
    pieces = [b"\x7c\x85" + key[1:8], *[b"\x7c\x05" + bytes(20)] * 5, b"\x7c\x45" + bytes(9)]
    packets = [packet(0, 0, SPS), packet(1, 0, PPS)]
    packets += [packet(2 + at, 0, piece) for at, piece in enumerate(pieces)]
    packets += [packet(300, 0, SPS, ssrc=8)]
    stream = b"".join(struct.pack("!BBH", 0x24, 0, len(each)) + each for each in packets)
    to = reader()
    to.push_interleaved(stream, 0, len(stream), 0, 0)
    assert to.statistics.highest_sequence == 300


def test_a_clock_that_runs_backwards_is_a_jump_before_offsets_outgrow_the_file() -> None:
    to = reader()
    packets, sequence = [], 0
    for number in range(60):
        ticks = 1_000_000 - number * SECOND  # each step small enough to be a B-frame's
        nals = [SPS, PPS, slice_of(1, key=True)] if number % 5 == 0 else [slice_of(1, key=False)]
        for nal in nals:
            packets.append(packet(sequence, ticks, nal, marker=nal is nals[-1]))
            sequence += 1
    items = push(to, packets)
    jumps = [item for item in items if isinstance(item, Discontinuity)]
    assert jumps
    assert {jump.reason for jump in jumps} == {DiscontinuityReason.TIMESTAMP_JUMP}
    for gop in items:
        if isinstance(gop, Gop):
            offsets = RunTimeline().append(gop).table.composition_offsets
            assert max(map(abs, offsets)) <= 4 * SECOND


def test_the_reordering_of_a_long_group_is_found_in_no_time_and_bounded() -> None:
    started = time.process_time()
    assert reorder_depth(range(18_000, 0, -1)) == 16
    assert time.process_time() - started < 5
    assert reorder_depth([0, 4, 2, 1, 3]) == 2
    assert reorder_depth([0, 1, 1, 2]) == 0


def live(ticks: int) -> LiveFrames:
    parameters = CodecParameters("h264", "avc1.42c01e", (SPS, PPS), 640, 360)
    data = struct.pack("!I", 22) + slice_of(1, key=True)
    return LiveFrames(
        data, [len(data)], [ticks], key_frame=True, arrival_us=0, parameters=parameters
    )


@pytest.mark.parametrize("jump", [-3600 * SECOND, 3600 * SECOND, -7 * 3600 * SECOND])
def test_live_frames_after_a_jump_of_the_camera_s_clock_begin_a_new_timeline(jump: int) -> None:
    chunker = Chunker()
    first = chunker.chunk(live(10 * SECOND))
    second = chunker.chunk(live(11 * SECOND))
    third = chunker.chunk(live(11 * SECOND + jump))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.init is second.init
    assert third.init is not first.init
    data = third.init.data + third.data
    (fragment,) = read_fragments(data, read_header(data))
    assert fragment.table.composition_offsets == [0]


def test_units_of_a_frame_that_goes_on_behind_its_marker_are_counted_on() -> None:
    to = make_depacketizer(VideoCodec.H264, 96, None, Limits(nal_units_per_access_unit=8))
    packets = [packet(0, 0, SPS), packet(1, 0, PPS)]
    packets += [
        packet(2 + at, 0, slice_of(0, key=True, first=at == 0), marker=True) for at in range(9)
    ]
    items = push(to, packets)
    assert [item.reason for item in items if isinstance(item, Discontinuity)] == [
        DiscontinuityReason.ACCESS_UNIT_TOO_LARGE
    ]
    assert not [item for item in items if isinstance(item, Gop)]


def test_the_rest_of_a_frame_that_was_thrown_away_is_no_part_of_the_one_before_it() -> None:
    """A run that begins at a recovery point, and a leading frame whose slices are all marked."""
    items = push(
        reader(),
        [
            *(packet(at, 7200, nal) for at, nal in enumerate((SPS, PPS, b"\x06\x06\x01\x84\x80"))),
            packet(3, 7200, slice_of(0, key=False), marker=True),
            packet(4, 3600, slice_of(1, key=False), marker=True),
            packet(5, 3600, slice_of(1, key=False, first=False), marker=True),
            packet(6, 10_800, slice_of(2, key=False), marker=True),
        ],
    )
    (gop,) = (item for item in items if isinstance(item, Gop))
    assert gop.timestamps == [7200, 10_800]
    assert bytes((1,)) * 20 not in b"".join(gop.frames)


def test_units_of_the_frame_behind_a_jump_are_counted_on() -> None:
    to = make_depacketizer(VideoCodec.H264, 96, None, Limits(nal_units_per_access_unit=8))
    ticks = 100 * SECOND
    packets = [
        packet(0, 0, SPS),
        packet(1, 0, PPS),
        packet(2, 0, slice_of(0, key=True), marker=True),
    ]
    packets += [
        packet(3 + at, ticks, slice_of(1, key=True, first=at == 0), marker=at >= 4)
        for at in range(10)
    ]
    items = push(to, packets)
    assert [item.reason for item in items if isinstance(item, Discontinuity)] == [
        DiscontinuityReason.TIMESTAMP_JUMP,
        DiscontinuityReason.ACCESS_UNIT_TOO_LARGE,
    ]
    assert [item.timestamps for item in items if isinstance(item, Gop)] == [[0]]
