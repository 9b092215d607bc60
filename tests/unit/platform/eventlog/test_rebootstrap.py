"""Clients that ask the configured addresses again, while a secret is away as well."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.rebootstrap import asks_again
from vigie.platform.eventlog.kafka.settings import KafkaConfig

_NOT_ASKED = "eventlog_brokers_not_asked_again"


class Brokers:
    """Those a client knows; its own way of asking them is replaced by this."""

    def __init__(self) -> None:
        self.answer = False

    async def update(self, _cluster: Any, _topics: Any) -> bool:
        return self.answer


class Site:
    """A client with its running task, its brokers, and the file with its password."""

    def __init__(self, client: Any, brokers: Brokers, password: Path) -> None:
        self.client = client
        self.brokers = brokers
        self.password = password

    async def asked(self) -> bool:
        """What whoever waits for new metadata is told; raises when nobody answers him."""
        async with asyncio.timeout(5):
            return bool(await self.client.force_metadata_update())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    password = tmp_path / "password"
    password.write_text("secret")
    clients = KafkaClients(
        KafkaConfig(
            bootstrap=["127.0.0.1:1"],
            security_protocol="SASL_PLAINTEXT",
            username="ingest",
            password_file=password,
        )
    )
    from aiokafka.client import AIOKafkaClient

    brokers, client = Brokers(), AIOKafkaClient(**clients.arguments())
    client._metadata_update = brokers.update
    asks_again(client, clients.arguments)
    client._sync_task = asyncio.create_task(client._md_synchronizer())
    yield Site(client, brokers, password)
    await client.close()


async def test_a_secret_that_is_away_for_a_moment_ends_nothing(site: Site) -> None:
    assert not await site.asked()
    site.password.unlink()
    assert not await site.asked()
    assert not site.client._sync_task.done()
    site.password.write_text("the new one")
    site.brokers.answer = True
    assert await site.asked()


async def test_it_is_told_once_what_keeps_it_from_asking(site: Site) -> None:
    site.password.unlink()
    with capture_logs() as told:
        for _ in range(3):
            assert not await site.asked()
    errors = [entry["error"] for entry in told if entry["event"] == _NOT_ASKED]
    assert len(errors) == 1
    assert str(site.password) in errors[0]
    site.brokers.answer = True
    assert await site.asked()
    site.brokers.answer = False
    with capture_logs() as again:
        assert not await site.asked()
    assert [entry["event"] for entry in again] == [_NOT_ASKED]
