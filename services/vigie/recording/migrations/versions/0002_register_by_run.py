"""The register of destructions by run: the checker asks it for every run."""

from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Create the index."""
    op.create_index("recording_destructions_run", "recording_destructions", ["run", "number"])
