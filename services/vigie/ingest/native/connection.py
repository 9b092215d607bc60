"""A non-blocking TCP connection, with TLS where the address asks for it."""

import errno
import os
import socket
import ssl
from enum import Enum, auto
from typing import Final

from vigie.ingest.engine import EndCause
from vigie.ingest.native.resolver import SocketAddress
from vigie.ingest.rtsp.errors import RtspError

_IN_PROGRESS: Final = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})


class Progress(Enum):
    """What a connection waits for."""

    READY = auto()
    WANTS_READ = auto()
    WANTS_WRITE = auto()


class Connection:
    """One attempt at one address.

    Args:
        address: family and socket address.
        tls: context for rtsps, None for plain TCP.
        server_hostname: what the certificate must name.
        kernel_buffer_bytes: receive buffer to ask for, 0 to leave it to the kernel.

    Raises:
        OSError: no socket could be made.
    """

    def __init__(
        self,
        address: SocketAddress,
        tls: ssl.SSLContext | None,
        server_hostname: str,
        kernel_buffer_bytes: int,
    ) -> None:
        self._address = address
        self._is_connected = False
        self._is_secured = tls is None
        self._output = bytearray()
        plain = socket.socket(address[0], socket.SOCK_STREAM)
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kernel_buffer_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_buffer_bytes)
        self._socket: socket.socket = plain
        # Kept: a TLS layer that cannot be put on closes the socket, and it no longer says.
        self._descriptor = plain.fileno()
        self._tls = tls
        self._server_hostname = server_hostname
        self.error = plain.connect_ex(address[1])

    @property
    def is_tls(self) -> bool:
        """Whether what is received comes in TLS records."""
        return self._tls is not None

    def fileno(self) -> int:
        """For the selector: the number under which it is watched, also when it is closed."""
        return self._descriptor

    def advance(self) -> Progress:
        """Go on connecting; called when the socket is ready for what was wanted.

        Raises:
            RtspError: CAMERA_UNREACHABLE.
        """
        if not self._is_connected:
            if self.error not in _IN_PROGRESS:
                raise _unreachable(self.error)
            self.error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if self.error:
                raise _unreachable(self.error)
            try:
                self._socket.getpeername()
            except OSError:
                return Progress.WANTS_WRITE
            self._is_connected = True
        return Progress.READY if self._is_secured else self._secure()

    def _secure(self) -> Progress:
        try:
            if not isinstance(self._socket, ssl.SSLSocket):
                assert self._tls is not None
                self._socket = self._tls.wrap_socket(
                    self._socket,
                    server_hostname=self._server_hostname,
                    do_handshake_on_connect=False,
                )
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return Progress.WANTS_READ
        except ssl.SSLWantWriteError:
            return Progress.WANTS_WRITE
        except ssl.SSLCertVerificationError as error:
            raise RtspError(
                EndCause.CAMERA_UNREACHABLE, f"TLS: certificate refused: {error.verify_message}"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise RtspError(EndCause.CAMERA_UNREACHABLE, f"TLS: {reason}") from None
        self._is_secured = True
        return Progress.READY

    def receive_into(self, view: memoryview) -> int:
        """Bytes received, 0 when the other side has closed, -1 when nothing waits."""
        try:
            return self._socket.recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError):
            return -1
        except OSError:  # reset, aborted, timed out, TLS broken off: it is gone all the same
            return 0

    def send(self, data: bytes) -> None:
        """Send now what can be sent, keep the rest."""
        self._output += data
        self.flush()

    def flush(self) -> None:
        """Try again to send what is kept."""
        while self._output:
            try:
                sent = self._socket.send(self._output)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError):
                return
            except OSError:  # reading will tell that the connection is gone, after what still came
                self._output.clear()
                return
            del self._output[:sent]

    @property
    def unsent_bytes(self) -> int:
        """How much waits to be sent."""
        return len(self._output)

    def close(self) -> None:
        """Give the socket back, without a farewell on the TLS layer (it would block)."""
        self._socket.close()


def fill(
    connection: Connection, view: memoryview, filled: int, budget_bytes: int
) -> tuple[int, bool]:
    """Receive behind ``view[:filled]``: all that waits, a full view, or what the budget allows.

    Returns:
        How far the view is filled now, and whether the other side has closed.
    """
    size, enough = len(view), filled + budget_bytes
    while True:
        count = connection.receive_into(view[filled:])
        if count <= 0:
            return filled, count == 0
        filled += count
        # A short read has emptied a plain socket; asking again would cost.
        if filled == size or filled >= enough or not connection.is_tls:
            return filled, False


def _unreachable(error: int) -> RtspError:
    return RtspError(EndCause.CAMERA_UNREACHABLE, os.strerror(error).lower())
