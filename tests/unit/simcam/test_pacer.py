import asyncio

from vigie.platform.clock import ManualMonotonicClock, SystemMonotonicClock
from vigie.simcam.pacer import Pacer


class Metronome:
    def __init__(self, period_us: int, beats: int) -> None:
        self.period_us, self.left = period_us, beats
        self.due_us = 0
        self.played: list[int] = []
        self.over = asyncio.Event()

    def step(self, now_us: int) -> int | None:
        self.played.append(self.due_us)
        self.due_us += self.period_us
        self.left -= 1
        if self.left == 0:
            self.over.set()
            return None
        return self.due_us


async def test_everything_due_is_stepped_in_order_and_the_finished_is_forgotten() -> None:
    pacer = Pacer(ManualMonotonicClock(), 10_000)
    fast, slow = Metronome(10, 100), Metronome(30, 3)
    pacer.add(slow, 0)
    pacer.add(fast, 0)
    pacer.pump(200)
    assert pacer.take_worst_lateness_us() == 200
    assert pacer.take_worst_lateness_us() == 0
    assert fast.played == list(range(0, 210, 10))
    assert slow.played == [0, 30, 60]
    pacer.pump(199)
    assert len(fast.played) == 21
    pacer.stop()
    pacer.pump(10_000)
    assert len(fast.played) == 21


async def test_the_timer_serves_several_and_can_be_joined_late() -> None:
    clock = SystemMonotonicClock()
    pacer = Pacer(clock, 1000)
    first = Metronome(3000, 5)
    first.due_us = clock.now_us() + 50_000
    pacer.add(first, first.due_us)
    second = Metronome(2000, 5)
    second.due_us = clock.now_us()
    pacer.add(second, second.due_us)
    await second.over.wait()
    assert not first.played
    await first.over.wait()
    assert len(first.played) == 5
    pacer.stop()
