"""Every step at which a test may strike."""

from typing import Final

from vigie.evidence.worker import FAULT_POINTS as EVIDENCE_FAULTS
from vigie.ingest.spool.faults import FAULT_POINTS as SPOOL_FAULTS
from vigie.platform.database.embedded import FAULT_POINTS as DATABASE_FAULTS
from vigie.platform.eventlog.consumer import FAULT_POINTS as CONSUMER_FAULTS
from vigie.platform.eventlog.embedded import FAULT_POINTS as EVENT_LOG_FAULTS
from vigie.platform.objectstore.tree import FAULT_POINTS as STORE_FAULTS
from vigie.recording.holdkeeper import FAULT_POINTS as HOLD_FAULTS
from vigie.recording.retention.sweeper import FAULT_POINTS as RETENTION_FAULTS

FAULT_POINTS: Final = (
    *DATABASE_FAULTS,
    *EVENT_LOG_FAULTS,
    *CONSUMER_FAULTS,
    *STORE_FAULTS,
    *SPOOL_FAULTS,
    *RETENTION_FAULTS,
    *HOLD_FAULTS,
    *EVIDENCE_FAULTS,
)
"""Those that one process on embedded storage reaches."""


def known_points(*, kafka: bool, s3: bool) -> tuple[str, ...]:
    """The same, and those of storage on other machines, whose clients are loaded for it."""
    found = FAULT_POINTS
    if kafka:
        from vigie.platform.eventlog.kafka.relay import FAULT_POINTS as RELAY_FAULTS

        found += RELAY_FAULTS
    if s3:
        from vigie.platform.objectstore.s3.store import FAULT_POINTS as S3_FAULTS

        found += S3_FAULTS
    return found
