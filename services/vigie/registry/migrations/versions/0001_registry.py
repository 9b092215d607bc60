"""The tables of the registry as first published."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None

# Folding makes some letters up to three; PostgreSQL holds people to the length that is declared.
_SEARCH_TEXT = sa.String(2000).with_variant(sa.Text(), "postgresql")


def upgrade(op: Operations) -> None:
    """Create the tables."""
    _places(op)
    _cameras(op)
    _revisions(op)
    _authorisations(op)
    _scopes(op)
    _requests(op)


def _places(op: Operations) -> None:
    op.create_table(
        "registry_commune",
        sa.Column("insee", sa.String(5), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("insee"),
    )
    op.create_table(
        "registry_zone",
        sa.Column("zone", sa.String(63), nullable=False),
        sa.Column("commune", sa.String(5), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("zone"),
    )
    op.create_index("registry_zone_by_commune", "registry_zone", ["commune"])
    op.create_table(
        "registry_site",
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("zone", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("latitude_degrees", sa.Float()),
        sa.Column("longitude_degrees", sa.Float()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site"),
    )
    op.create_index("registry_site_by_zone", "registry_site", ["zone"])


def _cameras(op: Operations) -> None:
    op.create_table(
        "registry_camera",
        sa.Column("camera", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("zone", sa.String(63), nullable=False),
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("commune", sa.String(5), nullable=False),
        sa.Column("lifecycle", sa.Integer(), nullable=False),
        sa.Column("lifecycle_reason", sa.String(500), nullable=False),
        sa.Column("stream_uri", sa.String(1000), nullable=False),
        sa.Column("credentials_key_id", sa.String(64)),
        sa.Column("credentials", sa.LargeBinary()),
        sa.Column("engine", sa.Integer(), nullable=False),
        sa.Column("segment_seconds", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("manufacturer", sa.String(100), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("serial_number", sa.String(100), nullable=False),
        sa.Column("latitude_degrees", sa.Float()),
        sa.Column("longitude_degrees", sa.Float()),
        sa.Column("search_text", _SEARCH_TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("effective_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("camera"),
    )
    op.create_index("registry_camera_by_commune", "registry_camera", ["commune"])
    op.create_index("registry_camera_by_site", "registry_camera", ["site"])
    op.create_index("registry_camera_by_zone", "registry_camera", ["zone"])


def _revisions(op: Operations) -> None:
    op.create_table(
        "registry_camera_revision",
        sa.Column("camera", sa.String(63), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.String(63), nullable=False),
        sa.Column("effective_us", sa.BigInteger(), nullable=False),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("camera", "revision"),
    )
    op.create_index("registry_camera_revision_by_zone", "registry_camera_revision", ["zone"])


def _authorisations(op: Operations) -> None:
    op.create_table(
        "registry_authorisation",
        sa.Column("authorisation", sa.String(63), nullable=False),
        sa.Column("number", sa.String(60), nullable=False),
        sa.Column("prefecture", sa.String(120), nullable=False),
        sa.Column("signed_us", sa.BigInteger()),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.Column("revoke_reason", sa.String(500), nullable=False),
        sa.Column("purposes", sa.String(100), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("recipients", sa.String(6000), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authorisation"),
        sa.UniqueConstraint("prefecture", "number", name="registry_authorisation_number"),
    )


def _scopes(op: Operations) -> None:
    op.create_table(
        "registry_authorisation_zone",
        sa.Column("authorisation", sa.String(63), nullable=False),
        sa.Column("zone", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("authorisation", "zone"),
    )
    op.create_index("registry_authorisation_zone_by_zone", "registry_authorisation_zone", ["zone"])
    op.create_table(
        "registry_authorisation_camera",
        sa.Column("authorisation", sa.String(63), nullable=False),
        sa.Column("camera", sa.String(63), nullable=False),
        sa.Column("zone", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("authorisation", "camera"),
    )
    op.create_index(
        "registry_authorisation_camera_by_camera", "registry_authorisation_camera", ["camera"]
    )
    op.create_table(
        "registry_coverage",
        sa.Column("authorisation", sa.String(63), nullable=False),
        sa.Column("camera", sa.String(63), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("authorisation", "camera", "from_us"),
    )
    op.create_index("registry_coverage_by_camera", "registry_coverage", ["camera"])


def _requests(op: Operations) -> None:
    op.create_table(
        "registry_request",
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("method", sa.String(100), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "method", "request_id"),
    )
    op.create_index("registry_request_by_created_us", "registry_request", ["created_us"])
