"""Services apart on three brokers of the tests' own: the event log is broken in every way.

Brokers are killed and paused, the network to them is cut, slowed and reset, foreigners write to the
topics. One installation for all, which starts with nothing to mend before each fault.
"""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest
import pytest_asyncio

from e2e.callers import timelines
from e2e.harness import until
from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.services import foreign
from faults.services.brokers import BROKERS, CONTROLLER, EVERYBODY, Cluster
from faults.services.logacts import AWAY_SECONDS, PAUSE_SECONDS, alone, brokers_killed, cut, goes_on
from faults.services.processes import INGEST
from faults.services.test_services import (
    IN_THE_END,
    RECEPTION_SECONDS,
    WHOLE,
    Act,
    costs_nothing,
    killed,
    note,
)
from faults.services.town import NAMES, PATIENCE_SECONDS, Town
from vigie.topics import TOPICS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(7200 if LONG else 900),
]
PAIRS: Final = 8
_DELAY_MS, _JITTER_MS, _RESET_MS = 300, 100, 200
_FEW: Final = 3
"""So many copies has every partition."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def brokers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    cluster = Cluster.given(tmp_path_factory.mktemp("brokers"), (EVERYBODY, *INGEST, "recording"))
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def whole(town: Town, brokers: Cluster) -> AsyncIterator[None]:
    """No fault meets what another has left: every copy is in sync, nothing is cut or dead."""

    async def in_sync() -> bool:
        return set(await brokers.copies(town.vigie.topic_prefix)) == {_FEW}

    await until(in_sync, "every copy is in sync", seconds=PATIENCE_SECONDS)
    yield
    await brokers.mend()


def proxied(brokers: Cluster) -> Cluster:
    if not brokers.proxied:
        pytest.skip("no server: wants the server VIGIE_TEST_TOXIPROXY")
    return brokers


# --- brokers --------------------------------------------------------------------------------------


async def test_one_broker_of_three_is_not_missed(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    node = chance.choice(BROKERS)
    without = 0.0

    async def act() -> float:
        nonlocal without
        since = time.monotonic()
        await brokers.kill(node)
        await goes_on(town)
        await town.all_is_well(time.monotonic())
        without = time.monotonic() - since
        await asyncio.sleep(max(0.0, AWAY_SECONDS - without))
        await brokers.begin(node)
        return time.monotonic()

    found = await costs_nothing(town, act)
    seen = (
        f"without it, footage of after its end was listed and everything well after {without:.1f} s"
    )
    fault = "kill -9 of a broker of three; it is started again with its data"
    note(ledger, fault, f"two brokers do its work; {WHOLE}", found, seen)


async def test_all_brokers_are_killed(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    found = await costs_nothing(town, brokers_killed(brokers, (*BROKERS, CONTROLLER), chance))
    fault = f"kill -9 of all brokers and their controller, for {AWAY_SECONDS:.0f} s"
    note(ledger, fault, f"they start with their data; {WHOLE}", found)


async def test_brokers_refuse_what_too_few_would_keep(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    nodes = chance.sample(BROKERS, 2)

    async def act() -> float:
        await alone(town, brokers, nodes)
        await asyncio.sleep(AWAY_SECONDS)
        await brokers.begin(*nodes)
        return time.monotonic()

    found = await costs_nothing(town, act)
    fault = f"two brokers of three are dead: writes are refused for {AWAY_SECONDS:.0f} s"
    note(ledger, fault, f"what is refused waits; {WHOLE}", found)


async def test_ingest_is_killed_while_the_log_refuses(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    nodes = chance.sample(BROKERS, 2)
    refused_seconds = 0.0

    async def act() -> float:
        nonlocal refused_seconds
        dead = await town.owner()
        await alone(town, brokers, nodes)
        await asyncio.sleep(chance.uniform(1, AWAY_SECONDS / 2))
        since = time.monotonic()
        await town.vigie.kill_one(dead)
        starting = asyncio.create_task(town.vigie.start_one(dead))
        await asyncio.sleep(AWAY_SECONDS / 2)
        await brokers.begin(*nodes)
        refused_seconds = time.monotonic() - since
        await starting
        return since + refused_seconds

    found = await town.survive(act)
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= refused_seconds + RECEPTION_SECONDS
    await foreign.clean(town)
    seen = f"writes were refused for another {refused_seconds:.1f} s after its end"
    fault = "kill -9 of an ingest process while brokers refuse writes; it is started again"
    promise = f"what it had received is stored; {WHOLE}, or is in a gap INGEST_DOWN"
    note(ledger, fault, promise, found, seen)


async def test_a_broker_is_paused(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    node = chance.choice(BROKERS)

    async def act() -> float:
        brokers.signal(node, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            brokers.signal(node, signal.SIGCONT)
        return time.monotonic()

    found = await costs_nothing(town, act)
    fault = (
        f"a broker of three is paused for {PAUSE_SECONDS:.0f} s, beyond its session, and wakes up"
    )
    note(ledger, fault, WHOLE, found)


# --- the network to them --------------------------------------------------------------------------


async def test_everybody_is_cut_off(town: Town, brokers: Cluster, ledger: Ledger) -> None:
    roads = proxied(brokers).roads.values()

    async def act() -> float:
        for road in roads:
            road.cut()
        await asyncio.sleep(AWAY_SECONDS)
        for road in roads:
            road.mend()
        return time.monotonic()

    found = await costs_nothing(town, act)
    note(ledger, f"every service is cut off from the log for {AWAY_SECONDS:.0f} s", WHOLE, found)


async def test_one_ingest_process_is_cut_off(town: Town, brokers: Cluster, ledger: Ledger) -> None:
    proxied(brokers)
    over_seconds = 0.0

    async def act() -> float:
        nonlocal over_seconds
        lonely = await town.owner()
        heir = next(name for name in INGEST if name != lonely)
        since = time.monotonic()
        brokers.roads[lonely].cut()
        try:
            await town.taken_over(heir)
            over_seconds = time.monotonic() - since
            await asyncio.sleep(max(0.0, PAUSE_SECONDS - over_seconds))
        finally:
            brokers.roads[lonely].mend()
        return time.monotonic()

    found = await costs_nothing(town, act)
    await foreign.clean(town)
    seen = f"taken over after {over_seconds:.1f} s, {found.joins} joins of runs that overlap"
    fault = "an ingest process of two is cut off from the log, for longer than its session"
    promise = f"it goes on recording, and the other does, too; {WHOLE}"
    note(ledger, fault, promise, found, seen)


async def test_recording_is_cut_off(town: Town, brokers: Cluster, ledger: Ledger) -> None:
    found = await costs_nothing(town, cut(proxied(brokers), "recording"))
    fault = f"the recording service is cut off from the log for {PAUSE_SECONDS:.0f} s"
    note(ledger, fault, WHOLE, found)


async def test_the_log_answers_late(town: Town, brokers: Cluster, ledger: Ledger) -> None:
    roads = proxied(brokers).roads.values()

    async def act() -> float:
        for road in roads:
            road.delay(_DELAY_MS, _JITTER_MS)
        since = time.monotonic()
        try:
            await goes_on(town)
            await town.all_is_well(time.monotonic())
            await asyncio.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - since)))
        finally:
            for road in roads:
                road.mend()
        return time.monotonic()

    found = await costs_nothing(town, act)
    fault = f"every answer of the log comes {_DELAY_MS} ms later, give or take {_JITTER_MS}"
    note(ledger, fault, f"everything goes on meanwhile; {WHOLE}", found)


async def test_answers_of_the_log_are_lost(town: Town, brokers: Cluster, ledger: Ledger) -> None:
    """What is asked of the brokers reaches them; instead of the answer comes a reset."""
    roads = proxied(brokers).roads.values()

    async def act() -> float:
        for road in roads:
            road.reset(_RESET_MS)
        try:
            await asyncio.sleep(AWAY_SECONDS)
        finally:
            for road in roads:
                road.mend()
        return time.monotonic()

    found = await costs_nothing(town, act)
    fault = f"brokers are asked, connections are reset before the answer, for {AWAY_SECONDS:.0f} s"
    note(ledger, fault, f"what is sent again is stored once; {WHOLE}", found)


# --- what stands in it ----------------------------------------------------------------------------


async def test_what_cannot_be_parsed_is_put_away(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    """A foreigner writes to every topic; the rest goes on; people look at it and drop it."""
    camera, count = chance.choice(NAMES), 0
    records = [
        *(
            foreign.nonsense(topic, camera, kind, chance)
            for topic, kind in foreign.MESSAGES.items()
        ),
        foreign.formless("accesses", None, chance),  # compacted topics take none without key
        foreign.formless("segments", camera, chance),
    ]

    async def put_away() -> bool:
        found = {service: await foreign.standing(town, service) for service in foreign.READ}
        return found == {
            service: sum(one.topic in topics for one in records)
            for service, topics in foreign.READ.items()
        }

    async def act() -> float:
        nonlocal count
        chance.shuffle(records)
        await foreign.write(brokers, town.vigie.topic_prefix, records)
        await until(put_away, "it is put away")
        await goes_on(town)
        count = await foreign.look_and_drop(town, records)
        since = time.monotonic()
        await foreign.told_anew(town, camera)
        return since

    found = await costs_nothing(town, act)
    await foreign.clean(town)
    promise = (
        "consumers put it away and go on, the metric rises, the command shows and drops it;"
        f" a camera keeps its last good state until it is told anew; {WHOLE}"
    )
    fault = "messages that cannot be parsed stand on every topic that is read"
    note(ledger, fault, promise, found, f"{count} put away and dropped")


async def test_events_again_in_disorder_change_nothing(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    """Everything that stands in the log is written to it again, shuffled within each topic."""
    again = 0

    async def act() -> float:
        nonlocal again
        before = await timelines(town.vigie, NAMES, town.begun_us, town.settled_us)
        names = [topic.name for topic in TOPICS]
        again = await foreign.again_in_disorder(brokers, town.vigie.topic_prefix, names, chance)
        since = time.monotonic()
        await goes_on(town)
        assert await timelines(town.vigie, NAMES, town.begun_us, town.settled_us) == before
        assert not [service for service in foreign.READ if await foreign.standing(town, service)]
        # Of a compacted topic the log keeps what was written last, an older state now.
        for camera in NAMES:
            await foreign.told_anew(town, camera)
        return since

    found = await town.survive(act)
    assert again > 0
    assert not found.causes
    await foreign.clean(town)
    fault = "everything in the log is written to it once more, in another order"
    promise = f"no camera goes back to an older state, timelines stay as they were; {WHOLE}"
    note(ledger, fault, promise, found, f"{again} events")


# --- together -------------------------------------------------------------------------------------


@pytest.mark.skipif(not LONG, reason="pairs of faults belong to the long form")
async def test_pairs_with_the_log(
    town: Town, brokers: Cluster, chance: random.Random, ledger: Ledger
) -> None:
    for _ in range(PAIRS):
        nodes = tuple(chance.sample(BROKERS, 2))
        logs = {
            "kill -9 of a broker of three": brokers_killed(brokers, nodes[:1], chance),
            "kill -9 of two brokers of three": brokers_killed(brokers, nodes, chance),
            "kill -9 of all brokers": brokers_killed(brokers, BROKERS, chance),
        }
        if brokers.proxied:
            logs["recording is cut off from the log"] = cut(brokers, "recording")
        others = ("registry", "access", "recording", "evidence", "audit", "gateway")
        service = chance.choice((*others, await town.owner()))
        name = chance.choice(sorted(logs))
        await _pair(town, (name, service), (logs[name], killed(town, service, chance)), ledger)


async def _pair(town: Town, names: tuple[str, str], acts: Sequence[Act], ledger: Ledger) -> None:
    async def act() -> float:
        return max(await asyncio.gather(*(each() for each in acts)))

    received = names[1] in INGEST
    found = await town.survive(act)
    assert found.causes <= ({"INGEST_DOWN"} if received else set()), names
    longest = AWAY_SECONDS + 3 * RECEPTION_SECONDS if received else 0.0
    assert found.missing_seconds <= longest, names
    await foreign.clean(town)
    who = "an ingest process" if received else names[1]
    note(ledger, f"at the same time: {names[0]}, and kill -9 of {who}", WHOLE, found)


async def test_in_the_end_the_log_has_lost_nothing(
    town: Town, brokers: Cluster, ledger: Ledger
) -> None:
    """After all of them: deliveries are on record, and index, bucket and log agree."""
    assert not brokers.dead()
    seen = await town.in_the_end(lambda report: not foreign.unexpected(report))
    fault = "all faults of the event log, one after the other"
    ledger.note(Entry("services", fault, f"{IN_THE_END}, but what foreigners wrote", seen))
