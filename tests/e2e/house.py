"""An installation of one test's own at work, and what its people do with evidence."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e import estate
from e2e.callers import patiently, recorded_from, stored_until, window
from e2e.harness import WALL, Deployment, Installation, simulated_cameras, until
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig

SECOND_US: Final = 1_000_000
_SMALL: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_PATIENT: Final = {"kafka": {"delivery_timeout_seconds": "60.0"}}
"""Nothing in these tests is about how long a busy broker takes."""


@dataclass(slots=True)
class House:
    """The installation, and since when it records."""

    vigie: Installation
    begun_us: int


@asynccontextmanager
async def at_work(
    deployment: Deployment,
    cameras: Sequence[str],
    folder: Path,
    footage_folder: Path,
    settings: Mapping[str, Mapping[str, str]],
    *,
    stored_us: int,
) -> AsyncIterator[House]:
    """An installation that records small cameras, or healthy ones of the estate that bear these
    names; gone, with all it had, at the end.

    Args:
        deployment: how it runs.
        cameras: names.
        folder: everything lies in it.
        footage_folder: where simulated footage is kept between tests.
        settings: beyond those of the harness.
        stored_us: how much of each camera is stored when it is handed out.
    """
    vigie = Installation(deployment, folder / "vigie", estate.PEOPLE, {**_PATIENT, **settings})
    config = ServerConfig(
        cameras=tuple(
            estate.HEALTHY.get(name, CameraConfig(id=name, footage=_SMALL)) for name in cameras
        ),
        port_per_camera=True,
        cache_folder=footage_folder,
    )
    async with simulated_cameras(config, folder / "cameras") as simulator:
        try:
            await vigie.start()
            asked_us = WALL.now_us()
            await estate.register(vigie, simulator.urls, cameras)
            await stored_until(vigie, cameras, asked_us, asked_us + stored_us)
            yield House(vigie, await recorded_from(vigie, cameras, asked_us))
        finally:
            await vigie.remove()


async def ask_for_evidence(vigie: Installation, camera: str, end_us: int) -> str:
    """Ask for the three seconds before an instant, and approve; the name of the request."""
    stub = vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    asked = evidence_pb.CreateEvidenceRequestRequest(
        cameras=[f"cameras/{camera}"],
        window=window(end_us - 3 * SECOND_US, end_us),
        purpose="Vol de fret en réunion",
        case_reference="PV 2026/00421",
        legal_basis="Article 77-1-1 du code de procédure pénale",
    )
    request = await patiently(lambda: stub.CreateEvidenceRequest(asked))
    approver = vigie.stub(EvidenceServiceStub, "evidence", person="responsable")
    approval = evidence_pb.ApproveEvidenceRequestRequest(
        name=request.name, reason="vérifiée", etag=request.etag
    )
    await patiently(lambda: approver.ApproveEvidenceRequest(approval))
    return str(request.name)


async def evidence_ready(vigie: Installation, name: str) -> evidence_pb.EvidenceRequest:
    """Wait for the package of an approved request."""
    stub = vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    named = evidence_pb.GetEvidenceRequestRequest(name=name)

    async def ready() -> evidence_pb.EvidenceRequest | None:
        found = await patiently(lambda: stub.GetEvidenceRequest(named))
        assert found.state != evidence_pb.EVIDENCE_STATE_FAILED, found
        return found if found.state == evidence_pb.EVIDENCE_STATE_READY else None

    return await until(ready, "the package is ready", seconds=300)


async def found_clean(vigie: Installation) -> None:
    """Wait until the checker has nothing to say; else what it said is the failure."""
    said: list[str] = []

    async def clean() -> bool:
        report = await vigie.fsck(seconds=240)
        said[:] = [report.out, report.err]
        return report.code == 0

    try:
        await until(clean, "the checker is content", seconds=240)
    except TimeoutError as error:
        raise AssertionError(said) from error
