"""Two processes of every service behind two gateways: they share the work, and one is enough."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from certificates import Authority
from e2e.callers import (
    accesses,
    patiently,
    segments,
    stored_until,
    timeline,
)
from e2e.commands import run_vigie
from e2e.harness import WALL, Deployment, until
from e2e.house import SECOND_US, House, ask_for_evidence, at_work, evidence_ready, found_clean
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1500),
]
SHARED: Final = ("access", "audit", "registry", "recording", "evidence", "gateway")
CAMERA: Final = "cam-gare"
_PAGES_US: Final = 20 * SECOND_US
"""Segments last two seconds, a page has seven of them."""


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
        "data": {"page_key_file": '"data/page.key"'},
        "evidence": {
            "signing_key_file": f'"{key}"',
            "signing_certificate_file": f'"{certificate}"',
        },
    }
    doubled = replace(deployment, name="two-of-each", targets={**deployment.targets, **more})
    async with at_work(
        doubled, (CAMERA,), folder, footage_folder, settings, stored_us=SECOND_US
    ) as made:
        yield made


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
    name = await ask_for_evidence(house.vigie, CAMERA, ends[CAMERA])
    for process in ("evidence", "evidence-2"):
        await _told_ready(house, process, name)
    request = await evidence_ready(house.vigie, name)
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
    await evidence_ready(vigie, await ask_for_evidence(vigie, CAMERA, ends[CAMERA]))
    await stored_until(vigie, (CAMERA,), house.begun_us, WALL.now_us() + 2 * SECOND_US)
    recorded = await accesses(vigie, object=f"cameras/{CAMERA}")
    assert {each.method.rpartition("/")[2] for each in recorded} >= {
        "SuspendCamera", "ResumeCamera", "CreateEvidenceRequest",
    }  # fmt: skip

    await found_clean(vigie)
