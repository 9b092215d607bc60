"""A store that is slow, busy, loses connections, or lies: nothing lost, nothing twice.

In the end, what is to be said of all faults of the installation that this file shares with
`test_state`, `test_local` and `test_steps`.
"""

from collections.abc import Callable
from typing import Final

import pytest

from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.services.harm import Harm
from faults.services.storefaults import Misbehaviour
from faults.services.test_services import IN_THE_END, WHOLE, costs_nothing, lasting, note
from integration.s3.between import Rule

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(7200 if LONG else 600),
]
LASTING_SECONDS: Final = 60.0 if LONG else 6.0
_FOR: Final = f"for {LASTING_SECONDS:.0f} s"
_FAULTS: Final[dict[str, tuple[str, Callable[[Misbehaviour], Rule], str]]] = {
    "busy to some": (
        "503",
        lambda store: store.busy(0.5),
        f"the store answers 503 to every other request {_FOR}",
    ),
    "busy to all": (
        "503",
        lambda store: store.busy(1.0),
        f"the store answers 503 to everybody {_FOR}",
    ),
    "slow": (
        "slow",
        lambda store: store.slow((0.2, 0.6), 20_000),
        f"the store answers 0.2 to 0.6 s later and takes 20 kB/s {_FOR}",
    ),
    "lost connections": (
        "cut",
        lambda store: store.cutting(0.5),
        f"the store loses the connection of every other write, midway or before its answer, {_FOR}",
    ),
    "lies": (
        "lie",
        lambda store: store.lying(0.5),
        f"the store says OK to every other write {_FOR} and keeps nothing",
    ),
}
"""Name -> what is counted, what is done, how it is told."""


@pytest.mark.parametrize("name", _FAULTS)
async def test_a_store_that_misbehaves_costs_no_footage(
    name: str, harm: Harm, ledger: Ledger
) -> None:
    """Meanwhile footage is stored, holds are placed, a package is made."""
    counted, rule, fault = _FAULTS[name]
    before = harm.store.struck[counted]

    act = lasting(harm.store.on(rule(harm.store)), LASTING_SECONDS)
    found = await costs_nothing(harm.town, act)
    struck = harm.store.struck[counted] - before
    assert struck > 0
    assert not await harm.vigie.unheld(), "a hold is confirmed that is not there"
    promise = f"{WHOLE}; a hold that is confirmed is there"
    note(ledger, fault, promise, found, f"{struck} requests")


async def test_in_the_end_every_delivery_is_on_record(harm: Harm, ledger: Ledger) -> None:
    """After all faults of this installation."""
    seen = await harm.town.in_the_end()
    fault = "all faults of one service, database, disk, clock and store, one after the other"
    ledger.note(Entry("services", fault, IN_THE_END, seen))
