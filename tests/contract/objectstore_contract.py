"""What every object store must do. Subclass `ObjectStoreContract` and give a ``harness``."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore, PutResult

KEY = "footage/cam-a/2026-11-22/10/00-00.000000Z.0.m4v"
TYPE = 'video/mp4; codecs="avc1.640028"'
ATTRIBUTES = {"camera": "cam-a", "start-us": "1700000000000000"}

INVALID_KEYS = (
    "",
    "/absolute",
    "a//b",
    "a/",
    "../outside",
    "a/../../outside",
    "./a",
    "a/.",
    "a\\b",
    "a\x00b",
    "a\nb",
    "a\x7fb",
    ".vigie/meta/x",
    "x" * 1025,
    "\ud800",
)


class StoreHarness(Protocol):
    """One store under test.

    Attributes:
        store: the open store, empty.
        clock: what the store goes by for retention dates. A store with a clock of its own may
            give a clock here that moves nothing, and skip the tests that need it.
    """

    store: ObjectStore
    clock: ManualWallClock

    async def reopen(self) -> None:
        """Close the store and open it again."""
        ...


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def put(harness: StoreHarness, key: str = KEY, content: bytes = b"media") -> PutResult:
    return await harness.store.put_bytes(
        key, content, sha256=digest(content), content_type=TYPE, metadata=ATTRIBUTES
    )


async def content_of(harness: StoreHarness, key: str = KEY, **span: int) -> bytes:
    return b"".join([chunk async for chunk in harness.store.read(key, **span)])


async def keys(harness: StoreHarness, prefix: str = "", start_after: str = "") -> list[str]:
    listing = harness.store.list(prefix, start_after=start_after)
    return [info.key async for info in listing]


async def listed_keys(harness: StoreHarness, prefix: str = "", start_after: str = "") -> list[str]:
    listing = harness.store.list_keys(prefix, start_after=start_after)
    return [listed.key async for listed in listing]


async def refused(work: object, reason: str) -> VigieError:
    with pytest.raises(VigieError) as raised:
        await work  # type: ignore[misc] # any awaitable of the port
    assert raised.value.reason.name == reason
    return raised.value


class ObjectStoreContract:
    """The promises of `vigie.platform.objectstore.port`."""

    async def test_bytes_come_back_as_they_were_given(self, harness: StoreHarness) -> None:
        result = await put(harness, content=b"media")
        assert result.created
        assert await content_of(harness) == b"media"
        info = await harness.store.stat(KEY)
        assert info is not None
        assert info == result.info
        assert (info.key, info.size_bytes, info.sha256) == (KEY, 5, digest(b"media"))
        assert (info.content_type, dict(info.metadata)) == (TYPE, ATTRIBUTES)
        assert (info.holds, info.retain_until_us, info.foreign) == (frozenset(), None, False)

    async def test_a_file_is_stored_and_stays_as_it_was(
        self, harness: StoreHarness, tmp_path: Path
    ) -> None:
        source = tmp_path / "source.m4v"
        content = bytes(range(256)) * 9000
        source.write_bytes(content)
        source.chmod(0o640)
        await harness.store.put_file(
            KEY, source, sha256=digest(content), content_type=TYPE, metadata={}
        )
        assert await content_of(harness) == content
        assert source.read_bytes() == content
        assert source.stat().st_mode & 0o777 == 0o640
        source.unlink()
        assert await content_of(harness) == content

    async def test_where_an_object_is_a_file_the_file_is_the_object(
        self, harness: StoreHarness
    ) -> None:
        await put(harness, content=b"media")
        path = await harness.store.local_path(KEY)
        assert path is None or path.read_bytes() == b"media"
        if path is not None:
            await refused(harness.store.local_path("footage/nothing"), "OBJECT_NOT_FOUND")

    async def test_an_empty_object_is_an_object(self, harness: StoreHarness) -> None:
        await put(harness, content=b"")
        assert await content_of(harness) == b""
        assert await keys(harness) == [KEY]

    async def test_objects_survive_reopening(self, harness: StoreHarness) -> None:
        stored = (await put(harness)).info
        await harness.store.place_hold(KEY, "hold-1")
        until_us = harness.clock.now_us() + 86_400_000_000
        await harness.store.set_retention(KEY, until_us)
        before = await harness.store.stat(KEY)
        assert before is not None
        assert (before.holds, before.retain_until_us) == ({"hold-1"}, until_us)
        # A store may count a hold or a date as a change of the object (SeaweedFS).
        assert before.stored_at_us >= stored.stored_at_us
        await harness.reopen()
        assert await harness.store.stat(KEY) == before

    async def test_a_wrong_digest_stores_nothing(
        self, harness: StoreHarness, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"altered")
        wrong = digest(b"media")
        attributes = {"sha256": wrong, "content_type": TYPE, "metadata": {}}
        await refused(
            harness.store.put_file(KEY, source, **attributes),  # type: ignore[arg-type] # as above
            "STORE_CHECKSUM_MISMATCH",
        )
        await refused(
            harness.store.put_bytes(KEY, b"altered", sha256=wrong, content_type=TYPE, metadata={}),
            "STORE_CHECKSUM_MISMATCH",
        )
        assert await harness.store.stat(KEY) is None
        assert await keys(harness) == []
        await put(harness)

    async def test_the_same_again_succeeds_and_changes_nothing(self, harness: StoreHarness) -> None:
        first = await put(harness)
        harness.clock.advance(10)
        again = await put(harness)
        assert not again.created
        assert again.info == first.info

    async def test_objects_are_never_overwritten(self, harness: StoreHarness) -> None:
        await put(harness, content=b"media")
        await refused(put(harness, content=b"other"), "OBJECT_EXISTS")
        assert await content_of(harness) == b"media"

    async def test_of_many_writers_of_one_key_one_wins(self, harness: StoreHarness) -> None:
        outcomes = await asyncio.gather(
            *(put(harness, content=f"{n % 2}".encode()) for n in range(10)), return_exceptions=True
        )
        created = [o for o in outcomes if isinstance(o, PutResult) and o.created]
        assert len(created) == 1
        assert digest(await content_of(harness)) == created[0].info.sha256

    @pytest.mark.parametrize("key", INVALID_KEYS)
    async def test_invalid_keys_are_refused_everywhere(
        self, harness: StoreHarness, key: str
    ) -> None:
        for work in (
            put(harness, key),
            harness.store.stat(key),
            content_of(harness, key),
            harness.store.delete(key),
            harness.store.place_hold(key, "hold-1"),
            harness.store.set_retention(key, 1),
        ):
            await refused(work, "KEY_INVALID")

    async def test_ranges(self, harness: StoreHarness) -> None:
        await put(harness, content=b"0123456789")
        assert await content_of(harness, offset=3) == b"3456789"
        assert await content_of(harness, offset=3, length=4) == b"3456"
        assert await content_of(harness, offset=3, length=0) == b""
        assert await content_of(harness, offset=10) == b""
        assert await content_of(harness, offset=0, length=10) == b"0123456789"
        for span in ({"offset": 11}, {"offset": -1}, {"offset": 8, "length": 3}, {"length": -1}):
            await refused(content_of(harness, **span), "RANGE_INVALID")

    async def test_a_large_object_comes_in_chunks(self, harness: StoreHarness) -> None:
        content = bytes(range(256)) * 4096
        await put(harness, content=content)
        chunks = [chunk async for chunk in harness.store.read(KEY, chunk_size=100_000)]
        assert max(map(len, chunks)) <= 100_000
        assert b"".join(chunks) == content

    async def test_what_is_not_there(self, harness: StoreHarness) -> None:
        assert await harness.store.stat(KEY) is None
        assert await harness.store.delete(KEY) is False
        await refused(content_of(harness), "OBJECT_NOT_FOUND")
        await refused(harness.store.place_hold(KEY, "hold-1"), "OBJECT_NOT_FOUND")
        await refused(harness.store.set_retention(KEY, 1), "OBJECT_NOT_FOUND")
        await harness.store.release_hold(KEY, "hold-1")

    async def test_listing_is_in_byte_order(self, harness: StoreHarness) -> None:
        given = ["a/b", "a-b/c", "a.b", "a0", "a/b-c", "b/é", "b/z", "B", "a/b.d/e", "a/b!"]
        for key in given:
            await put(harness, key)
        assert await keys(harness) == sorted(given, key=str.encode)
        assert await listed_keys(harness) == sorted(given, key=str.encode)

    async def test_listing_by_prefix_and_from_a_key_on(self, harness: StoreHarness) -> None:
        given = [
            f"footage/cam-{c}/2026-11-{d:02}/x.{n}" for c in "ab" for d in (1, 2) for n in "01"
        ]
        for key in given:
            await put(harness, key)
        for prefix in ("", "footage", "footage/cam-a", "footage/cam-b/", "footage/cam-a/2026-11-0"):
            for after in ("", given[0], given[3], "footage/cam-a/2026-11-01/x.00", "zzz"):
                expected = [key for key in given if key.startswith(prefix) and key > after]
                assert await keys(harness, prefix, after) == expected
                assert await listed_keys(harness, prefix, after) == expected
        for nothing in ("nothing/of/this", "../"):
            assert await keys(harness, nothing) == []
            assert await listed_keys(harness, nothing) == []

    async def test_a_folder_shows_one_level(self, harness: StoreHarness) -> None:
        for key in ("a.1", "a/b/1", "a/b/2", "a-b/3", "a/4", "a/b-c/5"):
            await put(harness, key)
        top = await harness.store.folder("")
        assert (list(top.folders), [one.key for one in top.objects]) == (["a-b/", "a/"], ["a.1"])
        below = await harness.store.folder("a/")
        assert list(below.folders) == ["a/b-c/", "a/b/"]
        [listed] = below.objects
        assert (listed.key, listed.size_bytes) == ("a/4", len(b"media"))
        assert listed.stored_at_us > 0
        for nothing in ("nothing/", "a.1/", "../"):
            empty = await harness.store.folder(nothing)
            assert (list(empty.folders), list(empty.objects)) == ([], [])

    async def test_runs_at_one_instant_lie_side_by_side(self, harness: StoreHarness) -> None:
        """Keys of two runs, and one of a run recorded before keys named theirs."""
        place = "footage/cam-a/2026-11-22"
        given = {
            f"{place}{run}/10/00-00.000000Z.0.m4v": f"media of run {number}".encode()
            for number, run in enumerate(("", "/" + "0195" * 8, "/" + "0196" * 8))
        }
        for key, content in given.items():
            assert (await put(harness, key, content)).created
        assert await keys(harness, f"{place}/") == sorted(given)
        for key, content in given.items():
            assert await content_of(harness, key) == content
            assert await harness.store.delete(key)
        assert await keys(harness) == []

    async def test_listing_tells_what_stat_tells(self, harness: StoreHarness) -> None:
        await put(harness)
        [info] = [info async for info in harness.store.list()]
        assert info == await harness.store.stat(KEY)
        [listed] = [listed async for listed in harness.store.list_keys()]
        assert (listed.key, listed.size_bytes) == (info.key, info.size_bytes)
        assert listed.stored_at_us > 0

    async def test_attributes_come_back_as_they_were_given(self, harness: StoreHarness) -> None:
        """Whatever is printable ASCII, also what HTTP does not carry as it is."""
        given = {"empty": "", "edges": " a  b ", "percent": "%41 %vigie%x", "long": "x" * 700,
                 "signs": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}  # fmt: skip
        sha256 = digest(b"media")
        await harness.store.put_bytes(
            KEY, b"media", sha256=sha256, content_type=TYPE, metadata=given
        )
        info = await harness.store.stat(KEY)
        assert info is not None
        assert dict(info.metadata) == given
        [listed] = [listed async for listed in harness.store.list()]
        assert listed == info

    async def test_holds_have_names_of_any_characters(self, harness: StoreHarness) -> None:
        await put(harness)
        holds = {"holds/2026-01", "séquestre n° 3", ".", "a%2Fb", "x" * 60}
        for hold in holds:
            await harness.store.place_hold(KEY, hold)
        info = await harness.store.stat(KEY)
        assert info is not None
        assert info.holds == holds

    async def test_a_deleted_object_is_gone(self, harness: StoreHarness) -> None:
        await put(harness)
        assert await harness.store.delete(KEY) is True
        assert await harness.store.stat(KEY) is None
        assert await keys(harness) == []
        await refused(content_of(harness), "OBJECT_NOT_FOUND")
        await put(harness, content=b"another")
        assert await content_of(harness) == b"another"

    async def test_a_hold_refuses_deletion_until_the_last_one_is_released(
        self, harness: StoreHarness
    ) -> None:
        await put(harness)
        for hold in ("hold-1", "hold-2", "hold-2"):
            await harness.store.place_hold(KEY, hold)
        info = await harness.store.stat(KEY)
        assert info is not None
        assert info.holds == {"hold-1", "hold-2"}
        await harness.store.release_hold(KEY, "hold-1")
        error = await refused(harness.store.delete(KEY), "OBJECT_HELD")
        assert "hold-2" in error.message
        await harness.store.release_hold(KEY, "hold-2")
        await harness.store.release_hold(KEY, "hold-2")
        assert await harness.store.delete(KEY)

    async def test_retention_refuses_deletion_until_its_date(self, harness: StoreHarness) -> None:
        await put(harness)
        until_us = harness.clock.now_us() + 60_000_000
        await harness.store.set_retention(KEY, until_us)
        await refused(harness.store.delete(KEY), "OBJECT_RETAINED")
        await harness.store.set_retention(KEY, until_us + 1)
        await refused(harness.store.set_retention(KEY, until_us), "RETENTION_SHORTENED")
        harness.clock.set(until_us)
        await refused(harness.store.delete(KEY), "OBJECT_RETAINED")
        harness.clock.set(until_us + 1)
        assert await harness.store.delete(KEY)

    async def test_holds_placed_at_once_are_all_there(self, harness: StoreHarness) -> None:
        await put(harness)
        holds: Sequence[str] = [f"hold-{n}" for n in range(12)]
        await asyncio.gather(*(harness.store.place_hold(KEY, hold) for hold in holds))
        info = await harness.store.stat(KEY)
        assert info is not None
        assert info.holds == set(holds)

    async def test_putting_again_keeps_the_hold(self, harness: StoreHarness) -> None:
        await put(harness)
        await harness.store.place_hold(KEY, "hold-1")
        assert (await put(harness)).info.holds == {"hold-1"}
        await refused(harness.store.delete(KEY), "OBJECT_HELD")

    async def test_the_check_passes_and_leaves_nothing(self, harness: StoreHarness) -> None:
        await harness.store.check()
        assert await keys(harness) == []
