"""Every topic of the product, each declared by the context that writes it, or by the platform."""

from collections.abc import Iterable
from typing import Final

from vigie.audit.recorder import TOPICS as AUDIT_TOPICS
from vigie.evidence.repository import TOPICS as EVIDENCE_TOPICS
from vigie.ingest.topics import TOPICS as INGEST_TOPICS
from vigie.platform.eventlog import QUARANTINE_TOPIC, TopicSpec
from vigie.platform.eventlog.kafka.installation import INSTALLATION_TOPIC
from vigie.recording.topics import TOPICS as RECORDING_TOPICS
from vigie.registry.journal import CAMERAS_TOPIC

TOPICS: Final = (
    CAMERAS_TOPIC,
    *INGEST_TOPICS,
    *RECORDING_TOPICS,
    *EVIDENCE_TOPICS,
    *AUDIT_TOPICS,
    QUARANTINE_TOPIC,
)
BROKER_TOPICS: Final = (*TOPICS, INSTALLATION_TOPIC)
"""What is made at brokers: besides, whose topics they are. The embedded log has one owner."""


def topics_named(names: Iterable[str]) -> tuple[TopicSpec, ...]:
    """Some of them, in the order of the table.

    Raises:
        ValueError: one of them is not there.
    """
    wanted = set(names)
    if missing := wanted - {topic.name for topic in TOPICS}:
        raise ValueError(f"no such topics: {sorted(missing)}")
    return tuple(topic for topic in TOPICS if topic.name in wanted)
