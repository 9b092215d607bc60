"""What comes over one RTSP connection, taken apart: media, control packets, messages, garbage.

The bytes lie in the buffer that all sessions of a thread share; what is not whole yet is kept by
the session and put in front of what comes next.
"""

from typing import Final, Protocol

from vigie.ingest.engine import EndCause
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.rtsp.client import INTERLEAVED_MARK, RtspClient
from vigie.ingest.rtsp.errors import MalformedMessageError, RtspError

_HEADER: Final = 4
_RTP_VERSION: Final = 2
_EARLY_PACKET_BYTES: Final = 256  # what one costs at least that waits for PLAY's answer


class ControlSink(Protocol):
    """Takes RTCP packets."""

    def control_packet(self, buffer: bytearray, offset: int, length: int) -> None:
        """One RTCP compound at ``buffer[offset:offset+length]``."""
        ...


class Demultiplexer:
    """Walks through the received bytes of one session.

    Args:
        client: takes the messages.
        control: takes RTCP.
        settings: ``garbage_bytes``, the most that is skipped in a row; ``early_bytes``, the most
            media before PLAY is answered.
    """

    __slots__ = (
        "_client",
        "_control",
        "_control_channel",
        "_early_bytes",
        "_early_limit",
        "_garbage_limit",
        "_media_channel",
        "_skipped",
        "garbage_bytes",
        "reception",
    )

    def __init__(self, client: RtspClient, control: ControlSink, settings: NativeSettings) -> None:
        self._client = client
        self._control = control
        self._garbage_limit = settings.garbage_bytes
        self._early_limit = settings.early_bytes
        self._early_bytes = 0
        self._media_channel = self._control_channel = -1
        self._skipped = 0
        self.garbage_bytes = 0
        self.reception: Reception | None = None

    def attach(self, reception: Reception, media_channel: int, control_channel: int) -> None:
        """The track is set up: its packets come on these channels."""
        self.reception = reception
        self._media_channel = media_channel
        self._control_channel = control_channel

    def consume(
        self, buffer: bytearray, start: int, end: int, arrival_us: int, *, paused: bool = False
    ) -> int:
        """Take what is whole in ``buffer[start:end]``; where it stopped.

        It stops at what is not whole yet, and where a message has caused an event: that must be
        acted on before the packets behind it are looked at.

        Raises:
            RtspError: the conversation is over.
        """
        position = start
        while position < end:
            before = position
            if buffer[position] == INTERLEAVED_MARK:
                position = self._packets(buffer, position, end, arrival_us)
            else:
                position = self._messages(buffer, position, end, paused=paused)
            if position == before or self._client.has_events:
                break
        if self.reception is not None and not self._client.is_playing:
            self._bound_early(self.reception, position - start)
        return position

    def _bound_early(self, reception: Reception, size_bytes: int) -> None:
        """Media before the answer to PLAY is kept, since it may not be delivered yet."""
        self._early_bytes += size_bytes
        packets_bytes = reception.media_packets * _EARLY_PACKET_BYTES
        if self._early_bytes + packets_bytes > self._early_limit:
            raise RtspError(EndCause.STREAM_UNSUPPORTED, "too much media before PLAY was answered")

    def _packets(self, buffer: bytearray, position: int, end: int, arrival_us: int) -> int:
        reception, channel = self.reception, self._media_channel
        if reception is not None:
            taken = reception.reader.push_interleaved(buffer, position, end, channel, arrival_us)
            if taken != position:
                self._skipped = 0
                return taken
        if end - position <= _HEADER:
            return position
        if self._client.is_playing and buffer[position + _HEADER] >> 6 != _RTP_VERSION:
            # Neither RTP nor RTCP: waiting for what its length promises would swallow footage.
            return self._skip_garbage(buffer, position, end)
        following = position + _HEADER + (buffer[position + 2] << 8 | buffer[position + 3])
        if following > end:
            return position
        found = buffer[position + 1]
        length = following - position - _HEADER
        if found == self._control_channel:
            self._control.control_packet(buffer, position + _HEADER, length)
        elif self._is_misplaced(buffer, position + _HEADER, length):
            self._media_channel = found
            self._control_channel = (found + 1) & 0xFF
            return self._packets(buffer, position, end, arrival_us)
        return following

    def _is_misplaced(self, buffer: bytearray, offset: int, length: int) -> bool:
        """Whether this is our video on a channel that was not agreed.

        Some cameras answer SETUP with channels that they then do not use. Believed only while
        nothing has come on the agreed one.
        """
        reception = self.reception
        if reception is None or reception.media_packets or length < 12:  # noqa: PLR2004 - RTP's fixed header
            return False
        is_rtp = buffer[offset] >> 6 == _RTP_VERSION
        return is_rtp and buffer[offset + 1] & 0x7F == reception.payload_type

    def _messages(self, buffer: bytearray, position: int, end: int, *, paused: bool) -> int:
        try:
            return self._client.consume(buffer, position, end, paused=paused)
        except MalformedMessageError:
            if not self._client.is_playing:
                raise
        return self._skip_garbage(buffer, position, end)

    def _skip_garbage(self, buffer: bytearray, position: int, end: int) -> int:
        """The next place that looks like a packet of ours; sequence numbers tell what was lost."""
        found = position
        while True:
            found = buffer.find(INTERLEAVED_MARK, found + 1, end)
            if found < 0:
                found = end
                break
            if end - found < _HEADER + 2 or self._is_packet(buffer, found, end):
                break
        self._skipped += found - position
        self.garbage_bytes += found - position
        if self._skipped > self._garbage_limit:
            raise RtspError(EndCause.STREAM_UNSUPPORTED, "bytes without end that are no packets")
        return found

    def _is_packet(self, buffer: bytearray, position: int, end: int) -> bool:
        channel = buffer[position + 1]
        if channel not in {self._media_channel, self._control_channel}:
            return False
        if buffer[position + _HEADER] >> 6 != _RTP_VERSION:
            return False
        following = position + _HEADER + (buffer[position + 2] << 8 | buffer[position + 3])
        return following >= end or buffer[following] in {INTERLEAVED_MARK, 0x52}  # "R" of RTSP/1.0
