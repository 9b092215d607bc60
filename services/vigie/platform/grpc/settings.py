"""Section ``[grpc]`` of the configuration: where and how the product serves gRPC."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from vigie.platform.config.addresses import ListenAddress
from vigie.platform.config.section import ConfigSection, Suspicion

MEBIBYTE = 1 << 20


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (a name, an address, or ``unix:…``)."""
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The host of ``host:port`` (``[::1]:443`` → ``::1``); ``unix:…`` stays whole."""
    if address.startswith("unix:"):
        return address
    return address.rpartition(":")[0].strip("[]")


class TlsConfig(ConfigSection):
    """Files of the server's identity; read again when they change."""

    certificate_file: Path = Field(description="Server certificate and its chain, PEM.")
    key_file: Path = Field(description="Private key of the certificate, PEM.")
    client_ca_file: Path | None = Field(
        default=None,
        description="Authorities whose client certificates are accepted, PEM; given: every client "
        "must present one (mutual TLS).",
    )
    reload_seconds: float = Field(
        default=60.0, gt=0, description="How often the files are looked at for a change."
    )


class GrpcConfig(ConfigSection):
    """How the product serves gRPC."""

    listen: tuple[ListenAddress, ...] = Field(
        default=("127.0.0.1:7443",),
        min_length=1,
        description="Addresses to listen on, host:port; port 0 takes a free one.",
    )
    tls: TlsConfig | None = Field(default=None, description="TLS; absent: plain text.")
    allow_plaintext: bool = Field(
        default=False,
        description="Serve plain text on addresses that other machines reach. Tokens and footage "
        "are then readable on the network: only behind a proxy that ends TLS.",
    )
    max_message_bytes: int = Field(
        default=MEBIBYTE, ge=64 << 10, description="Largest message received or sent."
    )
    max_concurrent_streams: int = Field(
        default=256, ge=1, description="Calls at one time on one connection."
    )
    max_concurrent_calls: int = Field(
        default=4096, ge=1, description="Calls at one time in this process; more are refused."
    )
    max_unary_seconds: float = Field(
        default=60.0, gt=0, description="Longest time a call with one answer may take."
    )
    request_seconds: float = Field(
        default=10.0,
        gt=0,
        description="A call whose request has not come within this time is refused.",
    )
    max_stranger_calls: int = Field(
        default=256,
        ge=1,
        description="Calls at one time of callers who are not known: to methods that anybody may "
        "call (health, reflection), and others while their request is waited for.",
    )
    max_stranger_calls_of_peer: int = Field(
        default=64, ge=1, description="Of these, calls that come from one address."
    )
    keepalive_seconds: float = Field(
        default=30.0, ge=1, description="A connection without traffic is probed after this time."
    )
    keepalive_timeout_seconds: float = Field(
        default=10.0, gt=0, description="A probe not answered within this time ends the connection."
    )
    record_timeout_seconds: float = Field(
        default=5.0,
        gt=0,
        description="An access not on record within this time is refused.",
    )
    revalidate_seconds: float = Field(
        default=1.0,
        gt=0,
        le=2.0,
        description="How often open streams are checked against the rights of their callers.",
    )
    stranger_burst: int = Field(
        default=10,
        ge=1,
        description="Attempts without a valid token that are recorded one by one for a peer before "
        "further ones are only counted.",
    )
    stranger_refill_seconds: float = Field(
        default=60.0,
        gt=0,
        description="After this time one more such attempt of the peer is recorded by itself; "
        "the count of those suppressed goes on record at least this often.",
    )
    reflection: bool = Field(
        default=True, description="Whether tools may list the services (server reflection)."
    )

    @model_validator(mode="after")
    def _plain_text_stays_at_home(self) -> Self:
        if self.tls is not None or self.allow_plaintext:
            return self
        for address in self.listen:
            if not is_loopback(host_of(address)):
                raise ValueError(
                    f"listen: {address} is reached by other machines, and there is no TLS; "
                    "give [grpc.tls] certificate_file and key_file, or listen on 127.0.0.1, or "
                    "set allow_plaintext = true if a proxy in front ends TLS"
                )
        return self

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        found: list[Suspicion] = []
        if self.allow_plaintext and self.tls is not None:
            found.append(
                Suspicion(
                    "allow_plaintext",
                    "has no effect: TLS is configured and used on every address",
                    "remove allow_plaintext",
                )
            )
        if self.allow_plaintext and self.tls is None:
            found.append(
                Suspicion(
                    "allow_plaintext",
                    "tokens and footage cross the network unencrypted",
                    "give [grpc.tls], unless a proxy in front ends TLS",
                )
            )
        if self.max_message_bytes > 4 * MEBIBYTE:
            found.append(
                Suspicion(
                    "max_message_bytes",
                    "is above 4 MiB, gRPC's default: clients will refuse such messages",
                    "leave it at 1048576; large payloads are chunked anyway",
                )
            )
        return found
