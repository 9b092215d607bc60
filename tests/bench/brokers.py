"""Three brokers of a measurement's own (KRaft, replication 3), from a folder with Kafka's jars."""

import asyncio
import base64
import contextlib
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from ports import quiet_ports

VARIABLE = "VIGIE_TEST_KAFKA_HOME"
_READY_SECONDS = 300


def missing(home: str | None) -> str:
    """Why brokers cannot be started here; empty when they can."""
    if not home:
        return f"{VARIABLE} is not set (a folder with Kafka's jars)"
    return "" if shutil.which("java") else "there is no Java"


@contextlib.asynccontextmanager
async def three_brokers(home: Path, folder: Path) -> AsyncIterator[list[str]]:
    """Their addresses; data and processes are gone afterwards."""
    count = 3
    ports = quiet_ports(2 * count)
    voters = ",".join(f"{n + 1}@127.0.0.1:{ports[count + n]}" for n in range(count))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            own = folder / f"broker-{number + 1}"
            own.mkdir()
            properties = own / "server.properties"
            properties.write_text(
                _properties(number + 1, own, ports[number], ports[count + number], voters)
            )
            await asyncio.to_thread(
                subprocess.run,
                [*_java(home, 128), "kafka.tools.StorageTool", "format", "--cluster-id", cluster,
                 "--config", str(properties)],
                check=True, capture_output=True,
            )  # fmt: skip
            with (own / "log").open("wb") as log:
                command = [*_java(home, 384), "kafka.Kafka", str(properties)]
                processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        for number, process in enumerate(processes):
            await _ready(process, ports[number], folder / f"broker-{number + 1}" / "log")
        yield [f"127.0.0.1:{port}" for port in ports[:count]]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _java(home: Path, heap_mib: int) -> list[str]:
    return [
        "java",
        f"-Xmx{heap_mib}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{home}/*",
    ]


async def _ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            if process.poll() is not None:
                raise SystemExit(f"a broker ended: {log.read_text()[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            return


def _properties(number: int, folder: Path, port: int, controller: int, voters: str) -> str:
    return f"""\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder / "data"}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
"""
