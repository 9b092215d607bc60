"""`kill -9` of each service at steps of its write path, drawn by chance; the long form: at all.

The process ends itself at the step, before anything else is done. Retention is not among them: a
town is too young for it; `tests/faults/test_kill.py` has its steps, on one machine.
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
from faults.services import foreign
from faults.services.harm import Harm
from faults.services.test_services import RECEPTION_SECONDS, WHOLE
from faults.services.town import NAMES, PATIENCE_SECONDS
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.faultpoints import known_points
from vigie.simcam import Fault

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(3600 if LONG else 600),
]
DRAWN: Final = 3
"""Steps of each service in the bounded form."""
_DATABASE: Final = "database.transaction."
_PATHS: Final = {
    "ingest": ("ingest.", "s3.put."),
    "recording": (_DATABASE, "consumer.", "holds.", "s3.hold.", "s3.release."),
    "evidence": (_DATABASE, "outbox.", "evidence.", "s3.put."),
    "registry": (_DATABASE, "outbox."),
    "audit": (_DATABASE, "consumer."),
}
"""Service -> what its write path is made of."""
_RUN_ENDS: Final = ("ingest.run.", "ingest.end.")
_LET_GO: Final = ("holds.taking_off", "s3.release.")
_AGAIN_SECONDS: Final = 4


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
    recoveries: list[float] = []

    async def act() -> float:
        for step in drawn:
            since = await _killed_at(harm, service, step)
            recoveries.append(await harm.town.all_is_well(time.monotonic()) - since)
            if service == "ingest":
                await harm.town.shared_out()
        return time.monotonic()

    found = await harm.town.survive(act)
    allowed = {"INGEST_DOWN", "CLOSED_BY_CAMERA"} if service == "ingest" else set()
    longest = max(look.longest_seconds for look in found.looks.values())
    assert found.causes <= allowed, (drawn, found.looks)
    assert longest <= RECEPTION_SECONDS, (drawn, found.looks)
    await harm.town.clean()
    promise = f"{WHOLE}, or is in a gap INGEST_DOWN" if service == "ingest" else WHOLE
    ledger.note(
        Entry(
            "services",
            f"kill -9 of {service} at {len(drawn)} steps of its write path, one after the other:"
            f" {', '.join(drawn)}; each time it is started again",
            f"{promise}; packages get ready; the checker is content",
            f"{found.refusals} calls of people refused meanwhile; times of the worst step",
            missing_seconds=longest,
            recovery_seconds=max(recoveries),
        )
    )


async def _killed_at(harm: Harm, service: str, step: str) -> float:
    """Let a process die at a step, bring it there, start it again; returns when it died."""
    name = await harm.town.owner() if service == "ingest" else service
    with harm.vigie.faults[name].on((step,), "kill"):
        cause = asyncio.create_task(_cause(harm, service, step))
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


async def _cause(harm: Harm, service: str, step: str) -> None:
    """Make happen, again and again, what leads to a step that ordinary recording does not pass."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
            if step.startswith(_RUN_ENDS):
                await harm.town.simulator.control.inject(NAMES[0], Fault.DROP_CONNECTION)
            elif step.startswith(_LET_GO):
                await _ask_and_refuse(harm)
            elif service == "registry":
                await foreign.told_anew(harm.town, NAMES[0])
            elif service in {"recording", "evidence"}:
                await _ask(harm)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _ask(harm: Harm) -> None:
    """Have a package made; nobody waits for one that may not have been approved."""
    before = len(harm.town.requests)
    try:
        await harm.town.ask()
    except BaseException:
        del harm.town.requests[before:]
        raise


async def _ask_and_refuse(harm: Harm) -> None:
    """A hold that is placed, the only one on its footage, and taken off again."""
    stub = harm.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    made = await stub.CreateEvidenceRequest(
        evidence_pb.CreateEvidenceRequestRequest(
            cameras=[f"cameras/{NAMES[1]}"],
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
