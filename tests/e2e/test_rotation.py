"""Keys changed as the guide to operations says, one service restarted after the other.

What was sealed or signed under the old key goes on; what was handed out under it for a moment only
is refused by its name.
"""

import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from certificates import Authority
from e2e import estate
from e2e.callers import accesses, failure_of, patiently, stored_until
from e2e.commands import run_vigie
from e2e.harness import WALL, Deployment
from e2e.house import SECOND_US, House, ask_for_evidence, at_work, evidence_ready, found_clean
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.platform.sealing import KEY_SIZE_BYTES, SealingKey
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1500),
]
CAMERA: Final = "cam-digest"
"""It asks for the password that the registry has sealed."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, footage_folder: Path
) -> AsyncIterator[House]:
    if not deployment.apart:
        pytest.skip("another deployment: services are apart (--deployment six-services)")
    folder = tmp_path_factory.mktemp("rotation")
    certificate, key = _signing_files(folder)
    settings = {
        "evidence": {
            "signing_key_file": f'"{key}"',
            "signing_certificate_file": f'"{certificate}"',
        },
    }
    async with at_work(
        deployment, (CAMERA,), folder, footage_folder, settings, stored_us=5 * SECOND_US
    ) as made:
        yield made


def _signing_files(folder: Path) -> tuple[Path, Path]:
    """A new certificate and key, in the place of what was there."""
    certificate, key = Authority(folder / "signing").issue("evidence-signing")
    key.chmod(0o600)
    return certificate, key


async def _records_on(house: House) -> int:
    """Wait for footage that is received after now; until when there is some."""
    vigie, now_us = house.vigie, WALL.now_us()
    ends = await stored_until(vigie, (CAMERA,), house.begun_us, now_us + 2 * SECOND_US)
    return ends[CAMERA]


async def _give_credentials_anew(house: House) -> None:
    registry = house.vigie.stub(
        cameras_pb2_grpc.CameraServiceStub, "registry", person="administration"
    )
    camera = cameras_pb2.Camera(name=f"cameras/{CAMERA}")
    camera.credentials.username = "vigie"
    camera.credentials.password = estate.PASSWORD
    change = cameras_pb2.UpdateCameraRequest(
        camera=camera, update_mask=FieldMask(paths=["credentials"])
    )
    await patiently(lambda: registry.UpdateCamera(change))


async def test_credentials_are_sealed_anew_while_the_camera_records(house: House) -> None:
    vigie = house.vigie
    file = vigie.data / "sealing.key"
    key = SealingKey.of(secrets.token_bytes(KEY_SIZE_BYTES))
    new = f"vigie-sealing-key {key.key_id} {base64.b64encode(key.material).decode()}\n"
    file.write_text(new + file.read_text())
    for service in ("ingest", "registry"):  # who opens before who seals
        await vigie.restart_one(service)
        await _records_on(house)
    await _give_credentials_anew(house)
    await _records_on(house)
    # Nothing is left that only the old key opens.
    file.write_text(new)
    for service in ("ingest", "registry"):
        await vigie.restart_one(service)
    await _records_on(house)


async def test_pages_of_an_old_key_are_refused_by_name(house: House) -> None:
    vigie = house.vigie
    stub = vigie.stub(audit_service_pb2_grpc.AuditServiceStub, "audit", person="controle")
    asked = audit_service_pb2.SearchAccessesRequest(page_size=1, order_by="time")
    answer = await stub.SearchAccesses(asked)
    asked.page_token = answer.next_page_token
    await stub.SearchAccesses(asked)

    (vigie.data / "page.key").unlink()  # a new one is made
    await vigie.restart_one("audit")
    assert await patiently(lambda: accesses(vigie, object=f"cameras/{CAMERA}"))
    failure = await failure_of(stub.SearchAccesses(asked))
    assert failure.reason == "PAGE_TOKEN_INVALID"


async def test_packages_stay_valid_under_the_key_that_signed_them(
    house: House, tmp_path: Path
) -> None:
    first = await _package(house, tmp_path / "first.zip")
    _signing_files(Path(house.vigie.folder).parent)
    await house.vigie.restart_one("evidence")
    second = await _package(house, tmp_path / "second.zip")
    assert await _signer(tmp_path / "first.zip") == first
    assert await _signer(tmp_path / "second.zip") == second
    assert first != second
    await found_clean(house.vigie)


async def _package(house: House, file: Path) -> str:
    """Have a package made and fetched; the fingerprint that the service told of its signer."""
    vigie = house.vigie
    name = await ask_for_evidence(vigie, CAMERA, await _records_on(house))
    request = await evidence_ready(vigie, name)
    environment = {
        "VIGIE_ADDRESS": vigie.address("evidence"),
        "VIGIE_TOKEN": vigie.token("enqueteur"),
    }
    got = await run_vigie("evidence", "download", name, "-o", str(file), environment=environment)
    assert got.code == 0, got
    return request.package.signer_fingerprint


async def _signer(file: Path) -> str:
    verified = await run_vigie("--json", "evidence", "verify", str(file))
    assert verified.code == 0, verified
    return str(json.loads(verified.out)["signer"])
