"""What is received is what was sent; what is broken is cut, named and resumed at a key frame."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from long_forms import examples
from unit.media.encoded import AccessUnit, Packetiser, encode, interleave
from unit.media.received import finish, packets_of, push_all, runs, samples, without_hole
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop, GopEnd

H264, H265 = VideoCodec.H264, VideoCodec.H265
CODECS = pytest.mark.parametrize("codec", [H264, H265])


@CODECS
@pytest.mark.parametrize("options", [{}, {"b_frames": 2}, {"b_frames": 2, "open_gop": True}])
@pytest.mark.parametrize("aggregate", [False, True])
def test_every_byte_arrives_in_its_frame(
    codec: VideoCodec, options: dict[str, Any], *, aggregate: bool
) -> None:
    units = encode(codec, aud=True, **options)
    reader = make_depacketizer(codec, 96)
    items = push_all(reader, packets_of(codec, units, aggregate=aggregate)) + finish(reader)
    first = units[0].timestamp
    assert [(at - first, data) for at, data in samples(items)] == [
        (unit.timestamp - first, unit.data) for unit in units
    ]
    gops = [item for item in items if isinstance(item, Gop)]
    assert len(items) == len(gops) == 4
    assert [gop.starts_run for gop in gops] == [True, False, False, False]
    assert [gop.end for gop in gops] == [GopEnd.KEY_FRAME] * 3 + [GopEnd.FLUSH]
    for gop, after in pairwise(gops):
        assert gop.end_timestamp == min(after.timestamps)
    assert all(gop.sync[0] and not any(gop.sync[1:]) for gop in gops)


@given(
    codec=st.sampled_from([H264, H265]),
    mtu=st.integers(40, 3000),
    sequence=st.integers(0, 65535),
    offset=st.integers(0, 2**32 - 1),
    aggregate=st.booleans(),
    marker=st.booleans(),
    chunks=st.lists(st.integers(1, 9000), min_size=1, max_size=30),
)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cuts_of_the_byte_stream_and_wraps_of_counters_change_nothing(
    codec: VideoCodec, mtu: int, sequence: int, offset: int, chunks: list[int],
    *, aggregate: bool, marker: bool,
) -> None:  # fmt: skip
    units = encode(codec, b_frames=2)
    raw = interleave(
        packets_of(
            codec, units, mtu=mtu, sequence=sequence, offset=offset, aggregate=aggregate,
            marker=marker,
        )
    )  # fmt: skip
    reader = make_depacketizer(codec, 96)
    position = end = number = 0
    items: list[Gop | Discontinuity] = []
    while position < len(raw):
        end = min(len(raw), end + chunks[number % len(chunks)])
        position = reader.push_interleaved(raw, position, end, 0, number)
        items += reader.take()
        number += 1
    items += finish(reader)
    # Without markers the end of the last frame is not known, so it is not taken, nor what is shown
    # behind it.
    expected = without_hole(units, len(units) if marker else -1)
    found = samples(items)
    assert [data for _, data in found] == [unit.data for unit in expected]
    first = found[0][0]
    assert [at - first for at, _ in found] == [
        unit.timestamp - units[0].timestamp for unit in expected
    ]
    assert reader.statistics.packets_lost == 0


@CODECS
def test_a_lost_packet_cuts_at_the_last_whole_frame_and_resumes_at_a_key_frame(
    codec: VideoCodec,
) -> None:
    units = encode(codec)
    packets = [Packetiser.packets(Packetiser(codec), unit) for unit in units]
    packetiser = Packetiser(codec, mtu=400)
    frames = [packetiser.packets(unit) for unit in units]
    flat = [packet for frame in frames for packet in frame]
    lost = frames[20][-1]
    assert len(packets) == len(frames)
    reader = make_depacketizer(codec, 96)
    items = push_all(reader, [packet for packet in flat if packet is not lost]) + finish(reader)
    kinds = [type(item).__name__ for item in items]
    assert kinds == ["Gop", "Gop", "Discontinuity", "Gop", "Gop"]
    broken, event, resumed = items[1:4]
    assert isinstance(broken, Gop)
    assert isinstance(event, Discontinuity)
    assert isinstance(resumed, Gop)
    assert (broken.end, broken.end_timestamp, len(broken)) == (GopEnd.DISCONTINUITY, None, 5)
    assert event[:2] == (DiscontinuityReason.PACKETS_LOST, 1)
    assert resumed.starts_run
    expected = [unit.data for index, unit in enumerate(units) if not 20 <= index < 30]
    assert [data for _, data in samples(items)] == expected
    assert reader.statistics.packets_lost == 1


@given(
    codec=st.sampled_from([H264, H265]),
    structure=st.sampled_from([{}, {"b_frames": 2}, {"b_frames": 2, "open_gop": True}]),
    damage=st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from(["drop", "double", "swap"])),
        min_size=1, max_size=6,
    ),
)  # fmt: skip
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_lost_doubled_or_swapped_no_broken_frame_is_stored(
    codec: VideoCodec, structure: dict[str, Any], damage: list[tuple[int, str]]
) -> None:
    units = encode(codec, **structure)
    packets = packets_of(codec, units, mtu=700)
    whole = {unit.data for unit in units}
    for position, kind in damage:
        # The first packet of all has nothing before it to miss.
        at = 1 + position % (len(packets) - 2)
        if kind == "drop":
            del packets[at]
        elif kind == "double":
            packets.insert(at, packets[at])
        else:
            packets[at], packets[at + 1] = packets[at + 1], packets[at]
    reader = make_depacketizer(codec, 96)
    items = push_all(reader, packets) + finish(reader)
    stored = [data for _, data in samples(items)]
    assert set(stored) <= whole
    assert all(gop.sync[0] for gop in items if isinstance(gop, Gop))
    for before, after in pairwise(items):
        if isinstance(before, Gop) and isinstance(after, Gop):
            assert before.end_timestamp == min(after.timestamps)
            assert not after.starts_run
    for run in runs(items):
        assert run == list(range(run[0], run[0] + 3600 * len(run), 3600)), "none is missing inside"
    if all(kind == "double" for _, kind in damage):
        assert stored == [unit.data for unit in units]


@CODECS
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_and_damaged_bytes_never_raise(codec: VideoCodec, data: st.DataObject) -> None:
    raw = bytearray(interleave(packets_of(codec, encode(codec, frames=20), mtu=300)))
    for _ in range(data.draw(st.integers(1, 30))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw[:0] = data.draw(st.binary(max_size=20))
    reader = make_depacketizer(codec, 96)
    position = 0
    while position < len(raw):
        reached = reader.push_interleaved(raw, position, len(raw), 0, 0)
        position = max(reached, position + 1)
    for item in reader.take() + finish(reader):
        if isinstance(item, Gop):
            assert len(item)
            assert sum(item.sizes()) == item.size_bytes


@CODECS
def test_repeated_parameter_sets_are_kept_and_changed_ones_start_a_run(codec: VideoCodec) -> None:
    small, large = encode(codec, frames=30), encode(codec, frames=30, size="640x360")
    moved = [AccessUnit(unit.timestamp + 30 * 3600, unit.nals) for unit in large]
    reader = make_depacketizer(codec, 96)
    units = [*small, *moved]
    items = push_all(reader, packets_of(codec, units)) + finish(reader)
    gops = [item for item in items if isinstance(item, Gop)]
    assert len(gops) == len(items) == 4
    assert gops[1].end is GopEnd.PARAMETERS_CHANGED
    assert gops[1].end_timestamp == gops[2].timestamps[0]
    assert [gop.starts_run for gop in gops] == [True, False, True, False]
    assert [gop.parameters.configuration.width for gop in gops] == [320, 320, 640, 640]
    assert [data for _, data in samples(items)] == [unit.data for unit in units]


def test_key_frames_without_parameter_sets_are_named_once() -> None:
    units = [
        AccessUnit(unit.timestamp, tuple(nal for nal in unit.nals if nal[0] & 0x1F not in {7, 8}))
        for unit in encode(H264)
    ]
    reader = make_depacketizer(H264, 96)
    items = push_all(reader, packets_of(H264, units)) + finish(reader)
    assert [item[0] for item in items if isinstance(item, Discontinuity)] == [
        DiscontinuityReason.PARAMETER_SETS_MISSING
    ]
    assert len(items) == 1
    assert reader.statistics.frames_discarded == len(units)


def test_parameter_sets_of_the_session_suffice() -> None:
    reader = make_depacketizer(H264, 96)
    gop = (push_all(reader, packets_of(H264, encode(H264))) + finish(reader))[0]
    assert isinstance(gop, Gop)
    units = [
        AccessUnit(unit.timestamp, tuple(nal for nal in unit.nals if nal[0] & 0x1F not in {7, 8}))
        for unit in encode(H264)
    ]
    second = make_depacketizer(H264, 96, gop.parameters)
    items = push_all(second, packets_of(H264, units)) + finish(second)
    assert [data for _, data in samples(items)] == [unit.data for unit in units]


@pytest.mark.parametrize(
    ("codec", "payload", "name"),
    [
        (H264, bytes((25, 0, 0, 0, 1, 9)), "STAP-B"),
        (H264, bytes((26, 0, 0, 0, 1, 9)), "MTAP16"),
        (H264, bytes((29, 0x81, 0, 0, 1)), "FU-B"),
        (H264, bytes((30, 0, 0)), "NAL unit type 30"),
        (H265, bytes((50 << 1, 1, 0, 0, 0)), "PACI"),
    ],
)
def test_interleaving_payloads_are_refused_by_name(
    codec: VideoCodec, payload: bytes, name: str
) -> None:
    reader = make_depacketizer(codec, 96)
    packetiser = Packetiser(codec)
    (event,) = push_all(reader, [packetiser.packet(payload, 0, marker=True)] * 1)
    assert isinstance(event, Discontinuity)
    assert event.reason is DiscontinuityReason.PAYLOAD_UNSUPPORTED
    assert name in event.detail


@pytest.mark.parametrize(
    "payload",
    [
        bytes((28, 0x85)),
        bytes((28, 0x1C, 0)),
        bytes((28, 0x05, 1, 2)),
        bytes((24, 0, 9, 1)),
        bytes((24, 0, 0)),
        bytes((0x80 | 1, 1)),
    ],
)
def test_malformed_payloads_break_the_stream(payload: bytes) -> None:
    reader = make_depacketizer(H264, 96)
    units = encode(H264)
    packetiser = Packetiser(H264)
    packets = [packet for unit in units[:5] for packet in packetiser.packets(unit)]
    packets.append(packetiser.packet(payload, 5 * 3600, marker=True))
    items = push_all(reader, packets)
    assert [data for _, data in samples(items)] == [unit.data for unit in units[:5]]
    assert isinstance(items[-1], Discontinuity)
    assert items[-1].reason is DiscontinuityReason.PACKET_MALFORMED


def test_a_jump_of_the_camera_clock_starts_a_new_run() -> None:
    units = encode(H264)
    later = [AccessUnit(unit.timestamp + (1 << 30), unit.nals) for unit in units[15:30]]
    reader = make_depacketizer(H264, 96)
    items = push_all(reader, packets_of(H264, [*units[:15], *later])) + finish(reader)
    assert [type(item).__name__ for item in items] == ["Gop", "Discontinuity", "Gop"]
    assert isinstance(items[1], Discontinuity)
    assert items[1].reason is DiscontinuityReason.TIMESTAMP_JUMP
    assert len(samples(items)) == 30


def push_timed(reader: Depacketizer, units: Iterable[tuple[AccessUnit, int]]) -> list[Any]:
    """Access units with their arrivals (microseconds)."""
    packetiser = Packetiser(H264)
    for unit, arrival_us in units:
        for packet in packetiser.packets(unit):
            reader.push(packet, 0, len(packet), arrival_us)
    return reader.take() + finish(reader)


@pytest.mark.parametrize("seconds", [1.5, 5, 9])
@pytest.mark.parametrize("at", [7, 15])
def test_timestamps_may_not_leap_ahead_of_the_time_that_passed(seconds: float, at: int) -> None:
    units = encode(H264)[:30]
    leap = round(seconds * 90_000)
    timed = [
        (AccessUnit(unit.timestamp + (leap if number >= at else 0), unit.nals), number * 40_000)
        for number, unit in enumerate(units)
    ]
    items = push_timed(make_depacketizer(H264, 96), timed)
    losses = [item for item in items if isinstance(item, Discontinuity)]
    assert [loss.reason for loss in losses] == [DiscontinuityReason.TIMESTAMP_JUMP]
    # What is between the leap and the next key frame cannot be placed.
    following = 15
    expected = [
        unit.data for number, unit in enumerate(units) if number < at or number >= following
    ]
    assert [data for _, data in samples(items)] == expected


@pytest.mark.parametrize("seconds", [2, 8])
def test_a_pause_that_passed_here_too_is_none(seconds: float) -> None:
    units = encode(H264)[:30]
    pause = round(seconds * 90_000)
    timed = [
        (
            AccessUnit(unit.timestamp + (pause if number >= 7 else 0), unit.nals),
            number * 40_000 + (round(seconds * 1e6) - 900_000 if number >= 7 else 0),
        )
        for number, unit in enumerate(units)
    ]
    items = push_timed(make_depacketizer(H264, 96), timed)
    assert not [item for item in items if isinstance(item, Discontinuity)]
    assert len(samples(items)) == 30


@CODECS
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("back", [1, 2, 3, 50])
@pytest.mark.parametrize("at", [7, 15, 20])
def test_numbers_that_step_back_a_little_are_no_repetition(
    codec: VideoCodec, b_frames: int, back: int, at: int
) -> None:
    """Dropping the first packets of a frame would leave it broken, or away, with no word of it."""
    units = encode(codec, b_frames=b_frames)[:45]
    reader, packetiser = make_depacketizer(codec, 96), Packetiser(codec, sequence=1000)
    for number, unit in enumerate(units):
        packetiser.sequence -= back if number == at else 0
        for packet in packetiser.packets(unit):
            reader.push(packet, 0, len(packet), number * 40_000)
    items = reader.take() + finish(reader)
    assert [type(item).__name__ for item in items].count("Discontinuity") == 1
    following = next(n for n in range(at, 45) if n % 15 == 0)
    expected = [unit.data for unit in [*without_hole(units, at), *units[following:]]]
    assert [data for _, data in samples(items)] == expected


def test_another_source_or_numbering_breaks_the_stream() -> None:
    units = encode(H264)
    for options, reason in (
        ({"ssrc": 5, "sequence": 9}, DiscontinuityReason.SOURCE_CHANGED),
        ({"sequence": 50_000}, DiscontinuityReason.SEQUENCE_RESTARTED),
    ):
        reader = make_depacketizer(H264, 96)
        first = packets_of(H264, units[:15], sequence=1_000)
        items = push_all(reader, first + packets_of(H264, units[15:], **options)) + finish(reader)
        assert isinstance(items[1], Discontinuity)
        assert items[1].reason is reason
        # Its key frame opens with a parameter set: nothing before it can be missing.
        assert len(samples(items)) == len(units)


def test_a_stream_whose_numbers_stand_still_is_not_silent() -> None:
    reader = make_depacketizer(H264, 96)
    packets = []
    packetiser = Packetiser(H264)
    for unit in encode(H264):
        packetiser.sequence = 7
        packets += packetiser.packets(unit)[:1] * 3
    items = push_all(reader, packets)
    assert any(isinstance(item, Discontinuity) for item in items)


def test_slices_that_are_all_marked_are_one_frame() -> None:
    units = encode(H264)
    packetiser = Packetiser(H264, mtu=100_000)
    # The same slice twice, the second claiming to begin further on in the picture.
    packets = []
    for unit in units:
        packets += [packetiser.packet(nal, unit.timestamp, marker=True) for nal in unit.nals]
        second = bytes((unit.nals[-1][0], unit.nals[-1][1] & 0x7F)) + unit.nals[-1][2:]
        packets.append(packetiser.packet(second, unit.timestamp, marker=True))
    reader = make_depacketizer(H264, 96)
    items = push_all(reader, packets) + finish(reader)
    assert len(samples(items)) == len(units)
    assert sum(len(data) for _, data in samples(items)) > sum(len(unit.data) for unit in units)


def test_foreign_payload_types_padding_and_other_channels_are_passed_over() -> None:
    units = encode(H264)
    packetiser = Packetiser(H264)
    packets = []
    for unit in units:
        packetiser.payload_type = 112
        packets.append(packetiser.packet(b"private", unit.timestamp, marker=False))
        packetiser.payload_type = 96
        packets += packetiser.packets(unit)
        padding = packetiser.packet(b"\0\0\0\4", unit.timestamp, marker=False)
        packets.append(bytes((padding[0] | 0x20,)) + padding[1:])
    reader = make_depacketizer(H264, 96)
    items = push_all(reader, packets) + finish(reader)
    assert [data for _, data in samples(items)] == [unit.data for unit in units]
    assert reader.statistics.packets_foreign == len(units)
    raw = interleave(packets[:2]) + interleave([b"rtcp"], channel=1)
    fresh = make_depacketizer(H264, 96)
    assert fresh.push_interleaved(raw, 0, len(raw), 0, 0) == len(interleave(packets[:2]))
