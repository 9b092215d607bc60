"""The ``[evidence]`` section of the configuration."""

from pathlib import Path

from pydantic import Field

from vigie.platform.config.section import ConfigSection


class EvidenceConfig(ConfigSection):
    """Requests for evidence and their packages."""

    longest_window_hours: int = Field(
        24, ge=1, le=744, description="Longest window one request may ask for, in hours."
    )
    package_days: int = Field(
        30, ge=1, le=365, description="How long a finished package can be downloaded, in days."
    )
    hold_timeout_seconds: int = Field(
        120, ge=1, description="How long to wait for the store to confirm a hold, in seconds."
    )
    pending_timeout_seconds: int = Field(
        600,
        ge=1,
        description="How long to wait for received footage to be stored before a package fails,"
        " in seconds.",
    )
    gap_settle_seconds: int = Field(
        60,
        ge=0,
        le=3600,
        description="A gap INGEST_DOWN that ended less than this long ago, in seconds, may still be"
        " filled, by another process that had the camera or from a spool: packages wait until it"
        " is older.",
    )
    installation: str = Field(
        "Vigie",
        min_length=1,
        max_length=200,
        description="Name of this installation, as packages state it.",
    )
    signing_key_file: Path | None = Field(
        None,
        description="PEM file of the private key that signs packages (EC P-256 or RSA). Unset: a"
        " key is made at the first start, for one machine.",
    )
    signing_certificate_file: Path | None = Field(
        None, description="PEM file of the certificate of that key, with its chain."
    )
