from itertools import pairwise

import pytest

from unit.simcam.conftest import MakeCamera, MakeFootage
from unit.simcam.rtpread import RtpPacket, depacketise, parse_interleaved
from vigie.platform.clock import ManualMonotonicClock
from vigie.simcam.camera import Camera
from vigie.simcam.faults import Fault, FaultParameters, FaultRequest
from vigie.simcam.marks import mark_of_nal
from vigie.simcam.packetize import split_packets
from vigie.simcam.stream import Stream

FRAME_US = 40_000


class KeptWire:
    """A wire that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.backlog = 0
        self.finished = False
        self.aborted = False

    def write(self, data: bytes | bytearray) -> None:
        self.writes.append(bytes(data))

    def backlog_bytes(self) -> int:
        return self.backlog

    def finish(self) -> None:
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    def media(self) -> list[RtpPacket]:
        packets = [p for p in split_packets(b"".join(self.writes)) if p[1] == 0]
        return [parse_interleaved(packet) for packet in packets]

    def reports(self) -> list[bytes]:
        return [p[4:] for p in split_packets(b"".join(self.writes)) if p[1] == 1]


class Bench:
    def __init__(self, camera: Camera, clock: ManualMonotonicClock) -> None:
        self.camera, self._clock = camera, clock
        self.wire = KeptWire()
        self.stream = Stream(
            camera,
            "session",
            self.wire,
            channels=(0, 1),
            report_us=5_000_000,
            backlog_limit=1_000_000,
        )
        self.due_us: int | None = camera.due_us(self.stream.next_decode)

    def play(self, frames: int) -> None:
        """Until so many more frames are due, in steps as a pacer would do them."""
        end_us = self.camera.due_us(self.stream.next_decode + frames - 1)
        while self.due_us is not None and self.due_us <= end_us:
            self._clock._now_us = max(self._clock.now_us(), self.due_us)
            self.due_us = self.stream.step(self.due_us)

    def lasting(self, fault: Fault, **parameters: object) -> None:
        self.camera.active[fault] = self.request(fault, **parameters)

    def once(self, fault: Fault, **parameters: object) -> None:
        self.stream.inject(self.request(fault, **parameters))

    @staticmethod
    def request(fault: Fault, **parameters: object) -> FaultRequest:
        return FaultRequest(fault=fault, parameters=FaultParameters.model_validate(parameters))


@pytest.fixture
def bench(make_camera: MakeCamera, monotonic: ManualMonotonicClock) -> Bench:
    return Bench(make_camera(), monotonic)


def frame_numbers(packets: list[RtpPacket]) -> list[int]:
    marks = [mark_of_nal(packet.payload) for packet in packets]
    return [mark.decode_number for mark in marks if mark is not None]


def sequence_steps(packets: list[RtpPacket]) -> set[int]:
    return {(later.sequence - earlier.sequence) & 0xFFFF for earlier, later in pairwise(packets)}


def test_a_good_stream_is_complete_and_regular(bench: Bench) -> None:
    bench.play(60)
    packets = bench.wire.media()
    assert frame_numbers(packets) == list(range(60))
    assert sequence_steps(packets) == {1}
    assert {p.ssrc for p in packets} == {bench.stream.ssrc}
    times = [p.timestamp for p in packets if p.marker]
    assert {(b - a) & 0xFFFFFFFF for a, b in pairwise(times)} == {3600}
    expected = [nal for n in range(60) for nal in bench.camera.expected(n).nals]
    assert depacketise("h264", [p.payload for p in packets]) == expected
    assert list(bench.camera.sent_frames()) == list(range(60))
    assert not bench.camera.sent.damaged


def test_numbers_wrap_around_without_a_seam(bench: Bench) -> None:
    bench.stream.sequence = 65_500
    bench.stream.timestamp_base = 2**32 - 20 * 3600
    bench.play(60)
    packets = bench.wire.media()
    assert sequence_steps(packets) == {1}
    times = [p.timestamp for p in packets if p.marker]
    assert {(b - a) & 0xFFFFFFFF for a, b in pairwise(times)} == {3600}
    assert min(p.sequence for p in packets) == 0
    assert min(times) == 0


def test_reports_come_with_the_first_frame_and_every_five_seconds(bench: Bench) -> None:
    bench.play(251)
    reports = bench.wire.reports()
    assert len(reports) == 3
    assert all(r[1] == 200 and r[4:8] == bench.stream.ssrc.to_bytes(4, "big") for r in reports)
    counts = [int.from_bytes(r[20:24], "big") for r in reports]
    assert counts[0] > 0
    assert counts == sorted(counts)


def test_a_viewer_starts_at_a_key_frame(
    make_camera: MakeCamera, monotonic: ManualMonotonicClock
) -> None:
    camera = make_camera()
    monotonic._now_us = camera.due_us(13)
    assert Bench(camera, monotonic).stream.next_decode == 20
    other = make_camera(starts_at_key_frame=False)
    monotonic._now_us = other.due_us(13)
    assert Bench(other, monotonic).stream.next_decode == 14


def test_b_frames_carry_presentation_time(
    make_camera: MakeCamera, make_footage: MakeFootage, monotonic: ManualMonotonicClock
) -> None:
    bench = Bench(make_camera(make_footage(b_frames=True)), monotonic)
    bench.play(20)
    starts = {p.timestamp: p for p in bench.wire.media() if mark_of_nal(p.payload)}
    for timestamp, packet in starts.items():
        mark = mark_of_nal(packet.payload)
        assert mark is not None
        expected = bench.stream.timestamp_base + mark.frame_number * 3600
        assert timestamp == expected & 0xFFFFFFFF


@pytest.mark.parametrize("count", [1, 2])
def test_lost_packets_leave_a_hole_in_the_sequence(bench: Bench, count: int) -> None:
    bench.play(20)
    bench.once(Fault.LOSE_PACKETS, count=count)
    bench.play(20)
    assert sequence_steps(bench.wire.media()) == {1, count + 1}
    assert list(bench.camera.sent.damaged) == [(20, Fault.LOSE_PACKETS)]


def test_a_share_of_packets_is_lost_while_it_lasts(bench: Bench) -> None:
    bench.lasting(Fault.LOSE_PACKETS, fraction=0.2)
    bench.play(50)
    del bench.camera.active[Fault.LOSE_PACKETS]
    damaged = len(bench.camera.sent.damaged)
    assert 10 < damaged < 50
    bench.play(50)
    assert len(bench.camera.sent.damaged) == damaged


def test_reordered_and_doubled_packets(bench: Bench) -> None:
    bench.play(10)
    bench.once(Fault.REORDER_PACKETS)
    bench.play(1)
    assert sequence_steps(bench.wire.media()) >= {2, 0xFFFF}
    bench.once(Fault.DUPLICATE_PACKETS)
    bench.play(1)
    assert 0 in sequence_steps(bench.wire.media())
    assert [fault for _, fault in bench.camera.sent.damaged] == [
        Fault.REORDER_PACKETS,
        Fault.DUPLICATE_PACKETS,
    ]


def test_wrong_sequence_numbers_lose_nothing(bench: Bench) -> None:
    bench.play(5)
    bench.once(Fault.WRONG_SEQUENCE, count=500)
    bench.play(5)
    packets = bench.wire.media()
    assert sequence_steps(packets) == {1, 501}
    assert frame_numbers(packets) == list(range(10))


def test_a_timestamp_discontinuity_moves_media_and_reports_together(bench: Bench) -> None:
    bench.play(5)
    bench.once(Fault.TIMESTAMP_DISCONTINUITY, seconds=100)
    bench.play(2)
    times = [p.timestamp for p in bench.wire.media() if p.marker]
    assert (times[5] - times[4]) & 0xFFFFFFFF == 3600 + 9_000_000
    assert (times[6] - times[5]) & 0xFFFFFFFF == 3600


def test_the_connection_drops_in_mid_frame(bench: Bench) -> None:
    bench.play(10)
    whole = len(b"".join(bench.wire.writes))
    bench.once(Fault.DROP_CONNECTION)
    bench.play(5)
    assert bench.wire.finished
    assert bench.due_us is None
    template, _ = bench.camera.template(10)
    assert len(b"".join(bench.wire.writes)) - whole == len(template.data) // 2
    assert list(bench.camera.sent.damaged) == [(10, Fault.DROP_CONNECTION)]


@pytest.mark.parametrize(("fault", "reports"), [(Fault.SILENT, 0), (Fault.SILENT_WITH_RTCP, 2)])
def test_silence_and_the_return_at_a_key_frame(bench: Bench, fault: Fault, reports: int) -> None:
    bench.play(5)
    bench.lasting(fault)
    before = len(bench.wire.reports())
    bench.play(252)
    assert frame_numbers(bench.wire.media()) == list(range(5))
    assert len(bench.wire.reports()) - before == reports
    del bench.camera.active[fault]
    bench.play(15)
    numbers = frame_numbers(bench.wire.media())[5:]
    assert numbers[0] % 10 == 0
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] >= 257
    assert list(bench.camera.sent_frames()) == list(range(5)) + numbers


def test_bursts_hold_everything_back_and_lose_nothing(bench: Bench) -> None:
    bench.lasting(Fault.BURSTS, milliseconds=400)
    arrived = []
    for _ in range(30):
        bench.play(1)
        arrived.append(len(frame_numbers(bench.wire.media())))
    assert len(set(arrived)) <= 4  # nothing, then ten or so at a time
    del bench.camera.active[Fault.BURSTS]
    bench.play(30)
    assert frame_numbers(bench.wire.media()) == list(range(60))
    assert sequence_steps(bench.wire.media()) == {1}


def test_a_slow_camera_sends_pieces_in_order(bench: Bench) -> None:
    bench.lasting(Fault.SLOW_CAMERA, milliseconds=300)
    bench.play(20)
    del bench.camera.active[Fault.SLOW_CAMERA]
    bench.play(20)
    assert frame_numbers(bench.wire.media()) == list(range(40))


def test_an_answer_never_goes_into_the_middle_of_a_packet(bench: Bench) -> None:
    """It would be taken for a part of the picture."""
    bench.lasting(Fault.SLOW_CAMERA, milliseconds=300)
    answer = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
    bench.play(5)
    sent = len(b"".join(bench.wire.writes))
    bench.stream.respond(answer)
    bench.play(5)
    bench.stream.stop()
    stream = b"".join(bench.wire.writes)
    assert stream.find(answer) > sent
    bench.wire.writes[:] = [stream.replace(answer, b"")]
    assert frame_numbers(bench.wire.media()) == list(range(10))


def test_garbage_is_no_frame_and_no_response(bench: Bench) -> None:
    bench.play(1)
    bench.once(Fault.GARBAGE_BYTES, count=100)
    bench.play(1)
    garbage = bench.wire.writes[-2]
    assert len(garbage) == 100
    assert b"$" not in garbage
    assert b"RTSP" not in garbage


def test_garbage_nals_keep_the_sequence(bench: Bench) -> None:
    bench.play(5)
    bench.once(Fault.GARBAGE_NALS, count=3)
    bench.play(5)
    packets = bench.wire.media()
    assert sequence_steps(packets) == {1}
    assert [p.payload[0] & 0x1F for p in packets].count(30) == 3
    assert frame_numbers(packets) == list(range(10))


def test_a_viewer_that_does_not_read_is_disconnected_and_counted(bench: Bench) -> None:
    bench.wire.backlog = 1_000_001
    bench.play(3)
    assert bench.wire.aborted
    assert bench.camera.overruns == 1
    assert len(frame_numbers(bench.wire.media())) == 1
