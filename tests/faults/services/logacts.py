"""What is done to the event log of an installation on brokers of the tests' own."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from e2e.callers import stored_until
from e2e.harness import WALL, until
from faults.conftest import LONG
from faults.services.brokers import Cluster
from faults.services.test_services import Act
from faults.services.town import NAMES, PATIENCE_SECONDS, Town

AWAY_SECONDS: Final = 120.0 if LONG else 6.0
PAUSE_SECONDS: Final = 60.0 if LONG else 8.0
"""Above the session time-out of brokers (3 s) and that of members (6 s)."""


async def goes_on(town: Town) -> None:
    """Footage of now is listed while the fault lasts."""
    await stored_until(town.vigie, NAMES, town.settled_us, WALL.now_us())


def brokers_killed(brokers: Cluster, nodes: Sequence[int], chance: random.Random) -> Act:
    async def act() -> float:
        await asyncio.sleep(chance.uniform(0, 1))
        await brokers.kill(*nodes)
        try:
            await asyncio.sleep(AWAY_SECONDS)
        finally:
            await brokers.begin(*nodes)
        return time.monotonic()

    return act


async def alone(town: Town, brokers: Cluster, nodes: Sequence[int]) -> None:
    """Kill two brokers, and wait until the last refuses writes."""

    async def refuses() -> bool:
        return set(await brokers.copies(town.vigie.topic_prefix)) == {1}

    await brokers.kill(*nodes)
    await until(refuses, "fewer copies are in sync than must be", seconds=PATIENCE_SECONDS)


def cut(brokers: Cluster, road: str) -> Act:
    async def act() -> float:
        brokers.roads[road].cut()
        try:
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            brokers.roads[road].mend()
        return time.monotonic()

    return act
