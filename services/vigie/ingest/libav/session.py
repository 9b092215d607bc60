"""One source on one thread: open, read packets, deliver, end."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.container
import av.error
import av.logging
import structlog

from vigie.ingest.delivery import Delivery
from vigie.ingest.engine import ConnectionInfo, EndCause, SessionSink, SourceSpec
from vigie.ingest.libav.source import OpenPlan, explain, plan
from vigie.ingest.libav.units import AccessUnitReader
from vigie.ingest.rtsp.address import scrubber_for
from vigie.ingest.stall import Heartbeat
from vigie.media.codec import VideoCodec
from vigie.media.gop import DiscontinuityReason, Limits
from vigie.platform.clock import MonotonicClock, WallClock

_CODECS: Final = {"h264": VideoCodec.H264, "hevc": VideoCodec.H265}
_US: Final = 1_000_000
# What libav's RTP reader logs, and nothing else tells, when packets are gone.
_LOSS_MESSAGES: Final = ("missed", "max delay reached", "dropping old packet", "bad cseq")
_AWAY: Final = "nothing was read for seconds: this process was stopped or starved"
_log = structlog.get_logger("vigie.ingest.libav")


@dataclass(frozen=True, slots=True)
class LibavSettings:
    """Times in seconds.

    Attributes:
        open_timeout_seconds: from the address to the first packets.
        silence_timeout_seconds: libav notices silence after twice its read timeout, so half of
            this is what it is given.
        clock_seconds: how often the camera's clock is told.
        limits: bounds of what one source can make us hold.
    """

    open_timeout_seconds: float = 10.0
    silence_timeout_seconds: float = 10.0
    clock_seconds: float = 10.0
    limits: Limits = Limits(gop_bytes=48 << 20)  # noqa: RUF009 - immutable


class _Ended(Exception):  # noqa: N818 - control flow of this module: the session is over, and why
    def __init__(self, cause: EndCause, detail: str) -> None:
        super().__init__(cause.value)
        self.cause = cause
        self.detail = detail


class LibavSession:
    """See the module.

    Args:
        source: the camera.
        sink: where its media goes.
        settings: times and bounds.
        wall: says when frames came.
        monotonic: says how long things take.
        heartbeat: tells whether this process was away.
    """

    def __init__(
        self,
        source: SourceSpec,
        sink: SessionSink,
        settings: LibavSettings,
        wall: WallClock,
        monotonic: MonotonicClock,
        *,
        heartbeat: Heartbeat,
    ) -> None:
        self._source = source
        self._sink = sink
        self._settings = settings
        self._wall = wall
        self._monotonic = monotonic
        self._heartbeat = heartbeat
        self._stalls = heartbeat.stalls()
        self._scrub = scrubber_for(source, source.uri)
        self._closing = threading.Event()
        self._delivery: Delivery | None = None
        self._next_clock_us = 0
        self._thread = threading.Thread(
            target=self._run, name=f"ingest-libav-{source.camera}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End at the next packet, or when none comes in time (libav cannot be woken)."""
        self._closing.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        """The boundary of one camera's work: whatever happens, the sink is told the end once."""
        cause, detail = EndCause.INGEST_DOWN, "an internal error; see the log"
        try:
            self._receive()
        except _Ended as end:
            cause, detail = end.cause, end.detail
        except Exception as error:  # noqa: BLE001 - boundary of one camera's work
            # No traceback: libav's exceptions carry the address with the password.
            _log.error("session_failed", camera=self._source.camera, error=type(error).__name__)
        finally:
            if self._closing.is_set():
                cause, detail = EndCause.STOPPED, ""
            elif self._was_away():  # what libav noticed first is a consequence
                cause, detail = EndCause.INGEST_DOWN, _AWAY
            self._finish(cause, self._scrub(detail))

    def _finish(self, cause: EndCause, detail: str) -> None:
        try:
            if self._delivery is not None:
                self._delivery.finish(self._wall.now_us())
        finally:
            _log.info("session_ended", camera=self._source.camera, cause=cause.value, detail=detail)
            self._sink.ended(cause, detail)

    def _receive(self) -> None:
        planned = plan(self._source)
        if planned is None:
            raise _Ended(EndCause.STREAM_UNSUPPORTED, "no engine opens addresses of this scheme")
        with av.logging.Capture(local=True) as messages:
            try:
                container = self._open(planned)
            except av.error.FFmpegError as error:
                raise _Ended(*explain(error, self._scrub, is_open=True)) from None
            try:
                with container:
                    self._read(container, planned, messages)
            except av.error.FFmpegError as error:
                raise _Ended(*explain(error, self._scrub, is_open=False)) from None

    def _open(self, planned: OpenPlan) -> av.container.InputContainer:
        settings = self._settings
        timeout = (settings.open_timeout_seconds, settings.silence_timeout_seconds / 2)
        return av.open(planned.url, options=planned.options, timeout=timeout)

    def _read(
        self,
        container: av.container.InputContainer,
        planned: OpenPlan,
        messages: list[tuple[int, str, str]],
    ) -> None:
        if not container.streams.video:
            raise _Ended(EndCause.STREAM_UNSUPPORTED, "the source offers no video")
        stream = container.streams.video[0]
        name = stream.codec_context.name
        codec = _CODECS.get(name)
        if codec is None:
            raise _Ended(EndCause.STREAM_UNSUPPORTED, _refusal(name))
        reader = AccessUnitReader(
            codec,
            stream.codec_context.extradata or b"",
            stream.time_base or Fraction(1, 90_000),
            self._settings.limits,
        )
        self._delivery = delivery = Delivery(reader, self._sink)
        has_audio = bool(container.streams.audio)
        self._sink.connected(ConnectionInfo(container.format.name, planned.transport, has_audio))
        last_seen_us = self._monotonic.now_us()
        for packet, is_last in _look_ahead(container.demux(stream)):
            if self._closing.is_set():
                raise _Ended(EndCause.STOPPED, "")
            if self._was_away():
                raise _Ended(EndCause.INGEST_DOWN, _AWAY)
            if is_last and not planned.is_file:
                break  # a dropped connection cuts the last packet short and sets no flag
            now_us, wall_us = self._monotonic.now_us(), self._wall.now_us()
            delivery.note_time(wall_us, now_us)
            self._note_losses(reader, messages)
            self._push(reader, packet, now_us)
            if delivery.deliver(wall_us) > 0:
                last_seen_us = now_us
            self._tell_clock(container, reader, packet, now_us, wall_us)
            if now_us - last_seen_us > 6 * self._settings.silence_timeout_seconds * _US:
                raise _Ended(EndCause.CAMERA_SILENT, "packets, but no whole frame")
        raise _Ended(EndCause.CLOSED_BY_CAMERA, "the source ended")

    def _was_away(self) -> bool:
        """Whether this process was since the session began: when what waited came is not known."""
        return self._heartbeat.stalls() != self._stalls

    def _push(
        self, reader: AccessUnitReader, packet: "av.Packet[av.VideoStream]", now_us: int
    ) -> None:
        units = packet.pts if packet.pts is not None else packet.dts
        if packet.is_corrupt:
            reader.interrupt(DiscontinuityReason.PACKET_MALFORMED, "marked corrupt by the demuxer")
        elif units is None:
            if reader.gop is not None:
                reason = DiscontinuityReason.PACKET_MALFORMED
                reader.interrupt(reason, "a frame without time stamp")
        else:
            reader.push(bytes(packet), units, now_us)

    def _note_losses(self, reader: AccessUnitReader, messages: list[tuple[int, str, str]]) -> None:
        """Lost RTP packets raise nothing and set no flag; libav only logs them."""
        if not messages:
            return
        found = [text for _, _, text in messages if any(m in text for m in _LOSS_MESSAGES)]
        messages.clear()
        if found:
            reader.interrupt(DiscontinuityReason.PACKETS_LOST, self._scrub(found[0].strip()))

    def _tell_clock(
        self,
        container: av.container.InputContainer,
        reader: AccessUnitReader,
        packet: "av.Packet[av.VideoStream]",
        now_us: int,
        wall_us: int,
    ) -> None:
        """The camera's clock, once libav has had a sender report."""
        start_us = container.start_time_realtime
        if start_us is None or packet.pts is None or packet.time_base is None:
            return
        if now_us < self._next_clock_us or self._delivery is None:
            return
        self._next_clock_us = now_us + round(self._settings.clock_seconds * _US)
        camera_us = start_us + round(packet.pts * packet.time_base * _US)
        self._delivery.camera_clock(camera_us, reader.timestamp(packet.pts), wall_us)


def _look_ahead(
    packets: "Iterator[av.Packet[av.VideoStream]]",
) -> "Iterator[tuple[av.Packet[av.VideoStream], bool]]":
    """Each packet with data, and whether it is the last (libav ends with an empty one)."""
    held: av.Packet[av.VideoStream] | None = None
    for packet in packets:
        if packet.size == 0:
            break
        if held is not None:
            yield held, False
        held = packet
    if held is not None:
        yield held, True


def _refusal(name: str) -> str:
    if name == "mjpeg":
        return "motion JPEG: the recording format (CMAF, ONVIF) has no place for it"
    return f"the source sends {name}; H.264 and H.265 can be recorded"
