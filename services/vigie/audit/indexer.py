"""Writes records of the log into the searchable table: once in effect, bytes unchanged."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from vigie.audit.metrics import INDEXED
from vigie.audit.tables import ACCESSES, OBJECTS, ZONES
from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.database import Database, in_chunks, insert_rows, one_of
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import StoredEvent, Unprocessable, parse_event
from vigie.platform.metrics import MetricsRegistry


class AccessIndexer:
    """The handler of the consumer of ``accesses``."""

    def __init__(self, database: Database, metrics: MetricsRegistry) -> None:
        self._database = database
        self._indexed = metrics.counter(INDEXED)

    async def handle(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        """See `vigie.platform.eventlog.consumer.Handler`; a repeated record is left as it is."""
        parsed = [(stored, parse_event(stored, pb.AccessRecord)) for stored in events]
        for _, record in parsed:
            if not record.record or not record.HasField("time"):
                raise Unprocessable("ACCESS_RECORD_INCOMPLETE", "it has no identifier or no time")
        known = await _known(connection, [record.record for _, record in parsed])
        new: dict[str, tuple[StoredEvent, pb.AccessRecord]] = {}
        for stored, record in parsed:
            if record.record not in known:
                # The first stands, whether or not the repetition comes in the same batch.
                new.setdefault(record.record, (stored, record))
        await _insert(connection, list(new.values()))
        self._database.on_commit(connection, lambda: self._indexed.inc(len(new)))


async def _known(connection: AsyncConnection, records: Sequence[str]) -> set[str]:
    known: set[str] = set()
    statement = _known_records(connection.dialect.name)
    for chunk in in_chunks(records):
        known |= {record for (record,) in await connection.execute(statement, {"records": chunk})}
    return known


@cache
def _known_records(dialect: str) -> sa.Select[str]:
    return sa.select(ACCESSES.c.record).where(one_of(dialect, ACCESSES.c.record, "records"))


async def _insert(
    connection: AsyncConnection, new: Sequence[tuple[StoredEvent, pb.AccessRecord]]
) -> None:
    """Write rows that are not there yet, a table at a time: the writer is held briefly."""
    rows: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    zones: list[dict[str, Any]] = []
    for stored, record in new:
        time_us = record.time.ToMicroseconds()
        rows.append(_row(stored, record, time_us))
        named = {"time_us": time_us, "record": record.record}
        objects += [{"object": name, **named} for name in dict.fromkeys(record.objects)]
        zones += [{"zone": name, **named} for name in dict.fromkeys(record.zones)]
    for table, values in ((ACCESSES, rows), (OBJECTS, objects), (ZONES, zones)):
        await insert_rows(connection, table, values)


def _row(stored: StoredEvent, record: pb.AccessRecord, time_us: int) -> dict[str, Any]:
    content = stored.event.value or b""
    has_window = record.window_end_us > 0
    return {
        "record": record.record,
        "log_partition": stored.position.partition,
        "log_offset": stored.position.offset,
        "content": content,
        "sha256": hashlib.sha256(content).hexdigest(),
        "time_us": time_us,
        "request_id": record.request_id,
        "phase": record.phase,
        "subject": record.subject,
        "agency": record.agency,
        "method": record.method,
        "method_name": record.method.rpartition("/")[2],
        "kind": record.kind,
        "decision": record.decision,
        "decision_reason": record.decision_reason,
        "window_start_us": record.window_start_us if has_window else None,
        "window_end_us": record.window_end_us if has_window else None,
        "purpose_folded": record.purpose.casefold(),
        "case_reference": record.case_reference,
    }
