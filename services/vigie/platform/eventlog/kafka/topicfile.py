"""Declared topics as the YAML of ``infra/kafka/topics.yaml``: for people and other tools.

The contexts declare their topics in code; this says the same for those who run the brokers. The
file is written by ``vigie topics show`` and a test holds the two together.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.kafka.topics import settings_of
from vigie.platform.eventlog.port import TopicSpec

_HEAD: Final = """\
# Every topic of Vigie, as the contexts declare them. Written by `vigie topics show`; a test holds
# this file and the code together. `vigie topics apply` makes them, `check` and `diff` compare.
#
# partitions     never changed in place: keys would move to other partitions and lose their order
# replication    copies; [kafka] replication and min_in_sync say otherwise for small installations
# retention_days how long events stay, by when they were stored; compacted topics keep the newest
#                event of every key for ever
# settings       what the brokers are told; whatever else is set at a topic stays as it is
"""


def render(specs: Sequence[TopicSpec], config: KafkaConfig) -> str:
    """The file, topics in the order of their names."""
    return "".join(_lines(specs, config))


def _lines(specs: Sequence[TopicSpec], config: KafkaConfig) -> Iterator[str]:
    yield _HEAD
    yield f"prefix: {json.dumps(config.topic_prefix)}\n"
    yield "topics:\n"
    for spec in sorted(specs, key=lambda spec: spec.name):
        yield f"  - name: {spec.name}\n"
        yield f"    why: {json.dumps(spec.why, ensure_ascii=False)}\n"
        yield f"    partitions: {spec.partitions}\n"
        yield f"    replication: {config.replication}\n"
        yield f"    min_in_sync: {config.min_in_sync}\n"
        yield f"    compacted: {json.dumps(spec.compacted)}\n"
        if not spec.compacted:
            yield f"    retention_days: {spec.retention_days}\n"
        yield "    settings:\n"
        for name, value in sorted(settings_of(spec, config).items()):
            yield f"      {name}: {json.dumps(value)}\n"
