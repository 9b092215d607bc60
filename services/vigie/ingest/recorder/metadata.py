"""The attributes of a stored segment: the annex's, and ours, so that the bucket alone suffices."""

from dataclasses import dataclass, replace
from typing import Final

from vigie.ingest.engine import TIMESCALE
from vigie.ingest.recorder.names import segment_key
from vigie.ingest.spool.records import EndRecord, RunRecord, SegmentRecord

ANNEX_VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What is known of a segment when it closes (units as in `SegmentRecord`)."""

    number: int
    start_us: int
    duration_us: int
    media_start_ticks: int
    media_duration_ticks: int
    sample_count: int
    size_bytes: int
    sha256: str
    header_sha256: str
    camera_clock_offset_us: int | None
    content_type: str
    seek_table: str


def segment_record(run: RunRecord, facts: SegmentFacts) -> SegmentRecord:
    """The record of a closed segment, with the attributes that its object will carry."""
    record = SegmentRecord(
        camera=run.camera,
        run=run.run,
        number=facts.number,
        object_key=segment_key(run.key_prefix, run.key_postfix, facts.start_us, facts.number),
        start_us=facts.start_us,
        duration_us=facts.duration_us,
        media_start_ticks=facts.media_start_ticks,
        media_duration_ticks=facts.media_duration_ticks,
        timescale=TIMESCALE,
        sample_count=facts.sample_count,
        size_bytes=facts.size_bytes,
        sha256=facts.sha256,
        header_sha256=facts.header_sha256,
        codec=run.codec_string,
        width=run.width,
        height=run.height,
        camera_clock_offset_us=facts.camera_clock_offset_us,
        content_type=facts.content_type,
    )
    return replace(record, metadata=segment_metadata(record, seek_table=facts.seek_table))


def iso_duration(ticks: int, timescale: int) -> str:
    """ISO 8601-1 duration with at most nine decimals, e.g. ``PT30.04S``."""
    billionths = (ticks * 1_000_000_000 + timescale // 2) // timescale
    whole, part = divmod(billionths, 1_000_000_000)
    decimals = f"{part:09d}".rstrip("0")
    return f"PT{whole}.{decimals}S" if decimals else f"PT{whole}S"


def segment_metadata(record: SegmentRecord, *, seek_table: str) -> dict[str, str]:
    """Object attributes (annex "Object attributes") and ``Vigie-…`` ones.

    ``Vigie-StartUs`` and ``Vigie-DurationUs`` are the authority for wall-clock time; the key is
    the same start, and ``prft`` boxes inside carry what was the best estimate when each fragment
    was written.
    """
    seconds = record.media_duration_ticks / record.timescale
    bits = record.size_bytes * 8 / seconds if seconds else 0.0
    rate = record.sample_count / seconds if seconds else 0.0
    attributes = {
        "Version": ANNEX_VERSION,
        "Source": record.camera,
        "Duration": iso_duration(record.media_duration_ticks, record.timescale),
        "FullContentType": record.content_type,
        "VideoBitrate": str(round(bits / 1000)),
        "VideoWidth": str(record.width),
        "VideoHeight": str(record.height),
        "VideoFramerate": f"{rate:.3f}",
        "Timescale": str(record.timescale),
        "Vigie-Camera": record.camera,
        "Vigie-Run": record.run,
        "Vigie-Number": str(record.number),
        "Vigie-StartUs": str(record.start_us),
        "Vigie-DurationUs": str(record.duration_us),
        "Vigie-MediaStart": str(record.media_start_ticks),
        "Vigie-MediaDuration": str(record.media_duration_ticks),
        "Vigie-SampleCount": str(record.sample_count),
        "Vigie-Codec": record.codec,
        "Vigie-HeaderSha256": record.header_sha256,
    }
    if seek_table:
        attributes["SeekTable"] = seek_table
    if record.camera_clock_offset_us is not None:
        attributes["Vigie-CameraClockOffsetUs"] = str(record.camera_clock_offset_us)
    return attributes


def end_metadata(record: EndRecord) -> dict[str, str]:
    """Attributes of a span end object."""
    return {
        "Version": ANNEX_VERSION,
        "Source": record.camera,
        "Vigie-Camera": record.camera,
        "Vigie-Run": record.run,
        "Vigie-SegmentCount": str(record.segment_count),
        "Vigie-EndUs": str(record.end_us),
        "Vigie-EndReason": record.reason,
    }
