"""Puts the pipeline around every method of the product's own services."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from vigie.platform.grpc.arrival import Arrival
from vigie.platform.grpc.callers import Callers
from vigie.platform.grpc.carry import Carrier, Owners
from vigie.platform.grpc.methods import MethodSpec
from vigie.platform.grpc.pipeline import CallPipeline

Handler = Any  # grpc.RpcMethodHandler: grpc-stubs types its members for the synchronous server


class PipelineInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Wraps the handlers of declared methods.

    Args:
        methods: declarations by path; other paths (health, reflection) pass untouched.
        callers: tells who calls this server.
        request_seconds: longest time that the one request of a call is waited for.
        owners: path -> which instance alone can answer a request.
        carrier: carries calls there.
    """

    def __init__(
        self,
        methods: Mapping[str, MethodSpec],
        pipeline: CallPipeline,
        *,
        callers: Callers,
        request_seconds: float,
        owners: Mapping[str, Owners] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._owners = owners or {}
        self._carrier = carrier
        self._callers = callers
        self._request_seconds = request_seconds
        self._methods = methods
        self._pipeline = pipeline
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See `grpc.aio.ServerInterceptor`."""
        path = handler_call_details.method
        spec = self._methods.get(path)
        if spec is None:
            return await continuation(handler_call_details)
        wrapped = self._wrapped.get(path)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[path] = self._wrap(spec, handler)
        return wrapped

    def _wrap(self, spec: MethodSpec, handler: Handler) -> Handler:
        behaviour = _behaviour(handler)
        owners, deserialise = self._owners.get(spec.path), handler.request_deserializer

        def arrival(requests: Any, context: Any) -> Any:
            if handler.request_streaming:
                return requests
            return Arrival(context, deserialise, seconds=self._request_seconds)

        async def one(requests: Any, context: Any) -> Any:
            request = arrival(requests, context)
            return await self._pipeline.serve_one(spec, behaviour, request, context, self._callers)

        async def many(requests: Any, context: Any) -> None:
            request = arrival(requests, context)
            if owners is None or not await self._carry(owners, spec.path, request, context):
                await self._pipeline.serve_many(spec, behaviour, request, context, self._callers)

        # One request is read as a stream of one is: by us, and not by gRPC before it calls us.
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            many if handler.response_streaming else one,
            request_deserializer=handler.request_deserializer
            if handler.request_streaming
            else None,
            response_serializer=handler.response_serializer if owners is None else _serialised,
        )

    async def _carry(self, owners: Owners, path: str, arrival: Arrival, context: Any) -> bool:
        """Carry a call to the owner of what it asks for; false: it is answered here.

        Here too is refused, on record, who is not known, or says that he carries and does not
        prove it: strangers are not carried, and not waited for in front of the pipeline.
        """
        if self._carrier is None:
            return False
        try:
            peer = await self._callers.peer_of(context)
            await self._callers.identify(context)
            request = await arrival.request()
        except Exception:  # noqa: BLE001 - the pipeline meets it again, and makes a status of it
            return False
        owner = owners(request)
        if owner is None:
            return False
        await self._carrier.carry_to_owner(owner, path, request, context, peer=peer)
        return True


def _serialised(answer: Any) -> bytes:
    """An answer of ours, or the bytes of another instance's."""
    return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())


def _behaviour(handler: Handler) -> Callable[[Any, Any], Any]:
    """The servicer's method behind a handler."""
    asked = "stream" if handler.request_streaming else "unary"
    answered = "stream" if handler.response_streaming else "unary"
    behaviour: Callable[[Any, Any], Any] = getattr(handler, f"{asked}_{answered}")
    return behaviour
