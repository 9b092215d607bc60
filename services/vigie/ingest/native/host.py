"""What a session and the reactor that carries it know of each other."""

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from vigie.ingest.native.connection import Connection, Progress
from vigie.ingest.native.dial import Dialler
from vigie.ingest.native.resolver import Resolved

if TYPE_CHECKING:  # the session imports this module
    from vigie.ingest.native.session import NativeSession


class State(Enum):
    """Where a session is."""

    DIALLING = auto()
    CONVERSING = auto()
    PLAYING = auto()
    ENDED = auto()


class Host(Protocol):
    """See `vigie.ingest.native.reactor.Reactor`.

    Attributes:
        buffer: where every session receives, one after the other.
        view: the same.
    """

    buffer: bytearray
    view: memoryview

    def call_soon(self, session: "NativeSession", dialler: Dialler, found: Resolved) -> None:
        """From any thread: call `NativeSession.resolved` in the reactor's."""
        ...

    def watch(self, connection: Connection, session: "NativeSession", progress: Progress) -> None:
        """Wake the session when the socket is ready for what is wanted."""
        ...

    def unwatch(self, connection: Connection) -> None:
        """Leave the socket to the ticks."""
        ...

    def wake(self) -> None:
        """From any thread: look after the sessions now."""
        ...

    def note_received(self, size_bytes: int, *, throttled: bool) -> None:
        """Count what a drain received, and whether it used up its budget."""
        ...

    def note_garbage(self, size_bytes: int) -> None:
        """Count what was skipped."""
        ...
