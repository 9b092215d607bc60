"""The media of an RTSP session: depacketiser, RTCP, and the way to the sink."""

from typing import Final

from vigie.ingest.delivery import Delivery
from vigie.ingest.engine import SessionSink
from vigie.ingest.rtsp.errors import UnsupportedDescriptionError
from vigie.ingest.rtsp.sdp import VideoTrack
from vigie.media import rtcp
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.errors import MediaError, MediaReason
from vigie.media.gop import Limits
from vigie.media.parameters import ParameterSets, parameter_sets_from_fmtp

_CNAME: Final = "vigie"


class Reception(Delivery):
    """The media of one session.

    Args:
        track: what was set up.
        sink: where it goes.
        limits: what one camera may make us hold.

    Raises:
        UnsupportedDescriptionError: the announced format cannot be taken.
    """

    def __init__(self, track: VideoTrack, sink: SessionSink, limits: Limits) -> None:
        codec = VideoCodec(track.codec)
        self.reader: Final[Depacketizer] = make_depacketizer(
            codec,
            payload_type=track.payload_type,
            parameters=_announced(codec, track.format_parameters),
            limits=limits,
        )
        super().__init__(self.reader, sink)
        self._last_report_ntp = self._last_report_us = 0
        self.payload_type: Final = track.payload_type
        self.said_goodbye = False

    @property
    def media_packets(self) -> int:
        """Packets of the video track so far."""
        counters = self.reader.statistics
        return counters.packets - counters.packets_foreign

    def control_packet(
        self, buffer: bytearray, offset: int, length: int, wall_us: int, monotonic_us: int
    ) -> None:
        """Take an RTCP compound; a malformed one says nothing and is left out."""
        try:
            packets = rtcp.parse_compound(buffer, offset, length)
        except MediaError:
            return
        for packet in packets:
            if isinstance(packet, rtcp.SenderReport):
                self._last_report_ntp, self._last_report_us = packet.ntp, monotonic_us
                if packet.wall_us is not None:
                    self.camera_clock(packet.wall_us, packet.rtp_timestamp, wall_us)
            elif isinstance(packet, rtcp.Bye):
                self.said_goodbye = True

    def receiver_report(self, ssrc: int, monotonic_us: int) -> bytes | None:
        """The compound to send now; None before the first packet."""
        source = self.reader.ssrc
        if source is None:
            return None
        counters = self.reader.statistics
        age = monotonic_us - self._last_report_us if self._last_report_ntp else 0
        report = rtcp.ReceptionReport(
            source,
            counters.highest_sequence & 0xFFFFFFFF,
            packets_lost=counters.packets_lost,
            last_report_ntp=self._last_report_ntp,
            delay_us=age,
        )
        return rtcp.build_receiver_report(ssrc, _CNAME, report)


def _announced(codec: VideoCodec, parameters: dict[str, str]) -> ParameterSets | None:
    """The sets of the description; None when it has none or they are unreadable.

    Unreadable ones are no reason to refuse: nearly every camera sends them in the stream, too.
    """
    try:
        return parameter_sets_from_fmtp(codec, parameters)
    except MediaError as error:
        if error.reason is MediaReason.UNSUPPORTED:
            raise UnsupportedDescriptionError(error.message) from None
        return None
