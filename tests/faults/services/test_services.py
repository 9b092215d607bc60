"""Services apart on real servers, one broken after the other: nothing lost, nothing twice.

All faults strike one installation, in an order drawn by chance, while cameras are recorded, people
watch live and read timelines, and a package of evidence is being made. The long form adds pairs of
faults, drawn by chance, at the same time.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

import pytest

from e2e.callers import SPAN, stored_until, timelines
from e2e.callers import Entry as Listed
from e2e.harness import WALL, until
from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.services.processes import INGEST
from faults.services.town import NAMES, Survived, Town

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(7200 if LONG else 600),
]
ELSEWHERE: Final = ("registry", "access", "recording", "evidence", "audit", "gateway")
"""Services through which no footage comes in."""
RECEPTION_SECONDS: Final = 10.0 + 1.0
"""What the loss of an ingest process may cost a camera, and the key-frame interval in hand."""
AWAY_SECONDS: Final = 60.0 if LONG else 6.0
PAIRS: Final = 10
WHOLE: Final = "every frame sent is played once, as it was sent; what was listed still is"
IN_THE_END: Final = (
    "no byte is delivered without a durable record that precedes it and names person, camera and"
    " window; processes drain and end with 0; fsck --deep finds nothing; what was listed still is"
)
_CONSUMERS: Final = ("recording", "audit")
Act = Callable[[], Awaitable[float]]


def note(ledger: Ledger, fault: str, promise: str, found: Survived, seen: str = "") -> None:
    refused = f"{found.refusals} calls of people refused meanwhile"
    ledger.note(
        Entry(
            "services", fault, promise, f"{seen}; {refused}" if seen else refused,
            missing_seconds=found.missing_seconds, recovery_seconds=found.recovery_seconds,
        )
    )  # fmt: skip


async def costs_nothing(town: Town, act: Act) -> Survived:
    """A fault that leaves no gap."""
    found = await town.survive(act)
    assert not found.causes
    return found


def lasting(fault: AbstractContextManager[object], seconds: float) -> Act:
    """A fault that is there for so long."""

    async def act() -> float:
        with fault:
            await asyncio.sleep(seconds)
        return time.monotonic()

    return act


def killed(town: Town, service: str, chance: random.Random) -> Act:
    async def act() -> float:
        await asyncio.sleep(chance.uniform(0, 1))
        since = time.monotonic()
        await town.vigie.kill_one(service)
        await town.vigie.start_one(service)
        return since

    return act


@pytest.mark.parametrize("service", ELSEWHERE)
async def test_a_killed_service_costs_no_footage(
    service: str, town: Town, chance: random.Random, ledger: Ledger
) -> None:
    found = await costs_nothing(town, killed(town, service, chance))
    note(ledger, f"kill -9 of {service}; it is started again", WHOLE, found)


async def test_a_killed_ingest_process_comes_back(
    town: Town, chance: random.Random, ledger: Ledger
) -> None:
    found = await town.survive(killed(town, await town.owner(), chance))
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    await town.clean()
    promise = f"{WHOLE}, or is in a gap INGEST_DOWN; the checker is content"
    note(ledger, "kill -9 of an ingest process of two; it is started again", promise, found)


async def test_another_ingest_process_takes_over(
    town: Town, chance: random.Random, ledger: Ledger
) -> None:
    over_seconds, without = 0.0, 0.0

    async def act() -> float:
        nonlocal over_seconds, without
        dead = await town.owner()
        heir = next(name for name in INGEST if name != dead)
        before_us = town.settled_us
        await asyncio.sleep(chance.uniform(0, 1))
        since = time.monotonic()
        await town.vigie.kill_one(dead)
        await town.taken_over(heir)
        over_seconds, over_us = time.monotonic() - since, WALL.now_us()
        ends = await stored_until(town.vigie, NAMES, before_us, over_us)
        found = await timelines(town.vigie, NAMES, before_us, min(ends.values()))
        without = max(_missing_seconds(entries) for entries in found.values())
        await town.vigie.start_one(dead)
        return time.monotonic()

    found = replace(await town.survive(act), recovery_seconds=over_seconds)
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    await town.clean()
    promise = f"the other records its cameras; {WHOLE}, or is in a gap INGEST_DOWN of 11 s at most"
    seen = f"{without:.1f} s were missing as long as the dead process's spool could not be had"
    note(ledger, "kill -9 of an ingest process of two; it stays away", promise, found, seen)


def _missing_seconds(entries: list[Listed]) -> float:
    return sum(each.end_us - each.start_us for each in entries if each.kind != SPAN) / 1e6


def away(town: Town, name: str) -> Act:
    if town.proxies is None:
        pytest.skip("no server: wants the server VIGIE_TEST_TOXIPROXY")
    proxy = getattr(town.proxies, name)

    async def act() -> float:
        proxy.enable(enabled=False)
        try:
            await asyncio.sleep(AWAY_SECONDS)
        finally:
            proxy.enable(enabled=True)
        return time.monotonic()

    return act


@pytest.mark.parametrize("server", ["store", "database"])
async def test_a_server_that_is_away_costs_no_footage(
    server: str, town: Town, ledger: Ledger
) -> None:
    found = await costs_nothing(town, away(town, server))
    what = {"store": "the object store", "database": "PostgreSQL"}[server]
    note(ledger, f"{what} is away for {AWAY_SECONDS:.0f} s", WHOLE, found)


async def test_events_delivered_twice_take_effect_once(town: Town, ledger: Ledger) -> None:
    """The positions of consumers are set back to the beginning: everything is delivered again."""
    again = 0

    async def act() -> float:
        nonlocal again
        before = await timelines(town.vigie, NAMES, town.begun_us, town.settled_us)
        since = time.monotonic()
        for service in _CONSUMERS:
            await town.vigie.kill_one(service)
        reached = {service: await _positions(town, service) for service in _CONSUMERS}
        for service in _CONSUMERS:
            await town.vigie.database(
                f'UPDATE {service}.consumer_position SET "offset" = -1 RETURNING topic'
            )
        await asyncio.gather(*(town.vigie.start_one(service) for service in _CONSUMERS))

        async def caught_up() -> bool:
            for service in _CONSUMERS:
                now = await _positions(town, service)
                if any(now[key] < offset for key, offset in reached[service].items()):
                    return False
            return True

        await until(caught_up, "everything is delivered again")
        again = sum(offset + 1 for told in reached.values() for offset in told.values())
        assert await timelines(town.vigie, NAMES, town.begun_us, town.settled_us) == before
        for service in _CONSUMERS:
            assert not await town.vigie.database(f"SELECT * FROM {service}.consumer_quarantine")
        return since

    found = await costs_nothing(town, act)
    assert again > 0
    promise = f"each takes effect once, timelines stay as they were; {WHOLE}"
    fault = "every event is delivered again to recording and audit"
    note(ledger, fault, promise, found, f"{again} events")


async def _positions(town: Town, service: str) -> dict[tuple[object, ...], int]:
    rows = await town.vigie.database(
        f'SELECT topic, "group", partition, "offset" FROM {service}.consumer_position'
    )
    return {tuple(row[:3]): int(str(row[3])) for row in rows}


@pytest.mark.skipif(not LONG, reason="pairs of faults belong to the long form")
async def test_pairs_of_faults(town: Town, chance: random.Random, ledger: Ledger) -> None:
    for _ in range(PAIRS):
        acts = {f"kill -9 of {name}": killed(town, name, chance) for name in ELSEWHERE}
        acts["kill -9 of an ingest process"] = killed(town, await town.owner(), chance)
        if town.proxies is not None:
            acts["the object store is away"] = away(town, "store")
            acts["PostgreSQL is away"] = away(town, "database")
        names = chance.sample(sorted(acts), 2)
        await _pair(town, names, [acts[name] for name in names], ledger)


async def _pair(town: Town, names: list[str], acts: list[Act], ledger: Ledger) -> None:
    async def act() -> float:
        return max(await asyncio.gather(*(each() for each in acts)))

    found = await town.survive(act)
    received = any("ingest" in name for name in names)
    assert found.causes <= ({"INGEST_DOWN"} if received else set()), names
    assert found.missing_seconds <= RECEPTION_SECONDS, names
    await town.clean()
    note(ledger, f"at the same time: {' and '.join(names)}", WHOLE, found)


async def test_in_the_end_the_checker_finds_nothing(town: Town, ledger: Ledger) -> None:
    """After all of them."""
    seen = await town.in_the_end()
    ledger.note(Entry("services", "all of these, one after the other", IN_THE_END, seen))
