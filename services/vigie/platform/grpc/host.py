"""The gRPC host: one server for all services of a process.

It refuses to start a service with a method that does not declare who may call it, and keeps the
health of each service as its module says.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.credentials import ServerCertificates
from vigie.platform.grpc.interceptor import PipelineInterceptor
from vigie.platform.grpc.journal import AccessJournal
from vigie.platform.grpc.limiter import StrangerLimiter
from vigie.platform.grpc.methods import MethodSpec, read_methods
from vigie.platform.grpc.metrics import HostMetrics
from vigie.platform.grpc.pipeline import CallPipeline
from vigie.platform.grpc.record import AccessRecorder
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.streams import OpenStreams
from vigie.platform.grpc.validation import ContractValidator
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.identity.port import Authenticator
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.reasons import LISTEN_FAILED

_HEALTH_SERVICE = "grpc.health.v1.Health"


def _always_ready(service: str) -> str | None:
    del service
    return None


class GrpcHost:
    """Serves gRPC for one process; a `vigie.platform.module.Module` in its own right.

    Args:
        config: where and how.
        services: what is served.
        authenticator: turns tokens into callers.
        recorder: puts accesses on record.
        readiness: full service name -> why it is not ready, or ``None``; feeds its health.
    """

    name = "grpc"

    def __init__(
        self,
        config: GrpcConfig,
        *,
        services: Sequence[ServiceBinding],
        authenticator: Authenticator,
        recorder: AccessRecorder,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: MetricsRegistry,
        identifiers: IdentifierSource | None = None,
        readiness: Callable[[str], str | None] = _always_ready,
    ) -> None:
        self._config = config
        self._services = tuple(services)
        self._readiness = readiness
        self._monotonic_clock = monotonic_clock
        self._methods: dict[str, MethodSpec] = {}
        for binding in self._services:
            self._methods.update(read_methods(binding.name))
        host_metrics = HostMetrics(metrics)
        self._streams = OpenStreams(authenticator, wall_clock, host_metrics)
        journal = AccessJournal(
            recorder,
            wall_clock=wall_clock,
            monotonic_clock=monotonic_clock,
            identifiers=identifiers or IdentifierSource(wall_clock),
            metrics=host_metrics,
            timeout_seconds=config.record_timeout_seconds,
        )
        limiter = StrangerLimiter(
            burst=config.stranger_burst, refill_seconds=config.stranger_refill_seconds
        )
        self._pipeline = CallPipeline(
            authenticator=authenticator,
            validator=ContractValidator(),
            journal=journal,
            limiter=limiter,
            streams=self._streams,
            metrics=host_metrics,
            monotonic_clock=monotonic_clock,
            max_unary_seconds=config.max_unary_seconds,
        )
        self._log = structlog.get_logger("vigie.grpc")
        self._server: grpc.aio.Server | None = None
        self._health: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]  # untyped library
        self._watch: asyncio.Task[None] | None = None
        self._ports: tuple[int, ...] = ()
        self._internal_port = 0

    # --- as a module ----------------------------------------------------------------------

    def services(self) -> Sequence[ServiceBinding]:
        """None of its own."""
        return ()

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            VigieError: LISTEN_FAILED, CONFIG_INVALID (files of TLS).
        """
        server = self._server = self._make_server()
        for binding in self._services:
            binding.register(binding.servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            names = (*(binding.name for binding in self._services), _HEALTH_SERVICE)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        self._listen(server)
        await self._update_health()
        await server.start()
        self._watch = asyncio.create_task(self._watch_over(), name="grpc-watch")
        self._log.info("grpc_listening", addresses=list(self.addresses))

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if self._watch is None:
            return "not listening yet"
        if self._watch.done():
            return "open streams are no longer watched over"
        return None

    async def stop(self, *, timeout_seconds: float) -> None:
        """End open streams, let single answers finish, close what is on record."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(timeout_seconds))
        self._streams.end_all()
        await stopping
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._pipeline.record_suppressed(everything=True)
                await self._pipeline.drain()
        except TimeoutError:
            self._log.error("access_records_unfinished_at_stop")
        self._server = None

    # --- where it listens -------------------------------------------------------------------

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports in the order of ``listen``, once started."""
        return self._ports

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses in the order of ``listen`` with the real ports, once started."""
        return tuple(
            address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
            for address, port in zip(self._config.listen, self._ports, strict=True)
        )

    @property
    def internal_address(self) -> str:
        """A plain-text loopback address for calls within this machine, once started."""
        return f"127.0.0.1:{self._internal_port}"

    @property
    def methods(self) -> Sequence[MethodSpec]:
        """Every method that is served, with its declaration."""
        return tuple(self._methods.values())

    # --- inside -----------------------------------------------------------------------------

    def _make_server(self) -> grpc.aio.Server:
        config = self._config
        options = (
            ("grpc.max_receive_message_length", config.max_message_bytes),
            ("grpc.max_send_message_length", config.max_message_bytes),
            ("grpc.max_concurrent_streams", config.max_concurrent_streams),
            ("grpc.keepalive_time_ms", round(config.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_seconds * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            # Two processes must not share a port unseen.
            ("grpc.so_reuseport", 0),
        )
        return grpc.aio.server(
            interceptors=(PipelineInterceptor(self._methods, self._pipeline),),
            options=options,
            maximum_concurrent_rpcs=config.max_concurrent_calls,
        )

    def _listen(self, server: grpc.aio.Server) -> None:
        tls = self._config.tls
        credentials = None
        if tls is not None:
            credentials = ServerCertificates(tls, self._monotonic_clock).credentials()
        ports: list[int] = []
        for address in self._config.listen:
            try:
                if credentials is None:
                    ports.append(server.add_insecure_port(address))
                else:
                    ports.append(server.add_secure_port(address, credentials))
            except RuntimeError as error:
                raise VigieError(
                    LISTEN_FAILED,
                    f"cannot listen on {address}: the port is taken or the address is not of "
                    "this machine; choose another one, or stop the program that has it",
                    field="grpc.listen",
                ) from error
        self._ports = tuple(ports)
        self._internal_port = server.add_insecure_port("127.0.0.1:0")

    async def _watch_over(self) -> None:
        while True:
            await self._monotonic_clock.sleep(self._config.revalidate_seconds)
            try:
                await self._streams.check()
                await self._pipeline.record_suppressed()
                await self._update_health()
            except Exception:  # noqa: BLE001 - one faulty round must not leave streams unwatched
                self._log.exception("grpc_watch_failed")

    async def _update_health(self) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        all_ready = True
        for binding in self._services:
            ready = self._readiness(binding.name) is None
            all_ready = all_ready and ready
            value = status.Value("SERVING" if ready else "NOT_SERVING")
            await self._health.set(binding.name, value)
        await self._health.set("", status.Value("SERVING" if all_ready else "NOT_SERVING"))
