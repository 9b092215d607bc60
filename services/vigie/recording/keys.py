"""Object keys of the ONVIF object-storage recording format (annex "Segment objects")."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from vigie.platform.clock import from_us, to_us

SEGMENT_EXTENSION: Final = "m4v"
END_EXTENSION: Final = "m4v_end"
_MINUTES: Final = 60
_SECONDS: Final = 60
_KEY: Final = re.compile(
    r"(?P<lead>.+)/(?P<date>\d{4}-\d{2}-\d{2})/(?P<hour>\d{2})/"
    r"(?P<minute>\d{2})-(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?Z"
    r"\.(?P<counter>\d+)\.(?P<extension>m4v|m4v_end)"
)


@dataclass(frozen=True, slots=True)
class FootageKey:
    """What a key says: whose footage, when it begins (or ends), its number in its run."""

    prefix: str
    camera: str
    instant_us: int
    counter: int
    is_end: bool


def segment_key(prefix: str, camera: str, start_us: int, number: int) -> str:
    """The key of a segment."""
    return _key(prefix, camera, start_us, number, SEGMENT_EXTENSION)


def end_key(prefix: str, camera: str, end_us: int, segment_count: int) -> str:
    """The key of a span end object."""
    return _key(prefix, camera, end_us, segment_count, END_EXTENSION)


def _key(prefix: str, camera: str, instant_us: int, counter: int, extension: str) -> str:
    instant = from_us(instant_us).strftime("%Y-%m-%d/%H/%M-%S.%fZ")
    return f"{prefix}/{camera}/{instant}.{counter}.{extension}"


def parse_key(key: str) -> FootageKey | None:
    """What a key says, or ``None`` when it is not one of a segment or a span end."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    prefix, _, camera = match["lead"].rpartition("/")
    instant_us = _instant_us(match)
    if instant_us is None:
        return None
    is_end = match["extension"] == END_EXTENSION
    return FootageKey(prefix, camera, instant_us, int(match["counter"]), is_end)


def _instant_us(match: re.Match[str]) -> int | None:
    """When a key says that it begins (or ends); ``None``: there is no such instant."""
    hour_us = _hour_us(match["date"], match["hour"])
    minute, second = int(match["minute"]), int(match["second"])
    if hour_us is None or minute >= _MINUTES or second >= _SECONDS:
        return None
    fraction_us = int((match["fraction"] or "0").ljust(6, "0"))
    return hour_us + (minute * _SECONDS + second) * 1_000_000 + fraction_us


@lru_cache(maxsize=1024)
def _hour_us(date: str, hour: str) -> int | None:
    # A bucket is millions of keys, and an hour more than a hundred of them.
    try:
        return to_us(datetime.strptime(f"{date} {hour}", "%Y-%m-%d %H").replace(tzinfo=UTC))
    except ValueError:
        return None
