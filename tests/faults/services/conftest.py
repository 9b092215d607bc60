"""One installation for all faults; they come in an order that chance draws."""

import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from faults.conftest import SEED
from faults.services.brokers import EVERYBODY, Cluster
from faults.services.harm import Harm, harmed
from faults.services.processes import Services
from faults.services.town import Proxies, Town, at_work

_HERE = Path(__file__).parent
_LAST = "test_in_the_end_"
_ALONE = (
    "test_pause.py", "test_log.py", "test_state.py", "test_local.py", "test_steps.py",
    "test_store.py", "test_upgrade.py",
)  # fmt: skip
"""Files whose tests have another installation, in their order; the four before the last share
one."""
DRAW: Final = int(os.environ.get("VIGIE_FAULTS_DRAW") or 0)
"""So many faults of those that one installation suffers, and no others: for CI. 0: all."""
_ORDER = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Faults in the order of the seed, then what is to be said of all of them together."""
    places = [place for place, item in enumerate(items) if item.path.parent == _HERE]
    mine = sorted((items[place] for place in places), key=lambda item: item.nodeid)
    random.Random(SEED).shuffle(mine)
    mine.sort(key=lambda item: (_turn(item), item.name.startswith(_LAST)))
    for place, item in zip(places, mine, strict=True):
        items[place] = item
    if DRAW:
        mine = _drawn(mine)
        dropped = {item.nodeid for place in places if (item := items[place]) not in mine}
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid in dropped])
        items[:] = [item for item in items if item.nodeid not in dropped]
    config.stash[_ORDER] = [item.name for item in mine]


def _drawn(mine: list[pytest.Item]) -> list[pytest.Item]:
    """The first so many faults of the installation that most share, and its end."""
    shared = [item for item in mine if _turn(item) == 0]
    faults = [item for item in shared if not item.name.startswith(_LAST)]
    return [*faults[:DRAW], *shared[len(faults) :]]


def _turn(item: pytest.Item) -> int:
    """An installation after the other: what has one of its own stays together."""
    return _ALONE.index(item.path.name) + 1 if item.path.name in _ALONE else 0


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    """The order, so that it is seen when a fault shows only after another."""
    return "order of faults: " + ", ".join(config.stash.get(_ORDER, []))


@pytest.fixture(scope="module")
def proxies() -> Iterator[Proxies | None]:
    """Proxies before the store and the database."""
    made = Proxies.before(os.environ)
    yield made
    if made is not None:
        made.close()


@pytest.fixture(scope="module")
def brokers() -> Cluster | None:
    """Brokers of the tests' own; ``None``: those of the environment."""
    return None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(
    tmp_path_factory: pytest.TempPathFactory,
    simulated_footage: Path,
    proxies: Proxies | None,
    brokers: Cluster | None,
) -> AsyncIterator[Town]:
    """The installation at work."""
    folder = tmp_path_factory.mktemp("town")
    given = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        if proxies is not None:
            proxies.stand_in(patch, given)
        if brokers is not None:
            patch.setenv("VIGIE_TEST_KAFKA", ",".join(brokers.roads[EVERYBODY].bootstrap))
        vigie = Services(folder / "vigie", brokers)
    async with at_work(vigie, folder, simulated_footage, proxies) as town:
        yield town


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def harm(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path
) -> AsyncIterator[Harm]:
    """The installation at work of which everything can be harmed; one for several files."""
    async with harmed(tmp_path_factory.mktemp("harm"), simulated_footage, SEED) as made:
        yield made
