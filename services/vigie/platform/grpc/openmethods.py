"""Keeps what anybody may call (health, reflection) from holding a process.

These methods stand in no contract of ours and pass no pipeline: nobody is asked for, nothing is on
record. How many calls of them are open is bounded, and how long one takes, a watch of health aside.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Container
from contextlib import aclosing
from typing import Any, Final

import grpc
import grpc.aio

from vigie.platform.errors import VigieError
from vigie.platform.grpc.arrival import Arrival
from vigie.platform.grpc.carry import refuse
from vigie.platform.grpc.health import WATCH_PATH
from vigie.platform.grpc.session import Origin
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.strangers import StrangerSlots
from vigie.platform.reasons import DEADLINE_EXCEEDED

Handler = Any  # grpc.RpcMethodHandler: grpc-stubs types its members for the synchronous server
ENDLESS: Final = frozenset({WATCH_PATH})


class OpenMethods(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Wraps the handlers of methods that are not declared.

    Args:
        declared: paths of methods with a contract of ours; they pass untouched.
        slots: what strangers may hold open.
        request_seconds: longest time that the request of a call is waited for.
        call_seconds: longest time that a call takes.
    """

    def __init__(
        self,
        declared: Container[str],
        *,
        slots: StrangerSlots,
        request_seconds: float,
        call_seconds: float,
    ) -> None:
        self._declared = declared
        self._slots = slots
        self._request_seconds = request_seconds
        self._call_seconds = call_seconds
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See `grpc.aio.ServerInterceptor`."""
        path = handler_call_details.method
        if path in self._declared:
            return await continuation(handler_call_details)
        if path not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._wrapped[path] = self._wrap(path, handler)
        return self._wrapped[path]

    def _wrap(self, path: str, handler: Handler) -> Handler:
        seconds = None if path in ENDLESS else self._call_seconds
        streams = handler.request_streaming

        async def served(requests: Any, context: Any) -> None:
            try:
                with self._slots.slot(Origin(context.peer(), "").peer_host):
                    async with asyncio.timeout(seconds):
                        request = requests if streams else await self._one(handler, context)
                        async with aclosing(_answers(handler, request, context)) as answers:
                            async for answer in answers:
                                await context.write(answer)
            except VigieError as error:
                await refuse(context, error)
            except TimeoutError:
                late = f"a call that anybody may make takes no longer than {seconds:g} s"
                await refuse(context, VigieError(DEADLINE_EXCEEDED, late))

        # One answer goes over the wire as a stream of one does.
        return grpc.stream_stream_rpc_method_handler(
            served,
            request_deserializer=handler.request_deserializer if streams else None,
            response_serializer=handler.response_serializer,
        )

    async def _one(self, handler: Handler, context: Any) -> Any:
        deserialise = handler.request_deserializer
        return await Arrival(context, deserialise, seconds=self._request_seconds).request()


def stranger_slots(
    config: GrpcConfig, *, refused: Callable[[], None] | None = None
) -> StrangerSlots:
    """What strangers may hold of a process; ``refused`` is told of each call that gets no slot."""
    return StrangerSlots(
        total=config.max_stranger_calls, of_peer=config.max_stranger_calls_of_peer, refused=refused
    )


def open_methods(config: GrpcConfig, declared: Container[str], slots: StrangerSlots) -> OpenMethods:
    """What bounds the calls that anybody may make to a server."""
    return OpenMethods(
        declared,
        slots=slots,
        request_seconds=config.request_seconds,
        call_seconds=config.max_unary_seconds,
    )


async def _answers(handler: Handler, request: Any, context: Any) -> AsyncGenerator[Any, None]:
    if not handler.response_streaming:
        one = handler.stream_unary if handler.request_streaming else handler.unary_unary
        yield await one(request, context)
        return
    many = handler.stream_stream if handler.request_streaming else handler.unary_stream
    async with aclosing(many(request, context)) as answers:
        async for answer in answers:
            yield answer
