"""A small HTTP/1.1 server for machines that look after the process: metrics, health, readiness.

It answers GET and HEAD on fixed paths, closes every connection after its answer, and bounds what
a client may cost: size and time of a request, number of connections.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from pydantic import Field

from vigie.platform.config.addresses import HostPort
from vigie.platform.config.section import ConfigSection, Suspicion
from vigie.platform.errors import VigieError
from vigie.platform.grpc.settings import host_of, is_loopback
from vigie.platform.listening import addresses_of, is_name
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.reasons import LISTEN_FAILED

_MAX_REQUEST_BYTES = 8192
_METHODS = frozenset({"GET", "HEAD"})


class HttpConfig(ConfigSection):
    """Section ``[http]``: where metrics, health and readiness are served."""

    listen: HostPort = Field(
        default="127.0.0.1:7480",
        description="Address, host:port; port 0 takes a free one.",
    )
    max_connections: int = Field(
        default=64, ge=1, description="Connections at one time; more are closed at once."
    )
    request_seconds: float = Field(
        default=5.0, gt=0, description="Longest time for reading a request and for answering it."
    )

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if is_loopback(host_of(self.listen)):
            return ()
        message = "names of cameras stand in the metrics, and anybody who reaches it reads them"
        return (Suspicion("listen", message, "let only the monitoring network reach it"),)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


Route = Callable[[], Awaitable[HttpAnswer]]


def json_answer(status: HTTPStatus, value: object) -> HttpAnswer:
    """An answer of one JSON value."""
    body = json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
    return HttpAnswer(status, "application/json; charset=utf-8", body)


def _nothing_broken() -> Mapping[str, str]:
    return {}


def operations_routes(
    metrics: MetricsRegistry,
    readiness: Callable[[], Mapping[str, str | None]],
    broken: Callable[[], Mapping[str, str]] = _nothing_broken,
) -> dict[str, Route]:
    """``/metrics``, ``/healthz`` (no restart is needed) and ``/readyz`` (each module can work).

    Args:
        metrics: what is shown.
        readiness: module -> why it cannot work now, or ``None``.
        broken: module -> what only a restart mends; a process that hangs does not answer at all.
    """

    async def show_metrics() -> HttpAnswer:
        content_type, body = metrics.exposition()
        return HttpAnswer(HTTPStatus.OK, content_type, body)

    async def healthz() -> HttpAnswer:
        wrong = dict(broken())
        if wrong:
            found = {"status": "broken", "modules": wrong}
            return json_answer(HTTPStatus.SERVICE_UNAVAILABLE, found)
        return json_answer(HTTPStatus.OK, {"status": "alive"})

    async def readyz() -> HttpAnswer:
        reasons = readiness()
        ready = all(reason is None for reason in reasons.values())
        modules = {
            name: {"ready": reason is None} | ({"reason": reason} if reason else {})
            for name, reason in reasons.items()
        }
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return json_answer(status, {"ready": ready, "modules": modules})

    return {"/metrics": show_metrics, "/healthz": healthz, "/readyz": readyz}


class HttpServer:
    """Serves fixed routes; a `vigie.platform.module.Module`."""

    name = "http"

    def __init__(self, config: HttpConfig, routes: Mapping[str, Route]) -> None:
        self._config = config
        self._routes = dict(routes)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._port = 0
        self._log = structlog.get_logger("vigie.http")

    def services(self) -> Sequence[ServiceBinding]:
        """None."""
        return ()

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        return None if self._server is not None else "not listening yet"

    @property
    def address(self) -> str:
        """``host:port`` with the real port, once started."""
        return f"{self._config.listen.rpartition(':')[0]}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            VigieError: LISTEN_FAILED.
        """
        host, port = host_of(self._config.listen), int(self._config.listen.rpartition(":")[2])
        try:
            places = addresses_of(host, port) if is_name(host) else ((host, port),)
            self._server = await asyncio.start_server(
                self._accept,
                [address for address, _ in places],
                places[0][1],
                limit=_MAX_REQUEST_BYTES,
            )
        except OSError as error:
            raise VigieError(
                LISTEN_FAILED,
                f"cannot listen on {self._config.listen}: {error.strerror}; choose another port, "
                "or stop the program that has it",
                field="http.listen",
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]
        self._log.info("http_listening", address=self.address)

    async def stop(self, *, timeout_seconds: float) -> None:
        """Stop listening and close what is open."""
        if self._server is None:
            return
        self._server.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=min(timeout_seconds, 1.0))
        left = list(self._serving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= self._config.max_connections:
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._config.request_seconds):
                method, answer = await self._answer(reader)
                writer.write(_head(answer))
                if method != "HEAD":
                    writer.write(answer.body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            self._log.debug("http_client_gone")
        finally:
            # To close waits until everything is sent: for ever, for a client that does not read.
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, HttpAnswer]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "GET", _error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):  # noqa: PLR2004 - RFC 9112, 3
            return "GET", _error(HTTPStatus.BAD_REQUEST)
        method, target, _ = parts
        if method not in _METHODS:
            return method, _error(HTTPStatus.METHOD_NOT_ALLOWED)
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return method, _error(HTTPStatus.NOT_FOUND)
        try:
            return method, await route()
        except Exception:  # noqa: BLE001 - boundary of a request: logged, answered with 500
            self._log.exception("http_route_failed", target=target)
            return method, _error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _error(status: HTTPStatus) -> HttpAnswer:
    return json_answer(status, {"error": status.phrase})


def _head(answer: HttpAnswer) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(("Allow: GET, HEAD",) if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else ()),
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
