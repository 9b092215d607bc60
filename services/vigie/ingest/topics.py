"""The topics that ingest owns."""

from typing import Final

from vigie.ingest.upload.events import SEGMENTS_TOPIC, STATUS_TOPIC
from vigie.platform.eventlog import TopicSpec

TOPICS: Final[tuple[TopicSpec, ...]] = (
    TopicSpec(
        name=SEGMENTS_TOPIC,
        compacted=False,
        partitions=48,
        retention_days=45,
        why="Stored segments, ends of runs and outages of each camera, in order.",
    ),
    TopicSpec(
        name=STATUS_TOPIC,
        compacted=True,
        partitions=48,
        why="What the reception of each camera is doing now.",
    ),
)
