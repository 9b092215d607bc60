"""A store that is busy, lies, or loses connections: what is repeated is there once, and held."""

import random
from collections.abc import Callable
from typing import Final

import pytest

from faults.services.storefaults import Misbehaviour
from integration.s3.between import Between, Rule
from integration.s3.rig import KEY, QUICK, Rig, put, reason_of
from vigie.platform.objectstore.s3.store import S3ObjectStore

OBJECTS: Final = 3
ATTEMPTS: Final = 30
RULES: Final[dict[str, Callable[[Misbehaviour, float], Rule]]] = {
    "503": Misbehaviour.busy,
    "lie": Misbehaviour.lying,
    "cut": Misbehaviour.cutting,
}


async def _in_the_end(store: S3ObjectStore, key: str) -> None:
    """Repeat as ingest and recording do, for as long as the store is merely away."""
    for _ in range(ATTEMPTS):
        reason = await reason_of(put(store, key=key))
        reason = reason or await reason_of(store.place_hold(key, "hold-1"))
        if not reason:
            return
        assert reason == "STORE_UNAVAILABLE"
    raise AssertionError(f"{key} was never stored and held")


@pytest.mark.parametrize("what", RULES)
async def test_whatever_a_store_does_wrong_an_object_is_there_once_and_held(
    rig: Rig, between: Between, what: str
) -> None:
    misbehaviour = Misbehaviour(between, random.Random(what))
    store = await rig.open(endpoint=between.endpoint, **QUICK)
    await store.check()
    keys = [f"{KEY}.{number}" for number in range(OBJECTS)]
    with misbehaviour.on(RULES[what](misbehaviour, 0.5)):
        for key in keys:
            await _in_the_end(store, key)
    assert misbehaviour.struck[what] > 0
    for key in keys:
        assert len(rig.versions(key)) == 1
        assert rig.legal_hold(key)
        await store.release_hold(key, "hold-1")
