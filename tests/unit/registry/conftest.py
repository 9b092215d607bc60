from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from databases import database_kind, open_any_database
from servers_postgres import postgres_database, postgres_server
from unit.registry.harness import CALLERS, NOW, Registry, ScriptedProber
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock, to_us
from vigie.platform.eventlog.embedded import open_event_log
from vigie.platform.grpc.testing import running_host
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.sealing import Sealer, SealingKey
from vigie.registry.config import RegistryConfig
from vigie.registry.module import RegistryDependencies, RegistryModule

__all__ = ["database_kind", "postgres_database", "postgres_server"]


@pytest.fixture
async def bare(tmp_path: Path, database_kind: str) -> AsyncIterator[Registry]:
    """A registry in which nothing is."""
    wall, monotonic = ManualWallClock(to_us(NOW)), ManualMonotonicClock()
    database = await open_any_database(tmp_path / "data" / "vigie.db")
    event_log = await open_event_log(database, wall)
    sealer = Sealer([SealingKey.of(b"\7" * 32)])
    prober, metrics = ScriptedProber(), MetricsRegistry()
    module = RegistryModule(
        RegistryConfig(),
        RegistryDependencies(
            database=database,
            event_log=event_log,
            sealer=sealer,
            prober=prober,
            wall_clock=wall,
            monotonic_clock=monotonic,
            identifiers=IdentifierSource(wall),
            metrics=metrics,
        ),
    )
    await module.start()
    try:
        async with running_host(module.services(), CALLERS, wall_clock=wall) as host:
            yield Registry(
                module,
                host,
                database,
                event_log,
                wall,
                monotonic,
                sealer,
                prober,
                metrics,
                tmp_path / "data",
            )
    finally:
        await module.stop(timeout_seconds=1)
        await event_log.close()
        await database.close()


@pytest.fixture
async def registry(bare: Registry) -> Registry:
    """A registry with two communes, two zones and a site."""
    await bare.ground()
    return bare
