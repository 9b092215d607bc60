"""Listings over many pages, in byte order on every store."""

import dataclasses
import random

import pytest

from integration.s3.rig import Rig, put
from vigie.platform.objectstore.s3 import pages

_PARTS = ("a", "a-b", "a.b", "a!", "b", "é", "z+z", "A")


def keys_of(seed: int) -> list[str]:
    """Keys whose folders sort otherwise than their names; none is a folder of another."""
    drawn = random.Random(seed)
    keys: set[str] = set()
    while len(keys) < 60:
        depth = drawn.randint(1, 4)
        folders = [drawn.choice(_PARTS) for _ in range(depth - 1)]
        keys.add("/".join([*folders, f"{drawn.choice(_PARTS)}.{drawn.randint(0, 9)}x"]))
    return sorted(keys, key=str.encode)


@pytest.mark.parametrize("in_order", [True, False])
async def test_every_key_comes_once_in_byte_order(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, *, in_order: bool
) -> None:
    store = await rig.open()
    keys = keys_of(7)
    for key in keys:
        await put(store, key=key)
    held = keys[::9]
    for key in held:
        await store.place_hold(key, "hold-1")
    abilities = await store.open()
    if in_order and not abilities.in_order:
        pytest.skip("this store does not list in byte order")
    store._abilities = dataclasses.replace(
        abilities, in_order=in_order, attributes_listed=abilities.attributes_listed and in_order
    )
    monkeypatch.setattr(pages, "PAGE", 5)
    prefixes = ["", "a", "a/", "a-b/", "a/a", keys[10].rpartition("/")[0] + "/", "nothing/"]
    for prefix in prefixes:
        for after in ("", keys[0], keys[20], keys[41] + "!", "a/b", "zzzz"):
            expected = [key for key in keys if key.startswith(prefix) and key > after]
            listed = [one async for one in store.list_keys(prefix, start_after=after)]
            assert [one.key for one in listed] == expected, (prefix, after)
    whole = [one async for one in store.list()]
    assert [one.key for one in whole] == keys
    assert {one.key for one in whole if one.holds} == set(held)
    assert {one.holds for one in whole if one.holds} == {frozenset({"hold-1"})}
    for one in whole[::7]:
        assert one == await store.stat(one.key)
    for key in held:
        await store.release_hold(key, "hold-1")
