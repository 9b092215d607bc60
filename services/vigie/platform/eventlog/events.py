"""Events from protobuf messages, and back."""

from collections.abc import Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from vigie.platform.clock import WallClock
from vigie.platform.eventlog.port import Event, StoredEvent
from vigie.platform.identifiers import IdentifierSource

M = TypeVar("M", bound=Message)

EVENT_TYPE_UNKNOWN: Final = "EVENT_TYPE_UNKNOWN"
EVENT_WITHOUT_VALUE: Final = "EVENT_WITHOUT_VALUE"
EVENT_UNPARSABLE: Final = "EVENT_UNPARSABLE"
EVENT_VALUE_UNKNOWN: Final = "EVENT_VALUE_UNKNOWN"
"""It says something that only a newer program knows: to be replayed by that, not discarded."""


class Unprocessable(Exception):  # noqa: N818 - what it says of the event, not an error of ours
    """An event that can never be processed as it is: it goes to quarantine.

    Args:
        reason: UPPER_SNAKE_CASE, from a short constant list (it becomes a metric label).
        detail: one line for a person; no secrets.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def type_of(message: Message | type[Message]) -> str:
    """The CloudEvents ``type`` of a message: its full protobuf name."""
    return str(message.DESCRIPTOR.full_name)


def make_event(
    message: Message,
    *,
    key: str,
    source: str,
    wall_clock: WallClock,
    event_id: str,
    time_us: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Event:
    """An event that carries ``message``.

    Serialisation is deterministic: equal messages give equal bytes within one version.

    Args:
        message: the payload; its full name becomes the type.
        key: events of one key are ordered.
        source: the context that says so, e.g. ``vigie/ingest``.
        wall_clock: for ``time_us`` when that is not given.
        event_id: unique; a repeated append with the same id is stored once.
        time_us: when it happened, microseconds since the Unix epoch.
        headers: further headers.
    """
    return Event(
        key=key,
        type=type_of(message),
        value=message.SerializeToString(deterministic=True),
        id=event_id,
        time_us=wall_clock.now_us() if time_us is None else time_us,
        source=source,
        headers=dict(headers or {}),
    )


class EventFactory:
    """Makes the events of one context.

    Args:
        source: CloudEvents ``source``, e.g. ``vigie/registry``.
        wall_clock: gives the time of events.
        identifiers: gives their ids (UUIDv7).
    """

    def __init__(self, source: str, wall_clock: WallClock, identifiers: IdentifierSource) -> None:
        self._source = source
        self._wall_clock = wall_clock
        self._identifiers = identifiers

    def make(
        self,
        message: Message,
        *,
        key: str,
        event_id: str | None = None,
        time_us: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Event:
        """An event for ``message``.

        Give an ``event_id`` that follows from the content when the append may be repeated after
        a crash; without one it is new at every call.
        """
        return make_event(
            message,
            key=key,
            source=self._source,
            wall_clock=self._wall_clock,
            event_id=event_id or self._identifiers.text(),
            time_us=time_us,
            headers=headers,
        )

    def tombstone(self, message_type: type[Message], *, key: str) -> Event:
        """An event that removes ``key`` from a compacted topic."""
        return Event(
            key=key,
            type=type_of(message_type),
            value=None,
            id=self._identifiers.text(),
            time_us=self._wall_clock.now_us(),
            source=self._source,
        )


def parse_event(stored: StoredEvent, message_type: type[M]) -> M:
    """The message of an event.

    Raises:
        Unprocessable: EVENT_TYPE_UNKNOWN, EVENT_WITHOUT_VALUE or EVENT_UNPARSABLE.
    """
    event = stored.event
    if event.type != type_of(message_type):
        raise Unprocessable(
            EVENT_TYPE_UNKNOWN, f"{event.type} where {type_of(message_type)} is read"
        )
    if event.value is None:
        raise Unprocessable(EVENT_WITHOUT_VALUE, f"a tombstone where {event.type} is read")
    try:
        return message_type.FromString(event.value)
    except DecodeError as error:
        raise Unprocessable(EVENT_UNPARSABLE, str(error)) from error
