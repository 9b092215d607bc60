"""What a process has for itself fails: the disk of a spool, a clock, a certificate."""

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc.aio
import pytest

from e2e import proof
from e2e.callers import SPAN, play, timelines
from e2e.harness import WALL, until
from faults.conftest import LONG
from faults.ledger import Ledger
from faults.services.harm import Harm
from faults.services.test_services import WHOLE, costs_nothing, note
from faults.services.town import NAMES
from vigie.platform.grpc.client import ClientError

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(7200 if LONG else 600),
]
LASTING_SECONDS: Final = 60.0 if LONG else 6.0
HOUR_US: Final = 3_600_000_000
STEP_US: Final = 1_000
STEP_SECONDS: Final = 0.2
VALID: Final = dt.timedelta(seconds=4)
_EXPIRY: Final = 'vigie_tls_certificate_expiry_timestamp_seconds{section="tls"}'


# --- disk -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "cause"), [("full", "SPOOL_FULL"), ("read-only", "STORE_REFUSED")]
)
async def test_a_spool_that_takes_nothing(
    state: str, cause: str, harm: Harm, ledger: Ledger
) -> None:
    ingest = await harm.town.owner()
    disk = harm.vigie.disks[ingest]

    async def act() -> float:
        with disk.full() if state == "full" else disk.read_only():

            async def told() -> bool:
                return "ingest" in await harm.vigie.not_ready(ingest)

            await until(told, "it says that it does not record")
            await asyncio.sleep(2)
        return time.monotonic()

    found = await harm.town.survive(act)
    assert found.causes == {cause}
    fault = f"the disk of one ingest process's spool is {state} for some seconds"
    promise = f"it says so; {WHOLE}, or is in a gap {cause}"
    note(ledger, fault, promise, found, "" if disk.mounted else "by its fault points")


# --- clock ----------------------------------------------------------------------------------------


async def test_the_clock_of_one_ingest_process_jumps(harm: Harm, ledger: Ledger) -> None:
    """Its footage bears the times of its clock, and is all there."""
    ingest, camera = await harm.town.owner(), NAMES[0]
    start_us = 0

    async def act() -> float:
        nonlocal start_us
        start_us = harm.town.settled_us
        harm.vigie.set_clock(ingest, HOUR_US)
        await asyncio.sleep(LASTING_SECONDS)
        harm.vigie.set_clock(ingest, 0)
        return time.monotonic()

    with harm.vigie.witness.clocks_wrong():
        found = await harm.town.survive(act)
    assert found.causes <= {"CLOCK_JUMP"}
    now = await _numbers(harm, camera, start_us, harm.town.settled_us)
    then = await _numbers(harm, camera, start_us + HOUR_US, harm.town.settled_us + HOUR_US)
    assert then
    assert not proof.breaks(sorted({*now, *then})), "a frame is at neither time"
    fault = (
        "the clock of one ingest process jumps ahead by an hour, and back by an hour after"
        f" {LASTING_SECONDS:.0f} s"
    )
    promise = "runs end and begin, cause CLOCK_JUMP; no frame is lost"
    seen = f"{len(then)} frames at the time that its clock told; missing at the true time"
    note(ledger, fault, promise, found, seen)


async def _numbers(harm: Harm, camera: str, start_us: int, end_us: int) -> list[int]:
    """Frames that are listed in a window, which may lie ahead of now."""
    told = await timelines(harm.vigie, [camera], start_us, end_us)
    spans = [entry for entry in told[camera] if entry.kind == SPAN]
    played = [await _played(harm, camera, span.start_us, span.end_us) for span in spans]
    return [each.frame.mark.decode_number for some in played for each in some]


async def _played(harm: Harm, camera: str, start_us: int, end_us: int) -> list[proof.Timed]:
    return proof.timed_of_play((await play(harm.vigie, camera, start_us, end_us)).fragments)


async def test_the_clock_of_one_ingest_process_drifts(harm: Harm, ledger: Ledger) -> None:
    """By 5 ms a second, ten times what a time service may slew; then it comes back as slowly."""
    ingest, steps = await harm.town.owner(), round(LASTING_SECONDS / STEP_SECONDS)
    start_us = harm.town.settled_us

    async def act() -> float:
        for step in (*range(steps), *reversed(range(steps))):
            harm.vigie.set_clock(ingest, step * STEP_US)
            await asyncio.sleep(STEP_SECONDS)
        return time.monotonic()

    with harm.vigie.witness.clocks_wrong():
        found = await costs_nothing(harm.town, act)
    frames = await _played(harm, NAMES[0], start_us, harm.town.settled_us)
    worst_us = max(abs(each.error_us) for each in frames)
    drift_us = steps * STEP_US
    fault = f"the clock of one ingest process drifts by {drift_us // 1000} ms, and back"
    note(ledger, fault, WHOLE, found, f"times of frames are wrong by {worst_us // 1000} ms at most")


# --- certificates ---------------------------------------------------------------------------------


async def test_a_certificate_that_expires(harm: Harm, ledger: Ledger) -> None:
    """While it runs; the gateway has to connect anew. A new certificate is all that is needed."""
    service, vigie = "recording", harm.vigie

    async def act() -> float:
        with _short(harm, service):
            await vigie.says(service, "CERTIFICATE_EXPIRED")
            await vigie.kill_one("gateway")
            await vigie.start_one("gateway")
            await until(lambda: _unreachable(harm), f"nobody connects to {service}")
            assert 0 < await vigie.metric(service, _EXPIRY) < time.time()
        return time.monotonic()

    found = await costs_nothing(harm.town, act)
    assert await vigie.metric(service, _EXPIRY) > time.time()
    fault = f"the certificate of {service} expires while it runs, and is renewed"
    promise = (
        "readiness says CERTIFICATE_EXPIRED, a metric when; who connects anew is told"
        f" SERVICE_UNREACHABLE; after renewal it works without a restart; {WHOLE}"
    )
    note(ledger, fault, promise, found)


@contextmanager
def _short(harm: Harm, service: str) -> Iterator[None]:
    """A certificate that lasts for seconds; afterwards a good one."""
    harm.vigie.authority.service(service, lasting=VALID)
    try:
        yield
    finally:
        harm.vigie.authority.service(service)


async def _unreachable(harm: Harm) -> bool:
    try:
        await timelines(harm.vigie, NAMES, WALL.now_us() - 1_000_000)
    except grpc.aio.AioRpcError as error:
        return ClientError.of(error).reason == "SERVICE_UNREACHABLE"
    return False
