"""A service with a method of every shape, made at run time; requests are time windows."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

from vigie.common.v1 import access_pb2, types_pb2
from vigie.platform.grpc.call import current_call
from vigie.platform.module import ServiceBinding

SERVICE: Final = "vigie.probe.v1.ProbeService"
_PACKAGE: Final = "vigie.probe.v1"
PERMISSION: Final = "probe.read"

# name -> (client streams, server streams, permission, kind, internal)
METHODS: Final[dict[str, tuple[bool, bool, str, int, bool]]] = {
    "Look": (False, False, PERMISSION, access_pb2.RECORD_KIND_CONSULTATION, False),
    "Free": (False, False, "authenticated", access_pb2.RECORD_KIND_NONE, False),
    "Open": (False, False, "public", access_pb2.RECORD_KIND_NONE, False),
    "Inner": (False, False, "authenticated", access_pb2.RECORD_KIND_NONE, True),
    "Play": (False, True, PERMISSION, access_pb2.RECORD_KIND_COMMUNICATION, False),
    "Gather": (True, False, PERMISSION, access_pb2.RECORD_KIND_MODIFICATION, False),
    "Converse": (True, True, PERMISSION, access_pb2.RECORD_KIND_COMMUNICATION, False),
}
CALLERS_OF: Final = {"Inner": ("evidence",)}
"""Name -> services that may call it."""
IDEMPOTENT: Final = frozenset({"Look"})


def describe(
    package: str, service: str, methods: dict[str, tuple[bool, bool, str, int, bool] | None]
) -> None:
    """Add a service to the default pool; a method without an entry declares nothing."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/{service.lower()}.proto",
        package=package,
        syntax="proto3",
        dependency=["vigie/common/v1/access.proto", "vigie/common/v1/types.proto"],
    )
    described = file.service.add(name=service)
    for name, declared in methods.items():
        method = described.method.add(
            name=name,
            input_type=".vigie.common.v1.TimeWindow",
            output_type=".vigie.common.v1.Purpose",
        )
        if declared is None:
            continue
        method.client_streaming, method.server_streaming, permission, kind, internal = declared
        method.options.Extensions[access_pb2.access].CopyFrom(
            access_pb2.MethodAccess(
                permission=permission,
                record=kind,
                internal=internal,
                callers=CALLERS_OF.get(name, ()),
                idempotent=name in IDEMPOTENT,
            )
        )
    descriptor_pool.Default().Add(file)


describe(_PACKAGE, "ProbeService", dict(METHODS))


def window(start_seconds: int = 10, end_seconds: int = 20) -> types_pb2.TimeWindow:
    """A request; valid when the start lies before the end."""
    request = types_pb2.TimeWindow()
    request.start_time.FromSeconds(start_seconds)
    request.end_time.FromSeconds(end_seconds)
    return request


def answer(text: str = "here") -> types_pb2.Purpose:
    """An answer."""
    return types_pb2.Purpose(text=text)


class Probe:
    """The servicer; each test gives the behaviour it needs."""

    def __init__(self) -> None:
        self.look: Callable[[Any, Any], Awaitable[Any]] = self._admitted
        self.play: Callable[[Any, Any], AsyncIterator[Any] | Awaitable[None]] = self._three

    @staticmethod
    async def _admitted(request: Any, context: Any) -> Any:
        await current_call().admit(objects=["cameras/cam-a"], zones=["zone-a"])
        return answer()

    @staticmethod
    async def _three(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit(
            objects=["cameras/cam-a"],
            zones=["zone-a"],
            window_us=(10, 20),
            purpose="a theft",
            case_reference="PV 1",
        )
        for index in range(3):
            yield answer(str(index))

    async def unary(self, request: Any, context: Any) -> Any:
        return await self.look(request, context)

    def stream(self, request: Any, context: Any) -> AsyncIterator[Any] | Awaitable[None]:
        return self.play(request, context)

    async def free(self, request: Any, context: Any) -> Any:
        return answer(current_call().caller.subject)

    async def gather(self, requests: AsyncIterator[Any], context: Any) -> Any:
        count = 0
        async for _ in requests:
            if not count:
                await current_call().admit(zones=["zone-a"])
            count += 1
        return answer(str(count))

    async def converse(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await current_call().admit(zones=["zone-a"])
        async for request in requests:
            yield answer(str(request.start_time.seconds))


def register(servicer: Probe, server: Any) -> None:
    """What generated code does."""
    codec = {
        "request_deserializer": types_pb2.TimeWindow.FromString,
        "response_serializer": types_pb2.Purpose.SerializeToString,
    }
    handlers = {
        "Look": grpc.unary_unary_rpc_method_handler(servicer.unary, **codec),
        "Free": grpc.unary_unary_rpc_method_handler(servicer.free, **codec),
        "Open": grpc.unary_unary_rpc_method_handler(servicer.free, **codec),
        "Inner": grpc.unary_unary_rpc_method_handler(servicer.free, **codec),
        "Play": grpc.unary_stream_rpc_method_handler(servicer.stream, **codec),
        "Gather": grpc.stream_unary_rpc_method_handler(servicer.gather, **codec),
        "Converse": grpc.stream_stream_rpc_method_handler(servicer.converse, **codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def binding(probe: Probe) -> ServiceBinding:
    """The service, ready for a host."""
    return ServiceBinding(SERVICE, probe, register)


class ProbeStub:
    """What a client calls."""

    def __init__(self, channel: Any) -> None:
        codec = {
            "request_serializer": types_pb2.TimeWindow.SerializeToString,
            "response_deserializer": types_pb2.Purpose.FromString,
        }
        for name, (client_streams, server_streams, *_) in METHODS.items():
            asked = "stream" if client_streams else "unary"
            shape = f"{asked}_{'stream' if server_streams else 'unary'}"
            setattr(self, name, getattr(channel, shape)(f"/{SERVICE}/{name}", **codec))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
