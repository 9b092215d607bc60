"""Requests and their custody."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Create the tables."""
    op.create_table(
        "evidence_request",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("case_reference", sa.String, nullable=False),
        sa.Column("create_us", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("client_request_id", sa.String, nullable=True),
        sa.Column("client_request_digest", sa.String, nullable=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("client_request_id", name="evidence_request_client_id"),
    )
    op.create_index("evidence_request_state", "evidence_request", ["state", "create_us"])
    op.create_index("evidence_request_case", "evidence_request", ["case_reference", "create_us"])
    op.create_table(
        "evidence_custody",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("display_name", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
