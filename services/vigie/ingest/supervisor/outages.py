"""Outages: why a camera that should record has no footage, told so that no instant is left out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vigie.ingest.spool.records import SegmentRecord
from vigie.ingest.upload.events import gap_cause, segment_event
from vigie.ingest.v1.events_pb2 import Outage, SegmentEvent
from vigie.platform.eventlog import Event
from vigie.platform.identifiers import uuid7

_RANDOM_BITS: Final = 74


@dataclass(slots=True)
class _Open:
    outage: str
    start_us: int
    cause: str
    detail: str
    known_until_us: int
    media_since_us: int | None = None
    revision: int = 0


class OutageBook:
    """The outage of one camera, if there is one; used from the event loop only.

    An outage begins where the footage before it ends and ends where the next footage begins,
    exactly: its end is told when the first segment after it is closed, for only then is the start
    of that footage fixed. Until then it is vouched for up to the first frame (an estimate), so
    that what is recorded but not stored yet does not look like a gap.

    Args:
        camera: camera identifier.
        instance: this ingest process.
        new_id: makes identifiers.
        publish: takes the key under which a newer event replaces an older one, and the event.
    """

    def __init__(
        self,
        camera: str,
        *,
        instance: str,
        new_id: Callable[[], str],
        publish: Callable[[str, Event], None],
    ) -> None:
        self._camera = camera
        self._instance = instance
        self._new_id = new_id
        self._publish = publish
        self._open: _Open | None = None

    @property
    def cause(self) -> str:
        """The cause of the outage that lasts; empty when none does."""
        return self._open.cause if self._open is not None else ""

    @property
    def detail(self) -> str:
        """Its detail."""
        return self._open.detail if self._open is not None else ""

    def begin(self, cause: str, detail: str, at_us: int, now_us: int) -> bool:
        """No footage from ``at_us`` on because of ``cause``; ends an outage of another cause.

        Returns:
            Whether this is news: the same cause again is not.
        """
        current = self._open
        if current is not None:
            if current.cause == cause and current.media_since_us is None:
                current.detail = detail
                return False
            # A clock that was set back must not turn the interval around.
            at_us = max(at_us, current.start_us)
            footage_us = current.media_since_us
            self._close(at_us if footage_us is None else min(footage_us, at_us), now_us)
        self._open = _Open(self._new_id(), at_us, cause, detail, max(at_us, now_us))
        self._tell(now_us)
        return True

    def media_began(self, start_us: int, now_us: int) -> None:
        """Footage is being written from about ``start_us`` on."""
        if self._open is not None:
            self._open.media_since_us = start_us
            self._open.known_until_us = max(start_us, self._open.start_us)
            self._tell(now_us)

    def footage(self, start_us: int, now_us: int) -> None:
        """Footage begins exactly at ``start_us``."""
        if self._open is not None:
            self._close(max(start_us, self._open.start_us), now_us)

    def release(self, at_us: int, now_us: int) -> None:
        """Ingest is no longer responsible for the camera from ``at_us`` on."""
        if self._open is not None:
            self._close(max(at_us, self._open.start_us), now_us)

    def refresh(self, now_us: int) -> None:
        """The cause still holds."""
        if self._open is not None and self._open.media_since_us is None:
            self._open.known_until_us = max(now_us, self._open.known_until_us)
            self._tell(now_us)

    def _close(self, end_us: int, now_us: int) -> None:
        assert self._open is not None
        self._tell(now_us, end_us=end_us)
        self._open = None

    def _tell(self, now_us: int, end_us: int = 0) -> None:
        current = self._open
        assert current is not None
        current.revision += 1
        message = outage_event(
            self._camera,
            self._instance,
            Outage(
                outage=current.outage,
                start_us=current.start_us,
                end_us=end_us,
                cause=gap_cause(current.cause),
                detail=current.detail,
                known_until_us=end_us or current.known_until_us,
            ),
        )
        event_id = f"{current.outage}.{current.revision}"
        self._publish(current.outage, segment_event(message, event_id, now_us))


def outage_event(camera: str, instance: str, outage: Outage) -> SegmentEvent:
    """The message that tells an outage."""
    return SegmentEvent(camera=camera, instance=instance, outage=outage)


def lost_segment_event(record: SegmentRecord, *, instance: str, detail: str, now_us: int) -> Event:
    """A recorded segment that could never be stored: a closed outage STORE_REFUSED.

    Its identifier follows from the segment, so that telling it again changes nothing.
    """
    seed = hashlib.sha256(f"{record.run}.{record.number}.lost".encode()).digest()
    bits = int.from_bytes(seed) >> (len(seed) * 8 - _RANDOM_BITS)
    unix_ms = max(0, record.start_us // 1000)
    outage = Outage(
        outage=uuid7(unix_ms, bits).hex,
        start_us=record.start_us,
        end_us=record.end_us,
        cause=gap_cause("STORE_REFUSED"),
        detail=detail,
        known_until_us=record.end_us,
    )
    message = outage_event(record.camera, instance, outage)
    return segment_event(message, f"{outage.outage}.1", now_us)
