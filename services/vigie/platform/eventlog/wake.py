"""Waking readers without polling."""

import asyncio


class WakeUp:
    """Wakes whoever waits for something new; nothing is lost between looking and waiting.

    Take a `ticket` *before* looking, look, and when there is nothing await the ticket: whatever
    came after the look has resolved it.
    """

    def __init__(self) -> None:
        self._ticket: asyncio.Future[None] | None = None

    def ticket(self) -> asyncio.Future[None]:
        """A future that the next `wake` resolves. Shared: do not cancel it."""
        if self._ticket is None or self._ticket.done():
            self._ticket = asyncio.get_running_loop().create_future()
        return self._ticket

    def wake(self) -> None:
        """Resolve the outstanding ticket."""
        if self._ticket is not None and not self._ticket.done():
            self._ticket.set_result(None)
        self._ticket = None


async def wait_for(ticket: asyncio.Future[None], timeout_seconds: float | None = None) -> bool:
    """Wait until ``ticket`` is resolved; false after the time-out. Never cancels the ticket."""
    done, _ = await asyncio.wait([ticket], timeout=timeout_seconds)
    return bool(done)
