"""Object keys of the ONVIF object-storage recording format (RecordingControl, annex).

The run stands in the place of the annex's ``postfix``: camera, instant and counter alone do not
tell two runs apart (a clock that was set back, two processes that received one camera at once).
"""

from typing import Final

from vigie.platform.clock import from_us

SEGMENT_EXTENSION: Final = "m4v"
END_EXTENSION: Final = "m4v_end"


def key_lead(prefix: str, camera: str) -> str:
    """What the keys of a camera begin with (the ``Prefix`` of the annex), without the slash."""
    return f"{prefix}/{camera}" if prefix else camera


def segment_key(lead: str, postfix: str, start_us: int, number: int) -> str:
    """Key of a segment: date and time of its first sample, counter in its run.

    Args:
        lead: see `key_lead`.
        postfix: the run; empty in runs that an older program began: their keys do not name it.
        start_us: of its first sample.
        number: its place in its run.
    """
    return _key(lead, postfix, start_us, number, SEGMENT_EXTENSION)


def end_key(lead: str, postfix: str, end_us: int, segment_count: int) -> str:
    """Key of the span end object: end of the last sample, counter one past the last segment."""
    return _key(lead, postfix, end_us, segment_count, END_EXTENSION)


def _key(lead: str, postfix: str, instant_us: int, number: int, extension: str) -> str:
    instant = from_us(instant_us)
    date, time = instant.strftime("%Y-%m-%d"), instant.strftime("%H/%M-%S.%fZ")
    place = f"{lead}/{date}/{postfix}" if postfix else f"{lead}/{date}"
    return f"{place}/{time}.{number}.{extension}"
