"""Stands between a client and a real S3 server and changes what tests ask it to change.

Requests and answers pass as they are (the signature covers the host name that the client used, so
the header stays); a rule sees each request first and may answer in the server's place, or see the
answer and change it.
"""

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What is sent back."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    cut: bool = False
    """Only half of the body is sent, then the connection ends."""

    def without(self, *names: str) -> "Answer":
        """The same without some headers."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in names]
        return Answer(self.status, kept, self.body)


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return urlsplit(self.path).path.lstrip("/").partition("/")[2]


Forward = Callable[[Request], Answer]
Rule = Callable[[Request, Forward], Answer]


def honest(request: Request, forward: Forward) -> Answer:
    """Change nothing."""
    return forward(request)


class Between:
    """A proxy on loopback, with or without TLS.

    Attributes:
        rule: what is done with each request; tests replace it.
        upstream: the server.
        seen: methods and keys, in order.
    """

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self._upstream = urlsplit(upstream)
        self.rule: Rule = honest
        self.seen: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else a body waits 40 ms behind its headers

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                request = Request(self.command, self.path, dict(self.headers.items()), body)
                outer.seen.append((request.method, request.key))
                answer = outer.rule(request, outer._forward)
                if answer.status == 0:  # hang up without a word
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                        self.send_header(name, value)
                told = {name.lower(): value for name, value in answer.headers}
                size = told.get("content-length") if self.command == "HEAD" else None
                self.send_header("Content-Length", size or str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2 if answer.cut else None])
                self.close_connection = self.close_connection or answer.cut

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._any)

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients hang up in these tests

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def _forward(self, request: Request) -> Answer:
        assert self._upstream.hostname is not None
        connection = http.client.HTTPConnection(
            self._upstream.hostname, self._upstream.port, timeout=30
        )
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
