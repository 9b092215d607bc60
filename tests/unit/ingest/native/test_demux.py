"""One connection taken apart: packets, control packets, messages, garbage."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.ingest_engine.sinks import RecordingSink
from long_forms import examples
from unit.ingest.rtsp.transcript import Conversation
from vigie.ingest.engine import EndCause
from vigie.ingest.native.demux import Demultiplexer
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.rtsp.errors import RtspError
from vigie.ingest.rtsp.sdp import VideoTrack
from vigie.media.gop import Limits

SPS = bytes.fromhex("6742c01eda0280bfe584000003000400000300c83c58ba80")
PPS = bytes.fromhex("68ce3c80")
IDR = b"\x65\x88" + bytes(range(1, 60))
SLICE = b"\x41\x9a" + bytes(range(1, 60))


class Control:
    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def control_packet(self, buffer: bytearray, offset: int, length: int) -> None:
        self.packets.append(bytes(buffer[offset : offset + length]))


def packet(
    sequence: int, ticks: int, nal: bytes, *, marker: bool = True, channel: int = 0
) -> bytes:
    head = struct.pack("!BBHII", 0x80, 96 | (0x80 if marker else 0), sequence, ticks, 7)
    return struct.pack("!BBH", 0x24, channel, len(head) + len(nal)) + head + nal


def stream(groups: int = 3, channel: int = 0) -> list[bytes]:
    packets, sequence = [], 65_530
    for number in range(groups):
        ticks = number * 3 * 3600
        for nal, marker, offset in (
            (SPS, False, 0),
            (PPS, False, 0),
            (IDR, True, 0),
            (SLICE, True, 3600),
            (SLICE, True, 7200),
        ):
            packets.append(
                packet(sequence & 0xFFFF, ticks + offset, nal, marker=marker, channel=channel)
            )
            sequence += 1
    return packets


class Receiving:
    """A demultiplexer of a session that plays."""

    def __init__(self) -> None:
        talk = Conversation()
        talk.until_playing()
        self.control = Control()
        self.sink = RecordingSink()
        self.reception = Reception(VideoTrack("h264", 96, "", {}), self.sink, Limits())
        self.reception.note_time(1_000_000, 0)
        self.demux = Demultiplexer(talk.client, self.control, NativeSettings(garbage_bytes=4096))
        self.demux.attach(self.reception, 0, 1)
        self.rest = b""

    def push(self, data: bytes) -> None:
        self.rest += data
        buffer = bytearray(self.rest) + bytearray(64)  # what other sessions have left behind
        taken = self.demux.consume(buffer, 0, len(self.rest), 0)
        self.rest = self.rest[taken:]
        self.reception.deliver(1_000_000)

    @property
    def frame_count(self) -> int:
        self.reception.finish(1_000_000)
        return sum(len(group.frames) for group in self.sink.groups)


@settings(max_examples=examples(30), deadline=None)
@given(cuts=st.lists(st.integers(1, 200), max_size=60))
def test_however_the_bytes_are_cut_the_frames_are_the_same(cuts: list[int]) -> None:
    receiving = Receiving()
    data = b"".join(stream())
    for cut in cuts:
        receiving.push(data[:cut])
        data = data[cut:]
    receiving.push(data)
    assert receiving.frame_count == 9
    assert receiving.sink.losses == []
    assert receiving.rest == b""


def test_control_packets_and_messages_between_packets() -> None:
    receiving = Receiving()
    packets = stream()
    message = b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n"
    packets[4:4] = [b"$\1\0\4\x80bcd", message, b"$\5\0\2zz", b"\r\n"]
    receiving.push(b"".join(packets))
    assert receiving.control.packets == [b"\x80bcd"]
    assert receiving.frame_count == 9


@pytest.mark.parametrize(
    "garbage", [b"\xff\xee\xdd", b"$", b"$\0\xff", b"$\0\0\1x", b"ABCDEFGH" * 20, b"$$$$$$$$"]
)
def test_garbage_is_skipped_and_loses_no_whole_packet_behind_it(garbage: bytes) -> None:
    receiving = Receiving()
    packets = stream(4)
    packets[7:7] = [garbage]
    receiving.push(b"".join(packets))
    # What garbage that looks like a packet swallows is a loss that is told; frames never break.
    frames = receiving.frame_count
    assert frames == 12 or (receiving.sink.losses and frames >= 3)


def test_garbage_without_end_ends_the_session() -> None:
    receiving = Receiving()
    receiving.push(b"\xff" * 4000)
    with pytest.raises(RtspError) as caught:
        receiving.push(b"\xff" * 1000)
    assert caught.value.cause is EndCause.STREAM_UNSUPPORTED


def test_media_on_another_channel_than_agreed_is_found() -> None:
    receiving = Receiving()
    receiving.push(b"".join(stream(channel=2)))
    receiving.push(b"$\3\0\2\x80i")
    assert receiving.frame_count == 9
    assert receiving.control.packets == [b"\x80i"]


def test_a_channel_is_not_exchanged_once_media_came() -> None:
    receiving = Receiving()
    receiving.push(stream()[0])
    receiving.push(b"".join(stream(channel=2)))
    assert receiving.reception.media_packets == 1


@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_damaged_streams_break_no_frame(data: st.DataObject) -> None:
    damaged = bytearray(b"".join(stream(4)))
    for _ in range(data.draw(st.integers(1, 5))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        if data.draw(st.booleans()):
            del damaged[position : position + data.draw(st.integers(1, 80))]
        else:
            damaged[position:position] = data.draw(st.binary(min_size=1, max_size=30))
        if not damaged:
            return
    receiving = Receiving()
    try:
        receiving.push(bytes(damaged))
    except RtspError:
        return
    for group in receiving.sink.groups:
        assert group.size_bytes == sum(map(len, group.frames))
        assert len(group.frames) == len(group.presentation_ticks) == len(group.arrival_us)
