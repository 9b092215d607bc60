"""The network between us and the store, by toxiproxy."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.s3.rig import KEY, QUICK, Rig, content_of, digest, put, reason_of
from integration.s3.toxiproxy import Toxiproxy
from servers_s3 import S3Server


@pytest.fixture
def network(server: S3Server) -> Iterator[Toxiproxy]:
    made = Toxiproxy(server.endpoint)
    yield made
    made.close()


async def test_a_store_that_is_down_at_the_start_is_used_once_it_is_there(
    rig: Rig, network: Toxiproxy
) -> None:
    network.enable(enabled=False)
    store = await rig.open(endpoint=network.endpoint, **QUICK)
    for work in (put(store), store.stat(KEY), store.check(), store.delete(KEY)):
        assert await reason_of(work) == "STORE_UNAVAILABLE"
    network.heal()
    assert (await put(store)).created
    await store.check()


async def test_a_store_that_goes_and_comes_back(rig: Rig, network: Toxiproxy) -> None:
    store = await rig.open(endpoint=network.endpoint, **QUICK)
    await put(store)
    network.enable(enabled=False)
    assert await reason_of(content_of(store)) == "STORE_UNAVAILABLE"
    assert await reason_of(put(store, b"x", key="x")) == "STORE_UNAVAILABLE"
    network.heal()
    assert await content_of(store) == b"media"
    assert (await put(store, b"x", key="x")).created


async def test_a_connection_lost_in_mid_upload_stores_all_or_nothing(
    rig: Rig, network: Toxiproxy, tmp_path: Path
) -> None:
    store = await rig.open(endpoint=network.endpoint, **QUICK)
    content = os.urandom(8 << 20)
    source = tmp_path / "source"
    source.write_bytes(content)

    async def upload() -> None:
        await store.put_file(
            KEY, source, sha256=digest(content), content_type="video/mp4", metadata={}
        )

    network.toxic("limit_data", stream="upstream", bytes=3 << 20)
    assert await reason_of(upload()) == "STORE_UNAVAILABLE"
    assert rig.versions() == []
    network.heal()
    await upload()
    assert digest(await content_of(store)) == digest(content)
    assert len(rig.versions()) == 1


async def test_parts_whose_connection_is_lost_leave_nothing(
    rig: Rig, network: Toxiproxy, tmp_path: Path
) -> None:
    store = await rig.open(endpoint=network.endpoint, part_bytes=5 << 20, **QUICK)
    content = os.urandom(1 << 20) * 21
    source = tmp_path / "source"
    source.write_bytes(content)
    network.toxic("limit_data", stream="upstream", bytes=3 << 20)

    async def upload() -> None:
        await store.put_file(
            KEY, source, sha256=digest(content), content_type="video/mp4", metadata={}
        )

    assert await reason_of(upload()) == "STORE_UNAVAILABLE"
    assert rig.versions() == []
    network.heal()
    assert rig.uploads() == []
    await upload()
    assert digest(await content_of(store)) == digest(content)


async def test_a_slow_store_is_given_up_in_time(
    rig: Rig, network: Toxiproxy, tmp_path: Path
) -> None:
    limits = {"deadline_seconds": 1, "slowest_bytes_per_second": 64 << 20, "attempts": 1}
    store = await rig.open(endpoint=network.endpoint, **limits)
    source = tmp_path / "source"
    content = os.urandom(4 << 20)
    source.write_bytes(content)
    network.toxic("bandwidth", stream="upstream", rate=100)
    begun = time.monotonic()
    work = store.put_file(
        KEY, source, sha256=digest(content), content_type="video/mp4", metadata={}
    )
    assert await reason_of(work) == "STORE_UNAVAILABLE"
    assert time.monotonic() - begun < 15
    assert rig.versions() == []


async def test_a_store_that_does_not_answer_is_given_up_in_time(
    rig: Rig, network: Toxiproxy
) -> None:
    store = await rig.open(endpoint=network.endpoint, **QUICK)
    network.toxic("timeout", stream="downstream", timeout=0)
    begun = time.monotonic()
    assert await reason_of(store.stat(KEY)) == "STORE_UNAVAILABLE"
    assert time.monotonic() - begun < 15
    network.heal()
    assert await store.stat(KEY) is None
