"""Sends one camera's frames to one viewer, well or badly as the active faults say.

The well-behaved path (`Stream._send_plain`) is what a load of hundreds of cameras runs through:
copy a prepared frame, patch it, one write. Everything else takes the packets apart.
"""

import secrets
import struct
from collections import deque
from typing import Final, Protocol

from vigie.simcam.camera import Camera
from vigie.simcam.faults import PACKET_FAULTS, Fault, FaultRequest
from vigie.simcam.marks import mark_text
from vigie.simcam.mutate import garbage_bytes, garbage_packets, mutate_packets
from vigie.simcam.packetize import split_packets
from vigie.simcam.quirks import Quirk
from vigie.simcam.rtcp import interleave, sender_report

_MASK_32: Final = 0xFFFFFFFF
_PIECES: Final = 4
_WIRE_FAULTS: Final = frozenset(
    {*PACKET_FAULTS, Fault.SILENT, Fault.SILENT_WITH_RTCP, Fault.BURSTS, Fault.SLOW_CAMERA}
)


class Wire(Protocol):
    """The connection to the viewer."""

    def write(self, data: bytes | bytearray) -> None:
        """Send, or keep until it can be sent."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes kept."""
        ...

    def finish(self) -> None:
        """Close after what is kept was sent."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Stream:
    """Media of one session.

    Args:
        camera: whose frames.
        session: session id, for the log of what was sent.
        wire: where to.
        channels: interleaved channels of RTP and RTCP.
        report_us: interval of sender reports.
        backlog_limit: a viewer that lets more bytes pile up is disconnected.
    """

    def __init__(
        self,
        camera: Camera,
        session: str,
        wire: Wire,
        *,
        channels: tuple[int, int],
        report_us: int,
        backlog_limit: int,
    ) -> None:
        self.camera = camera
        self.session = session
        self._wire = wire
        self._rtp_channel, self._rtcp_channel = channels
        self._report_us = report_us
        self._backlog_limit = backlog_limit
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        self.timestamp_base = secrets.randbits(32)
        self._packets = 0
        self._octets = 0
        # Far beyond any run, for a camera that sends none.
        self._next_report_us = 1 << 62 if Quirk.NO_REPORTS in camera.config.quirks else 0
        self._pending: list[FaultRequest] = []
        self._delayed: deque[tuple[int, bytes]] = deque()
        self._is_silent = False
        self._is_running = True
        self.next_decode = camera.next_due()
        if camera.config.starts_at_key_frame:
            self.next_decode = camera.next_key(self.next_decode)
        self._span = camera.sent.open(session, self.next_decode)

    @property
    def first_timestamp(self) -> int:
        """RTP time stamp of the next frame, for RTP-Info."""
        return self._timestamp(self.camera.frame(self.next_decode)[2].frame_number)

    def inject(self, request: FaultRequest) -> None:
        """Do this once, with the next frame."""
        self._pending.append(request)

    def respond(self, data: bytes) -> None:
        """Send an answer, never into the middle of a packet that is sent in pieces."""
        self._write(data)

    def stop(self) -> None:
        """Send nothing more (TEARDOWN, PAUSE, lost connection, expired session).

        What is held back goes out first: half a packet would swallow what follows it.
        """
        while self._delayed:
            self._wire.write(self._delayed.popleft()[1])
        self._is_running = False

    def _is_over(self) -> bool:
        return not self._is_running

    def _timestamp(self, frame_number: int) -> int:
        return (self.timestamp_base + self.camera.rtp_ticks(frame_number)) & _MASK_32

    def step(self, now_us: int) -> int | None:
        """See `Paced.step`."""
        if not self._is_running:
            return None
        if self._delayed:
            self._release(now_us)
        due_us = self.camera.due_us(self.next_decode)
        if due_us <= now_us:
            active = self.camera.active
            if self._pending or self._is_silent or (active and not _WIRE_FAULTS.isdisjoint(active)):
                self._send_faulty(now_us)
            else:
                self._send_plain(now_us)
            if self._is_over():
                return None
            due_us = self.camera.due_us(self.next_decode)
        return min(due_us, self._delayed[0][0]) if self._delayed else due_us

    # --- the plain path ---

    def _send_plain(self, now_us: int) -> None:
        data, _ = self._take_frame()
        self._write(data)
        self._after_frame(now_us)

    def _take_frame(self) -> tuple[bytearray, int]:
        """(stamped packets, decode number) of the next frame; moves on to the one after it."""
        template, mark = self.camera.template(self.next_decode)
        text = mark_text(mark.frame_number, mark.decode_number, mark.capture_us)
        timestamp = self._timestamp(mark.frame_number)
        data = template.stamp(self.sequence, timestamp, self.ssrc, text, self._rtp_channel)
        count = len(template.headers)
        self.sequence = (self.sequence + count) & 0xFFFF
        self._packets += count
        self._octets += template.payload_bytes
        self._span.last = self.next_decode
        self.next_decode += 1
        self.camera.frames_sent += 1
        return data, mark.decode_number

    def _after_frame(self, now_us: int) -> None:
        if now_us >= self._next_report_us:
            self._next_report_us = now_us + self._report_us
            self._send_report()
        if self._wire.backlog_bytes() > self._backlog_limit:
            self.camera.overruns += 1
            self._is_running = False
            self._wire.abort()

    def _write(self, data: bytes | bytearray) -> None:
        if self._delayed:  # never overtake what is held back
            self._delayed.append((self._delayed[-1][0], bytes(data)))
        else:
            self._wire.write(data)

    def _send_report(self) -> None:
        wall_us, ticks = self.camera.report_times()
        packet = sender_report(
            self.ssrc,
            wall_us=wall_us,
            timestamp=(self.timestamp_base + ticks) & _MASK_32,
            packets=self._packets,
            octets=self._octets,
            name=self.camera.id,
        )
        self._write(interleave(self._rtcp_channel, packet))

    # --- the faulty path ---

    def _send_faulty(self, now_us: int) -> None:
        active = self.camera.active
        if Fault.SILENT in active or Fault.SILENT_WITH_RTCP in active:
            self._stay_silent(now_us)
            return
        if self._is_silent:
            # What was captured meanwhile is lost, so only a key frame can be understood.
            self._is_silent = False
            self.next_decode = self.camera.next_key(self.camera.next_due())
            self._span = self.camera.sent.open(self.session, self.next_decode)
            return
        pending, self._pending = self._pending, []
        for request in pending:
            self._before_frame(request)
        data, number = self._take_frame()
        drop = next((r for r in pending if r.fault is Fault.DROP_CONNECTION), None)
        if drop is not None:
            self._damage(number, Fault.DROP_CONNECTION)
            self._write(data[: len(data) // 2])
            self._is_running = False
            self._wire.finish()
            return
        self._write_badly(self._mutated(bytes(data), number, pending), now_us)
        self._after_frame(now_us)

    def _stay_silent(self, now_us: int) -> None:
        self._is_silent = True
        self.next_decode += 1
        if Fault.SILENT_WITH_RTCP in self.camera.active and now_us >= self._next_report_us:
            self._next_report_us = now_us + self._report_us
            self._send_report()

    def _before_frame(self, request: FaultRequest) -> None:
        parameters = request.parameters
        if request.fault is Fault.WRONG_SEQUENCE:
            self.sequence = (self.sequence + (parameters.count or 1)) & 0xFFFF
        elif request.fault is Fault.TIMESTAMP_DISCONTINUITY:
            self.timestamp_base += round(parameters.seconds * 90_000)
        elif request.fault is Fault.GARBAGE_BYTES:
            self._write(garbage_bytes(parameters.count or 64))
        elif request.fault is Fault.GARBAGE_NALS:
            self._send_garbage_nals(parameters.count or 1)

    def _send_garbage_nals(self, count: int) -> None:
        codec = self.camera.prepared.footage.codec
        timestamp = self.first_timestamp
        for payload in garbage_packets(codec, count):
            header = struct.pack(">BBHII", 0x80, 96, self.sequence, timestamp, self.ssrc)
            self._write(interleave(self._rtp_channel, header + payload))
            self.sequence = (self.sequence + 1) & 0xFFFF

    def _mutated(self, data: bytes, number: int, pending: list[FaultRequest]) -> bytes:
        requests = [r for r in (*pending, *self.camera.active.values()) if r.fault in PACKET_FAULTS]
        if not requests:
            return data
        packets = split_packets(data)
        for request in requests:
            changed = mutate_packets(packets, request, self.camera.random)
            if changed != packets:
                self._damage(number, request.fault)
            packets = changed
        return b"".join(packets)

    def _damage(self, number: int, fault: Fault) -> None:
        self.camera.sent.damaged.append((number, fault))

    def _write_badly(self, data: bytes, now_us: int) -> None:
        slow = self.camera.active.get(Fault.SLOW_CAMERA)
        burst = self.camera.active.get(Fault.BURSTS)
        if slow is not None:
            size = -(-len(data) // _PIECES)
            pause_us = slow.parameters.milliseconds * 1000 // _PIECES
            for index in range(_PIECES):
                piece = data[index * size : (index + 1) * size]
                self._hold(piece, now_us + (index + 1) * pause_us)
        elif burst is not None:
            release_us = now_us + burst.parameters.milliseconds * 1000
            self._hold(data, self._delayed[-1][0] if self._delayed else release_us)
        else:
            self._write(data)

    def _hold(self, data: bytes, release_us: int) -> None:
        last_us = self._delayed[-1][0] if self._delayed else 0
        self._delayed.append((max(release_us, last_us), data))

    def _release(self, now_us: int) -> None:
        while self._delayed and self._delayed[0][0] <= now_us:
            self._wire.write(self._delayed.popleft()[1])
