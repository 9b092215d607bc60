"""Topics and events of the embedded log."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Create the tables."""
    op.create_table(
        "eventlog_topic",
        sa.Column("topic", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("compacted", sa.Boolean, nullable=False),
        sa.Column("partitions", sa.Integer, nullable=False),
        sa.Column("retention_days", sa.Integer, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("name", name="eventlog_topic_name"),
    )
    op.create_table(
        "eventlog_event",
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
    )
    op.create_index("eventlog_event_key", "eventlog_event", ["topic", "key", "offset"])
