"""Where the Kafka of the tests is: given by the environment, brought by Docker, or absent."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from vigie.platform.eventlog.kafka import KafkaConfig
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

IMAGE = "apache/kafka:4.1.0"


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[list[str]]:
    """Addresses of brokers."""
    given = os.environ.get("VIGIE_TEST_KAFKA")
    if given:
        yield given.split(",")
        return
    try:
        from testcontainers.kafka import KafkaContainer

        container = KafkaContainer(IMAGE).with_kraft()
        container.start()
    except Exception as error:  # noqa: BLE001 - whatever keeps Docker from giving one
        pytest.skip(f"no server: Kafka (VIGIE_TEST_KAFKA is not set; Docker: {error!r:.80})")
    try:
        yield [container.get_bootstrap_server()]
    finally:
        container.stop()


@pytest.fixture
async def kafka_config(kafka_bootstrap: list[str]) -> AsyncIterator[KafkaConfig]:
    """A configuration with a prefix of its own; its topics are removed afterwards."""
    config = KafkaConfig(
        bootstrap=kafka_bootstrap,
        topic_prefix=f"t{uuid.uuid4().hex[:12]}.",
        replication=1,
        min_in_sync=1,
        outbox_poll_seconds=0.2,
        session_timeout_seconds=6.0,
    )
    yield config
    clients = KafkaClients(config)
    admin = clients.admin()
    await admin.start()
    try:
        own = [name for name in await admin.list_topics() if name.startswith(config.topic_prefix)]
    finally:
        await admin.close()
    if own:
        await TopicAdmin(clients).remove(own)
