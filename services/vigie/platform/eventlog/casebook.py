"""The topic `quarantine`: what every consumer says about records that it could not process.

The row in the consumer's database is what holds; each word here is written in the transaction that
changes the row, so that neither is there without the other.
"""

import hashlib
from typing import Final

from vigie.common.v1 import events_pb2 as words
from vigie.platform.clock import WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import make_event
from vigie.platform.eventlog.kafka.records import record_of
from vigie.platform.eventlog.port import EventLog, StoredEvent, TopicSpec
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.reasons import EVENT_TOO_LARGE

QUARANTINE_TOPIC: Final = TopicSpec(
    name="quarantine",
    compacted=False,
    partitions=4,
    retention_days=1096,
    why=(
        "Records that a consumer could not process, whole and with the reason, and what became of "
        "them; kept as long as the accesses that may be among them."
    ),
    wraps=True,
)
SOURCE: Final = "vigie/platform"


class Casebook:
    """Writes the words of one context's consumers.

    Args:
        event_log: of the context, with its outbox; topic `quarantine` is declared.
        wall_clock: says when.
    """

    def __init__(self, event_log: EventLog, wall_clock: WallClock) -> None:
        self._log = event_log
        self._wall_clock = wall_clock
        self._identifiers = IdentifierSource(wall_clock)

    def new_case(self) -> str:
        """The identifier of a new case."""
        return self._identifiers.text()

    async def quarantined(
        self,
        connection: AsyncConnection,
        about: words.QuarantineEvent,
        record: words.OriginalRecord,
        reason: str,
        detail: str,
    ) -> None:
        """Say that a record was put away.

        What is larger than an event may be is told without key, headers and value: what cannot be
        told must not keep the consumer from going on.

        Args:
            connection: in the transaction that puts it away.
            about: the case.
            record: the record, whole.
            reason: stable.
            detail: for people.
        """
        said = words.RecordQuarantined(reason=reason, detail=detail, record=record)
        about.quarantined.CopyFrom(said)
        try:
            await self.say(connection, about)
        except VigieError as error:
            if error.reason is not EVENT_TOO_LARGE:
                raise
            about.quarantined.record.CopyFrom(_left_out(record))
            await self.say(connection, about)

    async def say(self, connection: AsyncConnection, word: words.QuarantineEvent) -> None:
        """Append a word in the caller's transaction, at the time of now.

        Raises:
            VigieError: EVENT_TOO_LARGE; TOPIC_UNKNOWN; EVENT_LOG_UNAVAILABLE.
        """
        now_us = self._wall_clock.now_us()
        word.time.FromMicroseconds(now_us)
        event = make_event(
            word,
            key=word.case_id,
            source=SOURCE,
            wall_clock=self._wall_clock,
            event_id=self._identifiers.text(),
            time_us=now_us,
        )
        await self._log.append(QUARANTINE_TOPIC.name, [event], connection=connection)


def case_of(case_id: str, group: str, stored: StoredEvent) -> words.QuarantineEvent:
    """A word about a case, before it says anything."""
    return words.QuarantineEvent(
        case_id=case_id,
        consumer=group,
        topic=stored.topic,
        partition=stored.position.partition,
        offset=stored.position.offset,
    )


def original_of(stored: StoredEvent) -> words.OriginalRecord:
    """The record that an event was read of; of a log without records the one it would be."""
    raw = stored.raw or record_of(stored.event)
    value = raw.value
    return words.OriginalRecord(
        key=raw.key or b"",
        without_key=raw.key is None,
        headers=[words.RecordHeader(name=name, value=text) for name, text in raw.headers],
        value=value or b"",
        without_value=value is None,
        size_bytes=len(value or b""),
        sha256="" if value is None else hashlib.sha256(value).hexdigest(),
    )


def _left_out(record: words.OriginalRecord) -> words.OriginalRecord:
    return words.OriginalRecord(
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        without_key=record.without_key,
        without_value=record.without_value,
        left_out=True,
    )
