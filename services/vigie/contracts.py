"""The contracts of all contexts, without any code of those that serve them."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from vigie.platform.grpc.methods import MethodSpec, read_methods
from vigie.platform.grpc.services import CONTEXTS


def service_names(contexts: Sequence[str] = CONTEXTS) -> list[str]:
    """Full names of the services of some contexts, sorted; their messages are loaded."""
    found: set[str] = set()
    for context in contexts:
        package = import_module(f"vigie.{context}.v1")
        for item in pkgutil.iter_modules(package.__path__, f"vigie.{context}.v1."):
            if item.name.endswith("_pb2"):
                services = import_module(item.name).DESCRIPTOR.services_by_name.values()
                found.update(service.full_name for service in services)
    return sorted(found)


def methods_of(contexts: Sequence[str] = CONTEXTS) -> dict[str, MethodSpec]:
    """Path -> what the contract declares, of every method."""
    return {
        path: spec
        for service in service_names(contexts)
        for path, spec in read_methods(service).items()
    }
