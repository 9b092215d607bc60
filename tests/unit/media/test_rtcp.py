import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.media.errors import MalformedMedia
from vigie.media.rtcp import (
    Bye,
    OtherRtcp,
    ReceptionReport,
    SenderReport,
    build_bye,
    build_receiver_report,
    build_sender_report,
    ntp_to_unix_us,
    parse_compound,
    unix_us_to_ntp,
)


def test_the_epochs_are_seventy_years_apart() -> None:
    assert ntp_to_unix_us(2_208_988_800 << 32) == 0
    assert ntp_to_unix_us((2_208_988_800 << 32) + (1 << 31)) == 500_000


def test_era_one_begins_in_2036() -> None:
    # 7 February 2036 06:28:16 UTC
    assert ntp_to_unix_us(1) == pytest.approx(2_085_978_496_000_000, abs=1)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_survive_the_way_to_ntp_and_back(unix_us: int) -> None:
    assert ntp_to_unix_us(unix_us_to_ntp(unix_us)) == unix_us


def test_a_sender_report_tells_the_clock_of_the_camera() -> None:
    data = build_sender_report(
        1, "cam", wall_us=1_700_000_000_123_456, rtp_timestamp=2**32 + 9, packets=3, octets=4
    )
    report, description = parse_compound(b"x" + data, 1, len(data))
    assert isinstance(report, SenderReport)
    assert report.wall_us == 1_700_000_000_123_456
    assert (report.ssrc, report.rtp_timestamp, report.packets, report.octets) == (1, 9, 3, 4)
    assert description == OtherRtcp(202)


def test_a_camera_without_a_clock_sends_zero() -> None:
    data = struct.pack("!BBHIQIII", 0x80, 200, 6, 1, 0, 0, 0, 0)
    (report,) = parse_compound(data, 0, len(data))
    assert isinstance(report, SenderReport)
    assert report.wall_us is None


def test_a_receiver_report_is_a_compound_with_a_name() -> None:
    report = ReceptionReport(0xAA, 70_000, 5, 0.5, 12, 0x1234_5678_9ABC_DEF0, 1_500_000)
    data = build_receiver_report(0xBB, "vigie", report)
    assert parse_compound(data, 0, len(data)) == [OtherRtcp(201), OtherRtcp(202)]
    assert len(data) % 4 == 0
    words = struct.unpack_from("!BBHIIIIIII", data)
    assert words == (
        0x81, 201, 7, 0xBB, 0xAA, 128 << 24 | 5, 70_000, 12, 0x56789ABC, 98_304,
    )  # fmt: skip
    assert b"\x01\x05vigie\0" in data


def test_before_the_first_packet_the_report_is_empty() -> None:
    data = build_receiver_report(1, "abcdef")
    assert data[:2] == bytes((0x80, 201))
    assert len(parse_compound(data, 0, len(data))) == 2


def test_who_leaves_is_named() -> None:
    data = build_bye(77)
    assert parse_compound(data, 0, len(data)) == [Bye((77,))]


@given(st.binary(max_size=100))
def test_random_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedMedia):
        parse_compound(data, 0, len(data))


@given(st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_damaged_reports_are_parsed_or_refused(position: int, patch: bytes) -> None:
    data = bytearray(build_sender_report(1, "c", wall_us=1, rtp_timestamp=2, packets=3, octets=4))
    data[position : position + len(patch)] = patch
    with contextlib.suppress(MalformedMedia):
        parse_compound(data, 0, len(data))
