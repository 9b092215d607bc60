"""Object attributes as ingest writes them: each object says all that its index row needs.

Attributes named ``Vigie-…`` come beside those of the ONVIF annex ("Object attributes"); the names
are part of the format of the bucket (docs/design/timeline.md lists them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vigie.ingest.v1.events_pb2 import RunEndReason
from vigie.platform.objectstore import ObjectInfo
from vigie.recording.index.convert import EventInvalidError, check_segment
from vigie.recording.model import Segment

_DIGITS = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What a span end object says."""

    camera: str
    run: str
    end_us: int
    segment_count: int
    reason: int
    object_key: str


class AttributesMissingError(Exception):
    """An object without the attributes that say what it is; its content has to tell."""


def segment_from_object(info: ObjectInfo) -> Segment:
    """The index row of a segment from its object's attributes alone.

    Raises:
        AttributesMissingError: one is missing or impossible.
    """
    told = _lower(info.metadata)
    try:
        start_us = _integer(told, "vigie-startus")
        offset = told.get("vigie-cameraclockoffsetus")
        segment = Segment(
            object_key=info.key,
            camera=told["vigie-camera"],
            run=told["vigie-run"],
            number=_integer(told, "vigie-number"),
            start_us=start_us,
            end_us=start_us + _integer(told, "vigie-durationus"),
            media_start_ticks=_integer(told, "vigie-mediastart"),
            media_duration_ticks=_integer(told, "vigie-mediaduration"),
            timescale=_integer(told, "timescale"),
            sample_count=_integer(told, "vigie-samplecount"),
            size_bytes=info.size_bytes,
            sha256=info.sha256,
            codec=told["vigie-codec"],
            width=_integer(told, "videowidth"),
            height=_integer(told, "videoheight"),
            camera_clock_offset_us=None if offset is None else int(offset),
            header_sha256=told["vigie-headersha256"],
        )
        check_segment(segment)
    except (KeyError, ValueError, EventInvalidError) as error:
        raise AttributesMissingError(f"{info.key}: {error}") from error
    return segment


def run_end_from_object(info: ObjectInfo) -> RunEnd:
    """What a span end object says, from its attributes.

    Raises:
        AttributesMissingError: one is missing or impossible.
    """
    told = _lower(info.metadata)
    try:
        return RunEnd(
            camera=told["vigie-camera"],
            run=told["vigie-run"],
            end_us=_integer(told, "vigie-endus"),
            segment_count=_integer(told, "vigie-segmentcount"),
            reason=_reason(told.get("vigie-endreason", "")),
            object_key=info.key,
        )
    except (KeyError, ValueError) as error:
        raise AttributesMissingError(f"{info.key}: {error}") from error


def _reason(name: str) -> int:
    full = name if name.startswith("RUN_END_REASON_") else f"RUN_END_REASON_{name}"
    return RunEndReason.Value(full) if full in RunEndReason.keys() else 0  # noqa: SIM118 - an enum


def _lower(metadata: Mapping[str, str]) -> dict[str, str]:
    # S3 gives attribute names back in lower case.
    return {name.lower(): value for name, value in metadata.items()}


def _integer(told: Mapping[str, str], name: str) -> int:
    value = told[name]
    if not _DIGITS.fullmatch(value):
        raise ValueError(f"{name}: {value!r} is no number")
    return int(value)
