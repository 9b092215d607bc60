"""The section of S3 in the configuration, ``[s3]``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from vigie.platform.config import ConfigSection, Suspicion

Capability = Literal["object-lock", "conditional-writes", "checksums"]
_MIB: Final = 1 << 20


class S3Config(ConfigSection):
    """Where footage and packages are kept when they are not kept in a directory."""

    endpoint: str | None = Field(
        default=None,
        description="Address of the S3 store, `https://host:port` or `http://host:port`; unset: "
        "the store is a directory of this machine.",
    )
    bucket: str = Field(
        default="vigie",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="Bucket; `vigie store init` makes it as it has to be.",
    )
    prefix: str = Field(
        default="",
        max_length=200,
        description="What all keys of this installation begin with in the bucket, e.g. `north/`; a "
        "missing slash at its end is added.",
    )
    installation: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this installation, the same for all its services. It is written into "
        "the bucket and into the topics at the brokers (`kafka.topic_prefix`), and who finds "
        "another one there does not start. Unset: whatever name is there the first time is "
        "remembered.",
    )
    region: str = Field(
        default="us-east-1", min_length=1, description="Region that requests are signed for."
    )
    access_key_file: Path | None = Field(
        default=None, description="File with the access key; read again when it changes."
    )
    secret_key_file: Path | None = Field(
        default=None, description="File with the secret key; read again when it changes."
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authority to trust; unset: the usual public ones.",
    )
    write_only: bool = Field(
        default=False,
        description="The credentials may write, list and tag, but not read (the policy of ingest): "
        "what was stored is then confirmed from the listing, its digest from a tag.",
    )
    accept_without: tuple[Capability, ...] = Field(
        default=(),
        description="What the store may lack. Without `object-lock`, holds are kept by this "
        "program alone; without `conditional-writes`, two writers of one key are found after the "
        "fact; without `checksums`, everything is read back once. Lacking anything else of these, "
        "the program does not start.",
    )
    upload_concurrency: int = Field(
        default=8, ge=1, le=256, description="Uploads under way at the same time, each a thread."
    )
    request_concurrency: int = Field(
        default=16, ge=1, le=256, description="Other requests at the same time, each a thread."
    )
    part_bytes: int = Field(
        default=16 * _MIB,
        ge=5 * _MIB,
        le=1024 * _MIB,
        description="Files longer than four of these are stored in parts of this length; one part "
        "per upload is in memory, in bytes. Files of more than 10,000 parts get longer parts.",
    )
    connect_timeout_seconds: float = Field(
        default=5, gt=0, le=300, description="How long a connection may take to be made."
    )
    read_timeout_seconds: float = Field(
        default=30, gt=0, le=3600, description="How long the store may be silent during a request."
    )
    deadline_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="How long a request may take in all; transfers get the time of their length at "
        "`slowest_bytes_per_second` besides.",
    )
    slowest_bytes_per_second: int = Field(
        default=256 << 10, ge=1024, description="A transfer slower than this is given up."
    )
    attempts: int = Field(
        default=4, ge=1, le=20, description="Attempts of a request before its failure is told."
    )

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ValueError("an endpoint reads https://host:port, without user or password")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError("an endpoint has no path; give `bucket` and `prefix` their own keys")
        return value

    @field_validator("prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        if not value:
            return value
        folder = value if value.endswith("/") else f"{value}/"
        if any(part in {"", ".", ".."} for part in folder[:-1].split("/")) or not folder.isascii():
            raise ValueError("a prefix is ASCII, in parts joined by '/', none empty, '.' or '..'")
        return folder

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if self.endpoint is None:
            return ()
        found: list[Suspicion] = []
        parts = urlsplit(self.endpoint)
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            message = "footage travels to the store without encryption"
            found.append(Suspicion("endpoint", message, f'endpoint = "https://{parts.netloc}"'))
        for lacking in self.accept_without:
            message = f"the store may lack {lacking}"
            found.append(Suspicion("accept_without", message, "accept_without = []"))
        return found
