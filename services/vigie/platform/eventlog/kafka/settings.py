"""Section ``[kafka]`` of the configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from vigie.platform.config.section import ConfigSection, Suspicion

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaConfig(ConfigSection):
    """Section ``[kafka]``: the brokers of the event log; none: the embedded log."""

    bootstrap: list[str] = Field(
        default=[],
        description="Brokers to begin with, each `host:port`; empty: the embedded event log.",
    )
    topic_prefix: str = Field(
        default="vigie.",
        pattern=r"^[a-zA-Z0-9._-]{0,64}$",
        description="Before every topic, consumer group and transactional id: one an installation.",
    )
    replication: int = Field(
        default=3, ge=1, le=9, description="Copies of every partition that `vigie topics` asks for."
    )
    min_in_sync: int = Field(
        default=2,
        ge=1,
        le=9,
        description="Copies that must have an event before it counts as stored.",
    )
    security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", description="How brokers are talked to; `SASL_SSL` in production."
    )
    sasl_mechanism: SaslMechanism = Field(
        default="SCRAM-SHA-512", description="How this process proves who it is, with `SASL_…`."
    )
    username: str | None = Field(default=None, description="Name of this process at the brokers.")
    password_file: Path | None = Field(
        default=None,
        description="File with the password; read anew whenever a connection is prepared.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates that the brokers' are checked against (PEM); none: the system's.",
    )
    certificate_file: Path | None = Field(
        default=None, description="Certificate of this process (PEM), where brokers ask for one."
    )
    key_file: Path | None = Field(default=None, description="Private key of that certificate.")
    request_timeout_seconds: float = Field(
        default=10.0, gt=0, le=120, description="How long one request to a broker may take."
    )
    delivery_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="After how long an append without acknowledgement is told to have failed.",
    )
    session_timeout_seconds: float = Field(
        default=6.0,
        ge=1,
        le=300,
        description="After how long without a sign of life others take a member's partitions over.",
    )
    buffer_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        description="Events that may wait for the brokers in memory; then appends wait, too.",
    )
    max_event_bytes: int = Field(
        default=1_000_000,
        ge=10_000,
        le=10_000_000,
        description="Largest event that is taken; `vigie topics` tells it to the brokers.",
    )
    outbox_poll_seconds: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="How often the outbox is looked at for what other processes put there.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.min_in_sync > self.replication:
            raise ValueError("min_in_sync is above replication; nothing could ever be stored")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; give both or none")
        if self.uses_sasl and (self.username is None or self.password_file is None):
            raise ValueError(
                f"{self.security_protocol} needs username and password_file; give both"
            )
        for address in self.bootstrap:
            host, colon, port = address.rpartition(":")
            if not (host and colon and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004 - ports
                raise ValueError(f"bootstrap {address!r} is not host:port; write it so")
        return self

    @property
    def uses_sasl(self) -> bool:
        """Whether this process gives a name and a password."""
        return self.security_protocol.startswith("SASL_")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        found: list[Suspicion] = []
        if self.bootstrap and self.min_in_sync == 1:
            found.append(
                Suspicion(
                    "min_in_sync",
                    "an event counts as stored when one broker has it, and is lost with its disk",
                    "use three brokers, replication = 3 and min_in_sync = 2",
                )
            )
        if self.security_protocol == "SASL_PLAINTEXT":
            found.append(
                Suspicion(
                    "security_protocol",
                    "events, which name cameras and people, cross the network in the open",
                    'write "SASL_SSL"',
                )
            )
        return found
