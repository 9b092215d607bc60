"""Namings that have lapsed stay so; what the log was told of an authorisation is kept.

The columns may be absent from what an older program writes: it then knows no lapsed naming and
tells the log for itself, as it always did.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"

# Cameras that stand elsewhere when this runs have left the zone of their naming already.
_MARK = """
UPDATE registry_authorisation_camera SET lapsed_us = (
    SELECT effective_us FROM registry_camera
    WHERE registry_camera.camera = registry_authorisation_camera.camera
      AND registry_camera.zone <> registry_authorisation_camera.zone
)
"""


def upgrade(op: Operations) -> None:
    """Add the columns and mark what has lapsed already."""
    op.add_column("registry_authorisation_camera", sa.Column("lapsed_us", sa.BigInteger()))
    op.add_column("registry_authorisation", sa.Column("told_state", sa.String(20)))
    op.execute(_MARK)
