"""Where each topic begins now, and which positions were skipped on purpose."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Add the first offset of a topic and the table of skipped positions."""
    op.add_column(
        "eventlog_topic",
        sa.Column("first_offset", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.execute(
        'UPDATE eventlog_topic SET first_offset = COALESCE((SELECT MIN(e."offset") FROM '
        "eventlog_event e WHERE e.topic = eventlog_topic.topic), next_offset) "
        "WHERE NOT compacted"
    )
    op.create_table(
        "eventlog_skipped",
        sa.Column("topic", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("skipped_us", sa.BigInteger, nullable=False),
    )
