"""What was said of each key is remembered beyond memory and ticked off."""

from collections.abc import AsyncIterator

import pytest

from vigie.platform.errors import VigieError
from vigie.platform.tally import Tally


@pytest.fixture
async def tally() -> AsyncIterator[Tally]:
    made = Tally()
    yield made
    made.close()


async def left(tally: Tally) -> list[list[str]]:
    return [list(page) async for page in tally.left()]


async def test_what_is_said_last_stands(tally: Tally) -> None:
    await tally.put({"a": b"1", "b": b"2"})
    await tally.put({"b": b"3", "c": b"4"})
    assert await tally.tick(["b", "nowhere", "c"]) == {"b": b"3", "c": b"4"}
    assert await left(tally) == [["a"]]


async def test_what_was_ticked_off_stays_so_and_can_be_asked_again(tally: Tally) -> None:
    await tally.put({"a": b"1"})
    assert await tally.tick(["a"]) == {"a": b"1"}
    assert await tally.tick(["a"]) == {"a": b"1"}
    assert await left(tally) == []


async def test_all_that_is_left_comes_in_pages_and_in_order(tally: Tally) -> None:
    keys = [f"{number:05d}" for number in range(2_500)]
    await tally.put(dict.fromkeys(reversed(keys), b""))
    await tally.tick(keys[::2])
    pages = await left(tally)
    assert [len(page) for page in pages] == [1_000, 250]
    assert [key for page in pages for key in page] == keys[1::2]


async def test_nothing_said_leaves_nothing(tally: Tally) -> None:
    await tally.put({})
    assert await tally.tick([]) == {}
    assert await left(tally) == []


async def test_a_folder_that_takes_no_more_is_an_error(tally: Tally) -> None:
    tally._database.execute("PRAGMA max_page_count = 8")  # stands for a full disk
    with pytest.raises(VigieError, match="folder of temporary files") as caught:
        await tally.put({f"{number:04d}{'k' * 100}": b"x" * 32 for number in range(1_000)})
    assert caught.value.reason.name == "DATABASE_UNAVAILABLE"
