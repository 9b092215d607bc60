"""Runs the checks one after the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.quarantine import Quarantine
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import DATABASE_UNAVAILABLE
from vigie.recording.fsck import (
    accesses,
    cameras,
    eventlog,
    holds,
    index,
    objects,
    register,
    retention,
    whole,
)
from vigie.recording.fsck.report import ITSELF, JUDGEMENT, Finding, Report, error
from vigie.recording.fsck.spool import Spool, check_spool
from vigie.recording.fsck.view import BATCH, Numbering, View
from vigie.recording.index.tables import UNDESCRIBED

Check = Callable[[View], AsyncIterator[Finding]]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("I3 the database file is whole (--deep)", whole.check_database),
    # The bucket first: what it shows on the way spares the next two a look at each object.
    ("I3 index and bucket agree (I8, I9, I10)", objects.check_objects),
    ("I1 segment events have their objects (I6)", eventlog.check_segment_events),
    ("I4 holds", holds.check_holds),
    ("I3 span ends", register.check_run_ends),
    ("I3 register of destructions", register.check_register),
    ("I5 access records", accesses.check_access_records),
    ("I5 numbering of the logs (I1, I3)", accesses.check_numbering),
    ("I6 camera states", cameras.check_camera_states),
    ("I7 runs (I2, I6, I10)", index.check_runs),
    ("I9 retention", retention.check_index),
    ("I9 authorisations", retention.check_authorised),
)
_ROWS_NEEDED: Final = frozenset(
    {objects.check_objects, eventlog.check_segment_events, index.check_runs}
)
"""What compares rows of segments with something: after a reindex they may still be written."""
_QUARANTINED: Final = {"recording-holds": "I4", "audit-index": "I5"}
"""The invariant that an event in quarantine breaks, by its consumer; of the others I6."""
_RESTORE: Final = (
    "stop the product, restore the database from a backup (docs/guide/operations.md), start it"
)
_SPOOL: Final = "I2 spool and events agree (I8, I9)"


class Mark(Protocol):
    """Who knows how far the log had come; see `vigie.platform.eventlog.NumberingMark`."""

    async def behind(self) -> Mapping[str, tuple[int, int]]:
        """Topic -> (next position, position of the mark), where the database is the older one."""
        ...


@dataclass(frozen=True, slots=True)
class Installation:
    """What is checked.

    Attributes:
        database: index, registers, holds.
        store: the bucket.
        event_log: topics.
        wall_clock: tells now.
        quarantine: events that were put away; ``None``: not looked at.
        mark: tells that the database is an older copy; ``None``: not looked at.
        spool: directory of the spool of this machine; ``None``: not looked at.
        prefix: what the keys of footage begin with.
        numbering: tells where events were taken out of a log; ``None``: not looked at.
        legal_time_zone: IANA name, see `RecordingConfig.legal_time_zone`.
    """

    database: Database
    store: ObjectStore
    event_log: EventLog
    wall_clock: WallClock
    quarantine: Quarantine | None = None
    numbering: Numbering | None = None
    mark: Mark | None = None
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
        numbering=installation.numbering,
        prefix=installation.prefix,
        legal_zone=ZoneInfo(installation.legal_time_zone),
        now_us=now_us,
        bound_us=now_us - options.grace_us,
        deep=options.deep,
    )
    report = Report(view.bound_us, options.deep)
    checks = list(CHECKS)
    if undescribed := await _undescribed(installation.database, report):
        report.add(undescribed)
        checks = [(name, check) for name, check in checks if check not in _ROWS_NEEDED]
    if installation.spool is not None:
        spool = Spool(installation.spool)
        await asyncio.to_thread(spool.read, view)
        checks.append((_SPOOL, partial(check_spool, spool=spool)))
    for name, check in checks:
        if options.progress is not None:
            options.progress(name)
        await _run(check, view, report, name)
    await _run(
        partial(_restored, mark=installation.mark), view, report, "I3 the database is today's"
    )
    quarantine = installation.quarantine
    if quarantine is not None:
        put_away = partial(_quarantined, quarantine=quarantine)
        await _run(put_away, view, report, "I6 quarantine (I4, I5)")
    report.sort()
    return report


async def _run(check: Check, view: View, report: Report, name: str) -> None:
    """One check; a database that cannot be read is a finding, and the others go on."""
    try:
        async for finding in check(view):
            report.add(finding)
    except VigieError as failure:
        if failure.reason.name != DATABASE_UNAVAILABLE.name:
            raise
        what = f"the database cannot be read: {failure.message}"
        report.add(error("I3", what, _RESTORE, JUDGEMENT, check=name))
    report.count(name)


async def _undescribed(database: Database, report: Report) -> Finding | None:
    """Hours whose rows a reindex has left to the product."""
    name = "I3 every hour has its rows"
    try:
        async with database.reading() as connection:
            hours = await connection.scalar(select(func.count()).select_from(UNDESCRIBED))
    except VigieError as failure:
        if failure.reason.name != DATABASE_UNAVAILABLE.name:
            raise
        return None  # the checks will say so
    report.count(name)
    if not hours:
        return None
    return error(
        "I3",
        "a reindex is not finished: hours have no rows yet, and index, bucket and events were not"
        " compared",
        "start the product: it goes on by itself, and vigie_recording_undescribed_hours tells when",
        ITSELF,
        hours=hours,
    )


async def _restored(view: View, mark: Mark | None) -> AsyncIterator[Finding]:
    """Whether the database is older than the bucket beside which its log was marked."""
    del view
    behind = {} if mark is None else await mark.behind()
    if behind:
        topic, (at, marked) = min(behind.items())
        yield error(
            "I3",
            "the database is older than the bucket: it was restored from a copy",
            "start the product: it indexes anew what the bucket has, and numbers on behind a hole",
            ITSELF,
            topic=topic,
            next=at,
            marked=marked,
        )


async def _quarantined(view: View, quarantine: Quarantine) -> AsyncIterator[Finding]:
    """Events that stand in quarantine: the index, or the audit, lacks what they tell."""
    del view
    after = 0
    while True:
        page = await quarantine.list(after=after, limit=BATCH)
        for item in page:
            after = item.number
            yield error(
                _QUARANTINED.get(item.group, "I6"),
                f"an event stands in quarantine: {item.reason}",
                "vigie quarantine show; replay it once its cause is mended, or discard it",
                JUDGEMENT,
                topic=item.stored.topic,
                key=item.stored.event.key,
                consumer=item.group,
                number=item.number,
            )
        if len(page) < BATCH:
            return
