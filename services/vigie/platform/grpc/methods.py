"""What the contracts declare about each method, read from the descriptor pool."""

from dataclasses import dataclass
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from vigie.common.v1 import access_pb2

AUTHENTICATED: Final = "authenticated"
"""Permission of methods that ask only for a valid identity."""
PUBLIC: Final = "public"
"""Permission of methods that ask for nothing."""


class UndeclaredMethodError(Exception):
    """A service has methods that do not say who may call them; it must not be served."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """One method as the contract declares it.

    Attributes:
        service: full name of the service, e.g. ``vigie.registry.v1.CameraService``.
        method: name of the method, e.g. ``GetCamera``.
        permission: what the caller must hold; ``authenticated`` and ``public`` are special.
        kind: how the access is kept (``vigie.common.v1.RecordKind``).
        internal: only services of the product may call it.
        server_streaming: whether it answers with a stream.
        callers: services of the product that may call it under their own name.
        idempotent: calling it twice does no more than once; only such a method with one answer
            is ever tried again by itself.
    """

    service: str
    method: str
    permission: str
    kind: int
    internal: bool
    server_streaming: bool
    callers: frozenset[str] = frozenset()
    idempotent: bool = False

    @property
    def path(self) -> str:
        """``/vigie.registry.v1.CameraService/GetCamera``."""
        return f"/{self.service}/{self.method}"

    @property
    def recorded(self) -> bool:
        """Whether an answer needs an access record first."""
        return self.kind != access_pb2.RECORD_KIND_NONE


def method_faults(service: ServiceDescriptor) -> list[str]:
    """What is missing in the declarations of a service, one line a method."""
    faults: list[str] = []
    for method in service.methods:
        options = method.GetOptions()
        if not options.HasExtension(access_pb2.access):
            faults.append(f"{method.full_name}: no option (vigie.common.v1.access)")
            continue
        access = options.Extensions[access_pb2.access]
        if not access.permission:
            faults.append(f"{method.full_name}: no permission declared")
        if access.record == access_pb2.RECORD_KIND_UNSPECIFIED:
            faults.append(f"{method.full_name}: no kind of record declared")
        if access.permission == PUBLIC and access.record != access_pb2.RECORD_KIND_NONE:
            faults.append(f"{method.full_name}: a public method cannot be a recorded access")
        if access.internal and not access.callers:
            faults.append(f"{method.full_name}: internal, but no service may call it")
    return faults


def method_spec(method: MethodDescriptor) -> MethodSpec:
    """The declaration of one method that has no faults."""
    access = method.GetOptions().Extensions[access_pb2.access]
    return MethodSpec(
        service=method.containing_service.full_name,
        method=method.name,
        permission=access.permission,
        kind=access.record,
        internal=access.internal,
        server_streaming=bool(method.server_streaming),
        callers=frozenset(access.callers),
        idempotent=is_idempotent(method),
    )


def is_idempotent(method: MethodDescriptor) -> bool:
    """Whether the contract lets a call be repeated when nobody knows whether it was served."""
    return bool(method.GetOptions().Extensions[access_pb2.access].idempotent)


def read_methods(
    service_name: str, pool: descriptor_pool.DescriptorPool | None = None
) -> dict[str, MethodSpec]:
    """Declarations of all methods of a service, by path.

    Raises:
        UndeclaredMethodError: one of them says too little, or the service is not known.
    """
    pool = pool or descriptor_pool.Default()
    try:
        service = pool.FindServiceByName(service_name)
    except KeyError as error:
        raise UndeclaredMethodError(f"{service_name}: no such service in the contracts") from error
    if faults := method_faults(service):
        raise UndeclaredMethodError("; ".join(faults))
    specs = [method_spec(method) for method in service.methods]
    return {spec.path: spec for spec in specs}
