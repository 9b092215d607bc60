"""What the gateway costs: the same calls to a service directly, and through the gateway.

The service (the product's own host with a method of every shape, recording accesses in memory), the
gateway and the client are processes of their own. Measured: the time of a call with one answer, one
at a time and many at once; the rate of a stream of 64 KiB messages; the processor time that the
gateway takes for either.

    python tests/bench/bench_gateway.py            # 2000 calls, 1 GiB
    python tests/bench/bench_gateway.py --full     # 20000 calls, 8 GiB

Exit code 1 when the median of a call through the gateway is more than 2 ms above the direct one.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, answer, binding, window
from vigie.platform.clock import SystemMonotonicClock
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.carry import Carrier
from vigie.platform.grpc.client import ServiceClients, open_channel
from vigie.platform.grpc.gateway import Gateway
from vigie.platform.grpc.methods import read_methods
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.testing import caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging

MESSAGE_BYTES = 64 << 10
MUST_REACH_MS = 2.0
AT_ONCE = 32
CALLERS = {
    "person": caller_with("person-1", PERMISSION),
    "hop": caller_with("service:gateway", service=True),
}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PICTURE = "x" * MESSAGE_BYTES


async def serve() -> None:
    """The service: streams as many messages as the window is seconds long."""
    probe = Probe()

    async def play(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        message = answer(PICTURE)
        for _ in range(request.end_time.seconds - request.start_time.seconds):
            yield message

    probe.play = play
    async with running_host([binding(probe)], CALLERS) as host:
        print(host.host.internal_address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def gateway(address: str) -> None:
    """The gateway to it."""
    made = Gateway(
        GrpcConfig(listen=("127.0.0.1:0",)),
        methods=read_methods(SERVICE),
        clients=ServiceClients(lambda _: [address], None),
        carrier=Carrier("gateway", hop=FixedToken("hop")),
        monotonic_clock=SystemMonotonicClock(),
    )
    await made.start()
    print(made.addresses[0], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await made.stop(timeout_seconds=1)
    await made.close()


class Process:
    """This program in another role."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        self.address = self.popen.stdout.readline().strip()

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / CLOCK_TICKS

    def end(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.wait(30)


async def calls(address: str, count: int) -> tuple[list[float], float]:
    """Milliseconds of each call, one at a time; calls a second, `AT_ONCE` at a time."""
    channel = open_channel(address, source=FixedToken("person"))
    stub: Any = ProbeStub(channel)
    taken: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        await stub.Look(window())
        taken.append((time.perf_counter() - begun) * 1000)

    async def some() -> None:
        for _ in range(count // AT_ONCE):
            await stub.Look(window())

    begun = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    rate = count // AT_ONCE * AT_ONCE / (time.perf_counter() - begun)
    await channel.close(grace=None)
    return taken, rate


async def stream(address: str, size_bytes: int) -> float:
    """Megabytes a second of one stream."""
    channel = open_channel(address, source=FixedToken("person"))
    stub: Any = ProbeStub(channel)
    count = size_bytes // MESSAGE_BYTES
    begun = time.perf_counter()
    received = 0
    async for message in stub.Play(window(10, 10 + count)):
        received += len(message.text)
    took = time.perf_counter() - begun
    await channel.close(grace=None)
    assert received == count * MESSAGE_BYTES
    return received / took / 1e6


async def measure(options: argparse.Namespace) -> int:
    service = Process("--serve")
    way = Process("--gateway", service.address)
    try:
        direct, direct_rate = await calls(service.address, options.calls)
        before = way.cpu_seconds()
        through, through_rate = await calls(way.address, options.calls)
        each_ms = (way.cpu_seconds() - before) / (2 * options.calls) * 1000
        size = options.megabytes << 20
        direct_mb = await stream(service.address, size)
        before = way.cpu_seconds()
        through_mb = await stream(way.address, size)
        gigabyte = (way.cpu_seconds() - before) / (size / 1e9)
    finally:
        way.end()
        service.end()
    for name, taken, rate, speed in (
        ("direct", direct, direct_rate, direct_mb),
        ("through the gateway", through, through_rate, through_mb),
    ):
        p99 = statistics.quantiles(taken, n=100)[98]
        print(
            f"{name}: a call p50 {statistics.median(taken):.2f} ms, p99 {p99:.2f} ms; "
            f"{rate:.0f} calls/s, {AT_ONCE} at once; a stream {speed:.0f} MB/s"
        )
    added = statistics.median(through) - statistics.median(direct)
    print(f"added to a call: p50 {added:.2f} ms; processor time of the gateway: "
          f"{each_ms:.2f} ms a call, {gigabyte:.2f} s a GB streamed")  # fmt: skip
    kept = added <= MUST_REACH_MS
    print("promise kept" if kept else "PROMISE BROKEN", f"(added <= {MUST_REACH_MS} ms)")
    return 0 if kept else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--full", action="store_true", help="20000 calls, 8 GiB")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--gateway", help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logging(LoggingConfig(level="error"))
    if options.serve:
        asyncio.run(serve())
        return 0
    if options.gateway:
        asyncio.run(gateway(options.gateway))
        return 0
    if options.full:
        options.calls, options.megabytes = 20_000, 8 << 10
    return asyncio.run(measure(options))


if __name__ == "__main__":
    sys.exit(main())
