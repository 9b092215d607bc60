"""What the topic `quarantine` is told of a quarantined event."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Add the columns; events that stand there already are told of by their consumer."""
    table = "consumer_quarantine"
    op.add_column(table, sa.Column("case_id", sa.String, nullable=True))
    op.add_column(table, sa.Column("record", sa.LargeBinary, nullable=True))
    op.add_column(table, sa.Column("asked_by", sa.String, nullable=True))
    op.add_column(table, sa.Column("asked_why", sa.String, nullable=True))
