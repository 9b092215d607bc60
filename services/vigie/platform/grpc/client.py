"""Calls to services: of one context to another, and of the command line to the product."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2, status_pb2

from vigie.platform.errors import ERROR_DOMAIN
from vigie.platform.grpc.bearer import bearer_interceptors
from vigie.platform.grpc.failure import STATUS_DETAILS_KEY, FieldViolation
from vigie.platform.grpc.pipeline import REQUEST_ID_KEY
from vigie.platform.identity.port import TokenSource

StubType = TypeVar("StubType")

IDEMPOTENT_PREFIXES: Final = ("Get", "List", "Search", "WhoAmI", "Probe")
"""Methods that only read (AIP-130): repeating them does no harm."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a client proves itself and whom it trusts.

    Attributes:
        ca_file: authorities trusted, PEM; ``None``: those of the machine.
        certificate_file: certificate of the client, PEM, for mutual TLS.
        key_file: its private key, PEM.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC wants it; reads the files."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca_file.read_bytes() if self.ca_file else None,
            private_key=self.key_file.read_bytes() if self.key_file else None,
            certificate_chain=self.certificate_file.read_bytes() if self.certificate_file else None,
        )


class ClientError(Exception):
    """A call failed; the details of the answer in the shape the server gave them.

    Attributes:
        code: status code.
        reason: stable reason (ErrorInfo of the domain ``vigie``); empty when the failure did not
            come from the product (no connection, a proxy).
        message: for a developer, in English.
        localized_message: for a person, in the language asked for; may be empty.
        remedy: what to do about it; may be empty.
        metadata: further facts (ErrorInfo).
        violations: fields of the request at fault.
        request_id: identifier under which the server logged the call.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        localized_message: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.localized_message = localized_message
        self.metadata = dict(metadata or {})
        self.remedy = self.metadata.pop("remedy", "")
        self.violations = tuple(violations)
        self.request_id = request_id or self.metadata.get("request_id", "")

    @classmethod
    def of(cls, error: grpc.RpcError) -> "ClientError":
        """The failure behind gRPC's own exception (``AioRpcError`` or the synchronous one)."""
        rpc: Any = error
        trailing: dict[str, Any] = dict(rpc.trailing_metadata() or ())
        facts: dict[str, Any] = {"request_id": str(trailing.get(REQUEST_ID_KEY, ""))}
        packed = trailing.get(STATUS_DETAILS_KEY)
        if isinstance(packed, bytes):
            facts.update(_details(status_pb2.Status.FromString(packed)))
        return cls(rpc.code(), rpc.details() or "", **facts)


def _details(status: status_pb2.Status) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    local = error_details_pb2.LocalizedMessage()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            facts["reason"] = info.reason
            facts["metadata"] = dict(info.metadata)
        elif detail.Unpack(bad):
            facts["violations"] = [
                FieldViolation(item.field, item.description) for item in bad.field_violations
            ]
        elif detail.Unpack(local):
            facts["localized_message"] = local.message
    return facts


def service_config(services: Sequence[str]) -> str:
    """The service config of gRPC: methods that only read are tried again when nobody answered.

    Args:
        services: full names; their methods are looked up in the descriptor pool.
    """
    names: list[dict[str, str]] = []
    for service in services:
        descriptor = descriptor_pool.Default().FindServiceByName(service)
        names += [
            {"service": service, "method": method.name}
            for method in descriptor.methods
            if method.name.startswith(IDEMPOTENT_PREFIXES) and not method.server_streaming
        ]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]} if names else {})


def open_channel(
    address: str,
    *,
    source: TokenSource | None,
    services: Sequence[str] = (),
    tls: ClientTls | None = None,
    default_timeout_seconds: float | None = 30.0,
    max_message_bytes: int = 4 << 20,
) -> grpc.aio.Channel:
    """A channel that shows the token of ``source`` with each call.

    Args:
        address: ``host:port``.
        source: gives the token; ``None``: calls carry none.
        services: services that will be called, for retries (see `service_config`).
        tls: absent: plain text.
        default_timeout_seconds: deadline of calls with one answer that give none themselves.
        max_message_bytes: largest answer accepted.
    """
    options = (
        ("grpc.service_config", service_config(services)),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    )
    interceptors = []
    if source is not None:
        interceptors = bearer_interceptors(source, default_timeout_seconds=default_timeout_seconds)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(
        address, tls.credentials(), options=options, interceptors=interceptors
    )


class ServiceClients:
    """Stubs of other contexts' services, called with the credential of this process.

    Args:
        address_of: full service name -> address; asked when the service is first called (the
            port of the own host is known only then).
        source: the service's own token.
        tls_of: address -> TLS, ``None`` for plain text (loopback).
    """

    def __init__(
        self,
        address_of: Callable[[str], str],
        source: TokenSource,
        *,
        tls_of: Callable[[str], ClientTls | None] = lambda _: None,
        default_timeout_seconds: float = 30.0,
    ) -> None:
        self._address_of = address_of
        self._source = source
        self._tls_of = tls_of
        self._default_timeout_seconds = default_timeout_seconds
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service, e.g. ``vigie.recording.v1.RecordingService``."""
        address = self._address_of(service)
        channel = self._channels.get((address, service))
        if channel is None:
            channel = self._channels[(address, service)] = open_channel(
                address,
                source=self._source,
                services=(service,),
                tls=self._tls_of(address),
                default_timeout_seconds=self._default_timeout_seconds,
            )
        return channel

    def stub(self, make: Callable[[grpc.aio.Channel], StubType], service: str) -> StubType:
        """A stub, e.g. ``clients.stub(RecordingServiceStub, "vigie.recording.v1.Recording…")``."""
        return make(self.channel(service))

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close(grace=None)
        self._channels.clear()
