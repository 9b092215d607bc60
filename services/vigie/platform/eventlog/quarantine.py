"""Events that a consumer could not process: kept whole, looked at, replayed or discarded.

They stand in the consumer's own database, so that an event enters quarantine in the transaction
that moves the consumer's position past it: it is never lost and never in both places. Whatever
happens to one is told in the topic `quarantine`, in the same transaction (`Casebook`).

A row is known by the place of its event, and places are given out anew when topics are made anew.
Rows of a log that is lost are therefore set aside: their offset is below 0, where no event stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy import RowMapping

from vigie.common.v1 import events_pb2 as words
from vigie.platform.clock import WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.database.statements import insert_if_absent
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.casebook import Casebook, case_of, original_of
from vigie.platform.eventlog.events import Unprocessable
from vigie.platform.eventlog.port import EventLog, RawRecord, StoredEvent
from vigie.platform.eventlog.rows import event_columns, stored_event
from vigie.platform.eventlog.tables import QUARANTINE
from vigie.platform.reasons import QUARANTINED_EVENT_NOT_FOUND

log = structlog.get_logger(__name__)
_POSITION_KEY: Final = ("topic", "group", "partition", "offset")
_CONTENT: Final = ("key", "type", "value", "id", "headers", "record")
"""What tells an event from another one at the same place."""
_OWNER: Final = ("topic", "group")
_SET_ASIDE: Final = -1 - QUARANTINE.c.number
MAX_DETAIL: Final = 1000


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """One event in quarantine.

    Attributes:
        number: names it; increases.
        case_id: names it in the topic `quarantine`; ``None``: it is not told there yet.
        group: the consumer that could not process it.
        stored: the event as it stood in the log, bytes unchanged.
        reason: why, UPPER_SNAKE_CASE.
        detail: why, for people.
        quarantined_us: when, microseconds since the Unix epoch.
        replay_requested: the consumer will try it again.
        asked_by: who asked for that last; "": nobody.
        asked_why: why, in their words.
    """

    number: int
    case_id: str | None
    group: str
    stored: StoredEvent
    reason: str
    detail: str
    quarantined_us: int
    replay_requested: bool
    asked_by: str = ""
    asked_why: str = ""


class Quarantine:
    """The quarantine of one database.

    Args:
        database: of the consumers.
        wall_clock: says when.
        event_log: over that database; topic `quarantine` is declared before anything is changed.
    """

    def __init__(self, database: Database, wall_clock: WallClock, event_log: EventLog) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._casebook = Casebook(event_log, wall_clock)

    async def add(
        self,
        connection: AsyncConnection,
        group: str,
        stored: StoredEvent,
        why: Unprocessable,
    ) -> None:
        """Put an event away in the caller's transaction (idempotent by its position).

        Another event that stands at its position is of a log that is no more, and is set aside; one
        that was set aside and comes again is put back.
        """
        case_id, detail = self._casebook.new_case(), why.detail[:MAX_DETAIL]
        record = original_of(stored)
        row = event_columns(stored.event) | {
            "topic": stored.topic,
            "group": group,
            "partition": stored.position.partition,
            "offset": stored.position.offset,
            "reason": why.reason,
            "detail": detail,
            "quarantined_us": self._wall_clock.now_us(),
            "replay_requested": False,
            "case_id": case_id,
            "record": None if stored.raw is None else _without_value(record),
        }
        if await _stands(connection, row) or await _put_back(connection, row):
            return
        if await insert_if_absent(connection, QUARANTINE, row, key=_POSITION_KEY):
            about = case_of(case_id, group, stored)
            await self._casebook.quarantined(connection, about, record, why.reason, detail)

    async def tell_untold(self, *, topic: str, group: str) -> int:
        """Tell of events that an earlier version of the program has put away; how many."""
        untold = (
            sa.select(QUARANTINE.c.number)
            .where(QUARANTINE.c.topic == topic, QUARANTINE.c.group == group)
            .where(QUARANTINE.c.case_id.is_(None))
            .order_by(QUARANTINE.c.number)
        )
        async with self._database.reading() as connection:
            numbers = (await connection.scalars(untold)).all()
        for number in numbers:
            await self._database.write(partial(self._tell, number=number))
        return len(numbers)

    async def _tell(self, connection: AsyncConnection, *, number: int) -> None:
        try:
            await self._told(connection, number)
        except VigieError as error:
            if error.reason is not QUARANTINED_EVENT_NOT_FOUND:
                raise

    async def list(
        self,
        *,
        topic: str | None = None,
        group: str | None = None,
        replay_requested: bool | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[QuarantinedEvent]:
        """Events in quarantine, oldest first, those numbered above ``after``."""
        chosen = sa.select(QUARANTINE).where(QUARANTINE.c.number > after)
        for column, value in (
            (QUARANTINE.c.topic, topic),
            (QUARANTINE.c.group, group),
            (QUARANTINE.c.replay_requested, replay_requested),
        ):
            if value is not None:
                chosen = chosen.where(column == value)
        async with self._database.reading() as connection:
            rows = await connection.execute(chosen.order_by(QUARANTINE.c.number).limit(limit))
            return [_from_row(row) for row in rows.mappings()]

    async def count(self, *, topic: str | None = None, group: str | None = None) -> int:
        """How many events are in quarantine."""
        chosen = sa.select(sa.func.count()).select_from(QUARANTINE)
        if topic is not None:
            chosen = chosen.where(QUARANTINE.c.topic == topic)
        if group is not None:
            chosen = chosen.where(QUARANTINE.c.group == group)
        async with self._database.reading() as connection:
            return await connection.scalar(chosen) or 0

    async def get(self, number: int) -> QuarantinedEvent:
        """One event.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        async with self._database.reading() as connection:
            return await _get(connection, number)

    async def request_replay(self, number: int, *, actor: str = "", purpose: str = "") -> None:
        """Ask the event's consumer to try it again.

        The consumer does so when it is idle next; an event that fails again stays, with its new
        reason. The order relative to later events of its key is lost: say so to the operator.

        Args:
            number: of the event.
            actor: who asks.
            purpose: why, in their words.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """

        async def work(connection: AsyncConnection) -> None:
            item = await self._told(connection, number)
            await connection.execute(
                sa.update(QUARANTINE)
                .where(QUARANTINE.c.number == number)
                .values(replay_requested=True, asked_by=actor, asked_why=purpose)
            )
            word = _about(item)
            word.replay_requested.CopyFrom(words.ReplayRequested(actor=actor, purpose=purpose))
            await self._casebook.say(connection, word)

        await self._database.write(work)

    async def discard(self, number: int, *, actor: str = "", purpose: str = "") -> QuarantinedEvent:
        """Drop an event for good; returns it, so that the caller can record what was dropped.

        What was told of it stays in the topic `quarantine` for as long as that keeps events.

        Args:
            number: of the event.
            actor: who drops it.
            purpose: why, in their words.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """

        async def work(connection: AsyncConnection) -> QuarantinedEvent:
            item = await self._told(connection, number)
            await self._close(connection, item, words.QUARANTINE_OUTCOME_DISCARDED, actor, purpose)
            return item

        return await self._database.write(work)

    async def replayed(self, connection: AsyncConnection, number: int) -> None:
        """Take an event out in the caller's transaction, in which it was processed.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        item = await self._told(connection, number)
        outcome = words.QUARANTINE_OUTCOME_REPLAYED
        await self._close(connection, item, outcome, item.asked_by, item.asked_why)

    async def refuse_replay(self, number: int, why: Unprocessable) -> None:
        """Note that a replay failed, and why; the event stays.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        detail = why.detail[:MAX_DETAIL]

        async def work(connection: AsyncConnection) -> None:
            item = await self._told(connection, number)
            await connection.execute(
                sa.update(QUARANTINE)
                .where(QUARANTINE.c.number == number)
                .values(replay_requested=False, reason=why.reason, detail=detail)
            )
            word = _about(item)
            word.replay_failed.CopyFrom(words.ReplayFailed(reason=why.reason, detail=detail))
            await self._casebook.say(connection, word)

        await self._database.write(work)

    async def _told(self, connection: AsyncConnection, number: int) -> QuarantinedEvent:
        """An event that is told of in the topic, for the sake of order: first that."""
        item = await _get(connection, number)
        if item.case_id is None:
            case_id = self._casebook.new_case()
            await connection.execute(
                sa.update(QUARANTINE).where(QUARANTINE.c.number == number).values(case_id=case_id)
            )
            about, record = case_of(case_id, item.group, item.stored), original_of(item.stored)
            await self._casebook.quarantined(connection, about, record, item.reason, item.detail)
            item = await _get(connection, number)
        return item

    async def _close(
        self,
        connection: AsyncConnection,
        item: QuarantinedEvent,
        outcome: "words.QuarantineOutcome.ValueType",
        actor: str,
        purpose: str,
    ) -> None:
        removed = await connection.execute(
            sa.delete(QUARANTINE).where(QUARANTINE.c.number == item.number)
        )
        if removed.rowcount == 0:
            raise _not_found(item.number)
        word = _about(item)
        word.resolved.CopyFrom(
            words.QuarantineResolved(outcome=outcome, actor=actor, purpose=purpose)
        )
        await self._casebook.say(connection, word)


async def set_all_aside(connection: AsyncConnection) -> None:
    """Take every row out of the numbering of a log that is lost; each is told of anew.

    What was told of them is lost with the log.
    """
    lost = sa.update(QUARANTINE).where(QUARANTINE.c.offset >= 0)
    await connection.execute(lost.values(offset=_SET_ASIDE, case_id=None))


async def _stands(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """Whether the event is there already; another one at its place is set aside."""
    at_place = sa.select(QUARANTINE).where(*(QUARANTINE.c[k] == row[k] for k in _POSITION_KEY))
    standing = (await connection.execute(at_place)).mappings().one_or_none()
    if standing is None:
        return False
    if _same(standing, row):
        return True
    log.warning("quarantine_place_taken", number=standing["number"], **_place(row))
    taken = sa.update(QUARANTINE).where(QUARANTINE.c.number == standing["number"])
    await connection.execute(taken.values(offset=_SET_ASIDE))
    return False


async def _put_back(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """Put an event back that was set aside for a log that was not lost, or told it again."""
    aside = sa.select(QUARANTINE).where(
        QUARANTINE.c.offset < 0,
        QUARANTINE.c.id == row["id"],
        *(QUARANTINE.c[k] == row[k] for k in _OWNER),
    )
    found = (await connection.execute(aside.order_by(QUARANTINE.c.number))).mappings().all()
    same = [one["number"] for one in found if _same(one, row)]
    if not same:
        return False
    back = sa.update(QUARANTINE).where(QUARANTINE.c.number == same[0])
    await connection.execute(back.values(partition=row["partition"], offset=row["offset"]))
    return True


def _same(standing: RowMapping, row: Mapping[str, Any]) -> bool:
    """Whether two rows hold the same event; older ones were kept without their record."""
    compared = [name for name in _CONTENT if name != "record" or standing[name] is not None]
    return all(standing[name] == row[name] for name in compared)


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _POSITION_KEY}


async def _get(connection: AsyncConnection, number: int) -> QuarantinedEvent:
    chosen = sa.select(QUARANTINE).where(QUARANTINE.c.number == number)
    row = (await connection.execute(chosen)).mappings().one_or_none()
    if row is None:
        raise _not_found(number)
    return _from_row(row)


def _about(item: QuarantinedEvent) -> words.QuarantineEvent:
    assert item.case_id is not None
    return case_of(item.case_id, item.group, item.stored)


def _without_value(record: words.OriginalRecord) -> bytes:
    """The record as its row keeps it: the value has a column of its own."""
    kept = words.OriginalRecord()
    kept.CopyFrom(record)
    kept.ClearField("value")
    return kept.SerializeToString(deterministic=True)


def _from_row(row: RowMapping) -> QuarantinedEvent:
    stored = stored_event(row["topic"], row, row["partition"])
    if row["record"] is not None:
        record = words.OriginalRecord.FromString(row["record"])
        raw = RawRecord(
            key=None if record.without_key else record.key,
            headers=tuple((header.name, header.value) for header in record.headers),
            value=None if record.without_value else stored.event.value,
        )
        stored = StoredEvent(stored.topic, stored.position, stored.event, raw)
    return QuarantinedEvent(
        number=row["number"],
        case_id=row["case_id"],
        group=row["group"],
        stored=stored,
        reason=row["reason"],
        detail=row["detail"],
        quarantined_us=row["quarantined_us"],
        replay_requested=row["replay_requested"],
        asked_by=row["asked_by"] or "",
        asked_why=row["asked_why"] or "",
    )


def _not_found(number: int) -> VigieError:
    return VigieError(QUARANTINED_EVENT_NOT_FOUND, f"no event {number} is in quarantine")
