"""One address for all services: a gRPC proxy that passes bytes on by the name of the service.

It has no authority of its own and reads nothing: the service that is called authenticates the
caller, decides and records. What it adds is where the call came from.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.carry import Carrier, refuse
from vigie.platform.grpc.client import ServiceClients
from vigie.platform.grpc.health import SERVICE as HEALTH_SERVICE
from vigie.platform.grpc.health import Health
from vigie.platform.grpc.host import listen, outside_credentials, server_options
from vigie.platform.grpc.methods import MethodSpec
from vigie.platform.grpc.openmethods import open_methods, stranger_slots
from vigie.platform.grpc.services import context_of
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.module import ServiceBinding

_LOOK_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0


class Gateway:
    """Serves every method of the product; a `vigie.platform.module.Module`.

    Args:
        config: where it listens, and how.
        methods: path -> what the contract declares. Internal ones are carried too: the service
            refuses them to whoever is none of ours, on record.
        clients: channels to the services.
        carrier: carries the calls.
        monotonic_clock: paces the looks at the services' health.
    """

    name = "gateway"

    def __init__(
        self,
        config: GrpcConfig,
        *,
        methods: Mapping[str, MethodSpec],
        clients: ServiceClients,
        carrier: Carrier,
        monotonic_clock: MonotonicClock,
    ) -> None:
        self._config = config
        self._clients = clients
        self._carrier = carrier
        self._clock = monotonic_clock
        self._services = sorted({spec.service for spec in methods.values()})
        self._handlers: dict[str, Any] = {
            path: grpc.stream_stream_rpc_method_handler(partial(self._carry, path))
            for path in methods
        }
        self._health = Health()
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ports: tuple[int, ...] = ()
        self._log = structlog.get_logger("vigie.gateway")

    # --- as a module ----------------------------------------------------------------------

    def services(self) -> Sequence[ServiceBinding]:
        """None of its own."""
        return ()

    async def start(self) -> None:
        """Listen; what is called need not be there yet.

        Raises:
            VigieError: LISTEN_FAILED, CONFIG_INVALID (files of TLS).
        """
        open_to_all = open_methods(self._config, self._handlers, stranger_slots(self._config))
        server = self._server = grpc.aio.server(
            interceptors=(open_to_all,),
            options=server_options(self._config),
            maximum_concurrent_rpcs=self._config.max_concurrent_calls,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            names = (*self._services, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        server.add_generic_rpc_handlers((_Carried(self._handlers),))
        credentials = outside_credentials(self._config, self._clock)
        self._ports = tuple(
            listen(server, address, credentials, "grpc.listen") for address in self._config.listen
        )
        self._health.set("", serving=True)
        for service in self._services:
            self._health.set(service, serving=False)
        await server.start()
        self._watch = asyncio.create_task(self._look_again_and_again(), name="gateway-health")
        self._log.info("gateway_listening", addresses=list(self.addresses))

    def not_ready(self) -> str | None:
        """See `Module.not_ready`: it can work while a part of the services is away."""
        return "not listening yet" if self._watch is None else self.broken()

    def broken(self) -> str | None:
        """See `vigie.platform.module.Breakable`."""
        if self._watch is not None and self._watch.done():
            return "the health of the services is no longer looked at"
        return None

    async def stop(self, *, timeout_seconds: float) -> None:
        """End what streams, let single answers finish."""
        if self._server is None:
            return
        self._health.stop()
        stopping = asyncio.create_task(self._server.stop(timeout_seconds))
        self._carrier.end_all()
        await stopping
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._server = None

    async def close(self) -> None:
        """Close the channels to the services."""
        await self._clients.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses in the order of ``listen`` with the real ports, once started."""
        return tuple(
            f"{address.rpartition(':')[0]}:{port}"
            for address, port in zip(self._config.listen, self._ports, strict=True)
        )

    # --- inside -----------------------------------------------------------------------------

    async def _carry(self, path: str, requests: AsyncIterator[bytes], context: Any) -> None:
        try:
            channel = self._clients.channel_to_context(context_of(path))
        except VigieError as error:
            await refuse(context, error)
        await self._carrier.carry(channel, path, requests, context, peer=context.peer())

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await asyncio.gather(*(self._look_at(service) for service in self._services))
            except Exception:  # noqa: BLE001 - one faulty round must not end the looking
                self._log.exception("gateway_look_failed")
            await self._clock.sleep(_LOOK_SECONDS)

    async def _look_at(self, service: str) -> None:
        serving = False
        try:
            channel = self._clients.channel_to_context(context_of(service))
            request = health_pb2.HealthCheckRequest(service=service)
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(request, timeout=_ANSWER_SECONDS)
            serving = answer.status == health_pb2.HealthCheckResponse.SERVING
        except (grpc.aio.AioRpcError, VigieError) as error:
            self._log.debug("gateway_service_away", service=service, error=str(error))
        self._health.set(service, serving=serving)


class _Carried(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic at run time
    """Finds the handler of a path; an unknown one is UNIMPLEMENTED."""

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """See `grpc.GenericRpcHandler`."""
        return self._handlers.get(handler_call_details.method)
