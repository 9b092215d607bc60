"""Depacketisers: RTP packets in, key-frame intervals out (RFC 3550, 6184, 7798).

Built for a reader that drains many sockets in ticks: `push_interleaved` walks all packets of one
tick in one loop. The packets in the middle of a fragmented NAL unit, eight of ten at camera bit
rates, cost one `unpack_from`, five comparisons and one append. Those that begin or end one, in
their order and with nothing in their header to be skipped, go straight to the payload; everything
else takes the thorough way through `_packet`. There are no per-packet objects and no per-packet
copies but the one into the frame at hand.

The rules for broken streams, in one place:

1. Sequence numbers must follow each other. RTP over TCP is never reordered by the network, so a
   gap means that packets are gone. A number already seen (up to 100 back) is dropped and counted;
   a hundred of those in a row, a larger step back, or a frame that is new, mean that the sender
   began anew.
2. When something is missing or unreadable, the open GOP ends at its last whole access unit and
   one `Discontinuity` follows it. Nothing is taken until the next key frame, whose beginning must
   be certain: it comes after a marker, after a change of timestamp, or opens with an access unit
   delimiter, SPS (H.264) or VPS (H.265), and its first slice is the first of the picture.
   A frame that ended with a marker just before the gap is thrown away, too, when more of it comes
   behind the gap, or when this camera has been seen to mark every slice and not the frame.
3. Leading pictures of the first key frame that refer to what was lost are dropped and counted.
"""

import struct
from typing import Final

from vigie.media.access_unit import RULES
from vigie.media.codec import VideoCodec
from vigie.media.errors import MalformedMedia
from vigie.media.gop import (
    Discontinuity,
    DiscontinuityReason,
    Gop,
    Limits,
    ReceptionStatistics,
)
from vigie.media.gop_builder import BadPayload, GopBuilder
from vigie.media.parameters import ParameterSets
from vigie.media.payload import NO_FRAGMENT, payload_reader
from vigie.media.rtp import Buffer, RtpHeader, parse_header, unwrap_near

# "$", channel, length, then the RTP header with the first four payload bytes (RFC 2326 10.12):
# magic, length, first two header bytes, sequence, timestamp and SSRC in one, payload.
_INTERLEAVED: Final = struct.Struct("!HHHHQI")
_INTERLEAVED_HEADER: Final = 4
_DOLLAR: Final = 0x24
_PLAIN_HEADER: Final = 0x8000  # version 2, no padding, extension, CSRC
_MARKER: Final = 0x80
_HEADER_SIZE: Final = 12
_MASK_32: Final = 0xFFFFFFFF
_SHORTEST_FAST: Final = 16
MAX_MISORDER: Final = 100  # RFC 3550 appendix A.1


class Depacketizer:
    """Reassembles one stream; not thread-safe. Built by `make_depacketizer`."""

    __slots__ = (
        "_builder",
        "_expected",
        "_gap",
        "_latest_us",
        "_marked",
        "_payload",
        "_payload_type",
        "_skipping",
        "_stale",
        "_stamp",
        "statistics",
    )

    def __init__(
        self,
        codec: VideoCodec,
        payload_type: int,
        parameters: ParameterSets | None,
        limits: Limits,
    ) -> None:
        self.statistics: Final = ReceptionStatistics()
        self._builder: Final = GopBuilder(RULES[codec], parameters, limits, self.statistics)
        self._payload: Final = payload_reader(codec, self._builder)
        self._payload_type: Final = payload_type
        self._stale = 0  # packets in a row whose number was behind
        self._restart()

    def _restart(self) -> None:
        self._expected = -1  # the next sequence number; negative until the first packet
        self._stamp = -1  # timestamp << 32 | SSRC of the packet before
        self._marked = True  # the access unit of `_stamp` ended with a marker
        self._skipping = False  # until the next certain beginning of an access unit
        self._gap = False  # packets are missing just before the one at hand
        self._latest_us = 0  # arrival of the last packet of `_stamp` but middles of fragments

    @property
    def gop(self) -> Gop | None:
        """The GOP that is still growing; only its whole access units may be used."""
        return self._builder.gop

    @property
    def ssrc(self) -> int | None:
        """The source of the last packet, for receiver reports."""
        return None if self._stamp < 0 else self._stamp & _MASK_32

    def take(self) -> list[Gop | Discontinuity]:
        """What was finished since the last call, in order; usually the empty list."""
        return self._builder.take()

    def flush(self) -> None:
        """The stream ended: closes the open GOP at its last whole access unit."""
        self._builder.flush()
        self._payload.reset()
        self._restart()

    def push_interleaved(
        self, buffer: Buffer, start: int, end: int, channel: int, arrival_us: int
    ) -> int:
        """Take every whole interleaved packet of ``channel`` from ``buffer[start:end]``.

        Returns the position of the first byte not taken: a packet not yet whole, a packet of
        another channel, or no interleaved packet at all.
        """
        magic = _DOLLAR << 8 | channel
        plain = _PLAIN_HEADER | self._payload_type
        marked = plain | _MARKER
        unpack, builder, payload = _INTERLEAVED.unpack_from, self._builder, self._payload
        shift, skip = payload.fragment_shift, _INTERLEAVED_HEADER + payload.fragment_skip
        expected, stamp, middle = self._expected, self._stamp, payload.middle
        data = builder.data
        position, last, count, received = start, end - _INTERLEAVED.size, 0, 0
        with memoryview(buffer) as view:
            while position <= last:
                found, length, head, sequence, current, word = unpack(buffer, position)
                following = position + 4 + length
                if found != magic or following > end:
                    break
                if (
                    word >> shift == middle
                    and sequence == expected
                    and current == stamp
                    and head == plain
                    and length >= _SHORTEST_FAST
                ):
                    data += view[position + skip : following]
                    expected = (sequence + 1) & 0xFFFF
                    count += 1
                    received += length
                else:
                    if (
                        sequence == expected
                        and head | _MARKER == marked
                        and (current ^ stamp) & _MASK_32 == 0
                        and length >= _SHORTEST_FAST
                    ):
                        self._expected = (sequence + 1) & 0xFFFF
                        count += 1
                        received += length
                        begin = position + _INTERLEAVED_HEADER + _HEADER_SIZE
                        self._payload_packet(current, head, view, begin, following, arrival_us)
                    else:
                        self._count(count, received)
                        count = received = 0
                        self._expected = expected
                        self._packet(view, position + 4, length, arrival_us)
                    expected, stamp, middle = self._expected, self._stamp, payload.middle
                    data = builder.data
                position = following
            self._expected = expected
            self._count(count, received)
            position = self._tail(view, position, end, magic, arrival_us)
        self._check_size()
        return position

    def push(self, buffer: Buffer, offset: int, length: int, arrival_us: int) -> None:
        """Take one RTP packet at ``buffer[offset:offset+length]``."""
        with memoryview(buffer) as view:
            self._packet(view, offset, length, arrival_us)
        self._check_size()

    def _count(self, packets: int, size_bytes: int) -> None:
        """Packets that followed each other."""
        statistics = self.statistics
        statistics.packets += packets
        statistics.payload_bytes += size_bytes
        statistics.highest_sequence += packets
        if packets:
            self._stale = 0

    def _tail(self, view: memoryview, position: int, end: int, magic: int, arrival_us: int) -> int:
        """Packets so near to the end of the buffer that the fast loop could not look at them."""
        while position + _INTERLEAVED_HEADER <= end:
            length = view[position + 2] << 8 | view[position + 3]
            following = position + _INTERLEAVED_HEADER + length
            if (view[position] << 8 | view[position + 1]) != magic or following > end:
                break
            self._packet(view, position + _INTERLEAVED_HEADER, length, arrival_us)
            position = following
        return position

    def _packet(self, view: memoryview, offset: int, length: int, arrival_us: int) -> None:
        statistics = self.statistics
        statistics.packets += 1
        statistics.payload_bytes += length
        try:
            header = parse_header(view, offset, length)
        except MalformedMedia as error:
            self._break(DiscontinuityReason.PACKET_MALFORMED, 0, error.message)
            return
        if header.payload_type != self._payload_type:
            statistics.packets_foreign += 1
            # It takes part in the numbering only where it is of the same source.
            if header.ssrc == self.ssrc:
                self._is_next(header)
            return
        start, end = header.payload_start, header.payload_end
        # Packets of padding only are congestion probes and keep-alives.
        if self._is_next(header) and start < end:
            stamp = header.timestamp << 32 | header.ssrc
            flags = _MARKER if header.marker else 0
            self._payload_packet(stamp, flags, view, start, end, arrival_us)

    def _payload_packet(  # noqa: PLR0917 - once for every tenth packet; names would cost
        self, stamp: int, flags: int, view: memoryview, start: int, end: int, arrival_us: int
    ) -> None:
        """Take ``view[start:end]``, the payload of the packet that was due.

        ``flags`` are the first two bytes of its header.
        """
        if self._enter(stamp, view, start, end, arrival_us):
            try:
                self._payload.read(view, start, end)
            except BadPayload as error:
                self._break(error.reason, 0, error.detail)
            except MalformedMedia as error:
                self._break(DiscontinuityReason.PARAMETER_SETS_MALFORMED, 0, error.message)
        if not flags & _MARKER:
            return
        if self._skipping:
            self._marked = True
        elif self._payload.middle != NO_FRAGMENT:
            reason = DiscontinuityReason.PACKET_MALFORMED
            self._break(reason, 0, "marker before the end of a fragmented NAL unit")
            self._marked = True
        elif self._builder.has_picture:
            # Without a slice it is the mistake of cameras that mark parameter sets, too.
            self._builder.finish_access_unit(arrival_us)
            self._marked = True

    def _is_next(self, header: RtpHeader) -> bool:
        """Follow sequence number and source; False when the packet is to be dropped."""
        statistics = self.statistics
        sequence = header.sequence
        if self._stamp < 0:
            # Nothing before it was media: there may have been padding, which tells no source.
            statistics.highest_sequence = sequence
        elif header.ssrc != self._stamp & _MASK_32:
            self._doubt(header)
            self._break(DiscontinuityReason.SOURCE_CHANGED, 0, f"SSRC {header.ssrc:08x}")
            statistics.highest_sequence = sequence
            self._gap = True
        elif sequence != self._expected:
            return self._jump(header)
        else:
            statistics.highest_sequence += 1
        self._expected = (sequence + 1) & 0xFFFF
        self._stale = 0
        return True

    def _doubt(self, header: RtpHeader) -> None:
        if self._marked:
            stamp = header.timestamp << 32 | header.ssrc
            self._builder.doubt_access_unit(goes_on=stamp == self._stamp)

    def _jump(self, header: RtpHeader) -> bool:
        sequence = header.sequence
        missing = (sequence - self._expected) & 0xFFFF
        backward = 0x10000 - missing
        is_behind = backward <= MAX_MISORDER and self._stale < MAX_MISORDER
        if is_behind and self._is_repeated(header.timestamp):
            self._stale += 1
            self.statistics.packets_duplicate += 1
            return False
        self._stale = 0
        self._doubt(header)
        if missing < 0x8000:  # noqa: PLR2004 - half the range: nearer ahead than behind
            self.statistics.packets_lost += missing
            self.statistics.highest_sequence += missing + 1
            self._break(DiscontinuityReason.PACKETS_LOST, missing, f"before packet {sequence}")
        else:
            self.statistics.highest_sequence = sequence
            detail = f"{self._expected} was due, {sequence} came"
            self._break(DiscontinuityReason.SEQUENCE_RESTARTED, 0, detail)
        self._expected = (sequence + 1) & 0xFFFF
        self._gap = True
        return True

    def _is_repeated(self, timestamp: int) -> bool:
        """Whether a packet of that time may have come before; a new one only bears an old number.

        To drop it would leave its frame without it, and nobody would know.
        """
        newest = self._stamp >> 32
        if timestamp == newest:
            return True
        gop = self._builder.gop
        if gop is None or not gop.timestamps:
            # While a key frame is awaited: only one that is later than all before can be new.
            return (newest - timestamp) & _MASK_32 < 1 << 31
        if (timestamp - gop.timestamps[0]) & _MASK_32 >= 1 << 31:
            return True
        # Packets so little behind are of that many frames at most.
        latest = gop.timestamps[-MAX_MISORDER:]
        return unwrap_near(timestamp, latest[-1]) in latest

    def _enter(self, stamp: int, view: memoryview, start: int, end: int, arrival_us: int) -> bool:
        """Close and open access units before this packet; False when it is to be skipped."""
        builder, payload = self._builder, self._payload
        gap, self._gap = self._gap, False
        if stamp != self._stamp:
            if payload.middle != NO_FRAGMENT:
                reason = DiscontinuityReason.PACKET_MALFORMED
                self._break(reason, 0, "new timestamp inside a fragmented NAL unit")
            elif not self._marked and builder.has_picture:
                # It had come with its last packet; this one may be a frame interval later.
                builder.finish_access_unit(self._latest_us)
            self._stamp = stamp
            self._skipping = gap and not payload.starts_certainly(view, start, end)
            builder.set_timestamp(stamp >> 32)
        elif self._marked:
            if self._skipping:
                self._skipping = not payload.starts_certainly(view, start, end)
                builder.set_timestamp(stamp >> 32)
            elif not payload.begins_access_unit(view, start, end, fields=builder.fields):
                builder.reopen_access_unit()
        self._marked = False
        self._latest_us = arrival_us
        return not self._skipping

    def _break(self, reason: DiscontinuityReason, packets: int, detail: str) -> None:
        self._payload.reset()
        self._skipping = True
        self._builder.break_off(reason, packets, detail)

    def _check_size(self) -> None:
        excess = self._builder.excess()
        if excess is not None:
            self._break(*excess)


def make_depacketizer(
    codec: VideoCodec,
    payload_type: int,
    parameters: ParameterSets | None = None,
    limits: Limits | None = None,
) -> Depacketizer:
    """A depacketiser for one stream.

    Args:
        codec: what the SDP's rtpmap says.
        payload_type: the RTP payload type; packets of others are counted and dropped.
        parameters: what the SDP's fmtp announces (`parameter_sets_from_fmtp`), None when nothing.
        limits: bounds; the defaults of `Limits` when None.
    """
    return Depacketizer(codec, payload_type, parameters, limits or Limits())
