"""Uploads: in one piece and in parts, and what a store says that is not so."""

import os
import tracemalloc
from pathlib import Path

import pytest

from integration.s3.between import Answer, Between, Forward, Request
from integration.s3.rig import KEY, QUICK, Rig, content_of, digest, put, reason_of
from vigie.platform.objectstore.s3.store import S3ObjectStore

_PART = 5 << 20
_LARGE = 4 * _PART + 12_345


def file_of(folder: Path, size_bytes: int) -> tuple[Path, str]:
    path = folder / "source"
    content = os.urandom(1 << 20) * -(-size_bytes // (1 << 20))
    path.write_bytes(content[:size_bytes])
    return path, digest(content[:size_bytes])


async def store_file(store: S3ObjectStore, path: Path, sha256: str) -> bool:
    result = await store.put_file(
        KEY, path, sha256=sha256, content_type="application/zip", metadata={"camera": "a"}
    )
    assert result.info.sha256 == sha256
    return result.created


async def test_a_file_in_parts(rig: Rig, tmp_path: Path) -> None:
    store = await rig.open(part_bytes=_PART)
    path, sha256 = file_of(tmp_path, _LARGE)
    assert await store_file(store, path, sha256)
    assert digest(await content_of(store)) == sha256
    info = await store.stat(KEY)
    assert info is not None
    assert (info.size_bytes, info.sha256, dict(info.metadata)) == (_LARGE, sha256, {"camera": "a"})
    assert not await store_file(store, path, sha256)
    path.write_bytes(path.read_bytes()[::-1])
    assert await reason_of(store_file(store, path, digest(path.read_bytes()))) == "OBJECT_EXISTS"
    assert rig.uploads() == []
    assert rig.registry.value("vigie_store_read_back_total") == 0


async def test_parts_that_are_not_what_was_said_store_nothing(rig: Rig, tmp_path: Path) -> None:
    store = await rig.open(part_bytes=_PART)
    path, _ = file_of(tmp_path, _LARGE)
    work = store_file(store, path, digest(b"other"))
    assert await reason_of(work) == "STORE_CHECKSUM_MISMATCH"
    assert await store.stat(KEY) is None
    assert rig.versions() == []
    assert rig.uploads() == []


async def test_a_source_that_cannot_be_read_is_its_owners_trouble(rig: Rig, tmp_path: Path) -> None:
    store = await rig.open()
    with pytest.raises(FileNotFoundError):
        await store_file(store, tmp_path / "nothing", digest(b""))
    assert rig.versions() == []


async def test_a_large_file_that_is_there_already(rig: Rig, tmp_path: Path) -> None:
    """The store may answer, and hang up, long before all of it was sent."""
    store = await rig.open()
    path, sha256 = file_of(tmp_path, 40 << 20)
    assert await store_file(store, path, sha256)
    assert not await store_file(store, path, sha256)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    other = digest(path.read_bytes())
    assert await reason_of(store_file(store, path, other)) == "OBJECT_EXISTS"
    assert len(rig.versions()) == 1


async def test_memory_does_not_grow_with_the_file(rig: Rig, tmp_path: Path) -> None:
    store = await rig.open()
    path, sha256 = file_of(tmp_path, 40 << 20)
    await put(store, key="warm")
    tracemalloc.start()
    try:
        await store_file(store, path, sha256)
        _, sent = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        async for _chunk in store.read(KEY):
            pass
        _, read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent < 4 << 20
    assert read < 16 << 20


async def test_a_store_that_says_yes_and_has_nothing_is_found_out(
    rig: Rig, between: Between
) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)

    def swallow(request: Request, forward: Forward) -> Answer:
        if request.method == "PUT" and request.key.endswith(".m4v"):
            told = request.headers["x-amz-checksum-sha256"]
            return Answer(200, [("ETag", '"x"'), ("x-amz-checksum-sha256", told)])
        return forward(request)

    between.rule = swallow
    assert await reason_of(put(store)) == "STORE_UNAVAILABLE"


async def test_a_store_that_keeps_half_is_found_out(rig: Rig, between: Between) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)

    def halve(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        if request.method == "HEAD" and request.key.endswith(".m4v"):
            return Answer(
                answer.status, [*answer.without("content-length").headers, ("Content-Length", "2")]
            )
        return answer

    between.rule = halve
    assert await reason_of(put(store)) == "STORE_CHECKSUM_MISMATCH"


@pytest.mark.parametrize("altered", [False, True])
async def test_what_the_store_does_not_vouch_for_is_read_back(
    rig: Rig, between: Between, *, altered: bool
) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)

    def silent(request: Request, forward: Forward) -> Answer:
        answer = forward(request).without("x-amz-checksum-sha256")
        if altered and request.method == "GET" and request.key.endswith(".m4v"):
            answer.body = answer.body[::-1]
        return answer

    between.rule = silent
    assert await reason_of(put(store)) == ("STORE_CHECKSUM_MISMATCH" if altered else "")
    assert rig.registry.value("vigie_store_read_back_total") == 1


class Credulous:
    """A store that takes any digest, and repeats it as if it had verified it."""

    def __init__(self) -> None:
        self.altered = False

    def __call__(self, request: Request, forward: Forward) -> Answer:
        if request.method == "PUT" and request.key.endswith(".vigie/probe/checksum"):
            told = request.headers["x-amz-checksum-sha256"]
            return Answer(200, [("ETag", '"x"'), ("x-amz-checksum-sha256", told)])
        answer = forward(request)
        if self.altered and request.method == "GET" and request.key.endswith(".m4v"):
            answer.body = answer.body[::-1]
        return answer


async def test_a_store_that_verifies_nothing_is_not_believed(rig: Rig, between: Between) -> None:
    between.rule = credulous = Credulous()
    error = await reason_of(rig.open(endpoint=between.endpoint, **QUICK))
    assert error == "STORE_UNSUITABLE"

    lax = {"endpoint": between.endpoint, "accept_without": ["checksums"], **QUICK}
    store = await rig.open(**lax)
    await put(store)
    assert rig.registry.value("vigie_store_read_back_total") == 1
    credulous.altered = True
    assert await reason_of(put(store, b"other", key=f"{KEY}.x.m4v")) == "STORE_CHECKSUM_MISMATCH"
    assert await reason_of(put(store)) == "STORE_CHECKSUM_MISMATCH", "what is there already"

    # Who may not read back cannot accept it.
    assert await reason_of(rig.open(write_only=True, **lax)) == "STORE_UNSUITABLE"


@pytest.mark.parametrize("altered", [False, True])
async def test_nor_are_its_parts(
    rig: Rig, between: Between, tmp_path: Path, *, altered: bool
) -> None:
    between.rule = credulous = Credulous()
    store = await rig.open(
        endpoint=between.endpoint, accept_without=["checksums"], part_bytes=_PART
    )
    path, sha256 = file_of(tmp_path, _LARGE)
    credulous.altered = altered
    expected = "STORE_CHECKSUM_MISMATCH" if altered else ""
    assert await reason_of(store_file(store, path, sha256)) == expected
    assert rig.registry.value("vigie_store_read_back_total") == 1


async def test_an_answer_that_was_lost_is_no_failure(rig: Rig, between: Between) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)
    lost = 0

    def lose(request: Request, forward: Forward) -> Answer:
        nonlocal lost
        answer = forward(request)
        if request.method == "PUT" and request.key.endswith(".m4v") and not lost:
            lost += 1
            return Answer(0)
        return answer

    between.rule = lose
    result = await put(store)
    assert lost == 1
    assert result.info.sha256 == digest(b"media")
    assert len(rig.versions()) == 1


async def test_parts_whose_end_got_no_answer_are_there(
    rig: Rig, between: Between, tmp_path: Path
) -> None:
    store = await rig.open(endpoint=between.endpoint, part_bytes=_PART)
    path, sha256 = file_of(tmp_path, _LARGE)
    lost = 0

    def lose(request: Request, forward: Forward) -> Answer:
        nonlocal lost
        answer = forward(request)
        if request.method == "POST" and "uploadId=" in request.path and not lost:
            lost += 1
            return Answer(0)
        return answer

    between.rule = lose
    await store_file(store, path, sha256)
    assert lost == 1
    assert len(rig.versions()) == 1
    assert rig.uploads() == []


async def test_a_store_that_is_busy_is_asked_again(rig: Rig, between: Between) -> None:
    store = await rig.open(endpoint=between.endpoint)
    refusals = {"PUT": 2, "GET": 1, "HEAD": 1}

    def busy(request: Request, forward: Forward) -> Answer:
        if request.key.endswith(".m4v") and refusals.get(request.method, 0):
            refusals[request.method] -= 1
            return Answer(503, [("Content-Type", "text/html")], b"<h1>busy</h1>")
        return forward(request)

    between.rule = busy
    await put(store)
    assert await content_of(store) == b"media"
    assert set(refusals.values()) == {0}
    assert rig.registry.value("vigie_store_retries_total", operation="put") == 2
    assert rig.registry.value("vigie_store_failures_total", operation="put", code="OTHER") == 2
    assert rig.registry.value("vigie_store_request_seconds_count", operation="put") >= 3


async def test_a_store_that_stays_busy_is_unavailable(rig: Rig, between: Between) -> None:
    store = await rig.open(endpoint=between.endpoint, **QUICK)

    def busy(request: Request, forward: Forward) -> Answer:
        code = b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
        return Answer(503, [("Content-Type", "application/xml")], code)

    between.rule = busy
    assert await reason_of(put(store)) == "STORE_UNAVAILABLE"
    assert await reason_of(store.check()) == "STORE_UNAVAILABLE"
    assert rig.registry.value("vigie_store_failures_total", operation="put", code="SlowDown") >= 2


async def test_a_read_goes_on_where_it_broke(rig: Rig, between: Between) -> None:
    store = await rig.open(endpoint=between.endpoint)
    content = os.urandom(3 << 20)
    await put(store, content)
    cut = 0

    def cutting(request: Request, forward: Forward) -> Answer:
        nonlocal cut
        answer = forward(request)
        if request.method == "GET" and request.key.endswith(".m4v"):
            cut += 1
            if cut % 2:
                return Answer(answer.status, answer.headers, answer.body, cut=True)
        return answer

    between.rule = cutting
    assert await content_of(store) == content
    assert cut > 2


async def test_an_object_that_changes_while_it_is_read_is_noticed(
    rig: Rig, between: Between
) -> None:
    import io

    store = await rig.open()
    content = os.urandom(2 << 20)
    await put(store, content)
    reading = store.read(KEY)
    await anext(reading)
    other = content[::-1]
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(other), len(other))

    async def rest() -> None:
        async for _ in reading:
            pass

    assert await reason_of(rest()) == "STORE_UNAVAILABLE"


async def test_unfinished_uploads_are_given_up_after_a_week(rig: Rig) -> None:
    from vigie.platform.clock import ManualWallClock, SystemWallClock

    name = rig.prefix + "packages/one.zip"
    rig.plain._create_multipart_upload(rig.bucket, name, {})
    store = await rig.open()
    assert (await store.sweep()).temporary_files == 0
    # Signing goes by this clock too, so the store is only told the time when it is asked.
    later = ManualWallClock(SystemWallClock().now_us() + 8 * 86_400_000_000)
    assert await store._mender.abort_unfinished(later.now_us()) == 1
    assert rig.uploads() == []
