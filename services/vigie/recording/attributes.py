"""Object attributes as ingest writes them: each object says all that its index row needs.

Attributes named ``Vigie-…`` come beside those of the ONVIF annex ("Object attributes"); the names
are part of the format of the bucket (docs/design/timeline.md lists them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vigie.ingest.v1.events_pb2 import RunEndReason
from vigie.platform.objectstore import ObjectInfo
from vigie.recording.index.convert import EventInvalidError, check_segment
from vigie.recording.model import Segment

_ANNEX_VERSION: Final = "1.0"
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


def run_end_from_row(row: Any) -> RunEnd:
    """What a row of the index says of the end of a run."""
    return RunEnd(row.camera, row.run, row.end_us, row.segment_count, row.reason, row.object_key)


def segment_attributes(segment: Segment, content_type: str) -> dict[str, str]:
    """Attributes of a segment's object, made anew from its row when the store has lost them.

    What readers of the annex need and the index knows; the seek table is in the object's own
    ``mfra``.
    """
    offset_us = segment.camera_clock_offset_us
    attributes = {
        "Version": _ANNEX_VERSION,
        "Source": segment.camera,
        "FullContentType": content_type,
        "VideoWidth": str(segment.width),
        "VideoHeight": str(segment.height),
        "Timescale": str(segment.timescale),
        "Vigie-Camera": segment.camera,
        "Vigie-Run": segment.run,
        "Vigie-Number": str(segment.number),
        "Vigie-StartUs": str(segment.start_us),
        "Vigie-DurationUs": str(segment.duration_us),
        "Vigie-MediaStart": str(segment.media_start_ticks),
        "Vigie-MediaDuration": str(segment.media_duration_ticks),
        "Vigie-SampleCount": str(segment.sample_count),
        "Vigie-Codec": segment.codec,
        "Vigie-HeaderSha256": segment.header_sha256,
    }
    if offset_us is not None:
        attributes["Vigie-CameraClockOffsetUs"] = str(offset_us)
    return attributes


def end_attributes(end: RunEnd) -> dict[str, str]:
    """Attributes of a span end object, from the row of its run."""
    return {
        "Version": _ANNEX_VERSION,
        "Source": end.camera,
        "Vigie-Camera": end.camera,
        "Vigie-Run": end.run,
        "Vigie-SegmentCount": str(end.segment_count),
        "Vigie-EndUs": str(end.end_us),
        "Vigie-EndReason": _reason_name(end.reason),
    }


def _reason_name(reason: int) -> str:
    """The name without prefix; of a reason that a newer ingest has told, its number."""
    if reason not in RunEndReason.values():
        return str(reason)
    return RunEndReason.Name(RunEndReason.ValueType(reason)).removeprefix("RUN_END_REASON_")


def _reason(name: str) -> int:
    if name.isdecimal() and int(name) < 1 << 31:
        return int(name)
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
