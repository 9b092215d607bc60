"""Topics at real brokers: made, checked, refused, mended; the command that does it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from integration.kafka.kafka_support import (
    PATIENCE_SECONDS,
    House,
    cable,
    event,
    everything,
    house,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from unit.cli.conftest import Vigie, fake, vigie
from vigie.cli.exits import Exit
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import KafkaConfig
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.topics import BROKER_TOPICS

pytestmark = pytest.mark.needs_server
__all__ = ["cable", "fake", "house", "kafka_bootstrap", "kafka_config", "vigie"]


def admin(config: KafkaConfig) -> TopicAdmin:
    return TopicAdmin(KafkaClients(config))


async def test_missing_and_wrong_topics_are_refused_at_the_start_with_every_difference(
    house: House,
) -> None:
    log = await house.log(None)
    await house.make(spec("cameras", compacted=True))
    wrong = replace(spec("cameras", compacted=False), partitions=5, retention_days=3)
    with pytest.raises(VigieError) as refused:
        await log.declare([spec(), wrong])
    assert refused.value.reason.name == "TOPIC_MISMATCH"
    prefix = house.config.topic_prefix
    for words in (
        f"{prefix}segments is missing",
        f"{prefix}cameras: partitions is 3, declared 5",
        f"{prefix}cameras: compacted (cleanup.policy) is compact, declared delete",
        f"{prefix}cameras: retention.ms is 604800000, declared 259200000",
        "vigie topics apply",
    ):
        assert words in refused.value.message
    with pytest.raises(VigieError, match="TOPIC_UNKNOWN"):
        await log.append("segments", [event(1)])


async def test_applying_keeps_what_others_set_and_what_stands_in_the_topic(house: House) -> None:
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    log = await house.log(None, spec())
    await log.append("segments", [event(1)])
    name = house.config.topic_prefix + "segments"
    client = KafkaClients(house.config).admin()
    await client.start()
    own = {"flush.messages": "77", "retention.ms": "1000000000"}
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, own)])
    await client.close()
    topics = admin(house.config)
    found = await topics.differences([spec()])
    async with asyncio.timeout(PATIENCE_SECONDS):  # brokers learn of a change one after the other
        while not {one.what for one in found} >= {"retention.ms", "message.timestamp.type"}:
            await asyncio.sleep(0.05)
            found = await topics.differences([spec()])
    assert not any(one.deletes for one in found), "it was shorter; now it is longer again"
    await topics.apply([spec()], found)
    assert await topics.differences([spec()]) == []
    assert (await topics.look([name]))[name].settings["flush.messages"] == "77"
    assert await everything(log, "segments") == ["id-00001"]


async def test_a_topic_that_brokers_compress_by_themselves_is_told_and_mended(
    house: House,
) -> None:
    """Nobody can read what is compressed in a way for which this program has no decoder."""
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    log = await house.log(None, spec())
    name = house.config.topic_prefix + "segments"
    topics, compressed = admin(house.config), {"compression.type": "zstd"}
    client = KafkaClients(house.config).admin()
    await client.start()
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, compressed)])
    await client.close()

    async def told() -> list[str]:
        return [str(one) for one in await topics.differences([spec()])]

    wanted = f"{name}: compression.type is zstd, declared producer"
    async with asyncio.timeout(PATIENCE_SECONDS):  # brokers learn of a change one after the other
        while wanted not in await told():
            await asyncio.sleep(0.05)
    await topics.apply([spec()], await topics.differences([spec()]))
    assert await told() == []
    await log.append("segments", [event(1)])
    assert await everything(log, "segments") == ["id-00001"]


async def test_partitions_are_never_changed(house: House) -> None:
    await house.make(spec())
    more = spec(partitions=4)
    topics = admin(house.config)
    [found] = await topics.differences([more])
    await topics.apply([more], [found])
    assert await topics.differences([more]) == [found]


def test_the_command(vigie: Vigie, kafka_config: KafkaConfig, tmp_path: Path) -> None:
    file = tmp_path / "vigie.toml"
    text = (
        f"[kafka]\nbootstrap = {json.dumps(kafka_config.bootstrap)}\n"
        f'topic_prefix = "{kafka_config.topic_prefix}"\nreplication = 1\nmin_in_sync = 1\n'
    )
    file.write_text(text)
    given = ("--config", str(file))
    outcome = vigie("topics", "check", *given)
    assert outcome.code == Exit.CHECK_FAILED
    assert f"{kafka_config.topic_prefix}cameras" in outcome.out
    outcome = vigie("topics", "apply", *given)
    assert (outcome.code, outcome.err.count("made: ")) == (Exit.OK, len(BROKER_TOPICS))
    outcome = vigie("topics", "apply", *given)
    assert (outcome.code, outcome.err) == (Exit.OK, "")
    assert vigie("topics", "check", *given).code == Exit.OK
    file.write_text(text + "max_event_bytes = 500000\n")
    outcome = vigie("--json", "topics", "diff", *given)
    assert outcome.code == Exit.OK
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert {one["what"] for one in found} == {"max.message.bytes"}
    assert len(found) == 9
    outcome = vigie("topics", "check", "--bootstrap", "127.0.0.1:1")
    assert outcome.code == Exit.UNAVAILABLE
    assert "no broker answers (Kafka at 127.0.0.1:1)" in outcome.err
    assert "Traceback" not in outcome.err
    outcome = vigie("topics", "check")
    assert outcome.code == Exit.USAGE
    assert "no brokers are configured" in outcome.err
