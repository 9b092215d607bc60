"""A store that lies is not believed; and in the end every delivery that people saw is on record.

With `test_state` it shares one installation, on which each fault strikes in turn while people
watch, play, save clips and fetch packages.
"""

import asyncio
import time
from typing import Final

import pytest

from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.services.harm import Harm
from faults.services.test_services import WHOLE, note

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(7200 if LONG else 600),
]
LASTING_SECONDS: Final = 60.0 if LONG else 6.0
SHARE: Final = 0.5


async def test_a_store_that_lies_is_not_believed(harm: Harm, ledger: Ledger) -> None:
    """It answers "stored" for objects, holds and packages that it does not keep."""
    before = harm.store.struck["lie"]

    async def act() -> float:
        with harm.store.on(harm.store.lying(SHARE)):
            await harm.town.ask()
            await asyncio.sleep(LASTING_SECONDS)
        return time.monotonic()

    found = await harm.town.survive(act)
    assert not found.causes
    assert harm.store.struck["lie"] > before
    assert not await harm.unheld(), "a hold is confirmed that is not there"
    fault = f"the store says OK to every other write for {LASTING_SECONDS:.0f} s and keeps nothing"
    promise = f"{WHOLE}; a hold that is confirmed is there"
    lies = f"{harm.store.struck['lie'] - before} writes that were not kept"
    note(ledger, fault, promise, found, lies)


async def test_in_the_end_every_delivery_is_on_record(harm: Harm, ledger: Ledger) -> None:
    """After all faults of this installation; then it drains and agrees with the bucket."""
    town, vigie = harm.town, harm.vigie
    await town.people.end()
    await town.still_listed()
    count = await vigie.witness.confirm(vigie)
    assert count > 0
    codes = await vigie.stop()
    assert set(codes.values()) == {0}, codes
    assert not vigie.waiting()
    report = await vigie.fsck(seconds=240)
    assert report.code == 0, report
    size = sum(each.size_bytes for each in vigie.witness.deliveries)
    ledger.note(
        Entry(
            "services",
            "all faults of store, database and camera, one after the other",
            "no byte is delivered without a durable record that precedes it and names person,"
            " camera and window; processes drain and end with 0; fsck --deep finds nothing",
            f"{count} deliveries (live, play, clip, package), {size / 1e6:.0f} MB",
        )
    )
