import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from vigie.platform.errors import VigieError
from vigie.platform.http import HttpAnswer, HttpConfig, HttpServer, operations_routes
from vigie.platform.metrics import MetricSpec, MetricsRegistry

SEEN = MetricSpec("vigie_probe_seen_total", "counter", "How often it was seen.")


class Modules:
    def __init__(self) -> None:
        self.reasons: dict[str, str | None] = {"registry": None, "ingest": "starting"}

    def __call__(self) -> dict[str, str | None]:
        return self.reasons


@pytest.fixture
def modules() -> Modules:
    return Modules()


@pytest.fixture
async def server(modules: Modules) -> AsyncIterator[HttpServer]:
    metrics = MetricsRegistry()
    metrics.counter(SEEN).inc()
    server = HttpServer(HttpConfig(listen="127.0.0.1:0"), operations_routes(metrics, modules))
    await server.start()
    yield server
    await server.stop(timeout_seconds=1)


async def ask(server: HttpServer, request: bytes) -> tuple[int, bytes]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_name_is_served_at_all_of_its_addresses_on_one_port(modules: Modules) -> None:
    config = HttpConfig(listen="localhost:0")
    server = HttpServer(config, operations_routes(MetricsRegistry(), modules))
    await server.start()
    places = {str(place[0]) for *_, place in socket.getaddrinfo("localhost", 0)}
    for address in sorted(places):
        _, writer = await asyncio.open_connection(address, int(server.address.rpartition(":")[2]))
        writer.close()
        await writer.wait_closed()
    await server.stop(timeout_seconds=1)


async def test_metrics_health_and_readiness(server: HttpServer, modules: Modules) -> None:
    status, body = await ask(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, b"vigie_probe_seen_total 1.0" in body) == (200, True)
    assert (await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n"))[0] == 200
    status, body = await ask(server, b"GET /readyz?x=1 HTTP/1.1\r\n\r\n")
    assert status == 503
    assert json.loads(body)["modules"]["ingest"] == {"ready": False, "reason": "starting"}
    modules.reasons["ingest"] = None
    assert (await ask(server, b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /none HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
async def test_bad_requests_are_answered(
    server: HttpServer, request_bytes: bytes, status: int
) -> None:
    assert (await ask(server, request_bytes))[0] == status


async def test_head_has_no_body(server: HttpServer) -> None:
    assert await ask(server, b"HEAD /healthz HTTP/1.1\r\n\r\n") == (200, b"")


async def test_who_does_not_read_the_answer_keeps_no_connection() -> None:
    async def large() -> HttpAnswer:
        return HttpAnswer(HTTPStatus.OK, "text/plain", bytes(64 << 20))

    config = HttpConfig(listen="127.0.0.1:0", max_connections=1, request_seconds=0.3)
    server = HttpServer(config, {"/large": large, **operations_routes(MetricsRegistry(), dict)})
    await server.start()
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        with pytest.raises((IndexError, ConnectionError)):  # the only connection is taken
            await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            while server._serving:
                await asyncio.wait(server._serving)
        assert (await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n"))[0] == 200
    await server.stop(timeout_seconds=1)


async def test_stopping_leaves_nobody_behind() -> None:
    server = HttpServer(HttpConfig(listen="127.0.0.1:0", request_seconds=60), {})
    await server.start()
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HT")
    while not server._serving:
        await asyncio.sleep(0)
    serving = list(server._serving)
    await server.stop(timeout_seconds=0.0)
    assert all(task.done() for task in serving)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_taken_port_is_said(server: HttpServer) -> None:
    second = HttpServer(HttpConfig(listen=server.address), {})
    with pytest.raises(VigieError, match="choose another port") as caught:
        await second.start()
    assert caught.value.reason.name == "LISTEN_FAILED"
