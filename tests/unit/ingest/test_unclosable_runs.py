"""A run that cannot be closed costs no other camera anything, now or at the next start."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest_support import (
    START_US,
    Installation,
    Told,
    camera_recorder,
    footage,
    frames_of,
    recorder_tools,
)
from vigie.ingest.engine import TIMESCALE
from vigie.ingest.metrics import QUARANTINED
from vigie.ingest.recorder.camera import CameraRecorder
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.spool.repair import RunRepair, RunState
from vigie.ingest.writepath import REPAIR_ATTEMPTS
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.metrics import MetricsRegistry

FILM = footage()
GROUPS = 5
"""With segments of 3 s: one closed, one open."""


class Repair:
    """What repair does, failing for one camera as often as a test wants."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, step: str, error: Callable[[], Exception]
    ) -> None:
        self.failures = 10**9
        self.tried = 0
        self._error = error
        self._work: Any = getattr(RunRepair, step)

        def do(repair: RunRepair, directory: RunDirectory, *rest: Any) -> RunState | None:
            return self._do(repair, directory, *rest)

        monkeypatch.setattr(RunRepair, step, do)

    def _do(self, repair: RunRepair, directory: RunDirectory, *rest: Any) -> RunState | None:
        if directory.camera == "cam-bad":
            self.tried += 1
            if self.tried <= self.failures:
                raise self._error()
        state: RunState | None = self._work(repair, directory, *rest)
        return state


async def opened(root: Path) -> Installation:
    """Without maintenance: the test does it."""
    installation = await Installation(root).open()
    assert installation.path._maintenance is not None
    installation.path._maintenance.cancel()
    return installation


def overflow() -> Exception:
    return OverflowError("int too large to convert")


async def crashed(root: Path) -> None:
    """Two cameras, each with a segment that is closed and one that is not."""
    installation = await opened(root)
    await installation.path.uploader.stop()  # nothing is uploaded yet
    for camera in ("cam-bad", "cam-good"):
        intake = installation.intake(camera)
        for index in range(GROUPS):
            intake.group(FILM.parameters, FILM.group(index))
    await installation.path.drain_writers(10)
    await installation.crash()


async def stored_of(installation: Installation, camera: str) -> list[bytes]:
    stored = sorted(await installation.stored(), key=lambda each: each.start_us)
    frames: list[bytes] = []
    for each in stored:
        if f"/{camera}/" in each.object_key:
            frames += frames_of(await installation.content(each.object_key))
    return frames


def quarantined(installation: Installation) -> dict[str, bytes]:
    folder = installation.tools.layout.quarantine
    return {
        path.suffix: path.read_bytes() for path in folder.iterdir() if path.name.startswith("cam-")
    }


@pytest.mark.parametrize("error", [overflow, lambda: KeyError("of ours")])
async def test_a_start_is_not_stopped_and_the_segment_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    await crashed(tmp_path)
    repair = Repair(monkeypatch, "_close_segment", error)

    installation = await opened(tmp_path)
    (directory,) = (
        run for run in installation.tools.layout.run_directories() if run.camera == "cam-bad"
    )
    media = directory.media(1).read_bytes()
    assert await installation.path.uploader.drain(10)
    assert await stored_of(installation, "cam-good") == FILM.frames(range(GROUPS))

    for _ in range(REPAIR_ATTEMPTS):
        await installation.path.repair_damaged()

    assert repair.tried == REPAIR_ATTEMPTS
    assert await installation.path.uploader.drain(10)
    assert await stored_of(installation, "cam-bad") == FILM.frames(range(3)), "what was closed"
    kept = quarantined(installation)
    assert kept[".m4v"] == media
    assert set(kept) == {".m4v", ".sums", ".why"}
    assert type(error()).__name__ in kept[".why"].decode()
    assert installation.registry.value(QUARANTINED.name, reason="SEGMENT_UNCLOSABLE") == 1
    assert installation.spool_files() == []
    assert installation.tools.quota.used_bytes == 0
    assert installation.path._attempts == {}
    await installation.close()

    again = await opened(tmp_path)
    assert again.path.uploader.backlog.damaged() == []
    assert quarantined(again) == kept
    await again.close()


async def test_a_run_that_cannot_be_closed_at_all_is_put_away_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crashed(tmp_path)
    Repair(monkeypatch, "close", overflow)
    installation = await opened(tmp_path)
    for _ in range(2 * REPAIR_ATTEMPTS):
        await installation.path.repair_damaged()
    assert installation.registry.value(QUARANTINED.name, reason="RUN_UNCLOSABLE") == 1
    assert await installation.path.uploader.drain(10)
    assert installation.tools.quota.used_bytes == 0
    assert await stored_of(installation, "cam-good") == FILM.frames(range(GROUPS))
    await installation.close()


async def test_a_run_that_is_closed_the_next_time_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crashed(tmp_path)
    repair = Repair(monkeypatch, "_close_segment", overflow)
    repair.failures = REPAIR_ATTEMPTS - 1
    installation = await opened(tmp_path)
    for _ in range(REPAIR_ATTEMPTS):
        await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(10)
    assert await stored_of(installation, "cam-bad") == FILM.frames(range(GROUPS))
    assert quarantined(installation) == {}
    assert installation.path._attempts == {}
    await installation.close()


@pytest.mark.parametrize("error", [MemoryError, lambda: OSError(5, "Input/output error")])
async def test_what_the_machine_refuses_is_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    await crashed(tmp_path)
    Repair(monkeypatch, "_close_segment", error)
    installation = await opened(tmp_path)
    for _ in range(3 * REPAIR_ATTEMPTS):
        await installation.path.repair_damaged()
    assert quarantined(installation) == {}
    assert len(installation.path.uploader.backlog.damaged()) == 1
    await installation.close()


async def test_a_quarantine_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crashed(tmp_path)
    Repair(monkeypatch, "_close_segment", overflow)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunRepair, "quarantine", refuse)
        (tmp_path / "spool" / "runs" / "stranger").write_bytes(b"")
        installation = await opened(tmp_path)
        for _ in range(3 * REPAIR_ATTEMPTS):
            await installation.path.repair_damaged()
    assert len(installation.path.uploader.backlog.damaged()) == 1
    await installation.path.repair_damaged()
    assert ".m4v" in quarantined(installation)
    await installation.close()


async def test_the_maintenance_goes_on_whatever_happens_in_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crashed(tmp_path)

    def broken(*_: object) -> int:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(RunRepair, "sweep_quarantine", broken)
    repair = Repair(monkeypatch, "_close_segment", overflow)
    rounds = asyncio.Semaphore(0)
    goes_on = asyncio.Event()

    class Clock:
        def now_us(self) -> int:
            return 0

        async def sleep(self, seconds: float) -> None:
            rounds.release()
            if repair.tried <= REPAIR_ATTEMPTS:
                await asyncio.sleep(0)
            else:
                await goes_on.wait()

    installation = await opened(tmp_path)
    monkeypatch.setattr(installation.path, "_clock", Clock())
    task = asyncio.create_task(installation.path._maintain())
    for _ in range(REPAIR_ATTEMPTS):
        await asyncio.wait_for(rounds.acquire(), 30)
    assert not task.done()
    assert ".m4v" in quarantined(installation)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.undo()
    await installation.close()


def test_a_run_with_times_before_its_beginning_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older programs have left such runs."""
    monkeypatch.setattr(CameraRecorder, "_follows", lambda *_: True)
    tools, told = recorder_tools(tmp_path), Told()
    recorder = camera_recorder(tools, told, segment_seconds=30)
    recorder.group(FILM.parameters, FILM.group(0, start_ticks=1000 * TIMESCALE))
    recorder.group(FILM.parameters, FILM.group(1, start_us=START_US + 1))
    assert recorder._run is not None
    recorder._run.abandon()
    directory = tools.layout.run("cam-test-01", told.runs[0].run)
    repair = RunRepair(
        tools.layout,
        boot="boot-1",
        faults=NO_FAULTS,
        quarantined=MetricsRegistry().counter(QUARANTINED),
    )
    state = repair.close(directory, "RECOVERED")
    assert state.waiting == [0]
    assert frames_of(directory.media(0).read_bytes()) == FILM.frames(range(2))
