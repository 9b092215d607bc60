"""Hours of footage known from a listing of the bucket, whose objects are still to be looked at."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    """Create the table."""
    op.create_table(
        "recording_undescribed",
        sa.Column("folder", sa.String, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "recording_undescribed_camera_start", "recording_undescribed", ["camera", "start_us"]
    )
    op.create_index("recording_undescribed_start", "recording_undescribed", ["start_us", "folder"])
