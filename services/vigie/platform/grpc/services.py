"""Sections ``[services]`` and ``[tls]``: where the services of an installation are, and who."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from vigie.platform.config.addresses import HostPort
from vigie.platform.config.section import ConfigSection, Suspicion
from vigie.platform.errors import VigieError
from vigie.platform.grpc.settings import TlsConfig, host_of, is_loopback
from vigie.platform.reasons import CONFIG_INVALID

CONTEXTS: Final = ("access", "audit", "registry", "ingest", "recording", "evidence")
_PLACE: Final = "{service}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def context_of(service: str) -> str:
    """The context that serves ``vigie.<context>.v1.…`` (a full service name or a path)."""
    parts = service.lstrip("/").split(".")
    return parts[1] if len(parts) > 2 and parts[0] == "vigie" else ""  # noqa: PLR2004 - see above


class ServicesConfig(ConfigSection):
    """Where the services reach each other; nothing of it is needed where one process is all."""

    access: tuple[str, ...] = Field(
        default=(),
        description="Addresses of the access service, host:port; several IP addresses, or one "
        "name that stands for several, share the calls. So for the others.",
    )
    audit: tuple[str, ...] = Field(default=(), description="Addresses of the audit service.")
    registry: tuple[str, ...] = Field(default=(), description="Addresses of the registry.")
    ingest: tuple[str, ...] = Field(default=(), description="Addresses of ingest processes.")
    recording: tuple[str, ...] = Field(default=(), description="Addresses of recording.")
    evidence: tuple[str, ...] = Field(default=(), description="Addresses of evidence.")
    listen: HostPort | None = Field(
        default=None,
        description="Address on which this service is reached by the others; unset: its own one "
        "above where that is of this machine, else a free port of 127.0.0.1.",
    )
    advertise: HostPort | None = Field(
        default=None,
        description="Address of this very process, for calls that only it can answer (live "
        "pictures of its cameras); unset: where it listens.",
    )
    connect_seconds: float = Field(
        default=3.0, gt=0, le=20, description="Longest time for a connection to come about."
    )
    call_seconds: float = Field(
        default=30.0, gt=0, description="Deadline of calls with one answer that give none."
    )

    @model_validator(mode="after")
    def _addresses_are_whole(self) -> Self:
        for context in CONTEXTS:
            addresses: tuple[str, ...] = getattr(self, context)
            for address in addresses:
                host, _, port = address.rpartition(":")
                if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
                    raise ValueError(f"{context}: {address!r} is not host:port")
            families = {":" in host_of(address) for address in addresses}
            names = [a for a in addresses if not _is_address(host_of(a))]
            if len(addresses) > 1 and (names or len(families) > 1):
                raise ValueError(
                    f"{context}: several addresses must be IP addresses of one family; give one "
                    "name that stands for all of them instead"
                )
        return self

    def addresses(self, context: str) -> tuple[str, ...]:
        """Where a context is served; empty when nobody said."""
        found: tuple[str, ...] = getattr(self, context, ()) if context in CONTEXTS else ()
        return found

    def listening(self, service: str) -> str:
        """Where the process of ``service`` listens for the others.

        Raises:
            VigieError: CONFIG_INVALID: its address is of no one machine, and nothing says more.
        """
        if self.listen is not None:
            return self.listen
        own = self.addresses(service)
        if not own:
            return "127.0.0.1:0"
        if len(own) == 1 and is_loopback(host_of(own[0])):
            return own[0]
        raise VigieError(
            CONFIG_INVALID,
            f"services.listen is not set, and services.{service} does not say where on this "
            'machine to listen; give services.listen, e.g. "0.0.0.0:7444"',
            field="services.listen",
        )


class ServiceTlsConfig(ConfigSection):
    """Mutual TLS between services: files, read again when they change. Unset: none."""

    certificate_file: Path | None = Field(
        default=None,
        description="Certificate of this service and its chain, PEM; `{service}` in the path "
        "stands for its name.",
    )
    key_file: Path | None = Field(
        default=None, description="Private key of the certificate, PEM; `{service}` as above."
    )
    ca_file: Path | None = Field(
        default=None, description="Authorities whose certificates of services are believed, PEM."
    )
    trust_domain: str = Field(
        default="vigie.internal",
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?$",
        description="What the names in the certificates end with: `<service>.<trust domain>` "
        "(DNS) and `spiffe://<trust domain>/vigie/<service>` (URI).",
    )
    reload_seconds: float = Field(
        default=60.0, gt=0, description="How often the files are looked at for a change."
    )

    @model_validator(mode="after")
    def _files_go_together(self) -> Self:
        given = [self.certificate_file, self.key_file, self.ca_file]
        if any(given) and not all(given):
            raise ValueError("certificate_file, key_file and ca_file go together; give all or none")
        return self

    @property
    def enabled(self) -> bool:
        """Whether services prove themselves by certificates."""
        return self.certificate_file is not None

    def of(self, service: str) -> TlsConfig:
        """The files of one service, as a server wants them.

        Raises:
            ValueError: there are none.
        """
        if self.certificate_file is None or self.key_file is None or self.ca_file is None:
            raise ValueError("there are no certificates of services")
        return TlsConfig(
            certificate_file=_placed(self.certificate_file, service),
            key_file=_placed(self.key_file, service),
            client_ca_file=self.ca_file,
            reload_seconds=self.reload_seconds,
        )

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if not self.enabled or self.key_file is None or _PLACE in str(self.key_file):
            return ()
        if not self.key_file.is_file() or not self.key_file.stat().st_mode & 0o077:
            return ()
        message = f"{self.key_file} can be read by others"
        return (Suspicion("key_file", message, f"run `chmod 600 {self.key_file}`"),)


def _placed(path: Path, service: str) -> Path:
    return Path(str(path).replace(_PLACE, service))
