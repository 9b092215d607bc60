"""What `vigie fsck --repair` would do, step by step, and what it leaves to people and why.

Findings say what is wrong; several often have one cause. Planning asks the witnesses of each
object once more and turns all findings into the fewest steps, in an order in which each stands on
what the ones before it have mended. Nothing is changed by planning.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import select

from vigie.media.bmff.reader import drive_async, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.recording.fsck.report import EVIDENCE, JUDGEMENT, LOST, Action, Finding
from vigie.recording.fsck.witnesses import Told, Witnesses, digest_of, read_told, shown_by
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.tables import DESTRUCTIONS, SEGMENTS
from vigie.recording.model import Segment


class Doing(StrEnum):
    """One kind of step; the order is that in which they are done."""

    SET_ASIDE = "move an object that is not ours into the store's quarantine"
    DESCRIBE = "write the record of an object anew, its content being what was recorded"
    INDEX = "index an object anew"
    FINISH = "note the end of a destruction whose object is gone"
    RUN = "make the spans and the end of a run anew"
    TELL = "write into the index once more what the log says"
    FORGET = "remove from the index what the log never said"
    HOLD = "bring a hold in the store in line with the log"


ORDER: Final = tuple(Doing)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        doing: what.
        target: to what: an object key, a run, ``topic/key``, or ``hold object-key``.
        segment: what is believed of the object: for INDEX and DESCRIBE.
    """

    doing: Doing
    target: str
    segment: Segment | None = None


@dataclass(slots=True)
class Plan:
    """What would be done, and what not.

    Attributes:
        steps: in the order in which they are done.
        left: findings that stay, each with the reason why no program mends it.
        told: what the topics say on what is to be mended.
    """

    steps: list[Step] = field(default_factory=list)
    left: list[tuple[Finding, str]] = field(default_factory=list)
    told: Told = field(default_factory=Told)


class Planner:
    """Makes plans.

    Args:
        database: index and register.
        store: the bucket.
        event_log: topics.
    """

    def __init__(self, database: Database, store: ObjectStore, event_log: EventLog) -> None:
        self._database = database
        self._store = store
        self._event_log = event_log

    async def plan(self, findings: Sequence[Finding]) -> Plan:
        """Turn findings into steps.

        Raises:
            VigieError: database, store or event log are unavailable.
        """
        keys = _targets(findings, {Action.SETTLE, Action.FINISH})
        told = await read_told(self._event_log, keys)
        plan = Plan(told=told)
        wanted: dict[tuple[Doing, str], Step] = {}
        decided: dict[str, tuple[list[Step], str]] = {}
        for finding in findings:
            if finding.mend is None:
                plan.left.append((finding, finding.by_hand))
                continue
            target = finding.mend.target
            if finding.mend.action in {Action.SETTLE, Action.FINISH}:
                if target not in decided:
                    decided[target] = await self._settle(target, told)
                steps, why_not = decided[target]
            else:
                steps, why_not = [Step(_PLAIN[finding.mend.action], target)], ""
            wanted |= {(step.doing, step.target): step for step in steps}
            if why_not:
                plan.left.append((finding, why_not))
        plan.left = _without_consequences(plan.left, wanted.values())
        plan.steps = sorted(
            wanted.values(), key=lambda step: (ORDER.index(step.doing), step.target)
        )
        return plan

    async def _settle(self, key: str, told: Told) -> tuple[list[Step], str]:
        """Steps for one object, or why there are none."""
        info = await self._store.stat(key)
        row, destroyed = await self._rows(key)
        recorded = key in told.destroyed
        if info is None:
            if recorded and destroyed and row is None:
                return [Step(Doing.FINISH, key)], ""
            return [], EVIDENCE if destroyed else LOST
        witnesses = Witnesses(told.segments.get(key), row, shown_by(info), info)
        if witnesses.told is None and row is None and not destroyed:
            return await self._untold(info, witnesses.shown)
        believed = witnesses.believed()
        if believed is None:
            return [], JUDGEMENT
        if (destroyed and not recorded) or witnesses.told not in {None, believed}:
            return [], EVIDENCE
        return await self._in_line(witnesses, believed, destroyed=destroyed)

    async def _in_line(
        self, witnesses: Witnesses, believed: Segment, *, destroyed: bool
    ) -> tuple[list[Step], str]:
        """Bring record and row in line with what is believed."""
        key = believed.object_key
        steps: list[Step] = []
        if witnesses.shown != believed:
            if await digest_of(self._store, key) != believed.sha256:
                return [], LOST
            steps.append(Step(Doing.DESCRIBE, key, believed))
        if witnesses.row != believed or (destroyed and witnesses.row is None):
            steps.append(Step(Doing.INDEX, key, believed))
            steps.append(Step(Doing.RUN, believed.run))
            if witnesses.row is not None:
                steps.append(Step(Doing.RUN, witnesses.row.run))
        return steps, ""

    async def _untold(self, info: ObjectInfo, shown: Segment | None) -> tuple[list[Step], str]:
        """An object of which neither log nor index knows: its content decides."""
        if not await self._is_media(info):
            return [Step(Doing.SET_ASIDE, info.key)], ""
        if shown is None:
            return [], "it may be footage whose record was lost: `vigie recording reindex` reads it"
        if await digest_of(self._store, info.key) != shown.sha256:
            return [], LOST
        return [Step(Doing.INDEX, info.key, shown), Step(Doing.RUN, shown.run)], ""

    async def _is_media(self, info: ObjectInfo) -> bool:
        async def read(offset: int, length: int) -> bytes:
            parts = self._store.read(info.key, offset=offset, length=length)
            return b"".join([chunk async for chunk in parts])

        try:
            header = await drive_async(header_steps(info.size_bytes), read)
            return bool(await drive_async(fragment_steps(info.size_bytes, header), read))
        except (MediaError, VigieError):
            return False

    async def _rows(self, key: str) -> tuple[Segment | None, bool]:
        """The row of an object, and whether the register has it."""
        async with self._database.reading() as connection:
            query = select(SEGMENTS).where(SEGMENTS.c.object_key == key)
            row = (await connection.execute(query)).first()
            register = select(DESTRUCTIONS.c.object_key).where(DESTRUCTIONS.c.object_key == key)
            destroyed = (await connection.execute(register)).first() is not None
        return None if row is None else segment_from_row(row), destroyed


_PLAIN: Final = {
    Action.RUN: Doing.RUN,
    Action.TELL: Doing.TELL,
    Action.FORGET: Doing.FORGET,
    Action.HOLD: Doing.HOLD,
    Action.SET_ASIDE: Doing.SET_ASIDE,
}


def _without_consequences(
    left: Sequence[tuple[Finding, str]], steps: Iterable[Step]
) -> list[tuple[Finding, str]]:
    """Leave out what is only missing because its row is, which a step makes anew."""
    indexed = {
        (step.segment.run, str(step.segment.number))
        for step in steps
        if step.doing is Doing.INDEX and step.segment is not None
    }
    return [
        (finding, why)
        for finding, why in left
        if (finding.where.get("run"), finding.where.get("number")) not in indexed
    ]


def _targets(findings: Iterable[Finding], actions: set[Action]) -> set[str]:
    mends = (finding.mend for finding in findings)
    return {mend.target for mend in mends if mend is not None and mend.action in actions}
