"""A store that is slow, busy, cut off, away for long, or lies: nothing lost, nothing twice.

With `test_state` and `test_steps` it shares one installation, on which each fault strikes in turn
while people watch, play, save clips and fetch packages. At the end every delivery that they have
seen must have its record.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
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
AWAY_SECONDS: Final = 300.0 if LONG else 20.0
SHARE: Final = 0.5
Act = Callable[[], Awaitable[float]]


async def _survives(harm: Harm, act: Act, ledger: Ledger, fault: str, seen: str = "") -> None:
    found = await harm.town.survive(act)
    assert not found.causes
    note(ledger, fault, f"{WHOLE}", found, seen)


@pytest.mark.parametrize("share", [SHARE, 1.0])
async def test_a_busy_store_costs_no_footage(share: float, harm: Harm, ledger: Ledger) -> None:
    """It answers 503 SlowDown to some, or to everybody."""
    before = harm.store.struck["503"]

    async def act() -> float:
        with harm.store.on(harm.store.busy(share)):
            await asyncio.sleep(LASTING_SECONDS)
        return time.monotonic()

    whom = "everybody" if share == 1 else "every other request"
    await _survives(
        harm, act, ledger, f"the store answers 503 to {whom} for {LASTING_SECONDS:.0f} s"
    )
    assert harm.store.struck["503"] > before


async def test_a_store_that_lies_is_not_believed(harm: Harm, ledger: Ledger) -> None:
    """It answers "stored" for objects, holds and packages that it does not keep."""
    before = harm.store.struck["lie"]

    async def act() -> float:
        with harm.store.on(harm.store.lying(SHARE)):
            await harm.town.ask()
            await asyncio.sleep(LASTING_SECONDS)
        return time.monotonic()

    await _survives(
        harm, act, ledger,
        f"the store says OK to every other write for {LASTING_SECONDS:.0f} s and keeps nothing",
    )  # fmt: skip
    assert harm.store.struck["lie"] > before
    assert not await harm.unheld(), "a hold is confirmed that is not there"


async def test_uploads_that_are_cut_are_stored_once(harm: Harm, ledger: Ledger) -> None:
    before = harm.store.struck["cut"]

    async def act() -> float:
        with harm.store.on(harm.store.cutting(SHARE)):
            await harm.town.ask()
            await asyncio.sleep(LASTING_SECONDS)
        return time.monotonic()

    await _survives(
        harm, act, ledger,
        "the store loses the connection of every other write, in mid-upload or before its answer,"
        f" for {LASTING_SECONDS:.0f} s",
    )  # fmt: skip
    assert harm.store.struck["cut"] > before


async def test_a_slow_store_costs_no_footage(harm: Harm, ledger: Ledger) -> None:
    if harm.network is None:
        pytest.skip("no server: wants the server VIGIE_TEST_TOXIPROXY")
    network = harm.network

    async def act() -> float:
        network.toxic("latency", stream="downstream", latency=400, jitter=200)
        network.toxic("bandwidth", stream="upstream", rate=20)
        try:
            await asyncio.sleep(LASTING_SECONDS)
        finally:
            network.heal()
        return time.monotonic()

    await _survives(
        harm, act, ledger,
        f"the store answers 0.2 to 0.6 s later and takes 20 kB/s for {LASTING_SECONDS:.0f} s",
    )  # fmt: skip


async def test_a_store_that_is_away_for_long_costs_no_footage(harm: Harm, ledger: Ledger) -> None:
    if harm.network is None:
        pytest.skip("no server: wants the server VIGIE_TEST_TOXIPROXY")
    network = harm.network

    async def act() -> float:
        network.enable(enabled=False)
        try:
            await asyncio.sleep(AWAY_SECONDS)
        finally:
            network.enable(enabled=True)
        return time.monotonic()

    await _survives(harm, act, ledger, f"the object store is away for {AWAY_SECONDS:.0f} s")


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
            "all faults of store, database, disk, clock, certificates and steps, one after the"
            " other",
            "no byte is delivered without a durable record that precedes it and names person,"
            " camera and window; processes drain and end with 0; fsck --deep finds nothing",
            f"{count} deliveries (live, play, clip, package), {size / 1e6:.0f} MB",
        )
    )
