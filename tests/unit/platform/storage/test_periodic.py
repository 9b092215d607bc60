import asyncio

from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.periodic import Periodic


async def test_work_is_done_every_so_often_and_failures_are_said_until_they_pass() -> None:
    clock = ManualMonotonicClock()
    turns: list[int] = []

    async def work() -> None:
        turns.append(clock.now_us() // 1_000_000)
        if len(turns) == 2:
            raise OSError(28, "No space left on device")

    periodic = Periodic("upkeep", work, clock, interval_seconds=60, at_start=True)
    await periodic.start()
    assert turns == [0]
    await asyncio.sleep(0)  # the task goes to sleep on the clock
    await clock.advance(59)
    assert turns == [0]
    await clock.advance(1)
    assert turns == [0, 60]
    assert periodic.not_ready() == "upkeep: [Errno 28] No space left on device"
    await clock.advance(60)
    assert turns == [0, 60, 120]
    assert periodic.not_ready() is None
    await periodic.stop(timeout_seconds=1)
    await clock.advance(600)
    assert len(turns) == 3
    assert (periodic.name, periodic.services()) == ("upkeep", ())
