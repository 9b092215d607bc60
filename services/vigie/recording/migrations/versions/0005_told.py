"""When the registry told a state of a camera, which may be after it took effect."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0005"
down_revision = "0004"


def upgrade(op: Operations) -> None:
    """Add the column; a version that does not know it leaves it empty."""
    op.add_column("recording_camera_states", sa.Column("told_us", sa.BigInteger(), nullable=True))
