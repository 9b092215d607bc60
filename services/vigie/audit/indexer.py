"""Writes records of the log into the searchable table: once in effect, bytes unchanged."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from vigie.audit.metrics import INDEXED
from vigie.audit.tables import ACCESSES, OBJECTS, ZONES
from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.database import insert_if_absent
from vigie.platform.eventlog import StoredEvent, Unprocessable, parse_event
from vigie.platform.metrics import MetricsRegistry


class AccessIndexer:
    """The handler of the consumer of ``accesses``."""

    def __init__(self, metrics: MetricsRegistry) -> None:
        self._indexed = metrics.counter(INDEXED)

    async def handle(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        """See `vigie.platform.eventlog.consumer.Handler`; a repeated record is left as it is."""
        parsed = [(stored, parse_event(stored, pb.AccessRecord)) for stored in events]
        for stored, record in parsed:
            if not record.record or not record.HasField("time"):
                raise Unprocessable("ACCESS_RECORD_INCOMPLETE", "it has no identifier or no time")
            await _insert(connection, stored, record)
        self._indexed.inc(len(parsed))


async def _insert(
    connection: AsyncConnection, stored: StoredEvent, record: pb.AccessRecord
) -> None:
    time_us = record.time.ToMicroseconds()
    inserted = await insert_if_absent(
        connection, ACCESSES, _row(stored, record, time_us), key=("record",)
    )
    if not inserted:
        return
    named = {"time_us": time_us, "record": record.record}
    objects = [{"object": name, **named} for name in dict.fromkeys(record.objects)]
    zones = [{"zone": name, **named} for name in dict.fromkeys(record.zones)]
    await insert_if_absent(connection, OBJECTS, objects, key=("object", "time_us", "record"))
    await insert_if_absent(connection, ZONES, zones, key=("zone", "time_us", "record"))


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
