"""Whoever follows requests misses no change, and can go on where he was."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest

from unit.evidence.conftest import approved
from vigie.evidence.model import EvidenceRequest
from vigie.evidence.watch import MOST_WAITING, OVERLAP_US, Change, RequestWatch
from vigie.platform.errors import VigieError

NOON_US = 1_790_000_000_000_000


class Shelf:
    """The requests as the database has them."""

    def __init__(self) -> None:
        self.requests: dict[str, EvidenceRequest] = {}

    def put(self, number: int, update_us: int) -> str:
        """A request is made, or changes."""
        name = f"{number:032x}"
        before = self.requests.get(name)
        revision = 1 if before is None else before.revision + 1
        made = replace(approved(1, 2), request=name, update_us=update_us, revision=revision)
        self.requests[name] = made
        return name

    async def get(self, name: str) -> EvidenceRequest | None:
        return self.requests.get(name)

    async def every(self) -> list[EvidenceRequest]:
        return list(self.requests.values())


class Stage:
    def __init__(self) -> None:
        self.shelf = Shelf()
        self.watch = RequestWatch(cast("Any", self.shelf))

    def change(self, number: int, update_us: int) -> None:
        self.watch.changed(self.shelf.put(number, update_us))

    def follow(self, token: str = "", only: str = "") -> AsyncGenerator[Change, None]:
        return self.watch.follow(only=only, resume_token=token)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def until_checkpoint(following: AsyncGenerator[Change, None]) -> tuple[list[int], str]:
    """Numbers of the requests told before it, and its token."""
    told = []
    async for change in following:
        if change.request is None:
            return told, change.resume_token
        told.append(int(change.request.request, 16))
    raise AssertionError("the watch ended")


async def told_next(following: AsyncGenerator[Change, None]) -> tuple[int, int]:
    """Number and revision of the next request told."""
    change = await asyncio.wait_for(anext(following), 5)
    assert change.request is not None
    return int(change.request.request, 16), change.request.revision


async def test_what_there_is_a_checkpoint_then_changes_each_once(stage: Stage) -> None:
    stage.shelf.put(1, NOON_US + 2)
    stage.shelf.put(2, NOON_US + 1)
    following = stage.follow()
    assert await until_checkpoint(following) == ([2, 1], str(NOON_US + 2))
    stage.change(2, NOON_US + 3)
    stage.watch.changed(f"{2:032x}")  # heard of again, from the log
    stage.change(1, NOON_US + 4)
    assert await told_next(following) == (2, 2)
    assert await told_next(following) == (1, 2)


async def test_a_change_that_is_heard_of_late_is_told_to_those_who_go_on(stage: Stage) -> None:
    """Another process changed it before; its event came after what was told last."""
    following = stage.follow()
    await until_checkpoint(following)
    stage.change(1, NOON_US)
    token = (await anext(following)).resume_token
    await following.aclose()
    stage.shelf.put(2, NOON_US - OVERLAP_US + 1)
    told, again = await until_checkpoint(stage.follow(token))
    assert 2 in told
    assert again == token  # and the token does not go back


async def test_what_changed_long_before_is_not_told_again(stage: Stage) -> None:
    stage.shelf.put(1, NOON_US - OVERLAP_US - 1)
    assert await until_checkpoint(stage.follow(str(NOON_US))) == ([], str(NOON_US))


async def test_who_is_far_behind_misses_nobody(stage: Stage) -> None:
    following = stage.follow()
    await until_checkpoint(following)
    count = MOST_WAITING + 500
    for number in range(1, count + 1):
        stage.change(number, NOON_US + number)
    told = {(await told_next(following))[0] for _ in range(count)}
    assert told == set(range(1, count + 1))
    stage.change(7, NOON_US + count + 1)
    assert await told_next(following) == (7, 2)


async def test_only_one_and_nobody_is_left_behind(stage: Stage) -> None:
    stage.shelf.put(1, NOON_US)
    following = stage.follow(only=f"{1:032x}")
    assert (await until_checkpoint(following))[0] == [1]
    stage.change(2, NOON_US + 1)
    stage.change(1, NOON_US + 2)
    assert await told_next(following) == (1, 2)
    assert len(stage.watch._followers) == 1
    await following.aclose()
    assert not stage.watch._followers


async def test_made_up_tokens_are_refused(stage: Stage) -> None:
    with pytest.raises(VigieError, match="RESUME_TOKEN_INVALID"):
        await anext(stage.follow("soon"))
