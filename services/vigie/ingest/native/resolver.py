"""Names of cameras to socket addresses, away from the receiving thread (the C library blocks)."""

import socket
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
    """Resolves names in a few threads; literal addresses at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest-dns")

    def resolve(self, host: str, port: int, done: Callable[[Resolved], None]) -> None:
        """Call ``done`` with the outcome, now or from another thread."""
        literal = _look_up(host, port, socket.AI_NUMERICHOST)
        if isinstance(literal, list):
            done(literal)
            return
        self._pool.submit(lambda: done(_look_up(host, port, 0)))

    def close(self) -> None:
        """Let go of the threads; look-ups under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, flags: int) -> Resolved:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        return f"the name cannot be resolved ({type(error).__name__})"
    return [(family, address) for family, _, _, _, address in found[:_MAX_ADDRESSES]]
