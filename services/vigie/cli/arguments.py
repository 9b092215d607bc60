"""How instants, durations and names are written on the command line."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

from vigie.cli.language import tr
from vigie.common.v1 import types_pb2

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_LOCAL_FORMATS: Final = ("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%H:%M:%S")


def parse_duration(text: str) -> timedelta:
    """``90s``, ``5m``, ``1h30m``, ``2d``.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None or not any(found.groups()):
        raise typer.BadParameter(
            tr(f"{text!r} is no duration: write 90s, 5m or 1h30m",
               f"{text!r} n'est pas une durée : écrire 90s, 5m ou 1h30m")
        )  # fmt: skip
    days, hours, minutes, seconds = found.groups()
    return timedelta(
        days=int(days or 0), hours=int(hours or 0), minutes=int(minutes or 0),
        seconds=float(seconds or 0),
    )  # fmt: skip


def parse_instant(text: str, now: datetime) -> datetime:
    """``2026-03-01T14:05:00Z``, ``2026-03-01 14:05`` (local), ``14:05:00``, ``-5m``, ``now``.

    Raises:
        typer.BadParameter: it is none of these.
    """
    text = text.strip()
    if text == "now":
        return now
    if text.startswith("-"):
        return now - parse_duration(text[1:])
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.astimezone()
        return instant.astimezone(UTC)
    except ValueError:
        pass
    for form in _LOCAL_FORMATS:
        try:
            naive = datetime.strptime(text, form)  # noqa: DTZ007 - made local in the next line
        except ValueError:
            continue
        if form.startswith("%H"):
            today = now.astimezone()
            naive = naive.replace(year=today.year, month=today.month, day=today.day)
        return naive.astimezone().astimezone(UTC)
    raise typer.BadParameter(
        tr(f"{text!r} is no instant: write 2026-03-01T14:05:00Z, 14:05:00, -5m or now",
           f"{text!r} n'est pas un instant : écrire 2026-03-01T14:05:00Z, 14:05:00, -5m ou now")
    )  # fmt: skip


def parse_window(start: str, end: str, now: datetime) -> types_pb2.TimeWindow:
    """A window from two instants; ``end`` may be ``+5m``, counted from the start.

    Raises:
        typer.BadParameter: one does not parse.
    """
    begins = parse_instant(start, now)
    ends = begins + parse_duration(end[1:]) if end.startswith("+") else parse_instant(end, now)
    window = types_pb2.TimeWindow()
    window.start_time.FromDatetime(begins)
    window.end_time.FromDatetime(ends)
    return window


def resource(kind: str, text: str) -> str:
    """``cam-1`` or ``cameras/cam-1`` as ``cameras/cam-1``."""
    return text if text.startswith(f"{kind}/") else f"{kind}/{text}"


def identifier(text: str) -> str:
    """``cameras/cam-1`` or ``cam-1`` as ``cam-1``."""
    return text.rpartition("/")[2]
