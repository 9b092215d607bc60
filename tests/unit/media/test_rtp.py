import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.media.errors import MalformedMedia
from vigie.media.rtp import Unwrapper, build_packet, parse_header, unwrap_near


def packet(first: int = 0x80, extra: bytes = b"", payload: bytes = b"payload") -> bytes:
    return struct.pack("!BBHII", first, 0xE0, 7, 90_000, 0xABCD) + extra + payload


def test_a_plain_packet_gives_its_fields_and_where_the_payload_lies() -> None:
    data = b"xx" + packet()
    header = parse_header(data, 2, len(data) - 2)
    assert (header.payload_type, header.marker, header.sequence) == (0x60, True, 7)
    assert (header.timestamp, header.ssrc) == (90_000, 0xABCD)
    assert data[header.payload_start : header.payload_end] == b"payload"


@pytest.mark.parametrize(
    ("first", "extra", "tail"),
    [
        (0x82, bytes(8), b""),
        (0x90, b"\xbe\xde\x00\x02" + bytes(8), b""),
        (0xA0, b"", b"\0\0\x03"),
        (0xB1, bytes(4) + b"\0\0\0\x01" + bytes(4), b"\x01"),
    ],
    ids=["csrc", "extension", "padding", "all"],
)
def test_csrc_extension_and_padding_are_passed_over(first: int, extra: bytes, tail: bytes) -> None:
    data = packet(first, extra, b"payload" + tail)
    header = parse_header(data, 0, len(data))
    assert data[header.payload_start : header.payload_end] == b"payload"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x60\0\0",
        packet(0x40),
        packet(0x8F, b"", b""),
        packet(0x90, b"", b"\0\0"),
        packet(0x90, b"\0\0\xff\xff", b""),
        packet(0xA0, b"", b"\0"),
        packet(0xA0, b"", b"\xff"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMedia):
        parse_header(data, 0, len(data))


@given(st.binary(max_size=80))
def test_random_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        header = parse_header(data, 0, len(data))
    except MalformedMedia:
        return
    assert 12 <= header.payload_start <= header.payload_end <= len(data)


def test_what_is_built_is_what_is_parsed() -> None:
    data = build_packet(
        b"abc", payload_type=96, marker=True, sequence=65_537, timestamp=2**32 + 5, ssrc=9
    )
    assert parse_header(data, 0, len(data)) == (96, True, 1, 5, 9, 12, 15)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=50),
)
def test_unwrapping_follows_every_step_in_both_directions(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper(32)
    true = start
    assert unwrapper.unwrap(true & 0xFFFFFFFF) == true
    for step in steps:
        true += step
        assert unwrapper.unwrap(true & 0xFFFFFFFF) == true


def test_a_report_is_placed_beside_the_samples() -> None:
    assert unwrap_near(5, 2**32 - 10) == 2**32 + 5
    assert unwrap_near(2**32 - 10, 3 * 2**32 + 7) == 3 * 2**32 - 10
