"""The searchable table of accesses: rebuilt from the log at any time, never changed by hand.

A row keeps the exact bytes of the record, their SHA-256 and their position in the log; the other
columns only serve the search. Objects and zones stand in tables of their own, in the order a
search by one of them reads.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vigie.platform.database import MigrationSet

METADATA: Final = sa.MetaData()
MIGRATIONS: Final = MigrationSet("audit", Path(__file__).parent / "migrations")

ACCESSES: Final = sa.Table(
    "audit_accesses",
    METADATA,
    sa.Column("record", sa.String, primary_key=True),
    sa.Column("log_partition", sa.Integer, nullable=False),
    sa.Column("log_offset", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.String, nullable=False),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("agency", sa.String, nullable=False),
    sa.Column("method", sa.String, nullable=False),
    sa.Column("method_name", sa.String, nullable=False),
    sa.Column("kind", sa.Integer, nullable=False),
    sa.Column("decision", sa.Integer, nullable=False),
    sa.Column("decision_reason", sa.String, nullable=False),
    sa.Column("window_start_us", sa.BigInteger, nullable=True),
    sa.Column("window_end_us", sa.BigInteger, nullable=True),
    sa.Column("purpose_folded", sa.String, nullable=False),
    sa.Column("case_reference", sa.String, nullable=False),
    sa.Index("audit_accesses_position", "log_partition", "log_offset", unique=True),
    sa.Index("audit_accesses_time", "time_us", "record"),
    sa.Index("audit_accesses_subject", "subject", "time_us", "record"),
    sa.Index("audit_accesses_agency", "agency", "time_us", "record"),
    sa.Index("audit_accesses_method", "method_name", "time_us", "record"),
    sa.Index("audit_accesses_case", "case_reference", "time_us", "record"),
    sa.Index("audit_accesses_reason", "decision_reason", "time_us", "record"),
    sa.Index("audit_accesses_request", "request_id"),
)

OBJECTS: Final = sa.Table(
    "audit_access_objects",
    METADATA,
    sa.Column("object", sa.String, primary_key=True),
    sa.Column("time_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("record", sa.String, primary_key=True),
    sa.Index("audit_access_objects_record", "record"),
)

ZONES: Final = sa.Table(
    "audit_access_zones",
    METADATA,
    sa.Column("zone", sa.String, primary_key=True),
    sa.Column("time_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("record", sa.String, primary_key=True),
    sa.Index("audit_access_zones_record", "record"),
)
