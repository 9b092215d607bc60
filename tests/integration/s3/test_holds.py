"""Holds against releases and deletions at the same time, and against a process that dies."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from integration.s3.between import Answer, Between, Forward, Request, honest
from integration.s3.rig import KEY, QUICK, Rig, content_of, put, reason_of
from vigie.platform.faultpoint import StrikingFaults
from vigie.platform.objectstore.s3.store import S3ObjectStore

_MOST_REQUESTS = 30


class Died(BaseException):
    """As a killed process: nothing that catches `Exception` sees it."""


def interrupt(
    store: S3ObjectStore, at_request: int, meanwhile: Callable[[], Awaitable[object]]
) -> Callable[[], bool]:
    """Have ``meanwhile`` happen just before a request of ``store``; tells whether it did."""
    requests = store._requests
    original, count = requests.run, 0

    async def run(operation: str, work: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at_request:
            await meanwhile()
        return await original(operation, work, **options)

    requests.run = run  # type: ignore[assignment, method-assign] # for this test
    return lambda: count >= at_request


async def test_a_hold_placed_at_any_moment_of_a_release_holds(rig: Rig) -> None:
    releasing, placing = await rig.open(), await rig.open()
    for at_request in range(1, _MOST_REQUESTS):
        key = f"{KEY}.{at_request}"
        await put(releasing, key=key)
        await releasing.place_hold(key, "hold-1")
        other = await rig.open()
        interrupted = interrupt(other, at_request, lambda k=key: placing.place_hold(k, "hold-2"))
        await other.release_hold(key, "hold-1")
        if not interrupted():
            assert at_request > 5
            return
        info = await placing.stat(key)
        assert info is not None
        assert info.holds == {"hold-2"}, at_request
        assert rig.legal_hold(key), at_request
        assert await reason_of(placing.delete(key)) == "OBJECT_HELD"
        await placing.release_hold(key, "hold-2")
    raise AssertionError("a release takes fewer requests than that")


async def test_an_object_deleted_at_any_moment_of_a_hold_is_held_or_gone(rig: Rig) -> None:
    deleting = await rig.open()
    for at_request in range(1, _MOST_REQUESTS):
        key = f"{KEY}.{at_request}"
        await put(deleting, key=key)
        placing = await rig.open()
        outcome: list[str] = []

        async def delete(k: str = key, told: list[str] = outcome) -> None:
            told.append(await reason_of(deleting.delete(k)))

        interrupted = interrupt(placing, at_request, delete)
        placed = await reason_of(placing.place_hold(key, "hold-1"))
        if not interrupted():
            assert at_request > 3
            await deleting.release_hold(key, "hold-1")
            return
        if outcome == [""]:
            assert placed == "OBJECT_NOT_FOUND"
            assert rig.versions(key) == []
            assert rig.names(".vigie/holds/") == []
        else:
            assert (outcome, placed) == (["OBJECT_HELD"], "")
            assert await content_of(deleting, key) == b"media"
            await deleting.release_hold(key, "hold-1")
    raise AssertionError("placing a hold takes fewer requests than that")


async def test_a_hold_placed_at_any_moment_of_a_deletion_holds_or_finds_nothing(rig: Rig) -> None:
    placing = await rig.open()
    for at_request in range(1, _MOST_REQUESTS):
        key = f"{KEY}.{at_request}"
        await put(placing, key=key)
        deleting = await rig.open()
        outcome: list[str] = []

        async def place(k: str = key, told: list[str] = outcome) -> None:
            told.append(await reason_of(placing.place_hold(k, "hold-1")))

        interrupted = interrupt(deleting, at_request, place)
        deleted = await reason_of(deleting.delete(key))
        if not interrupted():
            assert at_request > 2
            return
        if outcome == [""]:
            assert deleted == "OBJECT_HELD", at_request
            assert await content_of(placing, key) == b"media"
            await placing.release_hold(key, "hold-1")
        else:
            assert (outcome, deleted) == (["OBJECT_NOT_FOUND"], "")
            assert rig.versions(key) == []
            assert rig.names(".vigie/holds/") == []
    raise AssertionError("a deletion takes fewer requests than that")


@pytest.mark.parametrize(
    "point", ["s3.hold.marked", "s3.hold.placed", "s3.release.unmarked", "s3.release.off"]
)
async def test_after_a_death_at_any_step_repeating_it_ends_well(rig: Rig, point: str) -> None:
    def die() -> None:
        raise Died

    store = await rig.open()
    await put(store)
    dying = await rig.open(faults=StrikingFaults(point, die))
    with contextlib.suppress(Died):
        await dying.place_hold(KEY, "hold-1")
        await dying.release_hold(KEY, "hold-1")
    if point.startswith("s3.hold"):
        await store.sweep()
        # Placed or not, the marker decides, and the store's flag agrees with it.
        assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
        assert rig.legal_hold()
    await store.release_hold(KEY, "hold-1")
    assert not rig.legal_hold()
    assert await store.delete(KEY)


async def test_upkeep_puts_a_legal_hold_back_that_a_marker_asks_for(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    await store.place_hold(KEY, "hold-1")
    rig.plain.disable_object_legal_hold(rig.bucket, rig.prefix + KEY)
    await store.sweep()
    assert rig.legal_hold()
    await store.release_hold(KEY, "hold-1")


async def test_without_object_lock_the_markers_hold(rig: Rig) -> None:
    """Accepted on purpose; told in the metric."""
    name = f"{rig.bucket}-plain"
    rig.plain.make_bucket(name)
    rig.bucket, locked = name, rig.bucket
    try:
        assert await reason_of(rig.open()) == "STORE_UNSUITABLE"
        store = await rig.open(accept_without=["object-lock"])
        lacking = rig.registry.value("vigie_store_degraded_info", capability="object-lock")
        assert lacking == 1
        await put(store)
        await store.place_hold(KEY, "hold-1")
        info = await store.stat(KEY)
        assert info is not None
        assert info.holds == {"hold-1"}
        assert [one.holds async for one in store.list()] == [{"hold-1"}]
        assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
        assert await reason_of(store.set_retention(KEY, 1)) == "STORE_UNSUITABLE"
        await store.release_hold(KEY, "hold-1")
        assert await store.delete(KEY)
        assert rig.versions() == []
    finally:
        from servers_s3 import remove_bucket

        remove_bucket(rig.server, name)
        rig.bucket = locked


@pytest.mark.parametrize("which", ["marker", "legal-hold"])
async def test_a_hold_that_the_store_did_not_keep_is_not_confirmed(
    rig: Rig, between: Between, which: str
) -> None:
    """It says OK to the marker, or to the legal hold, and keeps nothing."""
    store = await rig.open(endpoint=between.endpoint, **QUICK)
    await put(store)

    def lie(request: Request, forward: Forward) -> Answer:
        is_marker = ".vigie/holds/" in request.path
        if request.method == "PUT" and is_marker == (which == "marker"):
            return Answer(200, [("ETag", '"x"')])
        return forward(request)

    between.rule = lie
    assert await reason_of(store.place_hold(KEY, "hold-1")) == "STORE_UNAVAILABLE"
    between.rule = honest
    await store.place_hold(KEY, "hold-1")
    assert rig.legal_hold(KEY)
    assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
    await store.release_hold(KEY, "hold-1")


async def test_a_release_that_the_store_did_not_do_is_not_confirmed(
    rig: Rig, between: Between
) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)
    await put(store)
    await store.place_hold(KEY, "hold-1")

    def lie(request: Request, forward: Forward) -> Answer:
        removes = request.method == "DELETE" or "delete" in request.path.partition("?")[2]
        if removes:
            empty = b'<?xml version="1.0" encoding="UTF-8"?><DeleteResult></DeleteResult>'
            return Answer(200, [("Content-Type", "application/xml")], empty)
        return forward(request)

    between.rule = lie
    assert await reason_of(store.release_hold(KEY, "hold-1")) == "STORE_UNAVAILABLE"
    assert rig.legal_hold(KEY)
    between.rule = honest
    await store.release_hold(KEY, "hold-1")
    assert not rig.legal_hold(KEY)
    assert await store.delete(KEY)
