"""Calls to services: of one context to another, and of the command line to the product."""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2, status_pb2

from vigie.platform.errors import ERROR_DOMAIN, VigieError
from vigie.platform.grpc.bearer import bearer_interceptors
from vigie.platform.grpc.credentials import TlsFiles, channel_credentials
from vigie.platform.grpc.failure import STATUS_DETAILS_KEY, FieldViolation
from vigie.platform.grpc.methods import is_idempotent
from vigie.platform.grpc.peers import service_host
from vigie.platform.grpc.pipeline import REQUEST_ID_KEY
from vigie.platform.grpc.services import context_of
from vigie.platform.grpc.settings import host_of
from vigie.platform.identity.port import TokenSource
from vigie.platform.reasons import SERVICE_UNREACHABLE

StubType = TypeVar("StubType")

_FIRST_RECONNECT_MS: Final = 200
_LONGEST_RECONNECT_MS: Final = 1_000
"""A service that has come back is unreachable for so long at most."""
_CLIENT_PROBES: Final = (30.0, 10.0)
SERVICE_PROBES: Final = (1.0, 2.0)
"""Seconds without a byte until a connection is probed, and until it ends without an answer.

The kernel of a machine goes on taking bytes for a process that is stopped: without probes a call to
it waits for its own deadline, and one that streams has none."""


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
    """The service config of gRPC: what is tried again when nobody answered, and how load is shared.

    Only methods that the contract calls idempotent are tried again, and only those with one
    answer (see `MethodSpec.idempotent`).

    Args:
        services: full names; their methods are looked up in the descriptor pool.
    """
    names: list[dict[str, str]] = []
    for service in services:
        descriptor = descriptor_pool.Default().FindServiceByName(service)
        names += [
            {"service": service, "method": method.name}
            for method in descriptor.methods
            if is_idempotent(method) and not method.server_streaming
        ]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
        # A service that is down is not asked four times by everybody.
        config["retryThrottling"] = {"maxTokens": 20, "tokenRatio": 0.2}
    return json.dumps(config)


def target_of(addresses: Sequence[str]) -> str:
    """Addresses as gRPC resolves them: IP addresses as they are, a name by DNS.

    Raises:
        ValueError: there is none, or several and not all are IP addresses of one family.
    """
    if not addresses:
        raise ValueError("no address")
    schemes = {_scheme(address) for address in addresses}
    if len(schemes) > 1 or (len(addresses) > 1 and schemes == {"dns"}):
        raise ValueError("several addresses must be IP addresses of one family")
    scheme = schemes.pop()
    return f"dns:///{addresses[0]}" if scheme == "dns" else f"{scheme}:{','.join(addresses)}"


def _scheme(address: str) -> str:
    if address.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        raise ValueError(f"{address} is a target already")
    try:
        return f"ipv{ipaddress.ip_address(host_of(address)).version}"
    except ValueError:
        return "dns"


def open_channel(
    address: str,
    *,
    source: TokenSource | None,
    services: Sequence[str] = (),
    tls: ClientTls | grpc.ChannelCredentials | None = None,
    default_timeout_seconds: float | None = 30.0,
    max_message_bytes: int = 4 << 20,
    probes: tuple[float, float] = _CLIENT_PROBES,
    more_options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel that shows the token of ``source`` with each call.

    Args:
        address: ``host:port``, or what `target_of` made.
        source: gives the token; ``None``: calls carry none.
        services: services that will be called, for retries (see `service_config`).
        tls: absent: plain text.
        default_timeout_seconds: deadline of calls with one answer that give none themselves.
        max_message_bytes: largest answer accepted.
        probes: keep-alive: seconds without a byte, seconds without an answer.
        more_options: further channel arguments of gRPC.
    """
    options = (
        ("grpc.service_config", service_config(services)),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", round(probes[0] * 1000)),
        ("grpc.keepalive_timeout_ms", round(probes[1] * 1000)),
        (
            "grpc.http2.ping_timeout_ms",
            round(probes[1] * 1000),
        ),  # else a minute, whatever the above
        *more_options,
    )
    interceptors = []
    if source is not None or default_timeout_seconds is not None:
        interceptors = bearer_interceptors(source, default_timeout_seconds=default_timeout_seconds)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    credentials = tls.credentials() if isinstance(tls, ClientTls) else tls
    return grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)


@dataclass(frozen=True, slots=True)
class MutualTls:
    """How a service proves itself to others, and by which names it knows them.

    Attributes:
        files: its certificate and key, and the authorities it trusts; followed when they change.
        trust_domain: what the names of services end with.
    """

    files: TlsFiles
    trust_domain: str


class ServiceClients:
    """Calls to other services of the product, under the name of one.

    Args:
        addresses_of: context -> where it is served; asked at each call (the port of the own host
            is known late, certificates are renewed).
        source: the service's own token; ``None`` where its certificate says who it is.
        tls: certificates; ``None``: plain text (loopback).
        default_timeout_seconds: deadline of calls with one answer that give none themselves.
        connect_seconds: longest time for a connection to come about.
    """

    def __init__(
        self,
        addresses_of: Callable[[str], Sequence[str]],
        source: TokenSource | None,
        *,
        tls: MutualTls | None = None,
        default_timeout_seconds: float | None = 30.0,
        connect_seconds: float = 3.0,
    ) -> None:
        self._addresses_of = addresses_of
        self._source = source
        self._tls = tls
        self._default_timeout_seconds = default_timeout_seconds
        self._connect_seconds = connect_seconds
        self._channels: dict[tuple[str, str, str], grpc.aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service, e.g. ``vigie.recording.v1.RecordingService``.

        Raises:
            VigieError: SERVICE_UNREACHABLE: nobody said where it is.
        """
        context = context_of(service)
        return self._channel(self._target(context), context, service)

    def channel_to_context(self, context: str) -> grpc.aio.Channel:
        """The channel to whatever serves a context, for calls that are carried: no retries.

        Raises:
            VigieError: SERVICE_UNREACHABLE: nobody said where it is.
        """
        return self._channel(self._target(context), context, "")

    def channel_to(self, address: str, context: str) -> grpc.aio.Channel:
        """The channel to one instance of a context, for calls that are carried."""
        return self._channel(target_of([address]), context, "")

    def stub(self, make: Callable[[grpc.aio.Channel], StubType], service: str) -> StubType:
        """A stub, e.g. ``clients.stub(RecordingServiceStub, "vigie.recording.v1.Recording…")``.

        Raises:
            VigieError: SERVICE_UNREACHABLE: nobody said where it is.
        """
        return make(self.channel(service))

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close(grace=None)
        self._channels.clear()
        for task in tuple(self._closing):
            task.cancel()

    def _target(self, context: str) -> str:
        addresses = self._addresses_of(context)
        if not addresses:
            raise VigieError(
                SERVICE_UNREACHABLE,
                f"services.{context} names no address",
                field=f"services.{context}",
            )
        return target_of(addresses)

    def _channel(self, target: str, context: str, service: str) -> grpc.aio.Channel:
        if self._tls is not None and self._tls.files.look():
            self._renew()
        place = (target, context, service)
        channel = self._channels.get(place)
        if channel is None:
            channel = self._channels[place] = self._open(target, context, service)
        return channel

    def _open(self, target: str, context: str, service: str) -> grpc.aio.Channel:
        options: list[tuple[str, Any]] = [
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            # It bounds the time of one attempt to connect, too.
            ("grpc.min_reconnect_backoff_ms", round(self._connect_seconds * 1000)),
            ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MS),
            # Probed for as long as a call waits, not twice only.
            ("grpc.http2.max_pings_without_data", 0),
        ]
        credentials = None
        if self._tls is not None:
            credentials = channel_credentials(self._tls.files)
            # Whatever the address: the certificate must be that of the service meant.
            name = service_host(context, self._tls.trust_domain)
            options.append(("grpc.ssl_target_name_override", name))
        return open_channel(
            target,
            # What is carried bears the token of whoever calls, and no other.
            source=self._source if service else None,
            services=(service,) if service else (),
            tls=credentials,
            default_timeout_seconds=self._default_timeout_seconds if service else None,
            probes=SERVICE_PROBES,
            more_options=options,
        )

    def _renew(self) -> None:
        """Let new calls go over channels with the new certificate; old calls end on the old."""
        old, self._channels = self._channels, {}
        for channel in old.values():
            grace = self._default_timeout_seconds
            task = asyncio.get_running_loop().create_task(channel.close(grace=grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
