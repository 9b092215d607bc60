"""The database and a camera: each fails, nothing is lost.

With `test_local`, `test_steps` and `test_store` these share one installation, on which each fault
strikes in turn while people watch, play, save clips and fetch packages.
"""

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc.aio
import pytest

from e2e.callers import timelines, window
from e2e.harness import until
from faults.conftest import LONG
from faults.ledger import Ledger
from faults.services.harm import STATEFUL, Harm
from faults.services.test_services import WHOLE, costs_nothing, lasting, note
from faults.services.town import NAMES
from faults.services.wire import Wire
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.platform.grpc.client import ClientError
from vigie.simcam import FAULTS, Fault, FaultParameters

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(7200 if LONG else 600),
]
LASTING_SECONDS: Final = 60.0 if LONG else 6.0
_READERS: Final = 12
"""More than recording has connections."""
_EXHAUSTED: Final = 'vigie_database_failures_total{code="POOL_EXHAUSTED"}'
_WIRES: Final = {
    "cut": "is cut",
    "hang": "lets nothing through",
    "delay": "takes 0.2 s more, each way,",
}
_MISDEEDS: Final = (
    Fault.UNREACHABLE, Fault.NOT_FOUND, Fault.UNAVAILABLE, Fault.DROP_CONNECTION, Fault.SILENT,
    Fault.SILENT_WITH_RTCP, Fault.LOSE_PACKETS, Fault.REORDER_PACKETS, Fault.DUPLICATE_PACKETS,
    Fault.WRONG_SEQUENCE, Fault.CHANGE_PARAMETERS, Fault.GARBAGE_BYTES, Fault.GARBAGE_NALS,
    Fault.EXPIRE_SESSION, Fault.BURSTS, Fault.SLOW_CAMERA, Fault.CLOCK_DRIFT,
)  # fmt: skip
"""What a camera does wrong that keeps its clock and its password."""


# --- the database ---------------------------------------------------------------------------------


async def test_commits_whose_answer_is_lost(
    harm: Harm, chance: random.Random, ledger: Ledger
) -> None:
    """Some take effect, some do not, and nobody learns which; requests are repeated."""
    lock = threading.Lock()
    wires = harm.vigie.wires.values()

    def lose() -> bool | None:
        with lock:
            return chance.choice((None, None, True, False))

    async def act() -> float:
        for wire in wires:
            wire.lose_commit = lose
        try:
            ends = time.monotonic() + LASTING_SECONDS
            asked = await _ask_until_answered(harm)
            await asyncio.sleep(max(0.0, ends - time.monotonic()))
        finally:
            for wire in wires:
                wire.mend()
        await _exactly_one(harm, asked)
        return time.monotonic()

    found = await costs_nothing(harm.town, act)
    lost = {kind: sum(wire.lost[kind] for wire in wires) for kind in (True, False)}
    assert sum(lost.values()) > 0
    promise = f"each takes effect once or not at all, and is repeated; {WHOLE}"
    fault = f"the answer to every other commit is lost for {LASTING_SECONDS:.0f} s"
    seen = f"{lost[True]} took effect, {lost[False]} did not"
    note(ledger, fault, promise, found, seen)


async def _ask_until_answered(harm: Harm) -> evidence_pb.EvidenceRequest:
    """Ask for evidence, the same again and again until it is answered."""
    stub = harm.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    wanted = evidence_pb.CreateEvidenceRequestRequest(
        cameras=[f"cameras/{NAMES[0]}"],
        window=window(harm.town.settled_us - 2_000_000, harm.town.settled_us),
        purpose="Essai de répétition",
        case_reference=f"PV {uuid.uuid4()}",
        legal_basis="Article 77-1-1 du code de procédure pénale",
        request_id=str(uuid.uuid4()),
    )

    async def answered() -> evidence_pb.EvidenceRequest | None:
        try:
            return await stub.CreateEvidenceRequest(wanted, timeout=5)
        except grpc.aio.AioRpcError:
            return None

    return await until(answered, "the request is answered")


async def _exactly_one(harm: Harm, asked: evidence_pb.EvidenceRequest) -> None:
    stub = harm.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")

    async def listed() -> list[str] | None:
        request = evidence_pb.ListEvidenceRequestsRequest(page_size=100)
        try:
            answer = await stub.ListEvidenceRequests(request, timeout=5)
        except grpc.aio.AioRpcError:
            return None
        return [
            each.name
            for each in answer.evidence_requests
            if each.case_reference == asked.case_reference
        ]

    assert await until(listed, "requests are listed") == [asked.name]


async def test_sessions_that_the_database_ends(
    harm: Harm, chance: random.Random, ledger: Ledger
) -> None:
    ended = 0

    async def act() -> float:
        nonlocal ended
        ends = time.monotonic() + LASTING_SECONDS
        while time.monotonic() < ends:
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            rows = await harm.vigie.database(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            ended += len(rows)
        return time.monotonic()

    found = await costs_nothing(harm.town, act)
    assert ended > 0
    fault = f"PostgreSQL ends all sessions again and again for {LASTING_SECONDS:.0f} s"
    note(ledger, fault, WHOLE, found, f"{ended} sessions ended")


async def test_a_database_whose_connections_are_all_taken(harm: Harm, ledger: Ledger) -> None:
    """Somebody holds the index locked: readers wait, and then there is no connection left."""
    reasons: set[str] = set()

    async def read() -> None:
        try:
            await timelines(harm.vigie, NAMES, harm.town.begun_us)
        except grpc.aio.AioRpcError as error:
            reasons.add(ClientError.of(error).reason)

    async def act() -> float:
        async with harm.vigie.locked("recording.recording_spans", "recording.recording_segments"):
            readers = [asyncio.create_task(read()) for _ in range(_READERS)]
            await asyncio.sleep(LASTING_SECONDS)
        since = time.monotonic()
        await asyncio.gather(*readers)
        return since

    found = await costs_nothing(harm.town, act)
    assert reasons == {"DATABASE_UNAVAILABLE"}
    assert await harm.vigie.metric("recording", _EXHAUSTED) > 0
    fault = f"statements that wait hold all connections of recording for {LASTING_SECONDS:.0f} s"
    promise = f"further readers are told DATABASE_UNAVAILABLE after 2 s; {WHOLE}"
    note(ledger, fault, promise, found)


@pytest.mark.parametrize("how", _WIRES)
async def test_one_service_is_cut_off_from_the_database(
    how: str, harm: Harm, chance: random.Random, ledger: Ledger
) -> None:
    service = chance.choice(STATEFUL)
    found = await costs_nothing(
        harm.town, lasting(_harmed(harm.vigie.wires[service], how), LASTING_SECONDS)
    )
    fault = f"the way from {service} to PostgreSQL {_WIRES[how]} for {LASTING_SECONDS:.0f} s"
    note(ledger, fault, WHOLE, found)


@contextmanager
def _harmed(wire: Wire, how: str) -> Iterator[None]:
    if how == "cut":
        wire.cut()
    elif how == "hang":
        wire.hang()
    else:
        wire.delay_seconds = 0.2
    try:
        yield
    finally:
        wire.mend()


# --- a camera -------------------------------------------------------------------------------------


async def test_a_camera_that_misbehaves_costs_the_others_nothing(
    harm: Harm, chance: random.Random, ledger: Ledger
) -> None:
    bad, *good = chance.sample(NAMES, len(NAMES))
    drawn = chance.sample(_MISDEEDS, len(_MISDEEDS) if LONG else 3)
    control = harm.town.simulator.control

    async def act() -> float:
        for fault in drawn:
            lasting = None if FAULTS[fault].is_momentary else 2.0
            await control.inject(bad, fault, parameters=FaultParameters(), duration_seconds=lasting)

            async def over() -> bool:
                return not (await control.cameras())[bad]["faults"]

            await until(over, f"{fault} is over")
            await asyncio.sleep(1)
        return time.monotonic()

    found = await harm.town.survive(act)
    allowed = {cause for fault in drawn for cause in FAULTS[fault].causes}
    assert {gap.cause for gap in found.looks[bad].gaps} <= allowed, drawn
    assert not any(found.looks[camera].gaps for camera in good)
    names = ", ".join(fault.value for fault in drawn)
    promise = "the others lose nothing; what it sent whole is played once, or in a gap"
    note(ledger, f"a camera misbehaves: {names}", promise, found)
