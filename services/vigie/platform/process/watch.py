"""Reads the figures of the process when somebody asks for them; costs nothing in between."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from vigie.platform.metrics import MetricsRegistry
from vigie.platform.process import metrics

_SELF: Final = Path("/proc/self")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def watch_process(registry: MetricsRegistry) -> None:
    """Have the metrics of this process read whenever ``registry`` is.

    The registry must be read in the event loop whose tasks are counted; elsewhere they are 0.
    """
    registry.gauge(metrics.TASKS).set_function(_tasks)
    registry.gauge(metrics.THREADS).set_function(lambda: _entries("task"))
    registry.gauge(metrics.FILES).set_function(lambda: _entries("fd"))
    registry.gauge(metrics.MEMORY).set_function(_resident_bytes)
    registry.gauge(metrics.CPU).set_function(time.process_time)


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs here
        return 0


def _entries(folder: str) -> float:
    with os.scandir(_SELF / folder) as entries:
        return sum(1 for _ in entries)


def _resident_bytes() -> float:
    return int((_SELF / "statm").read_text("ascii").split()[1]) * _PAGE_BYTES
