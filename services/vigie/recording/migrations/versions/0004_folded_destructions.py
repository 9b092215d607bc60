"""Destructions whose entry has passed its time: what was destroyed, without the single objects."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """Create the table."""
    op.create_table(
        "recording_folded_destructions",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("first_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
    )
    table = "recording_folded_destructions"
    op.create_index(f"{table}_camera_start", table, ["camera", "start_us"])
    op.create_index(f"{table}_start", table, ["start_us", "run"])
