"""The index, the registers and the holds of recording."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Create every table."""
    _segments(op)
    _spans(op)
    _destroyed_spans(op)
    _run_ends(op)
    _outages(op)
    _camera_states(op)
    _destructions(op)
    _holds(op)
    _hold_cameras(op)
    _hold_objects(op)


def _segments(op: Operations) -> None:
    op.create_table(
        "recording_segments",
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("media_start_ticks", sa.BigInteger, nullable=False),
        sa.Column("media_duration_ticks", sa.BigInteger, nullable=False),
        sa.Column("timescale", sa.Integer, nullable=False),
        sa.Column("sample_count", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("codec", sa.String, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("camera_clock_offset_us", sa.BigInteger, nullable=True),
        sa.Column("header_sha256", sa.String, nullable=False),
        sa.Column("destroying_us", sa.BigInteger, nullable=True),
    )
    op.create_index(
        "recording_segments_camera_start",
        "recording_segments",
        ["camera", "start_us"],
    )
    op.create_index(
        "recording_segments_run_number", "recording_segments", ["run", "number"], unique=True
    )


def _spans(op: Operations) -> None:
    op.create_table(
        "recording_spans",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("first_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "recording_spans_camera_start", "recording_spans", ["camera", "start_us", "end_us", "run"]
    )


def _destroyed_spans(op: Operations) -> None:
    op.create_table(
        "recording_destroyed_spans",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("first_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "recording_destroyed_spans_camera_start",
        "recording_destroyed_spans",
        ["camera", "start_us", "end_us", "run"],
    )


def _run_ends(op: Operations) -> None:
    op.create_table(
        "recording_run_ends",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("segment_count", sa.Integer, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("object_key", sa.String, nullable=False),
    )
    op.create_index(
        "recording_run_ends_camera_end",
        "recording_run_ends",
        ["camera", "end_us"],
    )


def _outages(op: Operations) -> None:
    op.create_table(
        "recording_outages",
        sa.Column("outage", sa.String, primary_key=True),
        sa.Column("piece_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
    )
    op.create_index(
        "recording_outages_camera_start",
        "recording_outages",
        ["camera", "start_us"],
    )


def _camera_states(op: Operations) -> None:
    op.create_table(
        "recording_camera_states",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("effective_us", sa.BigInteger, nullable=False),
        sa.Column("lifecycle", sa.Integer, nullable=False),
        sa.Column("zone", sa.String, nullable=False),
        sa.Column("authorisations", sa.Text, nullable=False),
    )


def _destructions(op: Operations) -> None:
    op.create_table(
        "recording_destructions",
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("basis", sa.String, nullable=False),
        sa.Column("decided_us", sa.BigInteger, nullable=False),
        sa.Column("destroyed_us", sa.BigInteger, nullable=True),
    )
    op.create_index(
        "recording_destructions_camera_start", "recording_destructions", ["camera", "start_us"]
    )
    op.create_index(
        "recording_destructions_start", "recording_destructions", ["start_us", "object_key"]
    )
    op.create_index(
        "recording_destructions_unfinished",
        "recording_destructions",
        ["destroyed_us", "object_key"],
    )


def _holds(op: Operations) -> None:
    op.create_table(
        "recording_holds",
        sa.Column("hold", sa.String, primary_key=True),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("legal_reference", sa.Text, nullable=False),
        sa.Column("evidence_request", sa.String, nullable=False),
        sa.Column("placed_by", sa.String, nullable=False),
        sa.Column("placed_us", sa.BigInteger, nullable=False),
        sa.Column("applied_us", sa.BigInteger, nullable=True),
        sa.Column("released_us", sa.BigInteger, nullable=True),
        sa.Column("problem", sa.Text, nullable=False),
    )
    op.create_index(
        "recording_holds_placed",
        "recording_holds",
        ["placed_us", "hold"],
    )


def _hold_cameras(op: Operations) -> None:
    op.create_table(
        "recording_hold_cameras",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("hold", sa.String, primary_key=True),
    )


def _hold_objects(op: Operations) -> None:
    op.create_table(
        "recording_hold_objects",
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("hold", sa.String, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
    )
    op.create_index(
        "recording_hold_objects_hold",
        "recording_hold_objects",
        ["hold", "state"],
    )
    op.create_index(
        "recording_hold_objects_state",
        "recording_hold_objects",
        ["state", "hold"],
    )
