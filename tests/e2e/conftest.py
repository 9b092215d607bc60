"""One running product, one set of simulated cameras, for all scenarios that can share them."""

import asyncio
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from certificates import camera_certificate
from e2e import estate
from e2e.callers import recorded_from, stored_until
from e2e.harness import (
    DEPLOYMENTS,
    WALL,
    Cameras,
    Deployment,
    Installation,
    simulated_cameras,
)
from e2e.house import House
from e2e.misbehaviour import Misbehaviour, misbehave
from vigie.simcam import ServerConfig

RECORDED_US = 9_000_000


@pytest.fixture(scope="session")
def deployment(pytestconfig: pytest.Config) -> Deployment:
    name = pytestconfig.getoption("--deployment")
    if name not in DEPLOYMENTS:
        raise pytest.UsageError(f"--deployment {name}: one of {', '.join(DEPLOYMENTS)}")
    return DEPLOYMENTS[name]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cameras(
    tmp_path_factory: pytest.TempPathFactory, footage_folder: Path
) -> AsyncIterator[Cameras]:
    folder = tmp_path_factory.mktemp("cameras")
    plain = ServerConfig(
        cameras=estate.simulated(), port_per_camera=True, cache_folder=footage_folder
    )
    tls = camera_certificate(folder)
    secure = ServerConfig(cameras=(estate.SECURE,), tls=tls, cache_folder=footage_folder)
    async with (
        simulated_cameras(plain, folder / "plain") as first,
        simulated_cameras(secure, folder / "secure") as second,
    ):
        yield Cameras(first, second, {**first.urls, **second.urls})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vigie(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, cameras: Cameras
) -> AsyncIterator[Installation]:
    """The product at work over the whole estate; shared by all tests that do not end it."""
    settings = {"ingest": {"verify_tls": "false"}}
    made = Installation(deployment, tmp_path_factory.mktemp("vigie"), estate.PEOPLE, settings)
    await made.start()
    try:
        await estate.register(made, cameras.urls, cameras.urls)
        yield made
    finally:
        await made.remove()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def begun_us(vigie: Installation) -> int:
    """An instant from which on the estate is complete and all healthy cameras are recorded."""
    asked_us = WALL.now_us()
    await stored_until(vigie, estate.EVERY_HEALTHY, asked_us, asked_us + 1)
    return await recorded_from(vigie, estate.EVERY_HEALTHY, asked_us)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def recorded(
    vigie: Installation, begun_us: int, misbehaving: asyncio.Task[Misbehaviour]
) -> tuple[int, int]:
    """A window (microseconds) in which every healthy camera is recorded and stored."""

    ends = await stored_until(vigie, estate.EVERY_HEALTHY, begun_us, begun_us + RECORDED_US)
    return begun_us, min(ends.values())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def misbehaving(
    vigie: Installation, cameras: Cameras, begun_us: int
) -> AsyncIterator[asyncio.Task[Misbehaviour]]:
    """Faults that happen while other tests run."""
    task = asyncio.create_task(misbehave(vigie, cameras, begun_us))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def misbehaved(misbehaving: asyncio.Task[Misbehaviour]) -> Misbehaviour:
    """Every fault of the simulator has happened, and all cameras are well again."""
    return await misbehaving


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of what the product said."""
    report = yield
    if report.failed:
        for given in getattr(item, "funcargs", {}).values():
            found = given.vigie if isinstance(given, House) else given
            if isinstance(found, Installation):
                report.sections.append(("log of the product", found.log_tail()))
    return report
