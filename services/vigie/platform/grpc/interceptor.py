"""Puts the pipeline around every method of the product's own services."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from vigie.platform.errors import VigieError
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
        owners: path -> which instance alone can answer a request.
        carrier: carries calls there.
    """

    def __init__(
        self,
        methods: Mapping[str, MethodSpec],
        pipeline: CallPipeline,
        *,
        callers: Callers,
        owners: Mapping[str, Owners] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._owners = owners or {}
        self._carrier = carrier
        self._callers = callers
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
        behaviour, make = _behaviour(handler)
        owners = self._owners.get(spec.path)

        async def one(request: Any, context: Any) -> Any:
            return await self._pipeline.serve_one(spec, behaviour, request, context, self._callers)

        async def many(request: Any, context: Any) -> None:
            owner = None if owners is None else owners(request)
            if owner is None or not await self._carry(owner, spec.path, request, context):
                await self._pipeline.serve_many(spec, behaviour, request, context, self._callers)

        return make(
            many if handler.response_streaming else one,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer if owners is None else _serialised,
        )

    async def _carry(self, owner: str, path: str, request: Any, context: Any) -> bool:
        """Carry a call to the owner of what it asks for; false: it is refused here, on record."""
        if self._carrier is None:
            return False
        try:
            peer = await self._callers.peer_of(context)
        except VigieError:
            return False  # whoever says that he carries, and does not prove it
        await self._carrier.carry_to_owner(owner, path, request, context, peer=peer)
        return True


def _serialised(answer: Any) -> bytes:
    """An answer of ours, or the bytes of another instance's."""
    return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())


def _behaviour(handler: Handler) -> tuple[Callable[[Any, Any], Any], Callable[..., Handler]]:
    """The servicer's method behind a handler, and the maker of handlers of its shape."""
    if handler.request_streaming and handler.response_streaming:
        return handler.stream_stream, grpc.stream_stream_rpc_method_handler
    if handler.request_streaming:
        return handler.stream_unary, grpc.stream_unary_rpc_method_handler
    if handler.response_streaming:
        return handler.unary_stream, grpc.unary_stream_rpc_method_handler
    return handler.unary_unary, grpc.unary_unary_rpc_method_handler
