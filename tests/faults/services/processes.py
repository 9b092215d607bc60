"""The processes of an installation of separate services, two of which receive the cameras."""

import asyncio
import http.client
import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc.aio

from e2e import estate
from e2e.harness import DEPLOYMENTS, Installation, until
from faults.services.brokers import THREE_BROKERS, Cluster
from faults.services.witness import Witness
from ports import quiet_ports
from vigie.platform.grpc.client import StubType

INGEST: Final = ("ingest", "ingest-2")
ALL_PARTITIONS: Final = 256
_PARTITIONS: Final = re.compile(
    r'^vigie_eventlog_partitions_info\{[^}]*topic="cameras"[^}]*\} (\d+)', re.MULTILINE
)


class Services(Installation):
    """Six services apart with a second ingest process; the gateway is always at one address.

    Args:
        folder: everything lies in it.
        brokers: three of the tests' own, where it stands on them.
        settings: section -> key -> TOML value, beyond what the harness sets.

    Attributes:
        witness: sees what people are delivered.
    """

    def __init__(
        self,
        folder: Path,
        brokers: Cluster | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._brokers = brokers
        self.witness = Witness()
        self._front = f"127.0.0.1:{quiet_ports(1)[0]}"
        six = DEPLOYMENTS["six-services"]
        targets = {**six.targets, "ingest-2": ("serve", "ingest")}
        deployment = replace(six, name="town", targets=targets)
        own = {} if brokers is None else {"kafka": THREE_BROKERS}
        super().__init__(deployment, folder, estate.PEOPLE, own | dict(settings or {}))

    def address(self, context: str = "recording") -> str:
        return self._front

    def _own_environment(self, name: str) -> dict[str, str]:
        own = super()._own_environment(name)
        if self._brokers is not None and name in self._brokers.roads:
            own["VIGIE_KAFKA__BOOTSTRAP"] = json.dumps(self._brokers.roads[name].bootstrap)
        return own | ({"VIGIE_GRPC__LISTEN": f'["{self._front}"]'} if name == "gateway" else {})

    async def share_of(self, name: str) -> int:
        """How many partitions of the cameras an ingest process believes to hold."""
        found = _PARTITIONS.search(await self.metrics(name))
        return int(found[1]) if found else 0

    def waiting(self) -> list[Path]:
        """Footage in the spools of all ingest processes."""
        return [file for name in INGEST for file in (self.data_of(name) / "spool").rglob("*.m4v")]

    def stub(self, make: Callable[[grpc.aio.Channel], StubType], context: str, **who: Any) -> Any:
        return super().stub(lambda channel: make(self.witness.watched(channel)), context, **who)

    async def died(self, name: str, *, seconds: float) -> None:
        """Wait until a process has ended by itself. Raises TimeoutError."""
        await asyncio.wait_for(self._running[name].process.wait(), seconds)

    async def ready(self) -> bool:
        """Whether every process says that it can do its work."""
        try:
            return not any([await self.not_ready(name) for name in self._running])
        except (OSError, http.client.HTTPException):
            return False

    async def not_ready(self, name: str) -> dict[str, str]:
        """Module of a process -> why it says that it cannot work. Raises OSError."""
        modules: dict[str, dict[str, Any]] = json.loads(await self._page(name, "/readyz"))[
            "modules"
        ]
        return {module: each["reason"] for module, each in modules.items() if not each["ready"]}

    async def says(self, name: str, words: str, *, seconds: float = 60) -> None:
        """Wait until a process says why it is not ready."""

        async def said() -> bool:
            return any(words in why for why in (await self.not_ready(name)).values())

        await until(said, f"{name} says {words!r}", seconds=seconds)

    async def metrics(self, name: str) -> str:
        """What a process tells of itself."""
        return await self._page(name, "/metrics")

    async def metric(self, name: str, sample: str) -> float:
        """A sample of a process, by its name and labels as they are written; 0: it is not there."""
        lines = (line.rpartition(" ") for line in (await self.metrics(name)).splitlines())
        return sum(float(value) for told, _, value in lines if told == sample)

    async def _page(self, name: str, path: str) -> str:
        """A page for machines, whatever its status."""
        return await asyncio.to_thread(_get, self._running[name].addresses["http"], path)

    @property
    def topic_prefix(self) -> str:
        """Before the name of every topic at the brokers."""
        assert self._external is not None
        return f"{self._external.name}."

    async def database(self, statement: str) -> list[tuple[object, ...]]:
        """A statement to the installation's database, past everything of the product."""
        assert self._external is not None
        rows = await self._external.postgres.execute(statement, self._external.database)
        return [tuple(row) for row in rows]


def _get(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=10)
    with closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()
