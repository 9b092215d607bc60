"""The gRPC host: one server for all services of a process.

It refuses to start a service with a method that does not declare who may call it, and keeps the
health of each service as its module says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.callers import Callers
from vigie.platform.grpc.carry import Carrier, Owners
from vigie.platform.grpc.credentials import ServerCertificates, TlsFiles
from vigie.platform.grpc.health import SERVICE as HEALTH_SERVICE
from vigie.platform.grpc.health import Health
from vigie.platform.grpc.interceptor import PipelineInterceptor
from vigie.platform.grpc.journal import AccessJournal
from vigie.platform.grpc.limiter import StrangerLimiter
from vigie.platform.grpc.methods import MethodSpec, read_methods
from vigie.platform.grpc.metrics import HostMetrics
from vigie.platform.grpc.openmethods import open_methods, stranger_slots
from vigie.platform.grpc.pipeline import CallPipeline
from vigie.platform.grpc.record import AccessRecorder
from vigie.platform.grpc.settings import GrpcConfig, TlsConfig, host_of
from vigie.platform.grpc.strangers import StrangerSlots
from vigie.platform.grpc.streams import OpenStreams
from vigie.platform.grpc.validation import ContractValidator
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.identity.port import Authenticator
from vigie.platform.listening import addresses_of, is_name
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.reasons import LISTEN_FAILED


@dataclass(frozen=True, slots=True)
class ServicesListener:
    """Where a process is reached by other services of the product.

    Attributes:
        address: host:port; port 0 takes a free one.
        tls: files of its identity (mutual TLS); ``None``: plain text, callers show tokens.
        trust_domain: what the names in certificates of services end with.
        host: the name that its own certificate must bear, for callers look for it.
    """

    address: str = "127.0.0.1:0"
    tls: TlsConfig | None = None
    trust_domain: str = ""
    host: str = ""


def _always_ready(service: str) -> str | None:
    del service
    return None


def server_options(config: GrpcConfig) -> tuple[tuple[str, int], ...]:
    """Limits and keep-alive of a server."""
    return (
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.keepalive_time_ms", round(config.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_seconds * 1000)),
        # Without it an answer to the probe is awaited for a minute, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", round(config.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Services probe each other more often than others do (`client.SERVICE_PROBES`).
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        # Two processes must not share a port unseen.
        ("grpc.so_reuseport", 0),
    )


def outside_credentials(config: GrpcConfig, clock: MonotonicClock) -> grpc.ServerCredentials | None:
    """TLS of the address for people and programs; ``None``: plain text.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    if config.tls is None:
        return None
    mutual = config.tls.client_ca_file is not None
    return ServerCertificates(TlsFiles(config.tls, clock), mutual=mutual).credentials()


def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None, field: str
) -> int:
    """Listen on an address (a name: on all it stands for); the port.

    Raises:
        VigieError: LISTEN_FAILED.
    """
    try:
        ports = [_add_port(server, each, credentials) for each in _places(address)]
    except (RuntimeError, OSError) as error:
        raise VigieError(
            LISTEN_FAILED,
            f"cannot listen on {address}: the port is taken or the address is not of "
            "this machine; choose another one, or stop the program that has it",
            field=field,
        ) from error
    return ports[0]


def _places(address: str) -> tuple[str, ...]:
    host = host_of(address)
    if host.startswith("unix:") or not is_name(host):
        return (address,)
    places = addresses_of(host, int(address.rpartition(":")[2]))
    return tuple(f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each, port in places)


def _add_port(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None
) -> int:
    if credentials is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, credentials)


class GrpcHost:
    """Serves gRPC for one process; a `vigie.platform.module.Module` in its own right.

    Args:
        config: where and how.
        services: what is served.
        authenticator: turns tokens into callers.
        recorder: puts accesses on record.
        readiness: full service name -> why it is not ready, or ``None``; feeds its health.
        gate: full service name -> why calls are answered SERVICE_STARTING, or ``None``.
        internal: where other services reach this process.
        owners: path -> the instance that alone can answer a request; see `Owners`.
        carrier: carries calls to these.
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
        gate: Callable[[str], str | None] = _always_ready,
        internal: ServicesListener | None = None,
        owners: Mapping[str, Owners] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._internal = internal or ServicesListener()
        self._owners = owners or {}
        self._carrier = carrier
        self._config = config
        self._services = tuple(services)
        self._readiness = readiness
        self._monotonic_clock = monotonic_clock
        self._methods: dict[str, MethodSpec] = {}
        for binding in self._services:
            self._methods.update(read_methods(binding.name))
        host_metrics = HostMetrics(metrics)
        slots = stranger_slots(config, refused=host_metrics.turned_away.inc)
        self._open = open_methods(config, self._methods, slots)
        self._authenticator = authenticator
        self._streams = OpenStreams(authenticator, wall_clock, host_metrics)
        self._pipeline = _make_pipeline(
            config,
            recorder=recorder,
            slots=slots,
            streams=self._streams,
            wall_clock=wall_clock,
            monotonic_clock=monotonic_clock,
            identifiers=identifiers or IdentifierSource(wall_clock),
            metrics=host_metrics,
            gate=gate,
        )
        self._log = structlog.get_logger("vigie.grpc")
        self._servers: list[grpc.aio.Server] = []
        self._health = Health()
        self._watches: tuple[asyncio.Task[None], ...] = ()
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
        mutual = self._internal.tls is not None
        server = self._make_server(None)
        # What comes in on the services' own address shows a certificate of their authority; what
        # comes in elsewhere may show one of another authority, and is not believed by it.
        inside = self._make_server(self._internal.trust_domain) if mutual else server
        self._listen(server)
        self._internal_port = self._listen_inside(inside)
        self._update_health()
        self._servers = [server] if inside is server else [server, inside]
        for each in self._servers:
            await each.start()
        self._watches = self._watch_over()
        addresses = [*self.addresses, self.internal_address]
        self._log.info("grpc_listening", addresses=addresses)

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        return self.broken() if self._watches else "not listening yet"

    def broken(self) -> str | None:
        """See `Breakable.broken`."""
        for watch in self._watches:
            if watch.done():
                return f"what has to be done again and again has ended: {watch.get_name()}"
        return None

    async def stop(self, *, timeout_seconds: float) -> None:
        """End open streams, let single answers finish, close what is on record."""
        if not self._servers:
            return
        self._health.stop()
        stopping = [asyncio.create_task(each.stop(timeout_seconds)) for each in self._servers]
        self._streams.end_all()
        if self._carrier is not None:
            self._carrier.end_all()
        await asyncio.gather(*stopping)
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches = ()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._pipeline.record_suppressed(everything=True)
                await self._pipeline.drain()
        except TimeoutError:
            self._log.error("access_records_unfinished_at_stop")
        self._servers = []

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
        """Where other services reach this process, with the real port, once started."""
        return f"{self._internal.address.rpartition(':')[0]}:{self._internal_port}"

    @property
    def methods(self) -> Sequence[MethodSpec]:
        """Every method that is served, with its declaration."""
        return tuple(self._methods.values())

    # --- inside -----------------------------------------------------------------------------

    def _make_server(self, trust_domain: str | None) -> grpc.aio.Server:
        interceptor = PipelineInterceptor(
            self._methods,
            self._pipeline,
            callers=Callers(self._authenticator, trust_domain),
            request_seconds=self._config.request_seconds,
            owners=self._owners,
            carrier=self._carrier,
        )
        server = grpc.aio.server(
            interceptors=(self._open, interceptor),
            options=server_options(self._config),
            maximum_concurrent_rpcs=self._config.max_concurrent_calls,
        )
        for binding in self._services:
            binding.register(binding.servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            names = (*(binding.name for binding in self._services), HEALTH_SERVICE)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        return server

    def _listen(self, server: grpc.aio.Server) -> None:
        credentials = outside_credentials(self._config, self._monotonic_clock)
        self._ports = tuple(
            listen(server, address, credentials, "grpc.listen") for address in self._config.listen
        )

    def _listen_inside(self, server: grpc.aio.Server) -> int:
        credentials = None
        if self._internal.tls is not None:
            files = TlsFiles(
                self._internal.tls, self._monotonic_clock, section="tls", host=self._internal.host
            )
            credentials = ServerCertificates(files, mutual=True).credentials()
        return listen(server, self._internal.address, credentials, "services.listen")

    def _watch_over(self) -> tuple[asyncio.Task[None], ...]:
        """What is done every `revalidate_seconds`, each by itself.

        Streams must end with the rights behind them while the log is away and the counts of
        strangers wait for it.
        """
        works = {
            "grpc-streams": self._look_at_streams,
            "grpc-suppressed": self._pipeline.record_suppressed,
        }
        return tuple(
            asyncio.create_task(self._again_and_again(work), name=name)
            for name, work in works.items()
        )

    async def _look_at_streams(self) -> None:
        await self._streams.check()
        self._update_health()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._monotonic_clock.sleep(self._config.revalidate_seconds)
            try:
                await work()
            except Exception:  # noqa: BLE001 - one faulty round must not be the last one
                self._log.exception("grpc_watch_failed")

    def _update_health(self) -> None:
        all_ready = True
        for binding in self._services:
            ready = self._readiness(binding.name) is None
            all_ready = all_ready and ready
            self._health.set(binding.name, serving=ready)
        self._health.set("", serving=all_ready)


def _make_pipeline(
    config: GrpcConfig,
    *,
    recorder: AccessRecorder,
    slots: StrangerSlots,
    streams: OpenStreams,
    wall_clock: WallClock,
    monotonic_clock: MonotonicClock,
    identifiers: IdentifierSource,
    metrics: HostMetrics,
    gate: Callable[[str], str | None],
) -> CallPipeline:
    """What every call passes through; see `GrpcHost` for the arguments."""
    journal = AccessJournal(
        recorder,
        wall_clock=wall_clock,
        monotonic_clock=monotonic_clock,
        identifiers=identifiers,
        metrics=metrics,
        timeout_seconds=config.record_timeout_seconds,
    )
    limiter = StrangerLimiter(
        burst=config.stranger_burst, refill_seconds=config.stranger_refill_seconds
    )
    return CallPipeline(
        validator=ContractValidator(),
        journal=journal,
        limiter=limiter,
        slots=slots,
        streams=streams,
        metrics=metrics,
        monotonic_clock=monotonic_clock,
        max_unary_seconds=config.max_unary_seconds,
        gate=gate,
    )
