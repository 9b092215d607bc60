"""`kill -9` of a service at a step of its write path, drawn by chance; the long form: at all.

With `test_state` and `test_store` it shares one installation; see there.
"""

import asyncio
import contextlib
import random
import time
from typing import Final

import grpc.aio
import pytest

from e2e.callers import window
from e2e.harness import until
from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.services.harm import Harm
from faults.services.test_services import RECEPTION_SECONDS, WHOLE
from faults.services.town import NAMES, PATIENCE_SECONDS, Survived
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.faultpoints import known_points
from vigie.simcam import Fault

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(14_400 if LONG else 900),
]
DRAWN: Final = 2
"""Steps of each service in the bounded form."""
_DATABASE: Final = ("database.transaction.", "outbox.")
_PATHS: Final = {
    "ingest": ("ingest.", "s3.put."),
    "recording": (*_DATABASE, "consumer.", "holds.", "s3.hold.", "s3.release."),
    "evidence": (*_DATABASE, "evidence.", "s3.put."),
}
"""Service -> what its write path is made of."""
_RUN_ENDS: Final = ("ingest.run.", "ingest.end.")
_LET_GO: Final = ("holds.taking_off", "s3.release.")


def steps_of(service: str) -> list[str]:
    """The steps of a service's write path."""
    return sorted(
        point for point in known_points(kafka=True, s3=True) if point.startswith(_PATHS[service])
    )


@pytest.mark.parametrize("service", _PATHS)
async def test_a_kill_at_any_step_costs_no_more_than_the_moment(
    service: str, harm: Harm, chance: random.Random, ledger: Ledger
) -> None:
    steps = steps_of(service)
    drawn = steps if LONG else chance.sample(steps, DRAWN)
    kills = [await _killed(harm, service, step) for step in drawn]
    ledger.note(
        Entry(
            "services",
            f"kill -9 of {service} at {len(drawn)} steps of its write path: {', '.join(drawn)}",
            f"{WHOLE}, or is in a gap INGEST_DOWN; packages get ready",
            f"{sum(each.refusals for each in kills)} calls of people refused meanwhile",
            missing_seconds=max(each.missing_seconds for each in kills),
            recovery_seconds=max(each.recovery_seconds for each in kills),
        )
    )


async def _killed(harm: Harm, service: str, step: str) -> Survived:
    """Let a process die at a step, bring it there, start it again, look."""
    name = await harm.town.owner() if service == "ingest" else service
    dropped = step.startswith(_RUN_ENDS)

    async def act() -> float:
        with harm.vigie.faults[name].on((step,), "kill"):
            cause = asyncio.create_task(_cause(harm, step))
            try:
                await harm.vigie.died(name, seconds=PATIENCE_SECONDS)
            except TimeoutError:
                raise AssertionError(f"{name} has not come to {step}") from None
            finally:
                cause.cancel()
                await asyncio.gather(cause, return_exceptions=True)
        since = time.monotonic()
        await harm.vigie.start_one(name)
        return since

    found = await harm.town.survive(act)
    allowed = {"INGEST_DOWN"} if service == "ingest" else set()
    assert found.causes <= allowed | ({"CLOSED_BY_CAMERA"} if dropped else set()), step
    assert found.missing_seconds <= RECEPTION_SECONDS, step
    return found


async def _cause(harm: Harm, step: str) -> None:
    """Make happen what leads to a step that ordinary recording does not pass."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
            if step.startswith(_RUN_ENDS):
                await harm.town.simulator.control.inject(NAMES[0], Fault.DROP_CONNECTION)
            elif step.startswith(_LET_GO):
                await _ask_and_refuse(harm)
            else:
                await _ask(harm)
        await asyncio.sleep(4)


async def _ask(harm: Harm) -> None:
    """Have a package made; nobody waits for one that may not have been approved."""
    before = len(harm.town.requests)
    try:
        await harm.town.ask()
    except BaseException:
        del harm.town.requests[before:]
        raise


async def _ask_and_refuse(harm: Harm) -> None:
    """A hold that is placed, and taken off again."""
    stub = harm.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    made = await stub.CreateEvidenceRequest(
        evidence_pb.CreateEvidenceRequestRequest(
            cameras=[f"cameras/{NAMES[0]}"],
            window=window(harm.town.settled_us - 2_000_000, harm.town.settled_us),
            purpose="Vérification d'une demande",
            case_reference="PV 2026/00422",
            legal_basis="Article 77-1-1 du code de procédure pénale",
        )
    )
    approver = harm.vigie.stub(EvidenceServiceStub, "evidence", person="responsable")

    async def held() -> bool:
        found = await stub.GetEvidenceRequest(evidence_pb.GetEvidenceRequestRequest(name=made.name))
        return bool(found.hold)

    await until(held, "the hold is placed", seconds=20)
    await approver.RefuseEvidenceRequest(
        evidence_pb.RefuseEvidenceRequestRequest(name=made.name, reason="hors saisine")
    )
