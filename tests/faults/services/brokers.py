"""Three brokers of the tests' own and their controller, which can be killed, paused and cut off.

The controller is a process of its own: with two brokers of three gone it still tells the last one
that it is alone, which then refuses writes (below ``min.insync.replicas``).

Brokers tell clients where to find them. Here they advertise toxiproxy, another one on every *road*:
what stands on a road can be cut off, slowed or reset without the others. Without toxiproxy roads
lead to the brokers themselves.
"""

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from e2e.harness import until
from integration.kafka.sasl_broker import java
from integration.s3.toxiproxy import Toxiproxy
from ports import quiet_ports

CONTROLLER: Final = 4
BROKERS: Final = (1, 2, 3)
EVERYBODY: Final = "everybody"
"""The road of whoever has none of its own."""
THREE_BROKERS: Final = {"replication": "3", "min_in_sync": "2"}
"""Section ``[kafka]`` of an installation that stands on them."""
_READY_SECONDS: Final = 300
_HEAP_MIB: Final = {CONTROLLER: 128} | dict.fromkeys(BROKERS, 256)
_STARTED: Final = "Kafka Server started"


class Road:
    """One way to every broker.

    Args:
        ports: broker -> where it listens for this road.
        proxied: whether toxiproxy stands between.
    """

    def __init__(self, ports: dict[int, int], *, proxied: bool) -> None:
        self._proxies = (
            {node: Toxiproxy(f"//127.0.0.1:{port}") for node, port in ports.items()}
            if proxied
            else {}
        )
        self.advertised = {node: f"127.0.0.1:{port}" for node, port in ports.items()} | {
            node: proxy.endpoint.removeprefix("http://") for node, proxy in self._proxies.items()
        }

    @property
    def bootstrap(self) -> list[str]:
        """Addresses of all brokers on this road."""
        return [self.advertised[node] for node in BROKERS]

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        for proxy in self._proxies.values():
            proxy.enable(enabled=False)

    def delay(self, milliseconds: int, jitter: int) -> None:
        """Let every answer come so much later."""
        for proxy in self._proxies.values():
            proxy.toxic("latency", stream="downstream", latency=milliseconds, jitter=jitter)

    def reset(self, milliseconds: int) -> None:
        """Reset every connection so long after it was opened."""
        for proxy in self._proxies.values():
            proxy.toxic("reset_peer", stream="downstream", timeout=milliseconds)

    def mend(self) -> None:
        """Let everything through again."""
        for proxy in self._proxies.values():
            proxy.heal()

    def close(self) -> None:
        """Remove the proxies."""
        for proxy in self._proxies.values():
            proxy.close()


class Cluster:
    """Kafka in a folder: replication 3, two copies must be in sync.

    Args:
        home: with Kafka's jars.
        folder: everything lies in it.
        roads: names of the ways to it.

    Attributes:
        roads: name -> the way.
        direct: addresses of the brokers, past every proxy.
        proxied: whether roads can be cut.
    """

    def __init__(self, home: Path, folder: Path, roads: Sequence[str]) -> None:
        self._home = home
        self._folder = folder
        self.proxied = bool(os.environ.get("VIGIE_TEST_TOXIPROXY"))
        ports = iter(quiet_ports(1 + len(BROKERS) * (1 + len(roads))))
        self._controller = next(ports)
        self._inside = {node: next(ports) for node in BROKERS}
        self._ports = {road: {node: next(ports) for node in BROKERS} for road in roads}
        self.roads = {road: Road(own, proxied=self.proxied) for road, own in self._ports.items()}
        self.direct = [f"127.0.0.1:{port}" for port in self._inside.values()]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @classmethod
    def given(cls, folder: Path, roads: Sequence[str]) -> "Cluster":
        """A cluster from the jars of the environment; skips the test where there are none."""
        home = os.environ.get("VIGIE_TEST_KAFKA_HOME")
        if not home or shutil.which("java") is None:
            pytest.skip("no server: three brokers (VIGIE_TEST_KAFKA_HOME: a folder with the jars)")
        return cls(Path(home), folder, roads)

    async def start(self) -> None:
        """Make the cluster and start it; returns when all of it is ready."""
        cluster = _identifier()
        for node in (CONTROLLER, *BROKERS):
            data = self._at(node) / "data"
            data.mkdir(parents=True)
            (self._at(node) / "server.properties").write_text(self._properties(node))
            (self._at(node) / "log4j2.properties").write_text(_LOGGING)
            if node != CONTROLLER:  # which alone has more to write down, and a program that does
                told = _FORMATTED.format(cluster=cluster, node=node, directory=_identifier())
                (data / "meta.properties").write_text(told)
        properties = str(self._at(CONTROLLER) / "server.properties")
        command = [*java(self._home, 128), "kafka.tools.StorageTool", "format",
                   "--cluster-id", cluster, "--config", properties]  # fmt: skip
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        await self.begin(CONTROLLER, *BROKERS)

    async def begin(self, *nodes: int) -> None:
        """Start nodes, with the data they had; returns when they serve."""
        for node in nodes:
            with (self._at(node) / "log").open("wb") as log:
                self._running[node] = subprocess.Popen(self._command(node), stdout=log, stderr=log)

        async def serve() -> bool:
            return all([await self._serves(node) for node in nodes])

        await until(serve, f"brokers {nodes} are ready", seconds=_READY_SECONDS)

    async def kill(self, *nodes: int) -> None:
        """SIGKILL."""
        for node in nodes:
            self._running[node].kill()
        for node in nodes:
            await asyncio.to_thread(self._running[node].wait)

    def signal(self, node: int, number: signal.Signals) -> None:
        """A signal to a broker."""
        self._running[node].send_signal(number)

    def dead(self) -> list[int]:
        """Nodes that do not run."""
        return [node for node, process in self._running.items() if process.poll() is not None]

    async def copies(self, prefix: str) -> list[int]:
        """How many copies are in sync, of each partition of the topics with a prefix."""
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        admin = AIOKafkaAdminClient(bootstrap_servers=self.direct, request_timeout_ms=5000)
        try:
            await admin.start()
            names = [name for name in await admin.list_topics() if name.startswith(prefix)]
            found = await admin.describe_topics(names)
        except KafkaError:
            return [0]
        finally:
            await admin.close()
        return [len(one["isr"]) for topic in found for one in topic["partitions"]]

    async def mend(self) -> None:
        """Everything as it was: nothing cut, nothing dead."""
        for road in self.roads.values():
            road.mend()
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
        if dead := self.dead():
            await self.begin(*dead)

    async def close(self) -> None:
        """End it."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            await asyncio.to_thread(process.wait)
        for road in self.roads.values():
            road.close()

    def _at(self, node: int) -> Path:
        return self._folder / f"node-{node}"

    def _command(self, node: int) -> list[str]:
        program, *options = java(self._home, _HEAP_MIB[node])
        logging = f"-Dlog4j2.configurationFile={self._at(node) / 'log4j2.properties'}"
        return [program, logging, "-XX:+ExitOnOutOfMemoryError", *options, "kafka.Kafka",
                str(self._at(node) / "server.properties")]  # fmt: skip

    async def _serves(self, node: int) -> bool:
        said = (self._at(node) / "log").read_text("utf-8", "replace")
        assert self._running[node].poll() is None, said[-3000:]
        return _STARTED in said

    def _properties(self, node: int) -> str:
        if node == CONTROLLER:
            return _COMMON.format(
                role="controller", node=node, controller=self._controller,
                listeners=f"CONTROLLER://127.0.0.1:{self._controller}", more="",
                protocols="CONTROLLER:PLAINTEXT", data=self._at(node) / "data",
            )  # fmt: skip
        own = {"INSIDE": self._inside[node]} | {
            _listener(road): ports[node] for road, ports in self._ports.items()
        }
        told = {"INSIDE": f"127.0.0.1:{self._inside[node]}"} | {
            _listener(name): road.advertised[node] for name, road in self.roads.items()
        }
        advertised = ",".join(f"{name}://{address}" for name, address in told.items())
        return _COMMON.format(
            role="broker", node=node, controller=self._controller,
            listeners=",".join(f"{name}://127.0.0.1:{port}" for name, port in own.items()),
            more=f"advertised.listeners={advertised}\ninter.broker.listener.name=INSIDE",
            protocols=",".join(f"{name}:PLAINTEXT" for name in (*own, "CONTROLLER")),
            data=self._at(node) / "data",
        )  # fmt: skip


def _identifier() -> str:
    """An identifier as Kafka writes them; none that begins with a hyphen."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
    return text.rstrip("=").replace("-", "A").replace("_", "B")


def _listener(road: str) -> str:
    return road.upper().replace("-", "_")


_FORMATTED: Final = """\
version=1
cluster.id={cluster}
node.id={node}
directory.id={directory}
"""
_LOGGING: Final = """\
rootLogger.level=INFO
rootLogger.appenderRef.stdout.ref=stdout
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{ISO8601} %p %c{1} %m%n
"""

# Few messages on a small machine; and a dead broker is missed after 3 s, not 9.
_COMMON: Final = """\
process.roles={role}
node.id={node}
controller.quorum.voters=4@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners}
{more}
listener.security.protocol.map={protocols}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=6
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=10000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
"""
