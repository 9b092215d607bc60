"""Runs the checks one after the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.quarantine import Quarantine
from vigie.platform.objectstore import ObjectStore
from vigie.recording.fsck import bucket, eventlog, holds, index, retention
from vigie.recording.fsck.report import Finding, Report, error
from vigie.recording.fsck.view import View

Check = Callable[[View], AsyncIterator[Finding]]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("I1 segment events have their objects", eventlog.check_segment_events),
    ("I2 spool and events agree", index.check_spool),
    ("I3 index rows have their objects (I8, I10)", bucket.check_index_rows),
    ("I3 objects have their index rows", bucket.check_bucket),
    ("I3 span ends", bucket.check_run_ends),
    ("I3 register of destructions", bucket.check_register),
    ("I4 holds", holds.check_holds),
    ("I5 access records", eventlog.check_access_records),
    ("I6 camera states", eventlog.check_camera_states),
    ("I7 runs (I2, I6, I10)", index.check_runs),
    ("I9 retention in the index", retention.check_index),
    ("I9 retention in the bucket", retention.check_bucket),
    ("I9 retention in the spool", retention.check_spool),
    ("I9 authorisations", retention.check_authorised),
)


@dataclass(frozen=True, slots=True)
class Installation:
    """What is checked.

    Attributes:
        database: index, registers, holds.
        store: the bucket.
        event_log: topics.
        wall_clock: tells now.
        quarantine: events that were put away; ``None``: not looked at.
        spool: directory of the spool of this machine; ``None``: not looked at.
        prefix: what the keys of footage begin with.
        legal_time_zone: IANA name, see `RecordingConfig.legal_time_zone`.
    """

    database: Database
    store: ObjectStore
    event_log: EventLog
    wall_clock: WallClock
    quarantine: Quarantine | None = None
    spool: Path | None = None
    prefix: str = "footage"
    legal_time_zone: str = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class FsckOptions:
    """How it is checked.

    Attributes:
        deep: read and hash every object, and parse it as a player would.
        grace_us: what is younger than this is left out: it may still be under way.
        progress: called with the name of each check before it begins.
    """

    deep: bool = False
    grace_us: int = 120_000_000
    progress: Callable[[str], None] | None = None


async def run_fsck(installation: Installation, options: FsckOptions = FsckOptions()) -> Report:
    """Check I1 to I10; nothing is changed.

    Raises:
        VigieError: database, store or event log are unavailable.
    """
    now_us = installation.wall_clock.now_us()
    view = View(
        database=installation.database,
        store=installation.store,
        event_log=installation.event_log,
        spool=installation.spool,
        prefix=installation.prefix,
        legal_zone=ZoneInfo(installation.legal_time_zone),
        now_us=now_us,
        bound_us=now_us - options.grace_us,
        deep=options.deep,
    )
    report = Report(view.bound_us, options.deep)
    await asyncio.to_thread(view.read_spool)
    for name, check in CHECKS:
        if options.progress is not None:
            options.progress(name)
        async for finding in check(view):
            report.add(finding)
        report.count(name)
    await _quarantined(installation, report)
    report.findings.sort(key=lambda finding: int(finding.invariant[1:]))
    return report


async def _quarantined(installation: Installation, report: Report) -> None:
    """Events of recording that stand in quarantine: the index lacks what they tell."""
    if installation.quarantine is None:
        return
    for group in ("recording-index", "recording-cameras", "recording-holds"):
        for item in await installation.quarantine.list(group=group):
            report.add(
                error(
                    "I4" if group == "recording-holds" else "I6",
                    f"an event stands in quarantine: {item.reason}",
                    "look at it; replay it once its cause is mended, or discard it, on record",
                    topic=item.stored.topic,
                    key=item.stored.event.key,
                    number=item.number,
                )
            )
