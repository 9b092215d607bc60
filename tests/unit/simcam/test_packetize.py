import pytest

from unit.simcam.conftest import MakeFootage
from unit.simcam.rtpread import depacketise, parse_interleaved
from vigie.simcam.marks import Codec, FrameMark, mark_of_nal, mark_text
from vigie.simcam.nal import nal_type
from vigie.simcam.packetize import MTU_BYTES, PreparedFootage, packetise, split_packets
from vigie.simcam.quirks import Quirk

MARK = FrameMark(1_000_003, 1_000_001, 1_800_000_000_123_456)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_stamped_packets_carry_exactly_the_expected_nals(
    codec: Codec, make_footage: MakeFootage
) -> None:
    prepared = PreparedFootage(make_footage(codec))
    text = mark_text(MARK.frame_number, MARK.decode_number, MARK.capture_us)
    for index, template in enumerate(prepared.templates):
        data = template.stamp(65_534, 0xFFFFFFFF, 0xABCDEF01, text)
        packets = [parse_interleaved(packet) for packet in split_packets(data)]
        nals = depacketise(codec, [packet.payload for packet in packets])
        assert nals == prepared.expected_nals(index, MARK)
        assert [mark_of_nal(n) for n in nals if mark_of_nal(n)] == [MARK]
        assert [p.sequence for p in packets] == [(65_534 + i) & 0xFFFF for i in range(len(packets))]
        assert [p.marker for p in packets] == [False] * (len(packets) - 1) + [True]
        assert {(p.timestamp, p.ssrc, p.channel) for p in packets} == {(2**32 - 1, 0xABCDEF01, 0)}
        assert template.payload_bytes == sum(len(p.payload) for p in packets)
        assert all(len(packet) - 4 <= MTU_BYTES for packet in split_packets(data))


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_dressed_packets_carry_the_same(codec: Codec, make_footage: MakeFootage) -> None:
    quirks = frozenset({Quirk.DRESSED_PACKETS, Quirk.SEPARATE_PARAMETER_SETS})
    prepared = PreparedFootage(make_footage(codec), quirks=quirks)
    text = mark_text(MARK.frame_number, MARK.decode_number, MARK.capture_us)
    data = prepared.templates[0].stamp(1, 2, 3, text)
    packets = split_packets(data)
    assert all(packet[4] == 0xB1 for packet in packets)  # padding, extension, one CSRC
    assert all(len(packet) - 4 <= MTU_BYTES for packet in packets)
    payloads = [parse_interleaved(packet).payload for packet in packets]
    sets = prepared.footage.parameter_sets
    assert tuple(payloads[: len(sets)]) == sets
    assert depacketise(codec, payloads) == prepared.expected_nals(0, MARK)


def test_another_channel_is_written_into_every_packet(make_footage: MakeFootage) -> None:
    template = PreparedFootage(make_footage()).templates[0]
    data = template.stamp(0, 0, 0, mark_text(0, 0, 0), channel=6)
    assert {parse_interleaved(packet).channel for packet in split_packets(data)} == {6}


def test_stamping_leaves_the_template_alone(make_footage: MakeFootage) -> None:
    template = PreparedFootage(make_footage()).templates[0]
    before = template.data
    template.stamp(1, 2, 3, mark_text(4, 5, 6))
    assert template.data == before


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_key_frames_begin_with_their_parameter_sets_unless_told_otherwise(
    codec: Codec, make_footage: MakeFootage
) -> None:
    footage = make_footage(codec)
    with_sets = PreparedFootage(footage).expected_nals(0, MARK)
    assert tuple(with_sets[: len(footage.parameter_sets)]) == footage.parameter_sets
    without = PreparedFootage(footage, in_band=False).expected_nals(0, MARK)
    assert not set(without) & set(footage.parameter_sets)
    assert not set(PreparedFootage(footage).expected_nals(1, MARK)) & set(footage.parameter_sets)


def test_a_delimiter_stays_first_and_outside_the_aggregate() -> None:
    delimiter, sps, pps, idr = b"\x09\xf0", b"\x67abc", b"\x68d", b"\x65" + b"x" * 5000
    payloads = packetise("h264", [delimiter, sps, pps, idr], aggregate=2)
    assert payloads[0] == delimiter
    assert nal_type("h264", payloads[1]) == 24
    assert depacketise("h264", payloads) == [delimiter, sps, pps, idr]


@pytest.mark.parametrize("size", [1387, 1388, 1389, 2771, 2772, 2773, 2774])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_sizes_around_the_limit_of_a_packet(codec: Codec, size: int) -> None:
    head = b"\x65" if codec == "h264" else b"\x26\x01"
    nal = (head + bytes(i & 0x7F | 1 for i in range(size)))[:size]
    payloads = packetise(codec, [nal])
    assert all(len(payload) <= MTU_BYTES - 12 for payload in payloads)
    assert depacketise(codec, payloads) == [nal]
