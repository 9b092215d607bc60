"""A gRPC server that answers every public method of the product from what a test says."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from vigie.access.v1 import access_service_pb2 as _access
from vigie.audit.v1 import audit_service_pb2 as _audit
from vigie.common.v1 import access_pb2
from vigie.evidence.v1 import evidence_service_pb2 as _evidence
from vigie.ingest.v1 import live_pb2 as _live
from vigie.ingest.v1 import probe_pb2 as _probe
from vigie.ingest.v1 import streams_pb2 as _streams
from vigie.recording.v1 import playback_pb2 as _playback
from vigie.recording.v1 import recording_pb2 as _recording
from vigie.recording.v1 import retention_pb2 as _retention
from vigie.registry.v1 import authorisations_pb2 as _authorisations
from vigie.registry.v1 import cameras_pb2 as _cameras
from vigie.registry.v1 import zones_pb2 as _zones

CONTEXTS = ("access", "audit", "evidence", "ingest", "recording", "registry")


@dataclass(frozen=True)
class Call:
    method: str
    request: Any
    metadata: dict[str, str]


@dataclass
class FakeServer:
    """Answers and records; `answers` maps ``Service/Method`` to a message, several, or a function.

    A method without an answer gives an empty message (one, also on a stream).
    """

    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    address: str = ""

    def called(self, method: str) -> Any:
        """The request of the only call of a method."""
        (found,) = [call.request for call in self.calls if call.method == method]
        return found

    def answer(self, method: str, empty: type[Message], request: Any) -> Iterator[Message]:
        found = self.answers.get(method)
        if callable(found):
            found = found(request)
        if found is None:
            found = empty()
        yield from [found] if isinstance(found, Message) else found


@dataclass(frozen=True)
class PublicMethod:
    """One method of the contracts."""

    name: str
    full_name: str
    descriptor: Any
    internal: bool


def every_method() -> list[PublicMethod]:
    """Every method of every service of the product that the descriptor pool knows."""
    pool = descriptor_pool.Default()
    found: list[PublicMethod] = []
    for service in sorted(_service_names()):
        for method in pool.FindServiceByName(service).methods:
            access = method.GetOptions().Extensions[access_pb2.access]
            found.append(
                PublicMethod(
                    f"{service.rpartition('.')[2]}/{method.name}",
                    f"/{service}/{method.name}",
                    method,
                    access.internal,
                )
            )
    return found


def _service_names() -> set[str]:
    names: set[str] = set()
    modules = (
        _access, _audit, _evidence, _live, _probe, _streams, _playback, _recording, _retention,
        _authorisations, _cameras, _zones,
    )  # fmt: skip
    for module in modules:
        names |= {each.full_name for each in module.DESCRIPTOR.services_by_name.values()}
    return names


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic only in its stubs
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake
        self._methods = {method.full_name: method for method in every_method()}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = self._methods.get(details.method)
        return None if method is None else self._handler(method)

    def _handler(self, method: PublicMethod) -> Any:
        answer_class = GetMessageClass(method.descriptor.output_type)
        codecs: dict[str, Any] = {
            "request_deserializer": GetMessageClass(method.descriptor.input_type).FromString,
            "response_serializer": answer_class.SerializeToString,
        }

        def note(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
            self._fake.calls.append(Call(method.name, request, metadata))
            return self._fake.answer(method.name, answer_class, request)

        def unary(request: Any, context: grpc.ServicerContext) -> Message:
            return next(_refusing(note, request, context))

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            yield from _refusing(note, request, context)

        if method.descriptor.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **codecs)
        return grpc.unary_unary_rpc_method_handler(unary, **codecs)


@dataclass
class RefusedError(Exception):
    """Raised by an answer: the call fails with this status."""

    code: grpc.StatusCode
    message: str = "refused"


def _refusing(
    note: Callable[[Any, Any], Iterator[Message]], request: Any, context: grpc.ServicerContext
) -> Iterator[Message]:
    try:
        yield from note(request, context)
    except RefusedError as error:
        context.abort(error.code, error.message)


def serve(fake: FakeServer) -> grpc.Server:
    """Start it on a free loopback port; `FakeServer.address` says which."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Handlers(fake)])
    port = server.add_insecure_port("127.0.0.1:0")
    fake.address = f"127.0.0.1:{port}"
    server.start()
    return server
