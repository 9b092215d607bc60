"""A soak: small cameras that come, go, misbehave and change; people who watch, cut and export.

The whole product runs as a process of its own, its cameras in another. Every few seconds memory,
descriptors, threads, tasks, metric series, spool and database are looked at; at the end the first
third (after a warm-up) is compared with the last, the cameras that were left alone must have no
gap, and the checker must find nothing.

    python tests/faults/soak.py --minutes 30 --picture docs/reference/soak.svg
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "services")]

from e2e import estate
from e2e.callers import SPAN, recorded_from, stored_until, timelines
from e2e.commands import run_vigie
from e2e.harness import DEPLOYMENTS, WALL, Installation, simulated_cameras
from faults.soaking import plot
from faults.soaking.audience import Audience
from faults.soaking.churn import Churn, count_of_faults, simulated
from faults.soaking.samples import (
    MEASURES,
    Comparison,
    Sample,
    cameras_told_of,
    metrics_page,
    settled,
    table,
    take,
)
from vigie.simcam import ServerConfig

SETTINGS: Final = {
    "grpc": {"record_timeout_seconds": "30"},
    "recording": {"cache_bytes": "2097152"},
    "ingest": {
        "silence_timeout_seconds": "5",
        "handshake_timeout_seconds": "3",
        "reconnect_longest_seconds": "2",
        "refused_wait_seconds": "3",
        "heartbeat_seconds": "5",
    },
}
"""Accelerated: short patience with cameras. Long with a machine that has other things to do. A
small cache of segments that were read, so that it is full when the comparison begins."""
BUSY_SHARE: Final = 0.02
"""So many of a hundred calls may find the machine too busy to put the access on record in time."""
LATE_US: Final = 3_000_000
"""A simulator later than this has been silent for longer than the product's patience."""
CHECK_SECONDS: Final = 1800
"""Longest time for the checker, which reads everything that was recorded."""
ALARMS: Final = (
    "background_task_failed",
    "rpc_failed_unexpectedly",
    "writer_failed",
    "upload_error",
    "an internal error",
    "Traceback",
    "never awaited",
    "exception was never retrieved",
)
"""What the product says when it did not expect something."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, and for how long.

    Attributes:
        minutes: of churn.
        warm_up_seconds: left out of the comparison.
        cameras: at a time.
        steady: of them are left alone.
        viewers: live.
        pace: deeds a second.
        sample_seconds: between two looks.
        seed: of everything that is drawn.
        segment_seconds: length of a segment; people look so far back, and a little more.
        footage: folder in which simulated footage is kept.
        leeway: how much wider the tolerances are; a short soak is never settled.
    """

    minutes: float
    warm_up_seconds: float
    cameras: int
    steady: int
    viewers: int
    pace: float
    sample_seconds: float
    seed: int
    segment_seconds: int
    footage: Path
    leeway: float = 1.0


@dataclass(slots=True)
class Result:
    """What came of it.

    Attributes:
        samples: everything that was measured.
        comparisons: first and last third.
        wrong: what must not be, one line each; empty when all is well.
        done: how often each thing was done.
        late_us: how late the simulator was at worst: a machine that does not let it send makes
            cameras silent.
        load: of the machine over the last minutes, at the end.
    """

    samples: list[Sample] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    late_us: int = 0
    load: tuple[float, float, float] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Watch:
    """How the product is run, looked at and judged.

    Attributes:
        deployment: a name in `DEPLOYMENTS`.
        look: one look at it; the second argument is when the soak began (monotonic clock).
        judge: notes in the result what of these looks must not be.
    """

    deployment: str
    look: Callable[[Installation, float], Awaitable[Any]]
    judge: Callable[[Plan, Result], None]


async def soak(
    plan: Plan, folder: Path, kept: Result | None = None, watch: Watch | None = None
) -> Result:
    """Run it in a folder; what was measured is in ``kept`` even when it fails.

    Raises:
        Exception: the product failed a caller, or ended.
    """
    sources = simulated(plan.cameras)
    config = ServerConfig(cameras=sources, port_per_camera=True, cache_folder=plan.footage)
    chance = random.Random(plan.seed)
    result = Result() if kept is None else kept
    async with simulated_cameras(config, folder / "cameras") as simulator:
        own = {"segment_seconds": str(plan.segment_seconds)}
        settings = SETTINGS | {"ingest": SETTINGS["ingest"] | own}
        watch = watch or Watch("one-process", take, _judge)
        made = Installation(
            DEPLOYMENTS[watch.deployment], folder / "vigie", estate.PEOPLE, settings
        )
        try:
            await made.start()
            churn = Churn(made, simulator, sources, steady=plan.steady, chance=chance)
            back_seconds = plan.segment_seconds + 15
            audience = Audience(made, lambda: churn.cameras, chance, back_seconds=back_seconds)
            await _live(made, churn, audience, plan, result, watch=watch)
            watch.judge(plan, result)
            if audience.busy_share > BUSY_SHARE:
                result.wrong.append(f"{audience.busy_share:.1%} of the calls could not be served")
            await _after(made, await made.stop(), result)
        finally:
            await made.remove()
    result.done = churn.done + audience.done + audience.refused
    result.done["faults of cameras"] = count_of_faults(churn.done)
    result.load = os.getloadavg()
    return result


async def _live(
    made: Installation,
    churn: Churn,
    audience: Audience,
    plan: Plan,
    result: Result,
    *,
    watch: Watch,
) -> None:
    asked_us = WALL.now_us()
    await churn.register()
    await stored_until(made, churn.steady, asked_us, asked_us + 1, seconds=120)
    since_us = await recorded_from(made, churn.steady, asked_us)
    enough = asyncio.Event()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(churn.go_on(plan.pace, enough))
        group.create_task(audience.go_on(plan.viewers, enough))
        while time.monotonic() - began < plan.minutes * 60:
            result.samples.append(await watch.look(made, began))
            result.late_us = max(result.late_us, await churn.lateness_us())
            await asyncio.sleep(plan.sample_seconds)
        enough.set()
    await churn.calm()
    now_us = WALL.now_us()
    for part in batched(churn.cameras, 50):
        await stored_until(made, part, asked_us, now_us, seconds=180)
    result.late_us = max(result.late_us, await churn.lateness_us())
    for address in made.http_addresses():
        if gone := cameras_told_of(await metrics_page(address)) - set(churn.cameras):
            result.wrong.append(f"metrics tell of cameras that are gone: {sorted(gone)[:5]}")
    for camera, entries in (await timelines(made, churn.steady, since_us, now_us)).items():
        gaps = {entry.cause for entry in entries if entry.kind != SPAN}
        if gaps and not (result.late_us >= LATE_US and gaps == {"CAMERA_SILENT"}):
            result.wrong.append(f"{camera} was left alone and has gaps: {entries}")


def _judge(plan: Plan, result: Result) -> None:
    kept = settled(result.samples, plan.warm_up_seconds)
    result.comparisons = [measure.compare(kept, plan.leeway) for measure in MEASURES]
    result.wrong += [str(each) for each in result.comparisons if not each.is_flat]


async def _after(made: Installation, codes: dict[str, int], result: Result) -> None:
    if any(codes.values()):
        result.wrong.append(f"it did not end cleanly: {codes}")
    said = made.log_text()
    result.wrong += [f"the log says {alarm!r}" for alarm in ALARMS if alarm in said]
    checked = await run_vigie(
        "--json", "fsck", "--deep", "--grace", "0s", "--config", str(made.config_file),
        seconds=CHECK_SECONDS,
    )  # fmt: skip
    if checked.code:
        result.wrong.append(f"the checker found something: {checked.out[-2000:]} {checked.err}")


def batched(cameras: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    """``count`` at a time: a timeline is asked of so many cameras at most."""
    return (cameras[start : start + count] for start in range(0, len(cameras), count))


def summary(plan: Plan, result: Result) -> str:
    """A few lines for people."""
    first, last = result.samples[0], result.samples[-1]
    minutes = (last.at_seconds - first.at_seconds) / 60
    stored = last.segments - first.segments
    size = last.database_bytes - first.database_bytes
    load = ", ".join(f"{each:.1f}" for each in result.load)
    scope = f"{plan.cameras} cameras ({plan.steady} left alone), {minutes:.1f} minutes"
    each = f"{size / max(1, stored):.0f} bytes a segment"
    lines = [
        f"{scope}, seed {plan.seed}",
        f"load of the machine {load}; simulator late by {result.late_us / 1e6:.1f} s at worst",
        f"{stored} segments stored, database {size / 1e6:+.1f} MB ({each})",
        f"processor: {(last.cpu_seconds - first.cpu_seconds) / 60 / minutes:.2f} of a core",
        "; ".join(f"{name}: {count}" for name, count in sorted(result.done.items())),
        *map(str, result.comparisons),
        *(f"WRONG {line}" for line in result.wrong),
    ]
    return "\n".join(lines)


def parser_of(description: str) -> argparse.ArgumentParser:
    """What may be said of a soak."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=float, help="seconds; a sixth of the time unless said")
    parser.add_argument("-n", "--cameras", type=int, default=100)
    parser.add_argument("--steady", type=int, default=10, help="cameras that are left alone")
    parser.add_argument("--viewers", type=int, default=6)
    parser.add_argument("--pace", type=float, default=2.0, help="deeds a second")
    parser.add_argument("--segment", type=int, default=20, help="seconds")
    parser.add_argument("--sample", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "soak")
    parser.add_argument("--picture", type=Path, help="where the SVG goes")
    parser.add_argument("--keep", action="store_true", help="leave footage and logs")
    return parser


def plan_of(options: argparse.Namespace) -> Plan:
    """A plan from what was said."""
    warm_up = options.minutes * 10 if options.warm_up is None else options.warm_up
    return Plan(
        minutes=options.minutes,
        warm_up_seconds=warm_up,
        cameras=options.cameras,
        steady=options.steady,
        viewers=options.viewers,
        pace=options.pace,
        sample_seconds=options.sample,
        seed=options.seed,
        segment_seconds=options.segment,
        footage=options.folder / "footage",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; 1 when something was wrong."""
    options = parser_of(__doc__ or "").parse_args(arguments)
    plan = plan_of(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    print(f"soak of {plan.minutes:g} minutes, --seed {plan.seed}", flush=True)
    result = Result()
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="run-"))
    try:
        asyncio.run(soak(plan, folder, result))
    finally:
        (options.folder / "samples.csv").write_text(table(result.samples), "utf-8")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    picture = options.picture or options.folder / "soak.svg"
    title = f"{plan.cameras} cameras that come, go, misbehave and change, with viewers and exports"
    picture.write_text(plot.draw(result.samples, title, plan.warm_up_seconds), "utf-8")
    print(summary(plan, result))
    print(f"picture: {picture}; samples: {options.folder / 'samples.csv'}")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
