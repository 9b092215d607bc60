"""What is wrong with one run costs the others nothing: they would fill the spool behind it."""

import asyncio
import random
from pathlib import Path
from typing import cast

import pytest

from ingest_support import Installation, eventually, footage, frames_of
from vigie.ingest.backoff import Backoff
from vigie.ingest.spool.layout import RunDirectory, SpoolLayout
from vigie.ingest.spool.records import SpoolRecordError
from vigie.ingest.upload.queue import Backlog
from vigie.ingest.upload.steps import EndUpload, SegmentUpload
from vigie.ingest.upload.uploader import Uploader, UploadSteps
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import FileState, ObjectStore, PutResult
from vigie.platform.reasons import OBJECT_EXISTS, STORE_CHECKSUM_MISMATCH, STORE_UNAVAILABLE

FILM = footage()
GROUPS = 4


class Store:
    """The directory store, refusing everything, or what is below one run's keys."""

    def __init__(self, reason: ReasonSpec = STORE_UNAVAILABLE) -> None:
        self.inner: ObjectStore | None = None
        self.refused = ""
        self.reason = reason
        self.refusals = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def put_file(self, key: str, path: Path, **rest: object) -> PutResult:
        self._look(key)
        assert self.inner is not None
        return await self.inner.put_file(key, path, **rest)  # type: ignore[arg-type]  # passed on

    async def put_bytes(self, key: str, content: bytes, **rest: object) -> PutResult:
        self._look(key)
        assert self.inner is not None
        return await self.inner.put_bytes(key, content, **rest)  # type: ignore[arg-type]  # passed on

    def _look(self, key: str) -> None:
        if self.refused in key:
            self.refusals += 1
            raise VigieError(self.reason, "refused by a test")


NOTHING = "no key has this"


async def opened(root: Path, store: Store) -> Installation:
    installation = await Installation(root).open(store=cast("ObjectStore", store))
    store.inner = installation.directory_store
    return installation


async def record_runs(installation: Installation, count: int) -> list[str]:
    intake = installation.intake()
    for number in range(count):
        for index in range(GROUPS * number, GROUPS * (number + 1)):
            intake.group(FILM.parameters, FILM.group(index, last=index % GROUPS == GROUPS - 1))
        intake.ended("CLOSED_BY_CAMERA", "", 0)
    await installation.path.drain_writers(10)
    return [run.run for run in installation.told.runs]


async def test_an_altered_end_is_written_anew_and_holds_up_nobody(tmp_path: Path) -> None:
    store = Store()
    installation = await opened(tmp_path, store)
    first, second = await record_runs(installation, 2)
    [victim] = (tmp_path / "spool" / "runs").glob(f"*/{first}/end.json")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    told = {end.run: end for end in installation.told.ends}

    store.refused = NOTHING
    assert await installation.path.uploader.drain(10)
    events = await installation.events()
    assert [event.run_ended.run for event in events if event.HasField("run_ended")] == [second]
    assert {segment.run for segment in await installation.stored()} == {first, second}
    assert any((tmp_path / "spool" / "quarantine").glob("*end.json"))

    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(10)
    ends = {
        event.run_ended.run: event.run_ended
        for event in await installation.events()
        if event.HasField("run_ended")
    }
    assert set(ends) == {first, second}
    assert ends[first].end_us == told[first].end_us
    assert ends[first].object_key == told[first].object_key
    assert ends[first].segment_count == told[first].segment_count
    assert installation.spool_files() == []
    await installation.close()


@pytest.mark.parametrize("reason", [STORE_CHECKSUM_MISMATCH, OBJECT_EXISTS])
async def test_an_object_that_is_not_what_it_was_holds_up_its_own_run_only(
    tmp_path: Path, reason: ReasonSpec
) -> None:
    """The file in the spool is good: it waits until somebody has set the object aside."""
    store = Store()
    installation = await opened(tmp_path, store)
    first, second = await record_runs(installation, 2)
    # The object of a segment is damaged; under the end of a run lies something else.
    store.reason, store.refused = (
        (reason, first) if reason is STORE_CHECKSUM_MISMATCH else (reason, f"{first}/14/13-24")
    )

    await eventually(lambda: not any(second in name for name in installation.spool_files()))
    before = store.refusals
    await eventually(lambda: store.refusals > before + 2)  # it is tried again
    assert any(first in name for name in installation.spool_files())
    assert not list((tmp_path / "spool" / "quarantine").iterdir())

    store.refused = NOTHING
    assert await installation.path.uploader.drain(10)
    frames: list[bytes] = []
    for segment in sorted(await installation.stored(), key=lambda each: each.start_us):
        frames += frames_of(await installation.content(segment.object_key))
    assert frames == FILM.frames(range(2 * GROUPS))
    assert installation.spool_files() == []
    await installation.close()


class Steps:
    """Stores everything but the segments of some runs."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.broken: set[str] = set()
        self.done: list[tuple[str, int]] = []
        self.failed = 0

    async def perform(
        self, directory: RunDirectory, number: int, written: FileState | None = None
    ) -> bool:
        if directory.run in self.broken:
            self.failed += 1
            raise self.error
        self.done.append((directory.run, number))
        return True


async def settled() -> None:
    """All that the loop can do without a clock that moves is done."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("error", "passed_over"),
    [
        (SpoolRecordError("altered"), True),
        (VigieError(STORE_CHECKSUM_MISMATCH, "damaged"), True),
        (OSError(5, "Input/output error"), True),
        (RuntimeError("an error of ours"), True),
        (VigieError(STORE_UNAVAILABLE, "away"), False),
        (FileNotFoundError(2, "the spool is not mounted"), False),
    ],
)
async def test_only_faults_of_a_run_itself_let_others_pass_and_nobody_waits_for_them(
    tmp_path: Path, error: Exception, *, passed_over: bool
) -> None:
    layout, clock, steps = SpoolLayout(tmp_path), ManualMonotonicClock(), Steps(error)
    uploader = Uploader(
        UploadSteps(cast("SegmentUpload", steps), cast("EndUpload", steps)),
        concurrency=1,
        backoff=Backoff(20.0, 20.0),
        monotonic_clock=clock,
        source=random.Random(1),
        registry=MetricsRegistry(),
    )
    bad, good = layout.run("cam-a", "a" * 32), layout.run("cam-a", "b" * 32)
    steps.broken.add(bad.run)
    uploader.segment_found(bad, 0)
    await settled()
    assert steps.failed == 1

    uploader.segment_found(good, 0)
    uploader.segment_found(good, 1)
    await settled()
    assert steps.done == ([(good.run, 0), (good.run, 1)] if passed_over else [])
    assert steps.failed == 1

    steps.broken.clear()
    await clock.advance(20.0)
    await settled()
    assert sorted(steps.done) == [(bad.run, 0), (good.run, 0), (good.run, 1)]
    await uploader.stop()


def test_the_oldest_run_goes_first_unless_it_waits() -> None:
    layout, backlog = SpoolLayout(Path("/nowhere")), Backlog()
    runs = [layout.run("cam-a", digit * 32) for digit in "abc"]
    for run in runs:
        backlog.add_segment(run, 0)
    backlog.run(runs[0]).retry_us = 300
    assert backlog.next("cam-a", 200) is backlog.run(runs[1])
    assert backlog.next("cam-a", 300) is backlog.run(runs[0])
    for run in runs:
        backlog.run(run).retry_us = 500
    backlog.run(runs[2]).retry_us = 400
    assert backlog.next("cam-a", 200) is backlog.run(runs[2])
    assert backlog.next("cam-b", 200) is None
