"""The topic that recording writes."""

from typing import Final

from vigie.platform.eventlog import TopicSpec

DESTRUCTIONS_TOPIC: Final = "destructions"
TOPICS: Final = (
    TopicSpec(
        DESTRUCTIONS_TOPIC,
        compacted=False,
        partitions=12,
        retention_days=1200,
        why="The register of destructions: footage that is gone, told before it goes.",
    ),
)
