"""Tables of the embedded event log (``eventlog_``) and of every consumer (``consumer_``).

The consumer's tables are a set of their own: they stand in the database of the context that
consumes, whatever the log is, so that position and effect commit together.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vigie.platform.database.migrations import MigrationSet

LOG_MIGRATIONS: Final = MigrationSet("eventlog", Path(__file__).parent / "migrations")
CONSUMER_MIGRATIONS: Final = MigrationSet("consumer", Path(__file__).parent / "consumer_migrations")

LOG_METADATA: Final = sa.MetaData()
CONSUMER_METADATA: Final = sa.MetaData()

# SQLite increments only an INTEGER PRIMARY KEY.
_SERIAL: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")

TOPIC: Final = sa.Table(
    "eventlog_topic",
    LOG_METADATA,
    sa.Column("topic", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("compacted", sa.Boolean, nullable=False),
    sa.Column("partitions", sa.Integer, nullable=False),
    sa.Column("retention_days", sa.Integer, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    # Of topics that are not compacted: below it events went by age, above it none may be missing.
    sa.Column("first_offset", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("name", name="eventlog_topic_name"),
)

EVENT: Final = sa.Table(
    "eventlog_event",
    LOG_METADATA,
    sa.Column("topic", sa.Integer, nullable=False, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("type", sa.String, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("headers", sa.Text, nullable=True),
    sa.Column("appended_us", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("topic", "id", name="eventlog_event_id"),
    sa.Index("eventlog_event_key", "topic", "key", "offset"),
)

SKIPPED: Final = sa.Table(
    "eventlog_skipped",
    LOG_METADATA,
    sa.Column("topic", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("skipped_us", sa.BigInteger, nullable=False),
)

POSITION: Final = sa.Table(
    "consumer_position",
    CONSUMER_METADATA,
    sa.Column("topic", sa.String, primary_key=True),
    sa.Column("group", sa.String, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
)

QUARANTINE: Final = sa.Table(
    "consumer_quarantine",
    CONSUMER_METADATA,
    sa.Column("number", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("group", sa.String, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("type", sa.String, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("headers", sa.Text, nullable=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("quarantined_us", sa.BigInteger, nullable=False),
    sa.Column("replay_requested", sa.Boolean, nullable=False),
    # Names the case in the topic `quarantine`; none: nobody has told of it there yet.
    sa.Column("case_id", sa.String, nullable=True),
    # The record, where the log holds records: a `RecordQuarantined.record` without its value.
    sa.Column("record", sa.LargeBinary, nullable=True),
    # Who asked for the replay, and why.
    sa.Column("asked_by", sa.String, nullable=True),
    sa.Column("asked_why", sa.String, nullable=True),
    sa.UniqueConstraint(
        "topic", "group", "partition", "offset", name="consumer_quarantine_position"
    ),
)
