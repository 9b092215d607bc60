"""What the wiring starts and stops: modules with services and declared needs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import grpc.aio


@dataclass(frozen=True, slots=True)
class ServiceBinding:
    """A gRPC service ready to be registered.

    Attributes:
        name: full name, e.g. ``vigie.registry.v1.CameraService``.
        servicer: the object with the methods.
        register: the generated ``add_…_to_server``.
    """

    name: str
    servicer: Any
    register: Callable[[Any, grpc.aio.Server], None]


@runtime_checkable
class Breakable(Protocol):
    """A module that can come into a state which only a new start of the process mends."""

    @property
    def name(self) -> str:
        """See `Module.name`."""
        ...

    def broken(self) -> str | None:
        """What is wrong for good, in one line; ``None`` when nothing is.

        Never because something else is away: that comes back by itself.
        """
        ...


def broken_of(modules: "Iterable[Module]") -> dict[str, str]:
    """Name -> what only a new start mends, of modules where something is."""
    found: dict[str, str] = {}
    for module in modules:
        if isinstance(module, Breakable) and (why := module.broken()) is not None:
            found[module.name] = why
    return found


class Module(Protocol):
    """One part of a target: a context, or something of the platform with a life of its own.

    The wiring starts modules in the order of their needs and stops them in the reverse order.
    """

    @property
    def name(self) -> str:
        """Short name, unique in the target, e.g. ``recording``."""
        ...

    def services(self) -> Sequence[ServiceBinding]:
        """The gRPC services this module offers; known before `start`."""
        ...

    async def start(self) -> None:
        """Become able to work; return when ready to serve (long work goes to own tasks)."""
        ...

    def not_ready(self) -> str | None:
        """Why this module cannot do its work now, in one line; ``None`` when it can."""
        ...

    async def stop(self, *, timeout_seconds: float) -> None:
        """Finish what is begun (drain) within the time, then release everything."""
        ...
