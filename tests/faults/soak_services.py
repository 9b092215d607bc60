"""The soak with six services and a gateway on Kafka, MinIO and PostgreSQL: none of them may grow.

The same cameras that come, go, misbehave and change, and the same people, as in `soak`; of every
process memory (PSS), descriptors, threads and tasks are looked at every few seconds. Wants the
servers of VIGIE_TEST_KAFKA, VIGIE_TEST_S3 and VIGIE_TEST_POSTGRES.

    python tests/faults/soak_services.py --minutes 30 --picture docs/reference/soak-services.svg
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "services")]

from e2e.harness import Installation
from faults.soak import Plan, Result, Watch, parser_of, plan_of, soak
from faults.soaking import plot
from faults.soaking.samples import MEASURES, Comparison, metric_lines, metrics_page, pss_bytes

NEEDED: Final = ("VIGIE_TEST_KAFKA", "VIGIE_TEST_S3", "VIGIE_TEST_POSTGRES")
WATCHED: Final = MEASURES[:4]
"""Memory, open files, threads, tasks: what every process has."""


@dataclass(frozen=True, slots=True)
class ServiceSample:
    """One look at one process; see `faults.soaking.samples.Sample`."""

    pss_bytes: int
    open_files: int
    threads: int
    tasks: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """One look at all of them.

    Attributes:
        at_seconds: since the soak began.
        services: process -> what it has.
    """

    at_seconds: float
    services: dict[str, ServiceSample]


async def look(made: Installation, began: float) -> Look:
    """Look at every process now."""
    names = list(made.deployment.targets)
    pids, addresses = made.process_ids(), made.http_addresses()
    taken = await asyncio.gather(
        *(_take(pid, address) for pid, address in zip(pids, addresses, strict=True))
    )
    return Look(time.monotonic() - began, dict(zip(names, taken, strict=True)))


async def _take(pid: int, address: str) -> ServiceSample:
    values: dict[str, float] = {}
    for line in metric_lines(await metrics_page(address)):
        name, _, value = line.rpartition(" ")
        if name.startswith("vigie_platform_") and "{" not in name:
            values[name] = float(value)
    return ServiceSample(
        pss_bytes=pss_bytes(pid),
        open_files=round(values["vigie_platform_open_files"]),
        threads=round(values["vigie_platform_threads"]),
        tasks=round(values["vigie_platform_tasks"]),
        cpu_seconds=values["vigie_platform_cpu_seconds"],
    )


def compared(looks: Sequence[Look], plan: Plan) -> list[Comparison]:
    """First and last third after the warm-up, of every process."""
    kept = [one for one in looks if one.at_seconds >= plan.warm_up_seconds]
    return [
        Comparison(f"{service}: {found.name}", found.first, found.last, found.allowed)
        for service in kept[0].services
        for measure in WATCHED
        for found in [measure.compare([one.services[service] for one in kept], plan.leeway)]  # type: ignore[misc]
    ]


def judge(plan: Plan, result: Result) -> None:
    """Note which process grew."""
    looks: Sequence[Look] = result.samples  # type: ignore[assignment]
    result.comparisons = compared(looks, plan)
    result.wrong += [str(each) for each in result.comparisons if not each.is_flat]


def curves(services: Sequence[str]) -> list[plot.Curve]:
    """The rows of the picture."""
    memory = [
        plot.Curve(f"{name}, PSS (MB)", lambda one, name=name: one.services[name].pss_bytes / 1e6)
        for name in services
    ]
    tasks = [
        plot.Curve(f"{name}, tasks", lambda one, name=name: one.services[name].tasks)
        for name in services
    ]
    together = [
        plot.Curve("open files, all", lambda one: sum(s.open_files for s in one.services.values())),
        plot.Curve("threads, all", lambda one: sum(s.threads for s in one.services.values())),
    ]
    return [*memory, *together, *tasks]


def table(looks: Sequence[Look]) -> str:
    """The samples as comma-separated values, with a heading."""
    fields = ServiceSample.__slots__
    rows = [
        f"{one.at_seconds:.1f},{name}," + ",".join(str(getattr(sample, f)) for f in fields) + "\n"
        for one in looks
        for name, sample in one.services.items()
    ]
    return "at_seconds,service," + ",".join(fields) + "\n" + "".join(rows)


def summary(plan: Plan, result: Result) -> str:
    """A few lines for people."""
    first: Look = result.samples[0]  # type: ignore[assignment]
    last: Look = result.samples[-1]  # type: ignore[assignment]
    minutes = (last.at_seconds - first.at_seconds) / 60
    load = ", ".join(f"{each:.1f}" for each in result.load)
    lines = [
        f"{plan.cameras} cameras ({plan.steady} alone), {minutes:.1f} minutes, seed {plan.seed}",
        f"load of the machine {load}; simulator late by {result.late_us / 1e6:.1f} s at worst",
        "; ".join(f"{name}: {count}" for name, count in sorted(result.done.items())),
    ]
    for name, sample in last.services.items():
        used = (sample.cpu_seconds - first.services[name].cpu_seconds) / 60 / max(minutes, 1e-9)
        lines.append(
            f"{name}: PSS {first.services[name].pss_bytes / 1e6:.1f} MB at first,"
            f" {sample.pss_bytes / 1e6:.1f} MB at the end; {used:.2f} of a core"
        )
    return "\n".join((*lines, *map(str, result.comparisons), *(f"WRONG {w}" for w in result.wrong)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; 1 when something was wrong."""
    options = parser_of(__doc__ or "").parse_args(arguments)
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        print(f"no server: {', '.join(missing)}; nothing was run")
        return 0
    plan = plan_of(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    print(f"soak of services, {plan.minutes:g} minutes, --seed {plan.seed}", flush=True)
    result = Result()
    looks: Sequence[Look] = result.samples  # type: ignore[assignment]
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="run-"))
    try:
        asyncio.run(soak(plan, folder, result, Watch("six-services", look, judge)))
    finally:
        (options.folder / "samples-services.csv").write_text(table(looks), "utf-8")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    picture = options.picture or options.folder / "soak-services.svg"
    title = f"six services: {plan.cameras} cameras that come, go, misbehave, with viewers, exports"
    rows = curves(list(looks[0].services))
    picture.write_text(plot.draw(looks, title, plan.warm_up_seconds, rows), "utf-8")
    print(summary(plan, result))
    print(f"picture: {picture}; samples: {options.folder / 'samples-services.csv'}")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
