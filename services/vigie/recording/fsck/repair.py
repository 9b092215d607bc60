"""Mends what the checker has found (`vigie fsck --repair --apply`); nobody else may be at work.

What is mended is made anew from what stands above it: the index from log and bucket, the record of
an object from its content and what was told of it, spans from segments and register, holds in the
store from their topic. Footage is never destroyed; an object that is not ours is moved into the
store's quarantine. Each kind of step is put on record before it is done. A repair that was broken
off is begun again from the check: every step may be repeated.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import structlog

from vigie.platform.errors import VigieError
from vigie.recording.fsck.mending import NotMendedError, Parts, do_step, index_all
from vigie.recording.fsck.plan import Doing, Plan, Step

log = structlog.get_logger(__name__)
Recorder = Callable[[Doing, Sequence[str]], Awaitable[None]]
"""Puts a kind of step and its targets on record; durable when it returns."""
_RECORDED: Final = 100


@dataclass(slots=True)
class RepairReport:
    """What was done.

    Attributes:
        done: steps that were done.
        failed: steps that were not, and why.
    """

    done: list[Step] = field(default_factory=list)
    failed: list[tuple[Step, str]] = field(default_factory=list)


async def repair(parts: Parts, plan: Plan, record: Recorder) -> RepairReport:
    """Do the steps of a plan.

    Raises:
        VigieError: the record cannot be written: what was not recorded is not done.
    """
    report = RepairReport()
    for doing, steps in groupby(plan.steps, key=lambda step: step.doing):
        batch = list(steps)
        for begin in range(0, len(batch), _RECORDED):
            part = batch[begin : begin + _RECORDED]
            await record(doing, [step.target for step in part])
        if doing is Doing.INDEX:
            await _index(parts, batch, report)
            continue
        for step in batch:
            await _one(parts, step, plan, report)
    return report


async def _index(parts: Parts, steps: Sequence[Step], report: RepairReport) -> None:
    segments = [step.segment for step in steps if step.segment is not None]
    refused = await index_all(parts, segments)
    for step in steps:
        if step.target in refused:
            report.failed.append((step, refused[step.target]))
        else:
            report.done.append(step)


async def _one(parts: Parts, step: Step, plan: Plan, report: RepairReport) -> None:
    try:
        await do_step(parts, step, plan.told)
    except (VigieError, NotMendedError) as why:
        log.warning("repair_failed", doing=step.doing.name, target=step.target, error=str(why))
        report.failed.append((step, str(why)))
        return
    log.info("repaired", doing=step.doing.name, target=step.target)
    report.done.append(step)
