"""Implements the host's port: accesses become durable events of the topic ``accesses``.

Form of a record: `vigie.audit.v1.AccessRecord`, serialised deterministically (fields in the order
of their numbers, absent when empty, no maps, repeated names sorted). These bytes are what the
digest covers and what the table keeps; they are never serialised anew.
"""

from typing import Final

from vigie.audit.metrics import RECORD_SECONDS, RECORDED
from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.eventlog import EventLog, TopicSpec, make_event
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.metrics import MetricsRegistry

ACCESSES_TOPIC: Final = "accesses"
SOURCE: Final = "vigie/audit"
TOPICS: Final[tuple[TopicSpec, ...]] = (
    TopicSpec(
        name=ACCESSES_TOPIC,
        compacted=False,
        partitions=12,
        retention_days=1096,
        why="Every access, allowed or refused, in the order of each person; kept three years.",
    ),
)

_PHASES: Final = {
    Phase.OPENED: pb.ACCESS_PHASE_OPENED,
    Phase.CLOSED: pb.ACCESS_PHASE_CLOSED,
}


def record_of(entry: AccessEntry) -> pb.AccessRecord:
    """The record of an entry, field for field."""
    start_us, end_us = entry.window_us or (0, 0)
    record = pb.AccessRecord(
        record=entry.record,
        request_id=entry.request_id,
        phase=_PHASES[entry.phase],
        subject=entry.subject,
        display_name=entry.display_name,
        agency=entry.agency,
        roles=sorted(entry.roles),
        peer=entry.peer,
        method=entry.method,
        kind=entry.kind,  # type: ignore[arg-type]  # an integer of the same enumeration
        permission=entry.permission,
        objects=sorted(entry.objects),
        zones=sorted(entry.zones),
        window_start_us=start_us,
        window_end_us=end_us,
        purpose=entry.purpose,
        case_reference=entry.case_reference,
        decision=pb.DECISION_ALLOWED if entry.allowed else pb.DECISION_REFUSED,
        decision_reason=entry.reason,
        delivered_bytes=entry.delivered_bytes,
        delivered_messages=entry.delivered_messages,
        end_status=entry.end_status,
        delivered_until_us=entry.delivered_until_us,
        suppressed_attempts=entry.suppressed_attempts,
    )
    record.time.FromMicroseconds(entry.time_us)
    return record


class EventLogAccessRecorder:
    """See `vigie.platform.grpc.record.AccessRecorder`."""

    def __init__(
        self,
        event_log: EventLog,
        *,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: MetricsRegistry,
    ) -> None:
        self._event_log = event_log
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._recorded = metrics.counter(RECORDED)
        self._seconds = metrics.histogram(RECORD_SECONDS)

    async def record(self, entry: AccessEntry) -> None:
        """Append the record; durable when this returns.

        The record's own identifier is the event's, so that a repeated attempt is stored once.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        begun_us = self._monotonic_clock.now_us()
        event = make_event(
            record_of(entry),
            key=entry.subject,
            source=SOURCE,
            wall_clock=self._wall_clock,
            event_id=entry.record,
            time_us=entry.time_us,
        )
        await self._event_log.append(ACCESSES_TOPIC, [event])
        self._seconds.observe((self._monotonic_clock.now_us() - begun_us) / 1e6)
        decision = "allowed" if entry.allowed else "refused"
        self._recorded.labels(decision, entry.phase.value).inc()
