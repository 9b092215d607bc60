"""What comes while a round of retention runs: holds, other processes, time that passes."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recording_footage import RecordedRun, record_run
from recording_rig import Rig, recording_rig
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.faultpoint import StrikingFaults
from vigie.platform.objectstore import ObjectStore
from vigie.recording.config import RecordingConfig
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.index import holdings
from vigie.recording.requests import timestamp
from vigie.recording.retention.sweeper import FAULT_POINTS, RetentionSweeper, SweepReport
from vigie.recording.timeline.intervals import Interval

DUE = T0 + 40 * DAY
HOLD = HoldState(
    hold="h9", cameras=["cam-b"], start_us=T0, end_us=T0 + 6 * SECOND,
    place_time=timestamp(T0 + DAY), legal_reference="REQ 12", placed_by="somebody",
)  # fmt: skip


async def estate(rig: Rig) -> tuple[RecordedRun, RecordedRun]:
    """Three segments of each of two cameras, all due."""
    runs = record_run("cam-a", RUN_A, T0), record_run("cam-b", RUN_B, T0)
    for run in runs:
        await rig.camera(run.camera, T0 - DAY)
        await rig.run(run)
    await rig.settle()
    rig.wall.set(DUE)
    return runs


class CrashError(Exception):
    """A process ends."""


class Beside:
    """A store beside which something happens at the first deletion."""

    def __init__(self, store: ObjectStore, happens: Any) -> None:
        self._store, self._happens = store, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def delete(self, key: str) -> None:
        if self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        await self._store.delete(key)


def sweeper(rig: Rig, happens: Any) -> RetentionSweeper:
    parts: Any = rig.module.sweeper._parts
    return RetentionSweeper(replace(parts, store=Beside(rig.store, happens)), ahead_us=0)


async def listed(rig: Rig, run: RecordedRun) -> list[str]:
    entries = rig.module.timelines.entries(run.camera, Interval(T0, T0 + 6 * SECOND))
    return [e.cause.name if e.cause else e.kind.name async for e in entries]


async def present(rig: Rig, run: RecordedRun) -> list[bool]:
    return [await rig.store.stat(segment.key) is not None for segment in run.segments]


async def test_a_hold_that_is_told_during_a_round_counts_at_once(tmp_path: Path) -> None:
    """Its event is not taken in: the consumer is behind, or it stands in quarantine."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        first, held = await estate(rig)
        consumer = rig.module.consumers["recording-holds"]
        await consumer.stop(timeout_seconds=5)
        report = await sweeper(rig, lambda: rig.tell("holds", "h9", HOLD)).sweep()
        assert report.ended_early
        assert report.failures == {"HOLDS_NOT_INDEXED": 1}
        assert await present(rig, first) == [False] * 3, "was under way"
        assert await present(rig, held) == [True] * 3

        consumer.start()
        await rig.settle()
        await rig.module.keeper.work()
        assert (await rig.module.sweeper.sweep()).failures == {}
        assert await present(rig, held) == [True] * 3


async def test_what_is_held_since_its_destruction_was_recorded_is_listed_again(
    tmp_path: Path,
) -> None:
    """An interrupted round left it recorded and there; the hold came before the next."""

    def crash() -> None:
        raise CrashError

    faults = StrikingFaults("retention.recorded", crash, known=FAULT_POINTS)
    async with recording_rig(tmp_path, T0 + 60 * SECOND, faults=faults) as rig:
        held, _ = await estate(rig)

        with pytest.raises(CrashError):
            await rig.module.sweeper.sweep()
        assert await listed(rig, held) == ["DESTROYED"]
        hold = HoldState()
        hold.CopyFrom(HOLD)
        hold.cameras[:] = [held.camera]
        await rig.tell("holds", "h9", hold)
        await rig.settle()
        report = await rig.module.sweeper.sweep()
        assert (report.objects, report.failures) == (3, {"OBJECT_HELD": 3}), "those of cam-b"
        assert await present(rig, held) == [True] * 3
        assert await listed(rig, held) == ["SPAN"]


async def test_a_hold_that_is_placed_too_late_is_taken_off_again(tmp_path: Path) -> None:
    """Two processes keep holds, and one stands still between reading and placing."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        _, run = await estate(rig)
        standing, go_on = asyncio.Event(), asyncio.Event()

        class Slow(Beside):
            async def place_hold(self, key: str, hold: str) -> None:
                standing.set()
                await go_on.wait()
                await self._store.place_hold(key, hold)

        other: Any = Slow(rig.store, None)
        metrics: Any = rig.module._metrics
        keeper = HoldKeeper(rig.database, other, rig.wall, rig.monotonic, metrics)
        await rig.module.keeper.stop()
        await rig.tell("holds", "h9", HOLD)
        await rig.settle()
        slow = asyncio.create_task(keeper.work())
        await standing.wait()
        await rig.module.keeper.work()
        released = HoldState()
        released.CopyFrom(HOLD)
        released.release_time.CopyFrom(timestamp(rig.wall.now_us()))
        await rig.tell("holds", "h9", released)
        await rig.settle()
        await rig.module.keeper.work()
        go_on.set()
        await slow
        await keeper.work()
        for segment in run.segments:
            info = await rig.store.stat(segment.key)
            assert info is not None
            assert info.holds == frozenset()
        assert (await rig.module.sweeper.sweep()).objects == 6


async def test_a_hold_that_nobody_told_the_keeper_of_is_found(tmp_path: Path) -> None:
    """Another process took it in and is gone, or the answer to its commit was lost."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        _, run = await estate(rig)
        async with rig.database.transaction() as connection:
            await holdings.put_hold(connection, HOLD)

        async def placed() -> bool:
            infos = [await rig.store.stat(segment.key) for segment in run.segments]
            return all(info is not None and info.holds == {"h9"} for info in infos)

        async with asyncio.timeout(20):
            while not await placed():
                await rig.monotonic.advance(10)
                await asyncio.sleep(0.01)


async def test_rounds_begin_as_often_as_they_must_however_long_one_lasts(tmp_path: Path) -> None:
    config = RecordingConfig(retention_enabled=False, retention_interval_seconds=100)
    async with recording_rig(tmp_path, T0, config=config) as rig:
        began: list[float] = []

        async def sweep() -> SweepReport:
            began.append(rig.monotonic.now_us() / 1e6)
            await rig.monotonic.sleep(24)
            return SweepReport(0)

        module: Any = rig.module
        module.sweeper.sweep = sweep
        rounds = asyncio.create_task(module._retain())
        while not began:
            await asyncio.sleep(0)
        for _ in range(230):
            await rig.monotonic.advance(1)
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)
        assert [round(at - began[0]) for at in began] == [0, 90, 180]


async def test_time_goes_on_during_a_round(tmp_path: Path) -> None:
    """What expires while other cameras are looked at is destroyed in the same round."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        _, later = await estate(rig)
        rig.wall.set(T0 + 31 * DAY - 3600 * SECOND)  # of cam-a one segment is due, of cam-b one

        async def passes() -> None:
            rig.wall.advance(6)

        report = await sweeper(rig, passes).sweep()
        assert await present(rig, later) == [False] * 3
        assert report.objects == 4
