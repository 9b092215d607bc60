"""Object keys of the ONVIF object-storage recording format (annex "Segment objects").

Behind the date stands the run, in the place of the annex's ``postfix``. Keys that older programs
gave do not have it, and are read like the others.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from vigie.platform.clock import from_us, to_us
from vigie.recording.model import Segment

SEGMENT_EXTENSION: Final = "m4v"
END_EXTENSION: Final = "m4v_end"
_MINUTES: Final = 60
_SECONDS: Final = 60
_KEY: Final = re.compile(
    r"(?P<lead>.+)/(?P<date>\d{4}-\d{2}-\d{2})/(?:(?P<run>[0-9a-f]{32})/)?(?P<hour>\d{2})/"
    r"(?P<minute>\d{2})-(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?Z"
    r"\.(?P<counter>\d+)\.(?P<extension>m4v|m4v_end)"
)


@dataclass(frozen=True, slots=True)
class FootageKey:
    """What a key says: whose footage, when it begins (or ends), its run and its number in it.

    Attributes:
        prefix: what stands before the camera.
        camera: camera identifier.
        run: run identifier; empty in older keys.
        instant_us: start of a segment, end of a run.
        counter: number of a segment in its run; of a span end object, how many there are.
        is_end: whether it is a span end object's.
    """

    prefix: str
    camera: str
    run: str
    instant_us: int
    counter: int
    is_end: bool

    def names(self, segment: Segment) -> bool:
        """Whether this is the key of a segment; an older one says nothing of its run."""
        return self.run in {"", segment.run} and (self.camera, self.instant_us, self.counter) == (
            segment.camera,
            segment.start_us,
            segment.number,
        )


def segment_key(prefix: str, camera: str, run: str, start_us: int, number: int) -> str:
    """The key of a segment; an older one with an empty ``run``."""
    return _key(prefix, camera, run, (start_us, number), SEGMENT_EXTENSION)


def end_key(prefix: str, camera: str, run: str, end_us: int, segment_count: int) -> str:
    """The key of a span end object; an older one with an empty ``run``."""
    return _key(prefix, camera, run, (end_us, segment_count), END_EXTENSION)


def _key(prefix: str, camera: str, run: str, place: tuple[int, int], extension: str) -> str:
    instant = from_us(place[0])
    date, time = instant.strftime("%Y-%m-%d"), instant.strftime("%H/%M-%S.%fZ")
    lead = f"{prefix}/{camera}/{date}/{run}" if run else f"{prefix}/{camera}/{date}"
    return f"{lead}/{time}.{place[1]}.{extension}"


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
    run = match["run"] or ""
    return FootageKey(prefix, camera, run, instant_us, int(match["counter"]), is_end)


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
