"""What was stored and never released does not stay: through worker, store and database."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from unit.evidence.conftest import ASKER, DECIDER, NOW_US, FakeRecordings, approved
from unit.media.recorded import START_US
from vigie.evidence.builder import PackageBuilder
from vigie.evidence.leftovers import package_key
from vigie.evidence.model import PackageInfo, State
from vigie.evidence.repository import EvidenceRepository, Step
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.signer import Signer
from vigie.evidence.watch import RequestWatch
from vigie.evidence.worker import EvidenceWorker, WorkerDependencies
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.directory import DirectoryObjectStore

NAME = "a" * 32
KEY = package_key(NAME)
CANCELLED = Step("CANCELLED", ASKER, "", {}, State.CANCELLED)


class Interrupted:
    """A store; something happens as soon as a package stands in it."""

    def __init__(self, inner: DirectoryObjectStore) -> None:
        self._inner = inner
        self.then: Callable[[], Any] | None = None
        self.stored = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def put_file(self, *arguments: Any, **more: Any) -> object:
        result = await self._inner.put_file(*arguments, **more)
        self.stored += 1
        if self.then is not None:
            await self.then()
        return result


@dataclass
class Shop:
    repository: EvidenceRepository
    store: Interrupted
    make_worker: Callable[[], EvidenceWorker]
    clock: ManualMonotonicClock

    async def packages(self) -> list[str]:
        keys: AsyncIterator[Any] = self.store.list_keys("evidence/")  # type: ignore[operator]
        return [listed.key async for listed in keys]

    async def state(self, name: str = NAME) -> State:
        found = await self.repository.get(name)
        assert found is not None
        return found.state

    async def put(self, name: str) -> None:
        content = name.encode()
        await self.store.put_bytes(  # type: ignore[operator]
            package_key(name), content, sha256=hashlib.sha256(content).hexdigest(),
            content_type="application/zip", metadata={},
        )  # fmt: skip

    async def actions(self, name: str = NAME) -> list[str]:
        return [step.action for step in await self.repository.custody(name)]


@pytest.fixture
async def shop(  # noqa: PLR0917 - pytest passes fixtures by name
    tmp_path: Path,
    builder: PackageBuilder,
    store: DirectoryObjectStore,
    recordings: FakeRecordings,
    signer: Signer,
    repository: EvidenceRepository,
) -> Shop:
    clock = ManualWallClock(NOW_US)
    interrupted, monotonic = Interrupted(store), ManualMonotonicClock()

    def worker() -> EvidenceWorker:
        return EvidenceWorker(
            WorkerDependencies(
                repository=repository, recordings=recordings, builder=builder, signer=signer,
                store=interrupted,  # type: ignore[arg-type] # by __getattr__
                watch=RequestWatch(repository), wall_clock=clock, monotonic_clock=monotonic,
                config=EvidenceConfig(), work_directory=tmp_path / "work",
                metrics=MetricsRegistry(),
            )
        )  # fmt: skip

    shop = Shop(repository, interrupted, worker, monotonic)
    asked = replace(approved(START_US, START_US + 2_000_000), state=State.REQUESTED, decider=None)
    await repository.create(asked, client_request_id="", client_request_digest="")
    changes = {"decider": DECIDER, "decision_us": NOW_US, "decision_reason": "seen"}
    await repository.advance(NAME, Step("APPROVED", DECIDER, "", changes, State.APPROVED))
    return shop


async def test_a_package_that_is_released_stays(shop: Shop) -> None:
    worker = shop.make_worker()
    for _ in range(3):
        await worker.run_once()
        await shop.clock.advance(61)
    assert (await shop.state(), await shop.packages()) == (State.READY, [KEY])


async def test_a_package_whose_request_is_withdrawn_while_it_is_stored_goes(shop: Shop) -> None:
    shop.store.then = lambda: shop.repository.advance(NAME, CANCELLED)
    await shop.make_worker().run_once()
    assert shop.store.stored == 1
    assert (await shop.state(), await shop.packages()) == (State.CANCELLED, [])
    assert (await shop.actions())[-2:] == ["CANCELLED", "LEFTOVER_DESTROYED"]


async def test_a_package_that_a_dead_process_left_goes_once_its_request_is_over(
    shop: Shop,
) -> None:
    """While the request stands, the package is begun again; withdrawn, it is destroyed."""

    async def die() -> None:
        raise KeyboardInterrupt

    shop.store.then = die
    with pytest.raises(KeyboardInterrupt):
        await shop.make_worker().run_once()
    assert (await shop.state(), await shop.packages()) == (State.VERIFYING, [KEY])
    await shop.repository.advance(NAME, CANCELLED)
    await shop.make_worker().run_once()
    assert await shop.packages() == []


async def test_what_comes_late_is_found_within_a_minute(shop: Shop) -> None:
    """Stored by a process that led before and did not know it."""
    worker = shop.make_worker()
    await shop.repository.advance(NAME, CANCELLED)
    await worker.run_once()
    await shop.put(NAME)
    await shop.clock.advance(59)
    await worker.run_once()
    assert await shop.packages() == [KEY], "the store is not listed at every pass"
    await shop.clock.advance(1)
    await worker.run_once()
    assert await shop.packages() == []


async def test_only_what_is_over_is_destroyed(shop: Shop) -> None:
    """Not what is owed or released, and not what nobody knows: it may be the only trace."""
    unknown, ready, failed = "f" * 32, "b" * 32, "c" * 32
    package = PackageInfo(package_key(ready), "p.zip", 1, "0" * 64, "1" * 64, NOW_US, NOW_US + 9)
    for name, changes in (
        (ready, {"state": State.READY, "package": package}),
        (failed, {"state": State.FAILED}),
    ):
        made = replace(approved(1, 2), request=name, **changes)  # type: ignore[arg-type]
        await shop.repository.create(made, client_request_id="", client_request_digest="")
    for name in (unknown, ready, failed):
        await shop.put(name)
    await shop.repository.advance(NAME, CANCELLED)
    await shop.make_worker().run_once()
    assert await shop.packages() == [package_key(ready), package_key(unknown)]
