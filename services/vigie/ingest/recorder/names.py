"""Object keys of the ONVIF object-storage recording format (RecordingControl, annex)."""

from typing import Final

from vigie.platform.clock import from_us

SEGMENT_EXTENSION: Final = "m4v"
END_EXTENSION: Final = "m4v_end"


def key_lead(prefix: str, camera: str) -> str:
    """What the keys of a camera begin with (the ``Prefix`` of the annex), without the slash."""
    return f"{prefix}/{camera}" if prefix else camera


def segment_key(lead: str, start_us: int, number: int) -> str:
    """Key of a segment: date and time of its first sample, counter in its run."""
    return _key(lead, start_us, number, SEGMENT_EXTENSION)


def end_key(lead: str, end_us: int, segment_count: int) -> str:
    """Key of the span end object: end of the last sample, counter one past the last segment."""
    return _key(lead, end_us, segment_count, END_EXTENSION)


def _key(lead: str, instant_us: int, number: int, extension: str) -> str:
    instant = from_us(instant_us).strftime("%Y-%m-%d/%H/%M-%S.%fZ")
    return f"{lead}/{instant}.{number}.{extension}"
