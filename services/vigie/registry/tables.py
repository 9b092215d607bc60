"""The registry's tables (prefix ``registry_``). Times are microseconds since the Unix epoch."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData()

communes: Final = Table(
    "registry_commune",
    METADATA,
    Column("insee", String(5), primary_key=True),
    Column("display_name", String(120), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

zones: Final = Table(
    "registry_zone",
    METADATA,
    Column("zone", String(63), primary_key=True),
    Column("commune", String(5), nullable=False),
    Column("display_name", String(120), nullable=False),
    Column("description", String(1000), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Index("registry_zone_by_commune", "commune"),
)

sites: Final = Table(
    "registry_site",
    METADATA,
    Column("site", String(63), primary_key=True),
    Column("zone", String(63), nullable=False),
    Column("display_name", String(120), nullable=False),
    Column("address", String(300), nullable=False),
    Column("latitude_degrees", Float),
    Column("longitude_degrees", Float),
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Index("registry_site_by_zone", "zone"),
)

cameras: Final = Table(
    "registry_camera",
    METADATA,
    Column("camera", String(63), primary_key=True),
    Column("display_name", String(120), nullable=False),
    Column("zone", String(63), nullable=False),
    Column("site", String(63), nullable=False),
    Column("commune", String(5), nullable=False),
    Column("lifecycle", Integer, nullable=False),
    Column("lifecycle_reason", String(500), nullable=False),
    Column("stream_uri", String(1000), nullable=False),
    Column("credentials_key_id", String(64)),
    Column("credentials", LargeBinary),  # sealed; see vigie.platform.sealing
    Column("engine", Integer, nullable=False),
    Column("segment_seconds", Integer, nullable=False),
    Column("description", String(1000), nullable=False),
    Column("manufacturer", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("serial_number", String(100), nullable=False),
    Column("latitude_degrees", Float),
    Column("longitude_degrees", Float),
    # Case-folded identifier, name and description: what a search for words looks at, because
    # SQLite folds only ASCII.
    Column("search_text", String(2000).with_variant(Text(), "postgresql"), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("effective_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Index("registry_camera_by_zone", "zone"),
    Index("registry_camera_by_commune", "commune"),
    Index("registry_camera_by_site", "site"),
)

camera_revisions: Final = Table(
    "registry_camera_revision",
    METADATA,
    Column("camera", String(63), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("zone", String(63), nullable=False),
    Column("effective_us", BigInteger, nullable=False),
    Column("recorded_us", BigInteger, nullable=False),
    Column("action", String(40), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("actor", String(200), nullable=False),
    # vigie.registry.v1.Camera as it was; it has no credentials.
    Column("snapshot", LargeBinary, nullable=False),
    PrimaryKeyConstraint("camera", "revision"),
    Index("registry_camera_revision_by_zone", "zone"),
)

authorisations: Final = Table(
    "registry_authorisation",
    METADATA,
    Column("authorisation", String(63), primary_key=True),
    Column("number", String(60), nullable=False),
    Column("prefecture", String(120), nullable=False),
    Column("signed_us", BigInteger),
    Column("valid_from_us", BigInteger, nullable=False),
    Column("valid_until_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
    Column("revoke_reason", String(500), nullable=False),
    Column("purposes", String(100), nullable=False),  # numbers joined by commas, sorted
    Column("retention_days", Integer, nullable=False),
    Column("recipients", String(6000), nullable=False),  # JSON list, in the order given
    # The last state that the log was told of (EXPIRING, EXPIRED); null: none. Of all processes
    # the one that changes it tells.
    Column("told_state", String(20)),
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    UniqueConstraint("prefecture", "number", name="registry_authorisation_number"),
)

authorisation_zones: Final = Table(
    "registry_authorisation_zone",
    METADATA,
    Column("authorisation", String(63), nullable=False),
    Column("zone", String(63), nullable=False),
    PrimaryKeyConstraint("authorisation", "zone"),
    Index("registry_authorisation_zone_by_zone", "zone"),
)

authorisation_cameras: Final = Table(
    "registry_authorisation_camera",
    METADATA,
    Column("authorisation", String(63), nullable=False),
    Column("camera", String(63), nullable=False),
    # The zone the camera stood in when it was named: elsewhere the naming does not count.
    Column("zone", String(63), nullable=False),
    # When it left that zone; null: it is there. From then on the naming counts nowhere.
    Column("lapsed_us", BigInteger),
    PrimaryKeyConstraint("authorisation", "camera"),
    Index("registry_authorisation_camera_by_camera", "camera"),
)

coverages: Final = Table(
    "registry_coverage",
    METADATA,
    Column("authorisation", String(63), nullable=False),
    Column("camera", String(63), nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),  # null: still covered
    PrimaryKeyConstraint("authorisation", "camera", "from_us"),
    Index("registry_coverage_by_camera", "camera"),
)

requests: Final = Table(
    "registry_request",
    METADATA,
    Column("subject", String(200), nullable=False),
    Column("method", String(100), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("subject", "method", "request_id"),
    Index("registry_request_by_created_us", "created_us"),
)
