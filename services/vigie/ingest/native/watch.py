"""The timers of a session that plays: what is due, and whether it is still alive."""

from typing import Final, Protocol

from vigie.ingest.engine import EndCause
from vigie.ingest.native.settings import NativeSettings

_US: Final = 1_000_000
_NEVER: Final = 1 << 62


class Media(Protocol):
    """What is looked at of a session's media (`vigie.ingest.native.reception.Reception`)."""

    said_goodbye: bool

    @property
    def media_packets(self) -> int:
        """Packets of the video so far."""
        ...


class Watch:
    """All times are microseconds on the monotonic clock.

    Args:
        settings: the intervals.
        keep_alive_seconds: how often the camera wants to hear of us.
        now_us: PLAY was answered.
    """

    def __init__(self, settings: NativeSettings, keep_alive_seconds: float, now_us: int) -> None:
        self._settings = settings
        self._keep_alive_us = round(keep_alive_seconds * _US)
        self._report_us = round(settings.receiver_report_seconds * _US)
        self._next_keep_alive_us = now_us + self._keep_alive_us
        self._next_report_us = now_us + self._report_us
        self._last_packet_us = self._last_frame_us = now_us
        self._goodbye_us = _NEVER
        self._media_packets = 0

    def packets(self, now_us: int) -> None:
        """Media came."""
        self._last_packet_us = now_us
        self._goodbye_us = _NEVER

    def frames(self, now_us: int) -> None:
        """Whole frames came."""
        self._last_frame_us = now_us

    def goodbye(self, now_us: int) -> None:
        """RTCP BYE came; some cameras send it and go on, so media decides."""
        if self._goodbye_us == _NEVER:
            self._goodbye_us = now_us + round(self._settings.farewell_seconds * _US)

    def delivered(self, frames: int, media: Media, now_us: int) -> None:
        """``frames`` whole frames, perhaps none, were handed over; the rest stands in ``media``."""
        if frames > 0:
            self.frames(now_us)
        if media.media_packets != self._media_packets:
            self._media_packets = media.media_packets
            self.packets(now_us)
        if media.said_goodbye:
            media.said_goodbye = False
            self.goodbye(now_us)

    def is_report_due(self, now_us: int) -> bool:
        """Whether to send a receiver report now; the next one is then planned."""
        if now_us < self._next_report_us:
            return False
        self._next_report_us = now_us + self._report_us
        return True

    def is_keep_alive_due(self, now_us: int) -> bool:
        """Whether to send a keep-alive now; the next one is then planned."""
        if now_us < self._next_keep_alive_us:
            return False
        self._next_keep_alive_us = now_us + self._keep_alive_us
        return True

    def verdict(self, now_us: int, *, is_foreign: bool) -> tuple[EndCause, str] | None:
        """Why the session must end now, if it must.

        Args:
            now_us: now.
            is_foreign: what came last could not be read as what the camera had announced.
        """
        settings = self._settings
        if now_us >= self._goodbye_us:
            return EndCause.CLOSED_BY_CAMERA, "the camera said goodbye (RTCP BYE)"
        if now_us - self._last_packet_us >= settings.silence_timeout_seconds * _US:
            return EndCause.CAMERA_SILENT, f"no media for {settings.silence_timeout_seconds:g} s"
        without_frame_us = now_us - self._last_frame_us
        if is_foreign and without_frame_us >= settings.foreign_timeout_seconds * _US:
            # A new conversation will tell what the camera sends now, e.g. after a codec change.
            return EndCause.STREAM_UNSUPPORTED, "what comes cannot be decoded as announced"
        if without_frame_us >= settings.frame_timeout_seconds * _US:
            seconds = settings.frame_timeout_seconds
            return EndCause.CAMERA_SILENT, f"packets, but no whole frame for {seconds:g} s"
        return None
