"""More than the machine carries: seen in metrics first, then gaps with a cause, and no more."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e.harness import WALL, until
from faults.conftest import LONG
from faults.disks import FaultFile
from faults.endurance import KEY_INTERVAL_US, Broken, recording, simulator_of
from faults.ledger import Entry, Ledger
from vigie.simcam import CameraConfig, FootageSpec

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_FOOTAGE: Final = FootageSpec(width=640, height=360, frame_count=50, bitrate_bps=2_000_000)
CAMERAS: Final = tuple(CameraConfig(id=f"cam-load-{n}", footage=_FOOTAGE) for n in range(3))
NAMES: Final = tuple(camera.id for camera in CAMERAS)
QUEUE_BYTES: Final = 5 << 20
STARVED_SECONDS: Final = 4.0
BURSTS: Final = 10 if LONG else 1
AFTERWARDS_US: Final = 2_000_000
MEMORY_MARGIN_BYTES: Final = 96 << 20
"""What caches, threads and a busy allocator may take beside the queue."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultFile:
    return FaultFile(tmp_path_factory.mktemp("load-faults") / "faults")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def overloaded(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path, faults: FaultFile
) -> AsyncIterator[Broken]:
    """Three cameras of 2 Mbit/s, one thread that writes, a queue of seven seconds of them."""
    folder = tmp_path_factory.mktemp("load")
    settings = {
        "debug": {"fault_points": "true", "fault_file": f'"{faults.path}"'},
        "ingest": {"writer_threads": "1", "write_queue_bytes": str(QUEUE_BYTES)},
    }
    async with (
        simulator_of(CAMERAS, folder / "cameras", simulated_footage) as simulator,
        recording(simulator, folder / "vigie", NAMES, settings) as broken,
    ):
        yield broken


def memory_bytes(process_id: int) -> int:
    """Memory a process holds."""
    fields = Path(f"/proc/{process_id}/statm").read_text("ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_disk_slower_than_the_footage_is_a_gap_and_bounded_memory(
    overloaded: Broken, faults: FaultFile, ledger: Ledger
) -> None:
    [process_id] = overloaded.vigie.process_ids()
    start_us = WALL.now_us() - 2 * KEY_INTERVAL_US
    before_bytes = memory_bytes(process_id)
    greatest = {"queue": 0.0, "memory": 0.0}

    async def measured() -> tuple[float, float]:
        queued = await overloaded.metric("vigie_ingest_write_queue_bytes")
        greatest["queue"] = max(greatest["queue"], queued)
        greatest["memory"] = max(greatest["memory"], memory_bytes(process_id) - before_bytes)
        return queued, await overloaded.metric("vigie_ingest_groups_refused_total")

    async def warned() -> bool:
        queued, _ = await measured()
        return queued > QUEUE_BYTES / 2

    async def refused() -> bool:
        _, count = await measured()
        return count >= len(CAMERAS)

    with faults.on(("ingest.fragment.write",), "delay=2"):
        await until(warned, "the queue of the writers fills", seconds=60)
        warned_at = time.monotonic()
        await until(refused, "footage is refused", seconds=60)
        notice_seconds = time.monotonic() - warned_at
    mended_us = WALL.now_us()
    end_us = await overloaded.stored_to(mended_us + AFTERWARDS_US)
    recovery_seconds = (WALL.now_us() - mended_us) / 1e6
    accounts = await overloaded.account(max(start_us, overloaded.begun_us), end_us)
    assert {cause for each in accounts.values() for cause in each.causes} == {"STORE_REFUSED"}
    assert greatest["queue"] <= QUEUE_BYTES
    assert greatest["memory"] <= QUEUE_BYTES + MEMORY_MARGIN_BYTES
    assert not await overloaded.not_ready()
    ledger.note(
        Entry(
            "load",
            "the disk of the spool is slower than the footage",
            "the queue shows it first and never exceeds `ingest.write_queue_bytes`; then gaps"
            " STORE_REFUSED; the rest is intact frame by frame",
            seen=f"warned {notice_seconds:.1f} s before; queue at most"
            f" {greatest['queue'] / 1e6:.1f} MB, memory grew by at most"
            f" {greatest['memory'] / 1e6:.0f} MB;"
            f" {sum(each.frames for each in accounts.values())} frames proved",
            missing_seconds=max(each.missing_seconds for each in accounts.values()),
            recovery_seconds=recovery_seconds,
        )
    )


async def test_a_starved_machine_says_so_and_loses_nothing_its_buffers_hold(
    overloaded: Broken, ledger: Ledger
) -> None:
    """No processor for seconds at a time, as on a machine with too many cameras."""
    [process_id] = overloaded.vigie.process_ids()
    await overloaded.stored_to(WALL.now_us())
    start_us = WALL.now_us() - 2 * KEY_INTERVAL_US
    for _ in range(BURSTS):
        os.kill(process_id, signal.SIGSTOP)
        try:
            await asyncio.sleep(STARVED_SECONDS)
        finally:
            os.kill(process_id, signal.SIGCONT)
        await overloaded.stored_to(WALL.now_us())

    async def late() -> float:
        seconds = await overloaded.metric("vigie_ingest_tick_lag_seconds")
        return seconds if seconds >= STARVED_SECONDS - 1 else 0

    lag_seconds = await until(late, "the metric shows how late the reader was")
    mended_us = WALL.now_us()
    end_us = await overloaded.stored_to(mended_us + AFTERWARDS_US)
    accounts = await overloaded.account(start_us, end_us)
    assert all(not each.gaps for each in accounts.values()), accounts
    ledger.note(
        Entry(
            "load",
            f"the process gets no processor for {STARVED_SECONDS:.0f} s",
            "`vigie_ingest_tick_lag_seconds` says so; what the kernel's buffers hold is recorded,"
            " each frame with its true time",
            seen=f"lag {lag_seconds:.1f} s; {sum(each.frames for each in accounts.values())} frames"
            f" of {len(CAMERAS)} cameras proved",
            missing_seconds=0.0,
            recovery_seconds=(WALL.now_us() - mended_us) / 1e6,
        )
    )


async def test_the_checker_finds_nothing_after_the_overload(overloaded: Broken) -> None:
    codes = await overloaded.vigie.stop(seconds=120)
    assert set(codes.values()) == {0}, overloaded.vigie.log_tail()
    outcome = await overloaded.vigie.fsck(seconds=180)
    assert outcome.code == 0, outcome
