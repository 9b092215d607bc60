"""What the process says of itself moves with what it holds."""

import asyncio
import socket
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from ingest_support import eventually
from vigie.platform.metrics import MetricsRegistry, naming_faults
from vigie.platform.process.metrics import METRICS
from vigie.platform.process.watch import watch_process


def test_names_are_regular() -> None:
    assert naming_faults(METRICS) == []


async def test_tasks_threads_and_files_are_counted() -> None:
    metrics = MetricsRegistry(CollectorRegistry())
    watch_process(metrics)
    names = ("vigie_platform_tasks", "vigie_platform_threads", "vigie_platform_open_files")
    before = [metrics.value(name) for name in names]

    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    task = asyncio.create_task(asyncio.Event().wait())
    left, right = socket.socketpair()
    during = [metrics.value(name) for name in names]
    left.close()
    right.close()
    release.set()
    thread.join()
    # join() returns when Python is done with the thread; the kernel lists it a moment longer.
    await eventually(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [now - then for now, then in zip(during, before, strict=True)] == [1, 1, 2]
    assert [metrics.value(name) for name in names] == before


def test_memory_and_time_are_told_and_no_loop_has_no_tasks() -> None:
    metrics = MetricsRegistry(CollectorRegistry())
    watch_process(metrics)
    assert metrics.value("vigie_platform_resident_bytes") > 1 << 20
    assert metrics.value("vigie_platform_cpu_seconds") > 0
    assert metrics.value("vigie_platform_tasks") == 0
