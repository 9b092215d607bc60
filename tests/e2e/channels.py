"""Connections of those who call an installation under test."""

from collections.abc import Callable
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import TRUST_DOMAIN
from vigie.contracts import service_names
from vigie.platform.grpc.client import ClientTls, open_channel
from vigie.platform.grpc.peers import service_host


class _FixedToken:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


class Channels:
    """One channel for each address and caller, kept until all are closed.

    Args:
        tls: how people reach the installation; ``None``: in plain text.
    """

    def __init__(self, tls: ClientTls | None) -> None:
        self._tls = tls
        self._open: dict[tuple[str, str], grpc.aio.Channel] = {}

    def kept(self, address: str, caller: str, token: Callable[[], str | None]) -> grpc.aio.Channel:
        """The channel of a caller; ``token`` is asked for when it has to be opened."""
        channel = self._open.get((address, caller))
        if channel is None:
            shown = token()
            source = None if shown is None else _FixedToken(shown)
            channel = open_channel(
                address, source=source, tls=self._tls, default_timeout_seconds=90
            )
            self._open[address, caller] = channel
        return channel

    async def close(self) -> None:
        """End every connection."""
        for channel in self._open.values():
            await channel.close(None)
        self._open.clear()


def open_inside(
    place: str, context: str, token: str, certificates: Path | None
) -> grpc.aio.Channel:
    """A channel to where services call each other, as the gateway opens it.

    Args:
        place: host:port of the process.
        context: what it serves.
        token: of the person in whose name the gateway calls.
        certificates: folder of the services' certificates; ``None``: they show tokens.
    """
    source = _FixedToken(token)
    if certificates is None:
        return open_channel(place, source=source)
    tls = ClientTls(
        certificates / "ca.pem", certificates / "gateway.pem", certificates / "gateway.key"
    )
    override = (("grpc.ssl_target_name_override", service_host(context, TRUST_DOMAIN)),)
    return open_channel(place, source=source, tls=tls, more_options=override)


async def serves_all(channel: grpc.aio.Channel) -> bool:
    """Whether every service is served, as a load balancer would ask."""
    stub = health_pb2_grpc.HealthStub(channel)
    for service in service_names():
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            return False
    return True
