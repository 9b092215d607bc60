"""The searchable table of accesses."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None

# A record is never changed; whoever tries, by whatever way, is refused by the database itself.
_NO_CHANGE = """
CREATE TRIGGER audit_accesses_no_change BEFORE UPDATE ON audit_accesses
BEGIN SELECT RAISE(ABORT, 'access records are never changed'); END
"""
_REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'access records are never changed' USING ERRCODE = '23001'; END $$
"""
_NO_CHANGE_POSTGRESQL = """
CREATE TRIGGER audit_accesses_no_change BEFORE UPDATE ON audit_accesses
FOR EACH ROW EXECUTE FUNCTION audit_refuse()
"""


def upgrade(op: Operations) -> None:
    """Create every table."""
    op.create_table(
        "audit_accesses",
        sa.Column("record", sa.String, primary_key=True),
        sa.Column("log_partition", sa.Integer, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("phase", sa.Integer, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("agency", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("method_name", sa.String, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("decision", sa.Integer, nullable=False),
        sa.Column("decision_reason", sa.String, nullable=False),
        sa.Column("window_start_us", sa.BigInteger, nullable=True),
        sa.Column("window_end_us", sa.BigInteger, nullable=True),
        sa.Column("purpose_folded", sa.String, nullable=False),
        sa.Column("case_reference", sa.String, nullable=False),
    )
    _indexes(op)
    for name, column in (("audit_access_objects", "object"), ("audit_access_zones", "zone")):
        op.create_table(
            name,
            sa.Column(column, sa.String, primary_key=True),
            sa.Column("time_us", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("record", sa.String, primary_key=True),
        )
        op.create_index(f"{name}_record", name, ["record"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_NO_CHANGE)
    else:
        op.execute(_REFUSE)
        op.execute(_NO_CHANGE_POSTGRESQL)


def _indexes(op: Operations) -> None:
    table = "audit_accesses"
    op.create_index("audit_accesses_position", table, ["log_partition", "log_offset"], unique=True)
    op.create_index("audit_accesses_time", table, ["time_us", "record"])
    for name, column in (
        ("subject", "subject"),
        ("agency", "agency"),
        ("method", "method_name"),
        ("case", "case_reference"),
        ("reason", "decision_reason"),
    ):
        op.create_index(f"audit_accesses_{name}", table, [column, "time_us", "record"])
    op.create_index("audit_accesses_request", table, ["request_id"])
