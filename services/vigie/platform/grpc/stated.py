"""What a request says it is about, read before anybody has looked at it.

A call that is refused before its servicer runs is on record too, with the object, window, purpose
and case it named: as stated, not as verified, and bounded, since strangers write it.
"""

import re
from typing import Any, Final

from google.protobuf.message import Message

from vigie.platform.grpc.session import Admission

_OBJECT_FIELDS: Final = ("name", "camera", "cameras", "zones", "camera_id")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]{0,199}")
_MOST_OBJECTS: Final = 64
_LONGEST_TEXT: Final = 500
_LATEST_SECONDS: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last instant of a well-formed Timestamp."""


def stated_by(request: Any, permission: str) -> Admission:
    """The access that ``request`` asks for, as far as its fields bear the usual names."""
    if not isinstance(request, Message):
        return Admission(permission)
    purpose = _field(request, "purpose")
    nested = isinstance(purpose, Message)
    text = _field(purpose, "text") if nested else purpose
    case = _field(purpose, "case_reference") if nested else _field(request, "case_reference")
    return Admission(
        permission,
        objects=_objects(request),
        window_us=_window(request),
        purpose=_text(text),
        case_reference=_text(case),
    )


def _field(message: Message, name: str) -> Any:
    return getattr(message, name) if name in message.DESCRIPTOR.fields_by_name else None


def _text(value: Any) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _objects(request: Message) -> tuple[str, ...]:
    found: set[str] = set()
    for name in _OBJECT_FIELDS:
        value = _field(request, name)
        names = [value] if isinstance(value, str) else value
        if value is None or isinstance(names, Message):
            continue
        found.update(
            each
            for each in list(names)[:_MOST_OBJECTS]
            if isinstance(each, str) and _RESOURCE.fullmatch(each)
        )
    return tuple(sorted(found)[:_MOST_OBJECTS])


def _window(request: Message) -> tuple[int, int] | None:
    window = _field(request, "window")
    holder = window if isinstance(window, Message) else request
    instants = [_field(holder, "start_time"), _field(holder, "end_time")]
    if not all(isinstance(each, Message) and each.ByteSize() for each in instants):
        return None
    seconds = [int(each.seconds) for each in instants]
    if not all(0 <= each <= _LATEST_SECONDS for each in seconds):
        return None
    start, end = (int(each.seconds) * 1_000_000 + int(each.nanos) // 1000 for each in instants)
    return start, end
