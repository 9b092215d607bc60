"""A host on a free loopback port, for tests of servicers through real gRPC.

async with running_host([binding], callers={"token": caller}) as host:
    stub = CameraServiceStub(host.channel("token"))
    await stub.GetCamera(request)
    assert host.recorder.entries[-1].allowed
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from vigie.platform.clock import MonotonicClock, SystemMonotonicClock, SystemWallClock, WallClock
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.call import EVERYWHERE, Caller, ZoneSet
from vigie.platform.grpc.client import open_channel
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.record import AccessRecorder, MemoryAccessRecorder
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.identity.static import StaticAuthenticator
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding


def caller_with(
    subject: str,
    *permissions: str,
    zones: Sequence[str] | None = None,
    agency: str = "",
    service: bool = False,
) -> Caller:
    """A caller who holds ``permissions`` in ``zones`` (``None``: everywhere)."""
    held = EVERYWHERE if zones is None else ZoneSet(names=frozenset(zones))
    return Caller(
        subject=subject,
        agency=agency,
        grants=dict.fromkeys(permissions, held),
        service=service,
    )


@dataclass(slots=True)
class RunningHost:
    """A host that serves, and what a test looks at."""

    host: GrpcHost
    authenticator: StaticAuthenticator
    recorder: MemoryAccessRecorder
    metrics: MetricsRegistry
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, token: str | None = None) -> grpc.aio.Channel:
        """A new channel that sends ``token`` with every call; closed with the host."""
        source = FixedToken(token) if token is not None else None
        channel = open_channel(self.host.internal_address, source=source)
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        """Close every channel, then the host."""
        for channel in self._channels:
            await channel.close(grace=None)
        await self.host.stop(timeout_seconds=5)


@asynccontextmanager
async def running_host(
    services: Sequence[ServiceBinding],
    callers: Mapping[str, Caller],
    *,
    config: GrpcConfig | None = None,
    wall_clock: WallClock | None = None,
    monotonic_clock: MonotonicClock | None = None,
    recorder: AccessRecorder | None = None,
    **more: Any,
) -> AsyncIterator[RunningHost]:
    """Serve ``services`` on a free loopback port for callers known by their tokens.

    Args:
        services: what is served.
        callers: token -> caller.
        config: other settings than the defaults.
        wall_clock: a manual one, for tests of expiry.
        monotonic_clock: a manual one, for tests of the watch over streams.
        recorder: another recorder than the one in memory (which stays empty then).
        more: further arguments of `GrpcHost`.
    """
    wall = wall_clock or SystemWallClock()
    authenticator = StaticAuthenticator(callers, wall)
    memory = MemoryAccessRecorder()
    metrics = MetricsRegistry()
    host = GrpcHost(
        config or GrpcConfig(listen=("127.0.0.1:0",)),
        services=services,
        authenticator=authenticator,
        recorder=recorder or memory,
        wall_clock=wall,
        monotonic_clock=monotonic_clock or SystemMonotonicClock(),
        metrics=metrics,
        **more,
    )
    await host.start()
    running = RunningHost(host, authenticator, memory, metrics)
    try:
        yield running
    finally:
        await running.close()
