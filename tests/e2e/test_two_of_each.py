"""Two processes of every service behind two gateways: they share the work, and one is enough."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from certificates import Authority
from e2e import estate
from e2e.callers import (
    accesses,
    patiently,
    recorded_from,
    segments,
    stored_until,
    timeline,
    window,
)
from e2e.commands import run_vigie
from e2e.harness import WALL, Deployment, Installation, simulated_cameras, until
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1500),
]
SHARED: Final = ("access", "audit", "registry", "recording", "evidence", "gateway")
CAMERA: Final = "cam-gare"
_SMALL: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_SECOND_US: Final = 1_000_000
_PAGES_US: Final = 20 * _SECOND_US
"""Segments last two seconds, a page has seven of them."""


@dataclass(slots=True)
class House:
    """The installation, and since when it records."""

    vigie: Installation
    begun_us: int = 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, footage_folder: Path
) -> AsyncIterator[House]:
    if not deployment.apart:
        pytest.skip(
            "another deployment: two of each are services apart (--deployment six-services)"
        )
    folder = tmp_path_factory.mktemp("two")
    certificate, key = Authority(folder / "signing").issue("evidence-signing")
    key.chmod(0o600)
    more = {f"{name}-2": ("serve", name) for name in SHARED}
    settings = {
        "kafka": {"delivery_timeout_seconds": "60.0"},
        "data": {"page_key_file": '"data/page.key"'},
        "evidence": {
            "signing_key_file": f'"{key}"',
            "signing_certificate_file": f'"{certificate}"',
        },
    }
    doubled = replace(deployment, name="two-of-each", targets={**deployment.targets, **more})
    vigie = Installation(doubled, folder / "vigie", estate.PEOPLE, settings)
    config = ServerConfig(
        cameras=(CameraConfig(id=CAMERA, footage=_SMALL),),
        port_per_camera=True,
        cache_folder=footage_folder,
    )
    async with simulated_cameras(config, folder / "cameras") as simulator:
        try:
            await vigie.start()
            asked_us = WALL.now_us()
            await estate.register(vigie, simulator.urls, (CAMERA,))
            await stored_until(vigie, (CAMERA,), asked_us, asked_us + _SECOND_US)
            yield House(vigie, await recorded_from(vigie, (CAMERA,), asked_us))
        finally:
            await vigie.remove()


async def _asked(house: House, end_us: int) -> str:
    """Evidence that was asked for and approved."""
    stub = house.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    asked = evidence_pb.CreateEvidenceRequestRequest(
        cameras=[f"cameras/{CAMERA}"],
        window=window(end_us - 3 * _SECOND_US, end_us),
        purpose="Vol de fret en réunion",
        case_reference="PV 2026/00421",
        legal_basis="Article 77-1-1 du code de procédure pénale",
    )
    request = await patiently(lambda: stub.CreateEvidenceRequest(asked))
    approver = house.vigie.stub(EvidenceServiceStub, "evidence", person="responsable")
    approval = evidence_pb.ApproveEvidenceRequestRequest(
        name=request.name, reason="vérifiée", etag=request.etag
    )
    await patiently(lambda: approver.ApproveEvidenceRequest(approval))
    return str(request.name)


async def _ready(house: House, name: str) -> evidence_pb.EvidenceRequest:
    stub = house.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
    named = evidence_pb.GetEvidenceRequestRequest(name=name)

    async def ready() -> evidence_pb.EvidenceRequest | None:
        found = await patiently(lambda: stub.GetEvidenceRequest(named))
        assert found.state != evidence_pb.EVIDENCE_STATE_FAILED, found
        return found if found.state == evidence_pb.EVIDENCE_STATE_READY else None

    return await until(ready, "the package is ready", seconds=300)


async def _told_ready(house: House, process: str, name: str) -> None:
    """Follow a request at one process until that tells that its package is ready."""
    async with house.vigie.channel_inside(process, "enqueteur") as channel:
        watch = EvidenceServiceStub(channel).WatchEvidenceRequests(
            evidence_pb.WatchEvidenceRequestsRequest()
        )
        async for message in watch:
            request = message.evidence_request
            if request.name == name and request.state == evidence_pb.EVIDENCE_STATE_READY:
                watch.cancel()
                return


async def test_pages_go_on_at_another_process(house: House) -> None:
    ends = await stored_until(house.vigie, (CAMERA,), house.begun_us, house.begun_us + _PAGES_US)
    listed = await segments(house.vigie, CAMERA, house.begun_us, ends[CAMERA])
    assert len(listed) > 7
    assert len({each.object_key for each in listed}) == len(listed)


async def test_one_process_makes_a_package_and_the_other_tells_of_it(
    house: House, tmp_path: Path
) -> None:
    ends = await stored_until(house.vigie, (CAMERA,), house.begun_us, WALL.now_us())
    name = await _asked(house, ends[CAMERA])
    for process in ("evidence", "evidence-2"):
        await _told_ready(house, process, name)
    request = await _ready(house, name)
    actions = [step.action for step in request.custody]
    assert [actions.count(action) for action in ("HELD", "BUILT", "VERIFIED")] == [1, 1, 1]
    package = tmp_path / "package.zip"
    environment = {
        "VIGIE_ADDRESS": house.vigie.address("evidence"),
        "VIGIE_TOKEN": house.vigie.token("enqueteur"),
    }
    got = await run_vigie("evidence", "download", name, "-o", str(package), environment=environment)
    assert got.code == 0, got
    verified = await run_vigie("evidence", "verify", str(package))
    assert verified.code == 0, verified


async def test_one_of_each_is_enough(house: House) -> None:
    vigie = house.vigie
    ends = await stored_until(vigie, (CAMERA,), house.begun_us, WALL.now_us())
    for service in SHARED[:-1]:
        await vigie.kill_one(service)
    registry = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    change = cameras_pb2.SuspendCameraRequest(name=f"cameras/{CAMERA}", reason="essai")
    await patiently(lambda: registry.SuspendCamera(change))

    async def suspended() -> bool:
        entries = await patiently(lambda: timeline(vigie, CAMERA, house.begun_us))
        return "SUSPENDED" in {entry.cause for entry in entries}

    # Who publishes for the registry was killed perhaps: the other waits until it is sure of that.
    await until(suspended, "the timeline shows the suspension", seconds=60)
    back = cameras_pb2.ResumeCameraRequest(name=f"cameras/{CAMERA}", reason="essai")
    await patiently(lambda: registry.ResumeCamera(back))
    await _ready(house, await _asked(house, ends[CAMERA]))
    await stored_until(vigie, (CAMERA,), house.begun_us, WALL.now_us() + 2 * _SECOND_US)
    recorded = await accesses(vigie, object=f"cameras/{CAMERA}")
    assert {each.method.rpartition("/")[2] for each in recorded} >= {
        "SuspendCamera", "ResumeCamera", "CreateEvidenceRequest",
    }  # fmt: skip

    async def clean() -> bool:
        return (await vigie.fsck(seconds=240)).code == 0

    await until(clean, "the checker is content", seconds=240)
