"""Memory stays bounded, the first key frame is decodable, live readers see whole frames."""

import struct

import pytest

from unit.media.encoded import AccessUnit, Packetiser, encode, interleave
from unit.media.received import finish, packets_of, push_all, samples
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop, GopEnd, Limits

H264, H265 = VideoCodec.H264, VideoCodec.H265
CODECS = pytest.mark.parametrize("codec", [H264, H265])


@CODECS
def test_memory_is_bounded(codec: VideoCodec) -> None:
    limits = Limits(access_unit_bytes=50_000, gop_bytes=200_000, nal_units_per_access_unit=8)
    head = b"\x7c" if codec is H264 else bytes((49 << 1, 1))
    kind = 1
    packetiser = Packetiser(codec)
    start = packetiser.packet(head + bytes((0x80 | kind,)) + bytes(1000), 0, marker=False)
    middle = (
        packetiser.packet(head + bytes((kind,)) + bytes(1000), 0, marker=False) for _ in range(200)
    )
    reader = make_depacketizer(codec, 96, limits=limits)
    items = push_all(reader, [start, *middle])
    assert isinstance(items[0], Discontinuity)
    assert items[0].reason is DiscontinuityReason.ACCESS_UNIT_TOO_LARGE
    reader = make_depacketizer(codec, 96, limits=limits)
    units = encode(codec)
    endless = [
        AccessUnit(unit.timestamp + lap * 45 * 3600, unit.nals)
        for lap in range(40)
        for unit in units[15 if lap else 0 :]
        if not lap or unit.timestamp % (15 * 3600) != units[0].timestamp % (15 * 3600)
    ]
    items = push_all(reader, packets_of(codec, endless))
    reasons = [item.reason for item in items if isinstance(item, Discontinuity)]
    assert reasons == [DiscontinuityReason.GOP_TOO_LARGE]
    nal = struct.pack("!BB", 0x41, 0x9A) if codec is H264 else b"\x02\x01\xd0"
    reader = make_depacketizer(codec, 96, limits=limits)
    many = [Packetiser(codec, sequence=n).packet(nal, 0, marker=False) for n in range(9)]
    assert isinstance(push_all(reader, many)[0], Discontinuity)


def test_leading_pictures_of_a_first_open_gop_are_dropped() -> None:
    for codec in (H264, H265):
        units = encode(codec, b_frames=2, open_gop=True)
        reader = make_depacketizer(codec, 96)
        # The first key frame is not seen: reception begins at an open one.
        items = push_all(reader, packets_of(codec, units[1:])) + finish(reader)
        first = items[0]
        assert isinstance(first, Gop)
        assert min(first.timestamps) == first.timestamps[0]
        assert reader.statistics.frames_discarded >= 14
        later = [item for item in items[1:] if isinstance(item, Gop)]
        assert any(min(gop.timestamps) < gop.timestamps[0] for gop in later)


@CODECS
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_group_whose_successor_goes_ends_as_that_would_have(
    codec: VideoCodec, *, is_lost: bool
) -> None:
    """The second key frame goes with the leading pictures that are missing before it."""
    units = encode(codec, b_frames=2, open_gop=True)
    key = next(at for at in range(1, 60) if len(units[at].nals) > 1)  # it has its sets before it
    assert units[key + 1].timestamp < units[key].timestamp
    reader, packetiser = make_depacketizer(codec, 96), Packetiser(codec)
    items = push_all(reader, [p for unit in units[: key + 1] for p in packetiser.packets(unit)])
    assert items == []
    if is_lost:
        packetiser.sequence += 1
        items = push_all(reader, packetiser.packets(units[key + 1]))
    (gop,) = (item for item in [*items, *finish(reader)] if isinstance(item, Gop))
    assert gop.timestamps == [unit.timestamp for unit in units[:key]]
    assert gop.end is (GopEnd.DISCONTINUITY if is_lost else GopEnd.FLUSH)
    assert gop.end_timestamp is None


@CODECS
def test_a_key_frame_behind_a_pause_is_kept_when_nothing_follows_it(codec: VideoCodec) -> None:
    """The group before was delivered, and ends with it: a key frame thrown away would be a hole."""
    units = encode(codec, b_frames=2)[:16]
    key = AccessUnit(units[15].timestamp + 3600, units[15].nals)  # the camera left a frame out
    reader = make_depacketizer(codec, 96)
    items = push_all(reader, packets_of(codec, [*units[:15], key])) + finish(reader)
    assert [item.timestamps for item in items if isinstance(item, Gop)] == [
        [unit.timestamp for unit in units[:15]],
        [key.timestamp],
    ]
    assert reader.statistics.frames == 16
    assert reader.statistics.frames_discarded == 0


def test_the_growing_gop_shows_whole_frames_only() -> None:
    units = encode(H264)
    packetiser = Packetiser(H264, mtu=300)
    reader = make_depacketizer(H264, 96)
    seen: list[bytes] = []
    for unit in units[:15]:
        for packet in packetiser.packets(unit):
            reader.push(packet, 0, len(packet), 0)
        assert reader.gop is not None
        seen += map(bytes, reader.gop.frames[len(seen) :])
    assert seen == [unit.data for unit in units[:15]]


def started(limits: Limits | None = None, offset: int = 0) -> tuple[Depacketizer, Packetiser]:
    """A stream whose first frame has come, marked; its clock is ahead by ``offset``."""
    reader = make_depacketizer(H264, 96, limits=limits)
    packetiser = Packetiser(H264, offset=offset)
    push_all(reader, packetiser.packets(encode(H264)[0]))
    assert reader.gop is not None
    assert len(reader.gop) == 1
    return reader, packetiser


def test_a_frame_that_goes_on_is_taken_back_and_not_copied() -> None:
    reader, packetiser = started()
    assert reader.gop is not None
    frame = reader.gop.frames[0]
    more = packetiser.packet(b"\x65\x08\x55", encode(H264)[0].timestamp, marker=True)
    assert push_all(reader, [more]) == []
    assert reader.gop.frames[0] is frame


def test_a_frame_goes_on_only_so_often() -> None:
    reader, packetiser = started(Limits(nal_units_per_access_unit=12))
    slices = [
        packetiser.packet(b"\x65\x08\x55", encode(H264)[0].timestamp, marker=True) for _ in range(5)
    ]
    reasons = [item.reason for item in push_all(reader, slices) if isinstance(item, Discontinuity)]
    assert reasons == [DiscontinuityReason.ACCESS_UNIT_TOO_LARGE]


@pytest.mark.parametrize("payload", [b"\x18", b"\x78"])
def test_an_aggregation_packet_without_a_nal_unit_is_malformed(payload: bytes) -> None:
    reader, packetiser = started()
    items = push_all(reader, [packetiser.packet(payload, encode(H264)[0].timestamp, marker=True)])
    assert [item.reason for item in items if isinstance(item, Discontinuity)] == [
        DiscontinuityReason.PACKET_MALFORMED
    ]


@pytest.mark.parametrize("wraps_at", [None, 150])
def test_a_packet_a_little_behind_in_number_and_far_in_time_is_none_that_came_before(
    wraps_at: int | None,
) -> None:
    first = encode(H264)[0].timestamp
    offset = 0 if wraps_at is None else (1 << 32) - first - wraps_at * 90
    reader, packetiser = started(offset=offset)
    frames = [
        packetiser.packet(b"\x41\x9a\x55", first + at * 90, marker=True) for at in range(1, 300)
    ]
    assert push_all(reader, frames) == []
    assert push_all(reader, [frames[-2], frames[-100]]) == []
    assert reader.statistics.packets_duplicate == 2
    packetiser.sequence -= 50
    items = push_all(reader, [packetiser.packet(b"\x41\x9a\x55", first + 90, marker=True)])
    assert [item.reason for item in items if isinstance(item, Discontinuity)] == [
        DiscontinuityReason.SEQUENCE_RESTARTED
    ]


@CODECS
@pytest.mark.parametrize("marker", [True, False])
@pytest.mark.parametrize("mtu", [300, 100_000])
def test_a_frame_arrives_with_its_last_packet(codec: VideoCodec, mtu: int, *, marker: bool) -> None:
    units = encode(codec, aud=True)
    packetiser = Packetiser(codec, mtu=mtu, marker=marker)
    for at_once in (True, False):
        reader, expected = make_depacketizer(codec, 96), []
        for number, unit in enumerate(units):
            packets = packetiser.packets(unit)
            if at_once:
                tick = interleave(packets)
                reader.push_interleaved(tick, 0, len(tick), 0, 1000 * number)
            else:
                for at, packet in enumerate(packets):
                    reader.push(packet, 0, len(packet), 1000 * number + at)
            expected.append(1000 * number + (0 if at_once else len(packets) - 1))
        gops = [item for item in reader.take() + finish(reader) if isinstance(item, Gop)]
        found = [arrival for gop in gops for arrival in gop.arrivals_us]
        assert found == expected[: len(found)]
        assert len(found) >= len(units) - 1


def test_padding_before_all_media_is_no_source_of_its_own() -> None:
    units = encode(H264)
    packetiser = Packetiser(H264)
    padding = bytearray(packetiser.packet(b"\0\0\0\4", 0, marker=False))
    padding[0] |= 0x20
    reader = make_depacketizer(H264, 96)
    packets = [packet for unit in units[:15] for packet in packetiser.packets(unit)]
    items = [*push_all(reader, [bytes(padding), *packets]), *finish(reader)]
    assert [type(item) for item in items] == [Gop]
    assert len(samples(items)) == 15
    assert reader.statistics.packets_lost == 0
