"""Topics at the brokers against topics as declared: looked at, compared, made, changed.

Nothing here deletes events by itself: what would (shorter retention, no compaction any more) is
told apart, and partitions are never added, since keys would move to other partitions and lose
their order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, failures, started, unavailable
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.port import TopicSpec

_DAY_MS: Final = 24 * 3600 * 1000
_HOUR_MS: Final = 3600 * 1000
_ROOM_BYTES: Final = 48_576
"""Between the largest event and the largest batch: headers and framing."""
COMPACT: Final = "compact"
DELETE: Final = "delete"
_UNKNOWN_TOPIC: Final = 3
_DIAGNOSIS_SECONDS: Final = 3.0
_LEARN_SECONDS: Final = 5.0
_TOPIC_EXISTS: Final = 36
_SET_AT_TOPIC: Final = 1


def largest_event(spec: TopicSpec, config: KafkaConfig) -> int:
    """Bytes of the largest event that the topic takes."""
    return config.max_event_bytes * (2 if spec.wraps else 1) - (_ROOM_BYTES if spec.wraps else 0)


def settings_of(spec: TopicSpec, config: KafkaConfig) -> dict[str, str]:
    """What the brokers are told of a topic, and held to."""
    common = {
        "min.insync.replicas": str(config.min_in_sync),
        "max.message.bytes": str(largest_event(spec, config) + _ROOM_BYTES),
        # Retention goes by when an event was stored, never by what it says.
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        # As a producer sends it, which is uncompressed here: a broker's own choice may be one that
        # readers have no decoder for, and none of them could read on.
        "compression.type": "producer",
    }
    if spec.compacted:
        return common | {
            "cleanup.policy": COMPACT,
            # A table is rebuilt from its beginning whenever partitions move: it is kept short.
            "segment.ms": str(_HOUR_MS),
            "segment.bytes": str(64 * 1024 * 1024),
            "min.cleanable.dirty.ratio": "0.2",
            "max.compaction.lag.ms": str(6 * _HOUR_MS),
            "delete.retention.ms": str(7 * _DAY_MS),
        }
    return common | {
        "cleanup.policy": DELETE,
        "retention.ms": str(spec.retention_days * _DAY_MS),
        "retention.bytes": "-1",
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a topic is not as declared.

    Attributes:
        topic: name at the brokers.
        what: ``topic`` (it is missing), ``partitions``, ``replication`` or a setting of Kafka.
        found: as it is; empty when the topic is missing.
        wanted: as declared.
    """

    topic: str
    what: str
    found: str
    wanted: str

    @property
    def missing(self) -> bool:
        """The topic does not exist."""
        return self.what == "topic"

    @property
    def can_be_applied(self) -> bool:
        """Whether `apply` can mend it; the others need an operator's plan."""
        return self.what not in {"partitions", "replication"}

    @property
    def deletes(self) -> bool:
        """Whether mending it makes the brokers delete events."""
        if self.what == "cleanup.policy":
            return not self.missing
        if self.what == "retention.ms":
            found, wanted = int(self.found), int(self.wanted)
            return wanted >= 0 and (found < 0 or wanted < found)
        return False

    def __str__(self) -> str:
        if self.missing:
            return f"{self.topic} is missing"
        # `compacted` is the word of the declaration, and of the embedded log.
        word = "compacted (cleanup.policy)" if self.what == "cleanup.policy" else self.what
        return f"{self.topic}: {word} is {self.found}, declared {self.wanted}"


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the brokers have it."""

    partitions: int
    replication: int
    settings: Mapping[str, str]
    set_at_topic: Mapping[str, str] = field(default_factory=dict)


class TopicAdmin:
    """Looks at topics and makes them; opened for a moment at a time."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Name at the brokers -> number of partitions, of those that exist.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        return {name: count for name, (count, _) in (await self._metadata(topics)).items()}

    async def look(self, topics: Sequence[str]) -> dict[str, BrokerTopic]:
        """The topics of these names (at the brokers) that exist.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        found: dict[str, BrokerTopic] = await self._with_admin(
            lambda admin: _look(admin, topics), "cannot look at topics"
        )
        return found

    async def differences(self, specs: Sequence[TopicSpec]) -> list[Difference]:
        """Everything in which topics are not as declared.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        config = self._clients.config
        found = await self.look([config.topic_prefix + spec.name for spec in specs])
        differences: list[Difference] = []
        for spec in specs:
            name = config.topic_prefix + spec.name
            differences += _compare(name, found.get(name), spec, config)
        return differences

    async def diagnose(self, topic: str) -> str | None:
        """What keeps a topic (name at the brokers) from taking events, in one line, if that shows.

        Bounded to a few seconds; never raises.
        """
        try:
            async with asyncio.timeout(_DIAGNOSIS_SECONDS):
                found: str | None = await self._with_admin(
                    lambda admin: _standing(admin, topic, self._clients.config.min_in_sync),
                    "cannot look at topics",
                )
                return found
        except (VigieError, TimeoutError) as error:
            return "no broker answers" if isinstance(error, TimeoutError) else None

    async def apply(self, specs: Sequence[TopicSpec], differences: Sequence[Difference]) -> None:
        """Make what is missing and change what can be changed of ``differences``.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE, also when the brokers refuse.
        """
        config = self._clients.config
        by_name = {config.topic_prefix + spec.name: spec for spec in specs}
        missing = [one.topic for one in differences if one.missing]
        changed = {one.topic for one in differences if one.can_be_applied and not one.missing}

        async def work(admin: Any) -> None:
            if missing:
                await self._create(admin, {name: by_name[name] for name in missing})
            if changed:
                await self._change(admin, {name: by_name[name] for name in sorted(changed)})

        await self._with_admin(work, "cannot apply the topics")

    async def remove(self, topics: Sequence[str]) -> None:
        """Delete topics (names at the brokers) with all events, and wait until none is known.

        For tests.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """

        async def remove(admin: Any) -> None:
            await admin.delete_topics(list(topics))
            # Deleting is done in the background: who made one anew at once would find the old one.
            while await _described(admin, list(topics)):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)

        await self._with_admin(remove, "cannot delete topics")

    async def _create(self, admin: Any, specs: Mapping[str, TopicSpec]) -> None:
        from aiokafka.admin import NewTopic

        config = self._clients.config
        answer = await admin.create_topics(
            [
                NewTopic(
                    name,
                    spec.partitions,
                    config.replication,
                    topic_configs=settings_of(spec, config),
                )
                for name, spec in specs.items()
            ]
        )
        for name, code, *words in answer.topic_errors:
            if code not in {0, _TOPIC_EXISTS}:
                raise self._refused(name, code, words[0] if words else "")
        await self._until_known(admin, list(specs))

    async def _until_known(self, admin: Any, names: Sequence[str]) -> None:
        """Wait until a broker that is asked knows new topics: they learn it one after the other."""
        while len(await _described(admin, names)) < len(names):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)

    async def _change(self, admin: Any, specs: Mapping[str, TopicSpec]) -> None:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        found = await _look(admin, list(specs))
        # The request replaces everything that was set at the topic: what others set there stays.
        answers = await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC,
                    name,
                    dict(found[name].set_at_topic) | settings_of(spec, self._clients.config),
                )
                for name, spec in specs.items()
            ]
        )
        for answer in answers:
            for code, message, _, name in answer.resources:
                if code:
                    raise self._refused(name, code, message)
        await self._until_changed(admin, specs)

    async def _until_changed(self, admin: Any, specs: Mapping[str, TopicSpec]) -> None:
        """Wait a few seconds for the broker that is asked to have learnt the new settings."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEARN_SECONDS):
                while True:
                    found = await _look(admin, list(specs))
                    wanted = {
                        name: settings_of(spec, self._clients.config)
                        for name, spec in specs.items()
                    }
                    if all(wanted[one].items() <= found[one].settings.items() for one in specs):
                        return
                    await asyncio.sleep(0.05)

    async def _metadata(self, topics: Sequence[str]) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = await self._with_admin(
            lambda admin: _described(admin, topics), "cannot look at topics"
        )
        return found

    async def _with_admin(self, work: Any, doing: str) -> Any:
        admin = await started(self._clients, self._clients.admin(), doing)
        try:
            async with asyncio.timeout(3 * self._clients.config.request_timeout_seconds):
                return await work(admin)
        except failures() as error:
            raise unavailable(self._clients, doing, error) from error
        finally:
            await closed(admin)

    def _refused(self, name: str, code: int, message: str | None) -> VigieError:
        from aiokafka.errors import for_code

        why = f"{for_code(code).__name__}{': ' + message if message else ''}"
        return unavailable(self._clients, f"the brokers refuse topic {name}", why)


async def _described(admin: Any, topics: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Name -> partitions and copies, of topics that exist and are complete."""
    from aiokafka.errors import for_code

    if not topics:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for topic in await admin.describe_topics(list(topics)):
        code, partitions = topic["error_code"], topic["partitions"]
        if code == _UNKNOWN_TOPIC or (code == 0 and not partitions):
            continue
        if code:
            raise for_code(code)(topic["topic"])
        copies = min(len(partition["replicas"]) for partition in partitions)
        found[topic["topic"]] = (len(partitions), copies)
    return found


async def _standing(admin: Any, topic: str, wanted: int) -> str | None:
    for found in await admin.describe_topics([topic]):
        if found["error_code"] == _UNKNOWN_TOPIC:
            return "the topic does not exist"
        for partition in found["partitions"]:
            number, in_sync = partition["partition"], len(partition["isr"])
            if partition["leader"] < 0:
                return f"partition {number} has no leader"
            if in_sync < wanted:
                return (
                    f"partition {number} has {in_sync} of the {wanted} copies that must be in sync"
                )
    return None


async def _look(admin: Any, topics: Sequence[str]) -> dict[str, BrokerTopic]:
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    described = await _described(admin, topics)
    if not described:
        return {}
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in described]
    )
    found: dict[str, BrokerTopic] = {}
    for answer in answers:
        for code, _, _, name, entries in answer.resources:
            if code:
                from aiokafka.errors import for_code

                raise for_code(code)(name)
            partitions, copies = described[name]
            settings = {entry[0]: entry[1] or "" for entry in entries}
            own = {entry[0]: entry[1] or "" for entry in entries if entry[3] == _SET_AT_TOPIC}
            found[name] = BrokerTopic(partitions, copies, settings, own)
    return found


def _compare(
    name: str, found: BrokerTopic | None, spec: TopicSpec, config: KafkaConfig
) -> list[Difference]:
    if found is None:
        return [Difference(name, "topic", "", "exists")]
    pairs = [
        ("partitions", str(found.partitions), str(spec.partitions)),
        ("replication", str(found.replication), str(config.replication)),
    ]
    pairs += [
        (what, found.settings.get(what, ""), wanted)
        for what, wanted in settings_of(spec, config).items()
    ]
    return [Difference(name, what, is_, wanted) for what, is_, wanted in pairs if is_ != wanted]
