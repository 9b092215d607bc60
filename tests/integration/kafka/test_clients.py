"""Clients whose brokers are gone: the configured addresses are asked again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.eventlog.kafka import KafkaConfig
from vigie.platform.eventlog.kafka.clients import KafkaClients

pytestmark = pytest.mark.needs_server
__all__ = ["kafka_bootstrap", "kafka_config"]

_GONE = 999
_INNER: dict[str, Callable[[Any], Any]] = {
    "producer": lambda made: made.client,
    "consumer": lambda made: made._client,
}


@pytest.mark.parametrize("kind", _INNER)
async def test_a_client_that_knows_only_a_dead_broker_finds_the_others(
    kind: str, kafka_config: KafkaConfig
) -> None:
    """As when two of three were away while it last asked, and then the third is."""
    made = getattr(KafkaClients(kafka_config), kind)()
    await made.start()
    try:
        client = _INNER[kind](made)
        (real, *_) = client.cluster.brokers()
        client.cluster._brokers = {_GONE: real._replace(nodeId=_GONE, host="127.0.0.1", port=1)}
        for connection in client._conns.values():
            connection.close()
        client._conns.clear()
        async with asyncio.timeout(30):
            assert await client.force_metadata_update()
        known = {broker.nodeId for broker in client.cluster.brokers()}
        assert real.nodeId in known
        assert _GONE not in known
    finally:
        await made.stop()


async def test_where_nobody_answers_it_goes_on_asking(kafka_config: KafkaConfig) -> None:
    clients = KafkaClients(kafka_config)
    made = clients.producer()
    await made.start()
    try:
        real = made.client.cluster._brokers
        made.client.cluster._brokers = {}
        hosts, made.client._bootstrap_servers = made.client._bootstrap_servers, ["127.0.0.1:1"]
        for connection in made.client._conns.values():
            connection.close()
        made.client._conns.clear()
        assert not await made.client.force_metadata_update()
        made.client._bootstrap_servers = hosts
        async with asyncio.timeout(30):
            while not await made.client.force_metadata_update():
                await asyncio.sleep(0.05)
        assert made.client.cluster._brokers.keys() == real.keys()
    finally:
        await made.stop()
