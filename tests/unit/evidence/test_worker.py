"""The worker waits for the store and the database: a decision is not undone by their absence."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.evidence.conftest import NOW_US, approved
from vigie.evidence.model import EvidenceRequest, PackageInfo, State
from vigie.evidence.reasons import (
    EVIDENCE_STATE_WRONG,
    EVIDENCE_ZONES_CHANGED,
    EVIDENCE_ZONES_UNKNOWN,
)
from vigie.evidence.repository import Step
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.watch import RequestWatch
from vigie.evidence.worker import EvidenceWorker, WorkerDependencies
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ListedObject
from vigie.platform.reasons import (
    DATABASE_UNAVAILABLE,
    OBJECT_HELD,
    OBJECT_RETAINED,
    STORE_CHECKSUM_MISMATCH,
    STORE_UNAVAILABLE,
)


class Shelf:
    """The repository, the recordings and the store of one request; each can be away."""

    def __init__(self) -> None:
        self.request = replace(approved(1, 2), state=State.APPROVED)
        self.steps: list[str] = []
        self.troubles: list[VigieError] = []
        self.store_away = self.database_away = False
        self.keeps: VigieError | None = None
        self.deleted: list[str] = []
        self.stored: list[str] = []
        self.leading = True
        self.checks = self.builds = self.lists = self.looks = self.asked = 0
        self.recording_says: grpc.StatusCode | None = None

    async def leads(self) -> bool:
        self.looks += 1
        return self.leading

    async def every(self, states: tuple[State, ...]) -> list[EvidenceRequest]:
        self.lists += 1
        if self.database_away:
            raise VigieError(DATABASE_UNAVAILABLE, "no connection")
        return [self.request] if self.request.state in states else []

    async def counts(self) -> dict[State, int]:
        return {}

    async def custody(self, _: str) -> Sequence[Any]:
        return []

    async def get(self, _: str) -> EvidenceRequest:
        return self.request

    async def advance(self, _: str, step: Step, *, leading: bool) -> None:
        assert leading
        if not self.leading:
            raise VigieError(EVIDENCE_STATE_WRONG, "another process makes the package")
        self.steps.append(step.action)
        assert step.state is not None
        self.request = replace(self.request, state=step.state)

    async def hold_applied(self, _: str) -> bool:
        self.asked += 1
        if self.recording_says is not None:
            raise grpc.aio.AioRpcError(
                self.recording_says, grpc.aio.Metadata(), grpc.aio.Metadata()
            )
        return True

    async def check(self) -> None:
        self.checks += 1
        if self.store_away:
            raise VigieError(STORE_UNAVAILABLE, "no connection")

    async def list_keys(self, prefix: str) -> AsyncIterator[ListedObject]:
        assert prefix == "evidence/"
        for key in self.stored:
            yield ListedObject(key, 1, 1)

    async def delete(self, key: str) -> bool:
        self.deleted.append(key)
        if self.keeps is not None:
            raise self.keeps
        return True

    async def build(self, *_: object) -> Any:
        self.builds += 1
        if self.recording_says is not None:
            raise grpc.aio.AioRpcError(
                self.recording_says, grpc.aio.Metadata(), grpc.aio.Metadata()
            )
        raise self.troubles.pop(0)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.shelf: Any = Shelf()
        self.clock = ManualMonotonicClock()
        self.worker = EvidenceWorker(
            WorkerDependencies(
                repository=self.shelf, recordings=self.shelf, builder=self.shelf,
                signer=None, store=self.shelf,  # type: ignore[arg-type] # nothing gets so far
                watch=RequestWatch(self.shelf), wall_clock=ManualWallClock(NOW_US),
                monotonic_clock=self.clock, config=EvidenceConfig(), work_directory=folder,
                metrics=MetricsRegistry(),
            )
        )  # fmt: skip

    async def until(self, wanted: Any) -> None:
        async with asyncio.timeout(30):
            while not wanted():
                await self.clock.advance(1)
                await asyncio.sleep(0.001)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "work")


async def test_a_package_waits_for_the_store_and_is_begun_again(rig: Rig) -> None:
    """And is given up only for a reason that waiting does not mend."""
    shelf = rig.shelf
    shelf.troubles = [
        VigieError(STORE_UNAVAILABLE, "no connection"),
        VigieError(STORE_CHECKSUM_MISMATCH, "altered"),
    ]
    shelf.store_away = True
    running = asyncio.create_task(rig.worker.run())
    await rig.until(lambda: shelf.checks >= 5)
    assert (shelf.builds, shelf.request.state) == (1, State.BUILDING)
    assert shelf.steps == ["HELD"], "an absence is not written into the custody again and again"
    shelf.store_away = False
    await rig.until(lambda: shelf.request.state is State.FAILED)
    assert shelf.steps == ["HELD", "HELD", "FAILED"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_absent_database_ends_neither_the_worker_nor_a_request(rig: Rig) -> None:
    shelf = rig.shelf
    shelf.database_away = True
    running = asyncio.create_task(rig.worker.run())
    await rig.until(lambda: shelf.lists >= 3)
    assert not running.done()
    shelf.troubles = [
        VigieError(DATABASE_UNAVAILABLE, "no connection"),
        VigieError(STORE_CHECKSUM_MISMATCH, "altered"),
    ]
    shelf.database_away = False
    await rig.until(lambda: shelf.builds == 1)
    assert shelf.request.state is State.BUILDING
    await rig.until(lambda: shelf.request.state is State.FAILED)
    assert shelf.builds == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_only_who_leads_makes_packages(rig: Rig) -> None:
    shelf = rig.shelf
    shelf.leading = False
    running = asyncio.create_task(rig.worker.run())
    await rig.until(lambda: shelf.looks >= 3)
    assert (shelf.lists, shelf.steps) == (0, [])
    shelf.troubles = [VigieError(STORE_CHECKSUM_MISMATCH, "altered")]
    shelf.leading = True
    await rig.until(lambda: shelf.request.state is State.FAILED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_package_is_left_to_who_took_the_turn_meanwhile(rig: Rig) -> None:
    shelf = rig.shelf

    async def build(*_: object) -> Any:
        shelf.builds += 1
        shelf.leading = False
        raise VigieError(STORE_CHECKSUM_MISMATCH, "altered")

    shelf.build = build
    running = asyncio.create_task(rig.worker.run())
    await rig.until(lambda: shelf.looks >= 3)
    assert (shelf.builds, shelf.steps, shelf.request.state) == (1, ["HELD"], State.BUILDING)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_hold_that_nobody_can_confirm_is_waited_for(rig: Rig) -> None:
    """Recording answers nobody while the log is away: that is no refusal, however long it lasts."""
    shelf = rig.shelf
    shelf.recording_says = grpc.StatusCode.UNAVAILABLE
    running = asyncio.create_task(rig.worker.run())
    patience = EvidenceConfig().hold_timeout_seconds
    begun_us = rig.clock.now_us()
    await rig.until(lambda: rig.clock.now_us() - begun_us > 3 * patience * 1_000_000)
    assert shelf.request.state is State.APPROVED
    shelf.recording_says = grpc.StatusCode.NOT_FOUND  # it answers, and never learns of the hold
    begun_us = rig.clock.now_us()
    await rig.until(lambda: shelf.request.state is State.FAILED)
    assert rig.clock.now_us() - begun_us >= patience * 1_000_000
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_package_is_not_given_up_while_recording_does_not_answer(rig: Rig) -> None:
    shelf = rig.shelf
    shelf.request = replace(shelf.request, state=State.APPROVED)
    running = asyncio.create_task(rig.worker.run())
    shelf.troubles = [VigieError(STORE_UNAVAILABLE, "no connection")]
    await rig.until(lambda: shelf.builds == 1)
    shelf.recording_says = grpc.StatusCode.UNAVAILABLE
    begun_us, patience = rig.clock.now_us(), EvidenceConfig().pending_timeout_seconds
    await rig.until(lambda: rig.clock.now_us() - begun_us > 2 * patience * 1_000_000)
    assert shelf.request.state is State.BUILDING
    shelf.troubles = [VigieError(STORE_CHECKSUM_MISMATCH, "altered")]
    shelf.recording_says = None
    await rig.until(lambda: shelf.request.state is State.FAILED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_package_waits_until_recording_says_where_cameras_stood(rig: Rig) -> None:
    shelf = rig.shelf
    shelf.troubles = [VigieError(EVIDENCE_ZONES_UNKNOWN, "recording answered UNIMPLEMENTED")] * 999
    running = asyncio.create_task(rig.worker.run())
    begun_us, patience = rig.clock.now_us(), EvidenceConfig().pending_timeout_seconds
    await rig.until(lambda: rig.clock.now_us() - begun_us > 2 * patience * 1_000_000)
    assert shelf.request.state is State.BUILDING
    shelf.troubles = [VigieError(EVIDENCE_ZONES_CHANGED, "cameras/cam-a")]
    await rig.until(lambda: shelf.request.state is State.FAILED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


PACKAGE = PackageInfo("evidence/p.zip", "p.zip", 1, "0" * 64, "1" * 64, NOW_US - 2, NOW_US)


async def test_a_package_goes_when_its_time_has_come(rig: Rig) -> None:
    shelf = rig.shelf
    later = replace(PACKAGE, expire_us=NOW_US + 1)
    shelf.request = replace(shelf.request, state=State.READY, package=later)
    await rig.worker.run_once()
    assert (shelf.deleted, shelf.steps) == ([], [])
    shelf.request = replace(shelf.request, package=PACKAGE)
    await rig.worker.run_once()
    assert (shelf.deleted, shelf.steps) == ([PACKAGE.object_key], ["EXPIRED"])
    assert shelf.request.state is State.EXPIRED


async def test_who_lost_the_turn_while_a_package_expired_works_on(rig: Rig) -> None:
    """The one that leads now tells of it; this worker's end would end its process."""
    shelf = rig.shelf
    shelf.request = replace(shelf.request, state=State.READY, package=PACKAGE)

    async def delete(key: str) -> bool:
        shelf.deleted.append(key)
        shelf.leading = False
        return True

    shelf.delete = delete
    running = asyncio.create_task(rig.worker.run())
    await rig.until(lambda: shelf.looks >= 3)
    assert (shelf.deleted, shelf.steps, running.done()) == ([PACKAGE.object_key], [], False)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("reason", [OBJECT_HELD, OBJECT_RETAINED])
async def test_a_package_that_the_store_keeps_ends_nobodys_work(
    rig: Rig, reason: ReasonSpec
) -> None:
    shelf = rig.shelf
    shelf.request = replace(shelf.request, state=State.READY, package=PACKAGE)
    shelf.keeps = VigieError(reason, "not yet")
    await rig.worker.run_once()
    await rig.worker.run_once()
    assert (len(shelf.deleted), shelf.steps) == (2, [])
    shelf.keeps = None
    await rig.worker.run_once()
    assert shelf.steps == ["EXPIRED"]
