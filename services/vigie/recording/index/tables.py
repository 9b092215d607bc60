"""Tables of recording. All instants are microseconds since the Unix epoch."""

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

from vigie.platform.database import MigrationSet
from vigie.platform.database.migrations import ONLY_ON

METADATA: Final = MetaData()
MIGRATIONS: Final = MigrationSet("recording", Path(__file__).parent.parent / "migrations")


def _span_columns() -> tuple[Column[str] | Column[int], ...]:
    return (
        Column("run", String, primary_key=True),
        Column("first_number", Integer, primary_key=True, autoincrement=False),
        Column("last_number", Integer, nullable=False),
        Column("camera", String, nullable=False),
        Column("start_us", BigInteger, nullable=False),
        Column("end_us", BigInteger, nullable=False),
    )


def _segment_columns() -> tuple[Column[str] | Column[int], ...]:
    return (
        Column("object_key", String, primary_key=True),
        Column("camera", String, nullable=False),
        Column("run", String, nullable=False),
        Column("number", Integer, nullable=False),
        Column("start_us", BigInteger, nullable=False),
        Column("end_us", BigInteger, nullable=False),
        Column("media_start_ticks", BigInteger, nullable=False),
        Column("media_duration_ticks", BigInteger, nullable=False),
        Column("timescale", Integer, nullable=False),
        Column("sample_count", Integer, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("sha256", String, nullable=False),
        Column("codec", String, nullable=False),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
        Column("camera_clock_offset_us", BigInteger, nullable=True),
        Column("header_sha256", String, nullable=False),
    )


SEGMENTS: Final = Table(
    "recording_segments",
    METADATA,
    *_segment_columns(),
    # Set when the destruction is recorded; the row goes when the object is gone.
    Column("destroying_us", BigInteger, nullable=True),
    Index("recording_segments_camera_start", "camera", "start_us"),
    Index("recording_segments_run_number", "run", "number", unique=True, info={ONLY_ON: "sqlite"}),
    # A partitioned table has no uniqueness over its days; the writer looks at the spans.
    Index(
        "recording_segments_place",
        "run",
        "number",
        "start_us",
        unique=True,
        info={ONLY_ON: "postgresql"},
    ),
)

SPANS: Final = Table(
    "recording_spans",
    METADATA,
    *_span_columns(),
    Index("recording_spans_camera_start", "camera", "start_us", "end_us", "run"),
)

DESTROYED_SPANS: Final = Table(
    "recording_destroyed_spans",
    METADATA,
    *_span_columns(),
    Index("recording_destroyed_spans_camera_start", "camera", "start_us", "end_us", "run"),
)

RUN_ENDS: Final = Table(
    "recording_run_ends",
    METADATA,
    Column("run", String, primary_key=True),
    Column("camera", String, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("segment_count", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("object_key", String, nullable=False),
    Index("recording_run_ends_camera_end", "camera", "end_us"),
)

OUTAGES: Final = Table(
    "recording_outages",
    METADATA,
    Column("outage", String, primary_key=True),
    # An outage longer than the limit of a row continues in the next piece.
    Column("piece_us", BigInteger, primary_key=True, autoincrement=False),
    Column("camera", String, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("cause", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    # 1 on the last piece of an outage that lasts: end_us is then how far it is vouched for.
    Column("open", Integer, nullable=False),
    Index("recording_outages_camera_start", "camera", "start_us"),
)

CAMERA_STATES: Final = Table(
    "recording_camera_states",
    METADATA,
    Column("camera", String, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("effective_us", BigInteger, nullable=False),
    Column("lifecycle", Integer, nullable=False),
    Column("zone", String, nullable=False),
    # JSON: [[authorisation, from_us, until_us, retention_days], …]
    Column("authorisations", Text, nullable=False),
    # When the registry said so; absent where a version without the column wrote the row.
    Column("told_us", BigInteger, nullable=True),
)

DESTRUCTIONS: Final = Table(
    "recording_destructions",
    METADATA,
    Column("object_key", String, primary_key=True),
    Column("camera", String, nullable=False),
    Column("run", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("basis", String, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("destroyed_us", BigInteger, nullable=True),
    Index("recording_destructions_camera_start", "camera", "start_us"),
    Index("recording_destructions_start", "start_us", "object_key"),
    Index("recording_destructions_run", "run", "number"),
    Index("recording_destructions_unfinished", "destroyed_us", "object_key"),
)

FOLDED_DESTRUCTIONS: Final = Table(
    "recording_folded_destructions",
    METADATA,
    *_span_columns(),
    Index("recording_folded_destructions_camera_start", "camera", "start_us"),
    Index("recording_folded_destructions_start", "start_us", "run"),
)
"""What is left of entries of the register at the end of their time: their spans."""

HOLDS: Final = Table(
    "recording_holds",
    METADATA,
    Column("hold", String, primary_key=True),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("legal_reference", Text, nullable=False),
    Column("evidence_request", String, nullable=False),
    Column("placed_by", String, nullable=False),
    Column("placed_us", BigInteger, nullable=False),
    Column("applied_us", BigInteger, nullable=True),
    Column("released_us", BigInteger, nullable=True),
    Column("problem", Text, nullable=False),
    Index("recording_holds_placed", "placed_us", "hold"),
)

HOLD_CAMERAS: Final = Table(
    "recording_hold_cameras",
    METADATA,
    Column("camera", String, primary_key=True),
    Column("hold", String, primary_key=True),
)

HOLD_OBJECTS: Final = Table(
    "recording_hold_objects",
    METADATA,
    Column("object_key", String, primary_key=True),
    Column("hold", String, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Index("recording_hold_objects_hold", "hold", "state"),
    Index("recording_hold_objects_state", "state", "hold"),
)

HOLD_TO_PLACE: Final = 0
HOLD_PLACED: Final = 1
HOLD_TO_TAKE_OFF: Final = 2
"""States of a row of `HOLD_OBJECTS`."""

UNDESCRIBED: Final = Table(
    "recording_undescribed",
    METADATA,
    # The folder of the bucket that has the objects of one camera and hour, with its slash.
    Column("folder", String, primary_key=True),
    Column("camera", String, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Index("recording_undescribed_camera_start", "camera", "start_us"),
    Index("recording_undescribed_start", "start_us", "folder"),
)
"""Hours whose spans are known from the names in the bucket, and whose rows of segments are not
yet: see `vigie.recording.rebuild.describing`. Empty but after a reindex."""

INDEX_TABLES: Final = (SEGMENTS, SPANS, DESTROYED_SPANS, RUN_ENDS)
"""What can be rebuilt from the bucket and the register of destructions."""
