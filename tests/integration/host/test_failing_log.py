"""Invariant I5: when the log fails, at whatever step, nothing leaves."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.platform.host.probe import PERMISSION, Probe, ProbeStub, binding, window
from vigie.audit.module import AuditModule
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.database.embedded import FAULT_POINTS as DATABASE_POINTS
from vigie.platform.eventlog import Quarantine, open_event_log
from vigie.platform.eventlog import embedded as embedded_log
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints, StrikingFaults, raise_errno
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.testing import caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.paging import Tokens

POINTS = (*DATABASE_POINTS, *getattr(embedded_log, "FAULT_POINTS", ()))
CALLERS = {
    "token": caller_with("person-1", PERMISSION, zones=["zone-a"]),
    "elsewhere": caller_with("person-2", PERMISSION, zones=["zone-b"]),
}


class LateFaults:
    """Faults that begin when the test says so: the start of the product must work."""

    def __init__(self) -> None:
        self.faults: FaultPoints = NO_FAULTS

    def reach(self, name: str) -> None:
        self.faults.reach(name)


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@pytest.mark.parametrize("point", POINTS)
async def test_nothing_leaves_when_the_log_fails_at(point: str, tmp_path: Path) -> None:
    wall, monotonic = SystemWallClock(), SystemMonotonicClock()
    faults = LateFaults()
    database = await open_database(tmp_path / "vigie.db", faults=faults)
    event_log = await open_event_log(database, wall, faults=faults)
    module = AuditModule(
        database=database,
        event_log=event_log,
        quarantine=Quarantine(database, wall, event_log),
        wall_clock=wall,
        monotonic_clock=monotonic,
        metrics=MetricsRegistry(),
        tokens=Tokens(b"k" * 32),
    )
    await module.start()
    # Only the accesses themselves write from here on.
    await module.stop(timeout_seconds=2)
    probe = Probe()
    async with running_host([binding(probe)], CALLERS, recorder=module.recorder) as host:
        faults.faults = StrikingFaults(point, raise_errno(28), times=None)
        struck: StrikingFaults = faults.faults
        for token in ("token", "elsewhere"):
            for method in ("Look", "Play"):
                stub: Any = ProbeStub(host.channel(token))
                call = getattr(stub, method)(window())
                received: list[Any] = []
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    received.append(await (call.read() if method == "Play" else call))
                assert received == []
                error = ClientError.of(caught.value)
                assert (error.code, error.reason) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "ACCESS_NOT_RECORDED",
                )
        assert struck.strikes >= 4
        faults.faults = NO_FAULTS
        stub = ProbeStub(host.channel("token"))
        assert (await stub.Look(window())).text == "here"
    await event_log.close()
    await database.close()
