"""From an address to a connection: the name, TCP, TLS; one socket address after the other."""

from collections.abc import Callable
from typing import Final

from vigie.ingest.native.connection import Connection, Progress
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.resolver import Resolved, SocketAddress
from vigie.ingest.rtsp.address import Address
from vigie.ingest.rtsp.errors import RtspError

_US: Final = 1_000_000


class Dialler:
    """One attempt to reach one address; used by the reactor's thread.

    Args:
        address: where to.
        environment: resolver, TLS contexts, clocks.
        verify_tls: whether the certificate must be trusted.
        watch: asks for a wake-up when the socket is ready for what is wanted.
        unwatch: takes that back.
    """

    def __init__(
        self,
        address: Address,
        environment: Environment,
        *,
        verify_tls: bool,
        watch: Callable[[Connection, Progress], None],
        unwatch: Callable[[Connection], None],
    ) -> None:
        self._address = address
        self._environment = environment
        self._verify_tls = verify_tls
        self._watch = watch
        self._unwatch = unwatch
        self._targets: list[SocketAddress] = []
        self._connection: Connection | None = None
        self._stop_looking: Callable[[], None] | None = None
        self._is_resolved = False
        self._deadline_us = 0
        self.failure = ""
        """Why it cannot be reached; empty as long as it may be."""

    def resolve(self, done: Callable[[Resolved], None]) -> None:
        """Look the name up; ``done`` may be called from another thread."""
        self._set_deadline()
        resolver = self._environment.resolver
        self._stop_looking = resolver.resolve(self._address.host, self._address.port, done)

    def resolved(self, found: Resolved) -> Connection | None:
        """Go on with the outcome; the connection if it is there at once."""
        if isinstance(found, str):
            self.failure = found
            return None
        self._is_resolved = True
        self._targets = found
        return self._connect("no address")

    def advance(self) -> Connection | None:
        """Go on when the socket is ready; the connection when it is there."""
        connection = self._connection
        if connection is None:
            return None
        try:
            progress = connection.advance()
        except RtspError as error:
            return self._connect(error.detail)
        if progress is not Progress.READY:
            self._watch(connection, progress)
            return None
        self._connection = None
        return connection

    def check(self, now_us: int) -> Connection | None:
        """Look at the time: give up what takes too long, try the next."""
        if now_us < self._deadline_us:
            return None
        if not self._is_resolved:
            self.failure = "the name was not resolved in time"
            return None
        return self._connect("no answer to the connection in time")

    def drop(self) -> None:
        """Give up."""
        if self._stop_looking is not None:
            self._stop_looking()
            self._stop_looking = None
        connection, self._connection = self._connection, None
        if connection is not None:
            let_go(connection, self._unwatch)

    def _connect(self, reason: str) -> Connection | None:
        """Try the next socket address; ``reason``: why the one before it failed."""
        self.drop()
        if not self._targets:
            self.failure = reason
            return None
        self._set_deadline()
        environment, address = self._environment, self._address
        try:
            tls = environment.tls(verify=self._verify_tls) if address.secure else None
            connection = Connection(
                self._targets.pop(0), tls, address.host, environment.kernel_buffer_bytes
            )
        except OSError as error:
            return self._connect(f"no socket ({type(error).__name__})")
        self._connection = connection
        self._watch(connection, Progress.WANTS_WRITE)
        return self.advance()

    def _set_deadline(self) -> None:
        seconds = self._environment.settings.connect_timeout_seconds
        self._deadline_us = self._environment.monotonic.now_us() + round(seconds * _US)


def let_go(connection: Connection, unwatch: Callable[[Connection], None]) -> None:
    """Take a connection out of the selector, and close it whatever comes of that."""
    try:
        unwatch(connection)
    finally:
        connection.close()
