"""A process that is paused and wakes up: others have its cameras, and it does not know yet.

It has an installation of its own: what it leaves behind must not be taken for another fault's.
"""

import asyncio
import signal
import time
from typing import Final

import pytest

from faults.ledger import Ledger
from faults.services.processes import INGEST
from faults.services.test_services import IN_THE_END, RECEPTION_SECONDS, WHOLE, note
from faults.services.town import Town

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
]
SESSION_SECONDS: Final = 6.0


async def test_a_paused_ingest_process_does_no_harm(town: Town, ledger: Ledger) -> None:
    """It is taken for dead, another records its cameras; then it wakes up and goes on for a bit."""

    async def act() -> float:
        paused = await town.owner()
        heir = next(name for name in INGEST if name != paused)
        since = time.monotonic()
        town.vigie.signal_one(paused, signal.SIGSTOP)
        try:
            await town.taken_over(heir)
            await asyncio.sleep(max(0.0, since + SESSION_SECONDS + 2 - time.monotonic()))
        finally:
            town.vigie.signal_one(paused, signal.SIGCONT)
        return time.monotonic()

    found = await town.survive(act)
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    seen = f"{found.joins} joins of runs that overlap; {await town.in_the_end()}"
    promise = (
        f"the other records its cameras; {WHOLE}, or is in a gap INGEST_DOWN of 11 s at most;"
        f" in the end {IN_THE_END}"
    )
    fault = "an ingest process of two is paused for longer than the session time-out, and wakes up"
    note(ledger, fault, promise, found, seen)
