"""The outbox, and whose turn it is to publish it."""

import uuid

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Create the tables and the one row of the relay."""
    op.create_table(
        "outbox_event",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("headers", sa.Text, nullable=True),
        sa.Column("appended_us", sa.BigInteger, nullable=False),
    )
    relay = op.create_table(
        "outbox_relay",
        sa.Column("single", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("outbox", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    row = {"single": 1, "outbox": uuid.uuid4().hex, "owner": "", "beat": 0}
    op.bulk_insert(relay, [row])
