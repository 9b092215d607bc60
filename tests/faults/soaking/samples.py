"""What is measured during a soak, and whether it stays flat."""

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.harness import Installation

_GAPS: Final = "vigie_ingest_gaps_"
_CAMERA: Final = re.compile(r'[{,]camera="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the product.

    Attributes:
        at_seconds: since the soak began.
        pss_bytes: memory, shared pages counted in part.
        open_files: descriptors.
        threads: of the process.
        tasks: of the event loop.
        series: lines of ``/metrics`` but those of gaps, which are one for each camera and cause.
        spooled: segments that wait for their upload.
        queued_bytes: media in memory that waits to be written.
        database_bytes: the database file and its log.
        segments: stored since the start.
        cpu_seconds: since the start.
        viewers: who watches live now.
    """

    at_seconds: float
    pss_bytes: int
    open_files: int
    threads: int
    tasks: int
    series: int
    spooled: int
    queued_bytes: int
    database_bytes: int
    segments: int
    cpu_seconds: float
    viewers: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that must stay flat.

    Attributes:
        name: for people, with its unit.
        of: the figure in a sample.
        share: how much more the last third may have than the first, as a share of it.
        room: the same, in its unit: what happens to go on at a moment.
    """

    name: str
    of: Callable[[Sample], float]
    share: float
    room: float

    def compare(self, samples: Sequence[Sample], leeway: float) -> "Comparison":
        """The medians of the first and the last third; ``leeway`` widens what is allowed."""
        third = len(samples) // 3
        first = statistics.median(self.of(sample) for sample in samples[:third])
        last = statistics.median(self.of(sample) for sample in samples[-third:])
        return Comparison(self.name, first, last, (first * self.share + self.room) * leeway)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of the first and the last third, and how much more is allowed."""

    name: str
    first: float
    last: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Whether it did not grow."""
        return self.last <= self.first + self.allowed

    def __str__(self) -> str:
        verdict = "flat" if self.is_flat else "GREW"
        change = f"{self.first:.1f} -> {self.last:.1f}"
        return f"{self.name}: {change}, {verdict} (allowed: {self.allowed:.1f} more)"


MEASURES: Final = (
    Measure("memory (MB, PSS)", lambda s: s.pss_bytes / 1e6, 0.05, 4),
    Measure("open files", lambda s: s.open_files, 0.05, 10),
    Measure("threads", lambda s: s.threads, 0, 4),
    Measure("tasks", lambda s: s.tasks, 0.05, 15),
    Measure("metric series", lambda s: s.series, 0.1, 20),
    Measure("segments in the spool", lambda s: s.spooled, 0.25, 10),
    Measure("media in memory (MB)", lambda s: s.queued_bytes / 1e6, 0.25, 2),
)
"""What a leak would show in. Tolerances allow for what people happen to be doing at a moment: some
viewers, a package being built. The number of metric series may grow by kinds of errors that were
never seen before, which are bounded."""


async def take(vigie: Installation, began: float) -> Sample:
    """One sample; ``began`` on the monotonic clock of this process."""
    (pid,) = vigie.process_ids()
    (address,) = vigie.http_addresses()
    lines = metric_lines(await metrics_page(address))
    values: dict[str, float] = {}
    for line in lines:
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0]
        values[name] = values.get(name, 0.0) + float(value)
    return Sample(
        at_seconds=time.monotonic() - began,
        pss_bytes=pss_bytes(pid),
        open_files=round(values["vigie_platform_open_files"]),
        threads=round(values["vigie_platform_threads"]),
        tasks=round(values["vigie_platform_tasks"]),
        series=sum(not line.startswith(_GAPS) for line in lines),
        spooled=round(values["vigie_ingest_spool_waiting_segments"]),
        queued_bytes=round(values["vigie_ingest_write_queue_bytes"]),
        database_bytes=sum(path.stat().st_size for path in vigie.data.glob("vigie.db*")),
        segments=round(values["vigie_ingest_segments_stored_total"]),
        cpu_seconds=values["vigie_platform_cpu_seconds"],
        viewers=round(values["vigie_ingest_live_viewers"]),
    )


async def metrics_page(address: str) -> str:
    """What ``/metrics`` says."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: vigie\r\n\r\n")
        async with asyncio.timeout(30):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n", 1)[0], head
    return body.decode()


def metric_lines(page: str) -> list[str]:
    """The samples of a page, one each."""
    return [line for line in page.splitlines() if line[:1] != "#"]


def cameras_told_of(page: str) -> set[str]:
    """Cameras that a page of metrics has labels of."""
    found = (_CAMERA.search(line) for line in metric_lines(page))
    return {match[1] for match in found if match is not None}


def pss_bytes(pid: int) -> int:
    """Memory of a process, pages that it shares counted in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no PSS")


def settled(samples: Sequence[Sample], warm_up_seconds: float) -> list[Sample]:
    """The samples after everything has come up once."""
    return [sample for sample in samples if sample.at_seconds >= warm_up_seconds]


def table(samples: Sequence[Sample]) -> str:
    """The samples as comma-separated values, with a heading."""
    fields = Sample.__slots__
    rows = [[str(round(getattr(sample, name), 2)) for name in fields] for sample in samples]
    return "".join(",".join(row) + "\n" for row in ([*fields], *rows))
