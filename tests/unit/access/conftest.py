from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vigie.access.module import AccessModule
from vigie.access.settings import AccessConfig
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.paging import Tokens
from vigie.platform.supervisor import Supervisor

NOON_US = 1_790_000_000_000_000

PEOPLE = """
[agencies.police-municipale]
name = "Police municipale"
[agencies.gendarmerie]
name = "Gendarmerie"

[people.operator-1]
name = "Opérateur 1"
agency = "police-municipale"
roles = ["operator"]
zones = ["zone-a"]

[people.investigator-1]
name = "Enquêteur 1"
agency = "gendarmerie"
roles = ["investigator"]
zones = ["zone-a", "zone-b"]
[[people.investigator-1.assignments]]
role = "operator"
zones = ["zone-c"]

[people.auditor-1]
name = "Auditrice 1"
agency = "gendarmerie"
roles = ["auditor"]
zones = ["*"]
"""


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@dataclass
class Desk:
    """An access module, its clocks and its file."""

    module: AccessModule
    wall: ManualWallClock
    monotonic: ManualMonotonicClock
    metrics: MetricsRegistry
    people_file: Path


def make_desk(tmp_path: Path, config: AccessConfig | None = None) -> Desk:
    people_file = tmp_path / "people.toml"
    people_file.write_text(PEOPLE, encoding="utf-8")
    wall, monotonic = ManualWallClock(NOON_US), ManualMonotonicClock()
    metrics = MetricsRegistry()
    module = AccessModule(
        config or AccessConfig(people_file=people_file),
        data_directory=tmp_path / "data",
        wall_clock=wall,
        monotonic_clock=monotonic,
        metrics=metrics,
        tokens=Tokens(b"k" * 32),
        supervisor=Supervisor(),
    )
    return Desk(module, wall, monotonic, metrics, people_file)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = make_desk(tmp_path)
    await made.module.start()
    yield made
    await made.module.stop(timeout_seconds=1)
