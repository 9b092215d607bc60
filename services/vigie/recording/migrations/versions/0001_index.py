"""The index, the registers and the holds of recording.

On PostgreSQL the segments stand in partitions, one a UTC day of their start: see
`vigie.recording.index.days`. Making and dropping a day takes rights that no service has, so two
functions do it, with the rights of the owner of the tables and nothing but that.
"""

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


_DAY_OF_NAME = """
CREATE FUNCTION recording_name_of_day(day integer) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 'segments_' || to_char(date '1970-01-01' + day, 'YYYYMMDD')
$$
"""
_MAKE_DAYS = """
CREATE FUNCTION recording_make_days(days integer[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    of_day bigint := 86400000000;
    day integer;
    name text;
    made integer := 0;
BEGIN
    FOREACH day IN ARRAY days LOOP
        IF day < 0 OR day > 84005 THEN  -- 2199-12-31
            RAISE EXCEPTION 'no day of the index: %', day USING ERRCODE = '22003';
        END IF;
        name := recording_name_of_day(day);
        CONTINUE WHEN to_regclass(quote_ident(name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE recording_segments INCLUDING DEFAULTS)', name);
        -- Unlike CREATE TABLE … PARTITION OF, this lets readers and writers go on.
        EXECUTE format(
            'ALTER TABLE recording_segments ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            name, day * of_day, (day + 1) * of_day
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END $$
"""
_DROP_DAYS = """
CREATE FUNCTION recording_drop_empty_days(before_day integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    name text;
    has_rows boolean;
    dropped integer := 0;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass('recording_segments')
            AND c.relname < recording_name_of_day(before_day)
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
        CONTINUE WHEN has_rows;
        BEGIN
            EXECUTE format('LOCK TABLE recording_segments, %I IN ACCESS EXCLUSIVE MODE', name);
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
            CONTINUE WHEN has_rows;
            EXECUTE format('DROP TABLE %I', name);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            RETURN dropped;  -- somebody reads for long: the next round will do it
        END;
    END LOOP;
    RETURN dropped;
END $$
"""


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
    if op.get_bind().dialect.name == "postgresql":
        _staging(op)


def _segments(op: Operations) -> None:
    by_day = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "recording_segments",
        *_segment_columns(is_key_by_day=by_day),
        postgresql_partition_by="RANGE (start_us)",
    )
    op.create_index(
        "recording_segments_camera_start",
        "recording_segments",
        ["camera", "start_us"],
    )
    # A partitioned table has no uniqueness over its days: the writer looks at the spans.
    place = ["run", "number", "start_us"] if by_day else ["run", "number"]
    name = "recording_segments_place" if by_day else "recording_segments_run_number"
    op.create_index(name, "recording_segments", place, unique=True)
    if by_day:
        op.execute(_DAY_OF_NAME)
        schema = op.get_bind().scalar(sa.select(sa.func.quote_ident(sa.func.current_schema())))
        for function in (_MAKE_DAYS, _DROP_DAYS):
            # Temporary tables of a caller come last: what it may do with them is not done here.
            op.execute(function.replace("{schema}", str(schema)))


def _segment_columns(*, is_key_by_day: bool) -> list[sa.Column[Any]]:
    return [
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column(
            "start_us",
            sa.BigInteger,
            nullable=False,
            primary_key=is_key_by_day,
            autoincrement=False,
        ),
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
    ]


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


def _staging(op: Operations) -> None:
    """Where the index is made anew (`vigie recording reindex`): no service may make tables."""
    for name, copied in (
        ("staging_segments", "recording_segments"),
        ("staging_spans", "recording_spans"),
        ("staging_destroyed_spans", "recording_destroyed_spans"),
        ("staging_run_ends", "recording_run_ends"),
    ):
        op.execute(f"CREATE UNLOGGED TABLE {name} (LIKE {copied} INCLUDING INDEXES)")
