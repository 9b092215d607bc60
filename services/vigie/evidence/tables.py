"""Tables of the evidence context, prefix ``evidence_``."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vigie.platform.database import MigrationSet

MIGRATIONS: Final = MigrationSet("evidence", Path(__file__).parent / "migrations")

METADATA: Final = sa.MetaData()

REQUEST: Final = sa.Table(
    "evidence_request",
    METADATA,
    sa.Column("request", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("case_reference", sa.String, nullable=False),
    sa.Column("create_us", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("client_request_id", sa.String, nullable=True),
    sa.Column("client_request_digest", sa.String, nullable=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.UniqueConstraint("client_request_id", name="evidence_request_client_id"),
    sa.Index("evidence_request_state", "state", "create_us"),
    sa.Index("evidence_request_case", "case_reference", "create_us"),
)

CUSTODY: Final = sa.Table(
    "evidence_custody",
    METADATA,
    sa.Column("request", sa.String, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
