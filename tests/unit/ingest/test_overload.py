"""How late the receiving threads are is seen in a metric, for long enough to be asked for."""

from vigie.ingest.overload import LagGauge
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.metrics import MetricsRegistry

LAG = "vigie_ingest_tick_lag_seconds"


class Ticking:
    def __init__(self) -> None:
        self.lags_us: list[int] = []

    def take_tick_lag_us(self) -> int:
        return self.lags_us.pop(0)


async def test_the_worst_of_the_last_minute_is_shown() -> None:
    one, two, clock, registry = Ticking(), Ticking(), ManualMonotonicClock(), MetricsRegistry()
    gauge = LagGauge([one, object(), two], clock, registry)
    shown = []
    for lag_us in (1000, 3_000_000, 200_000, *[1000] * 13):
        one.lags_us, two.lags_us = [lag_us], [500]
        gauge.measure()
        shown.append(registry.value(LAG))
        await clock.advance(5)
    assert shown[:4] == [0.001, 3.0, 3.0, 3.0]
    assert shown[13:15] == [3.0, 0.2], "twelve times five seconds later it is forgotten"
    assert shown[15] == 0.001
