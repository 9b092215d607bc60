"""Where the Kafka of the tests is: given by the environment, brought by Docker, or absent."""

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from ports import quiet_ports
from servers_docker import image_of, running
from vigie.platform.eventlog.kafka import KafkaConfig
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

_VARIABLE: Final = "VIGIE_TEST_KAFKA"
_CLIENTS: Final = 9092
_READY_SECONDS: Final = 300


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[list[str]]:
    """Addresses of brokers."""
    given = os.environ.get(_VARIABLE)
    if given:
        yield given.split(",")
        return
    with _broker(image_of(_VARIABLE)) as address:
        yield [address]


@contextlib.contextmanager
def _broker(image: str) -> Iterator[str]:
    """One broker of Apache Kafka's own image (testcontainers' class is for Confluent's)."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    # A broker tells its clients where it is: the port has to be known before it starts.
    (port,) = quiet_ports(1)
    container = DockerContainer(image).with_bind_ports(_CLIENTS, port)
    host = container.get_container_host_ip()
    listeners = {"CLIENTS": f":{_CLIENTS}", "BROKER": "localhost:9094", "CONTROLLER": ":9093"}
    told = {"CLIENTS": f"{host}:{port}", "BROKER": "localhost:9094"}
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "LISTENERS": ",".join(f"{name}://{place}" for name, place in listeners.items()),
        "ADVERTISED_LISTENERS": ",".join(f"{name}://{place}" for name, place in told.items()),
        "LISTENER_SECURITY_PROTOCOL_MAP": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        # Brokers talk to themselves, too, and cannot by the address of their clients.
        "INTER_BROKER_LISTENER_NAME": "BROKER",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    ready = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_READY_SECONDS)
    with running(container.waiting_for(ready)):
        yield f"{host}:{port}"


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
