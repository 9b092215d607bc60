"""What every method reads from its request: names, windows, purposes; each fault with its field."""

import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from vigie.common.v1.types_pb2 import Purpose, TimeWindow
from vigie.platform.errors import VigieError
from vigie.platform.reasons import PURPOSE_REQUIRED
from vigie.recording import reasons
from vigie.recording.index.convert import timestamp_us
from vigie.recording.timeline.intervals import Interval

DAY_US: Final = 86_400_000_000
MAX_WINDOW_US: Final = 31 * DAY_US
MAX_CLIP_US: Final = 2 * 3_600_000_000
MAX_TIMELINE_CAMERAS: Final = 64
MAX_COMPLETENESS_CAMERAS: Final = 1000
MIN_PURPOSE_CHARACTERS: Final = 3
_IDENTIFIER: Final = re.compile(r"[a-z0-9][A-Za-z0-9._-]{0,127}")


def identifier(name: str, collection: str, field: str) -> str:
    """The identifier in a resource name such as ``cameras/{camera}``.

    Raises:
        VigieError: CAMERA_NAME_INVALID (HOLD_NAME_INVALID for holds).
    """
    prefix, _, rest = name.partition("/")
    if prefix != collection or not _IDENTIFIER.fullmatch(rest):
        reason = reasons.HOLD_NAME_INVALID if collection == "holds" else reasons.CAMERA_NAME_INVALID
        raise VigieError(reason, f"expected {collection}/{{name}}, got {name[:80]!r}", field=field)
    return rest


def cameras(names: Sequence[str], *, limit: int, field: str = "cameras") -> list[str]:
    """Camera identifiers of a request, in its order.

    Raises:
        VigieError: CAMERA_NAME_INVALID, TOO_MANY_CAMERAS (also for repetitions).
    """
    if len(names) > limit:
        raise VigieError(
            reasons.TOO_MANY_CAMERAS, f"{len(names)} cameras; at most {limit}", field=field
        )
    found = [identifier(name, "cameras", f"{field}[{i}]") for i, name in enumerate(names)]
    if len(set(found)) != len(found):
        raise VigieError(reasons.TOO_MANY_CAMERAS, "a camera is named twice", field=field)
    return found


def window(value: TimeWindow, *, limit_us: int = MAX_WINDOW_US, field: str = "window") -> Interval:
    """The window of a request.

    Raises:
        VigieError: WINDOW_REVERSED, WINDOW_TOO_LONG.
    """
    for name in ("start_time", "end_time"):
        if not value.HasField(name):
            raise VigieError(reasons.WINDOW_REVERSED, f"{name} is missing", field=f"{field}.{name}")
    start_us, end_us = timestamp_us(value.start_time), timestamp_us(value.end_time)
    if start_us >= end_us:
        raise VigieError(
            reasons.WINDOW_REVERSED, "start_time must be before end_time", field=f"{field}.end_time"
        )
    if end_us - start_us > limit_us:
        raise VigieError(
            reasons.WINDOW_TOO_LONG,
            f"the window lasts {(end_us - start_us) / 1e6:.0f} s; at most {limit_us / 1e6:.0f} s",
            field=field,
        )
    return Interval(start_us, end_us)


def not_in_future(start_us: int, now_us: int, field: str) -> None:
    """Refuse what cannot have been recorded yet.

    Raises:
        VigieError: WINDOW_IN_FUTURE.
    """
    if start_us > now_us:
        raise VigieError(reasons.WINDOW_IN_FUTURE, "there is no footage of the future", field=field)


def purpose(value: Purpose) -> tuple[str, str]:
    """Purpose and case reference, as they go into the access record.

    Raises:
        VigieError: PURPOSE_REQUIRED.
    """
    text = value.text.strip()
    if len(text) < MIN_PURPOSE_CHARACTERS:
        raise VigieError(PURPOSE_REQUIRED, "say why the footage is looked at", field="purpose.text")
    return text, value.case_reference.strip()


def timestamp(instant_us: int) -> Timestamp:
    """The protobuf timestamp of an instant, exact to the microsecond."""
    seconds, microseconds = divmod(instant_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def duration(duration_us: int) -> Duration:
    """The protobuf duration of microseconds, which may be negative."""
    message = Duration()
    message.FromMicroseconds(duration_us)
    return message


def page_size(asked: int, default: int) -> int:
    """Size of a page; zero asks for the default (the contract bounds it)."""
    return asked or default
