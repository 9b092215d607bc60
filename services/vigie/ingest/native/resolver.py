"""Names of cameras to socket addresses, away from the receiving thread (the C library blocks)."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

SocketAddress = tuple[
    socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]
Resolved = list[SocketAddress] | str
"""Addresses to try in order, or why there are none."""

_THREADS: Final = 4
_MAX_ADDRESSES: Final = 8


class Resolver:
    """Resolves names in a few threads; literal addresses at once.

    A name is looked up once for all who wait for it, and not at all when nobody does any more:
    while the name server is away sessions come and give up, and when it is back their look-ups
    would go before those of the sessions that wait.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest-dns")
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], dict[object, Callable[[Resolved], None]]] = {}

    def resolve(self, host: str, port: int, done: Callable[[Resolved], None]) -> Callable[[], None]:
        """Call ``done`` with the outcome, now or from another thread.

        Returns:
            What gives up waiting; ``done`` may still be called if it is on its way.
        """
        literal = _look_up(host, port, socket.AI_NUMERICHOST)
        if isinstance(literal, list):
            done(literal)
            return _nothing
        name, ticket = (host, port), object()
        with self._lock:
            is_new = name not in self._waiting
            self._waiting.setdefault(name, {})[ticket] = done
        if is_new:
            self._pool.submit(self._answer, name)
        return lambda: self._give_up(name, ticket)

    def close(self) -> None:
        """Let go of the threads; look-ups under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _give_up(self, name: tuple[str, int], ticket: object) -> None:
        with self._lock:
            self._waiting.get(name, {}).pop(ticket, None)

    def _answer(self, name: tuple[str, int]) -> None:
        with self._lock:
            if not self._waiting[name]:
                del self._waiting[name]
                return
        found: Resolved = "the name cannot be resolved"
        try:
            found = _look_up(*name, 0)
        finally:
            with self._lock:
                waiting = self._waiting.pop(name)
            for done in waiting.values():
                done(found)


def _nothing() -> None:
    """Give up what is done."""


def _look_up(host: str, port: int, flags: int) -> Resolved:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        return f"the name cannot be resolved ({type(error).__name__})"
    return [(family, address) for family, _, _, _, address in found[:_MAX_ADDRESSES]]
