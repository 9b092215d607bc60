"""Evidence: asked for, decided by another, held, built, fetched, verified; alterations show."""

import asyncio
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from e2e import proof
from e2e.callers import GAP, accesses, failure_of, timeline, window
from e2e.commands import run_vigie
from e2e.harness import Cameras, Installation, until
from e2e.misbehaviour import Misbehaviour
from ffmpeg_reading import complaints
from vigie.evidence.rejection import RejectedError
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.evidence.verify import verify_package
from vigie.platform.clock import to_us
from vigie.recording.v1 import retention_pb2, retention_pb2_grpc
from vigie.simcam import Fault

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
BROKEN = f"cam-{Fault.DROP_CONNECTION.value}"
CAMERAS = ("cam-h264-b", "cam-h265", BROKEN)
_SETTLED = {pb.EVIDENCE_STATE_READY, pb.EVIDENCE_STATE_FAILED, pb.EVIDENCE_STATE_CANCELLED}


@dataclass(frozen=True, slots=True)
class Released:
    """A package on the investigator's disk, and the request it came of."""

    request: pb.EvidenceRequest
    ready: pb.EvidenceRequest
    start_us: int
    end_us: int
    path: Path
    unpacked: Path

    @property
    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.unpacked / "manifest.json").read_bytes())
        return content


def service(vigie: Installation, person: str) -> pb_grpc.EvidenceServiceStub:
    return vigie.stub(pb_grpc.EvidenceServiceStub, "evidence", person=person)


async def ask(
    vigie: Installation, cameras: tuple[str, ...], start_us: int, end_us: int, person: str
) -> pb.EvidenceRequest:
    return await service(vigie, person).CreateEvidenceRequest(
        pb.CreateEvidenceRequestRequest(
            cameras=[f"cameras/{camera}" for camera in cameras],
            window=window(start_us, end_us),
            purpose="Vol de fret en réunion",
            case_reference="PV 2026/00421",
            legal_basis="Article 77-1-1 du code de procédure pénale",
        )
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def released(
    vigie: Installation, misbehaved: Misbehaviour, tmp_path_factory: pytest.TempPathFactory
) -> Released:
    """Asked, approved by another, built, and downloaded in two pieces."""
    entries = await timeline(vigie, BROKEN, misbehaved.before_us, misbehaved.settled_us[BROKEN])
    gap = next(entry for entry in entries if entry.kind == GAP)
    start_us, end_us = gap.start_us - 2_345_678, gap.end_us + 1_234_567
    request = await ask(vigie, CAMERAS, start_us, end_us, "enqueteur")
    await service(vigie, "responsable").ApproveEvidenceRequest(
        pb.ApproveEvidenceRequestRequest(
            name=request.name, reason="Réquisition vérifiée", etag=request.etag
        )
    )

    async def settled() -> pb.EvidenceRequest | None:
        found = await service(vigie, "enqueteur").GetEvidenceRequest(
            pb.GetEvidenceRequestRequest(name=request.name)
        )
        return found if found.state in _SETTLED else None

    ready = await until(settled, "the package", seconds=180)
    assert ready.state == pb.EVIDENCE_STATE_READY, (ready.failure, ready.failure_detail)
    folder = tmp_path_factory.mktemp("package")
    path = folder / ready.package.file_name
    path.write_bytes(await download_with_a_break(vigie, ready))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return Released(request, ready, start_us, end_us, path, folder / "unpacked")


async def download_with_a_break(vigie: Installation, ready: pb.EvidenceRequest) -> bytes:
    """As after a lost connection: the second call goes on where the first one stopped."""
    stub = service(vigie, "enqueteur")
    received = bytearray()
    half = ready.package.size_bytes // 2
    call = stub.DownloadPackage(pb.DownloadPackageRequest(name=ready.name))
    async for message in call:
        received += message.data
        if len(received) >= half:
            call.cancel()
            break
    assert half <= len(received) < ready.package.size_bytes
    rest = pb.DownloadPackageRequest(
        name=ready.name, offset_bytes=len(received), sha256=ready.package.sha256
    )
    async for message in stub.DownloadPackage(rest):
        received += message.data
    assert len(received) == ready.package.size_bytes
    return bytes(received)


def instant_us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


async def test_the_checker_finds_the_package_as_it_was_released(
    vigie: Installation, released: Released
) -> None:
    assert released.path.stat().st_size
    outcome = await vigie.fsck("--packages")
    assert outcome.code == 0, outcome.out
    report = json.loads(outcome.out)
    assert report["checked"] == {"I8 packages of evidence (I3, I9)": 1}
    assert report["findings"] == []


async def test_media_of_a_package_are_what_the_cameras_sent(
    released: Released, cameras: Cameras, tmp_path: Path
) -> None:
    seen = set()
    for entry in released.manifest["files"]:
        if entry.get("media") is None:
            continue
        media, data = entry["media"], (released.unpacked / entry["path"]).read_bytes()
        frames = proof.frames_of_file(data)
        first_us = min(frame.shown_us for frame in frames)
        found = proof.timed(frames, instant_us(media["start"]), first_us)
        camera = media["camera"]
        await proof.assert_all_there(cameras.control(camera), camera, found, frames_at_least=20)
        assert await asyncio.to_thread(complaints, data, tmp_path) == ""
        seen.add(camera)
    assert seen == set(CAMERAS)


async def test_the_completeness_statement_is_the_timeline(
    released: Released, vigie: Installation
) -> None:
    for camera in released.manifest["cameras"]:
        entries = await timeline(vigie, camera["camera"], released.start_us, released.end_us)
        missing = [entry for entry in entries if entry.kind == GAP]
        told = [each for each in camera["intervals"] if each["state"] == "MISSING"]
        assert [(g.start_us, g.end_us, g.cause) for g in missing] == [
            (instant_us(each["start"]), instant_us(each["end"]), each["cause"]) for each in told
        ]
        assert bool(told) == (camera["camera"] == BROKEN)


async def test_the_hold_is_there_and_visible(released: Released, vigie: Installation) -> None:
    stub = vigie.stub(retention_pb2_grpc.HoldServiceStub, "recording", person="responsable")
    hold = await stub.GetHold(retention_pb2.GetHoldRequest(name=released.request.hold))
    assert hold.state == retention_pb2.HOLD_APPLICATION_APPLIED
    assert hold.evidence_request == released.request.name
    assert hold.object_count == hold.held_object_count > 0
    actions = [entry.action for entry in released.ready.custody]
    held = next(i for i, action in enumerate(actions) if "HOLD" in action.upper())
    assert held <= next(i for i, action in enumerate(actions) if "APPROV" in action.upper())


async def test_who_asks_does_not_decide(vigie: Installation, released: Released) -> None:
    request = await ask(vigie, ("cam-h265",), released.start_us, released.end_us, "juge-et-partie")
    own = service(vigie, "juge-et-partie")
    failure = await failure_of(
        own.ApproveEvidenceRequest(
            pb.ApproveEvidenceRequestRequest(name=request.name, reason="ma propre demande")
        )
    )
    assert failure.reason == "EVIDENCE_SELF_APPROVAL"
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    refused = await service(vigie, "responsable").RefuseEvidenceRequest(
        pb.RefuseEvidenceRequestRequest(name=request.name, reason="hors de la saisine")
    )
    assert refused.state == pb.EVIDENCE_STATE_REFUSED
    early = await failure_of(own.DownloadPackage(pb.DownloadPackageRequest(name=request.name)))
    assert early.code in (
        grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED,
    )  # fmt: skip


async def test_every_step_is_on_record(vigie: Installation, released: Released) -> None:
    async def complete() -> bool:
        records = await accesses(vigie, object=released.request.name)
        methods = {record.method.rpartition("/")[2] for record in records}
        return {"ApproveEvidenceRequest", "DownloadPackage"} <= methods

    await until(complete, "access records of the request")


async def test_a_package_verifies_offline(released: Released, vigie: Installation) -> None:
    outcome = await run_vigie(
        "--json", "evidence", "verify", str(released.path),
        "--certificate", str(vigie.data / "evidence-signing-certificate.pem"),
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert '"valid": true' in outcome.out
    assert '"trusted": true' in outcome.out
    assert (await run_vigie("evidence", "verify", str(released.unpacked))).code == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_openssl_accepts_the_signature(released: Released) -> None:
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "manifest.json.p7s",
         "-content", "manifest.json", "-CAfile", "certificate.pem", "-purpose", "any",
         "-out", "/dev/null"],
        cwd=released.unpacked, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _flip_media(folder: Path) -> str:
    return _flip(sorted(folder.rglob("*.mp4"))[1])


def _flip_report(folder: Path) -> str:
    return _flip(folder / "report.html")


def _flip_manifest(folder: Path) -> str:
    _flip(folder / "manifest.json")
    return ""


def _flip(path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    return path.name


def _rename(folder: Path) -> str:
    path = min(folder.rglob("*.mp4"))
    path.rename(path.with_name("renamed.mp4"))
    return ".mp4"


def _remove(folder: Path) -> str:
    path = min(folder.rglob("*.mp4"))
    path.unlink()
    return path.name


def _add(folder: Path) -> str:
    (folder / "added.txt").write_text("nothing to see")
    return "added.txt"


def _change_a_time(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"start": "2', b'"start": "3', 1))
    return ""


@pytest.mark.parametrize(
    "alter",
    [_flip_media, _flip_report, _flip_manifest, _rename, _remove, _add, _change_a_time],
)
async def test_an_alteration_is_named(
    alter: Callable[[Path], str], released: Released, tmp_path: Path
) -> None:
    copy = shutil.copytree(released.unpacked, tmp_path / "copy")
    name = alter(copy)
    with pytest.raises(RejectedError) as caught:
        verify_package(copy)
    assert name in caught.value.detail


async def test_a_changed_time_in_the_archive_is_named(released: Released, tmp_path: Path) -> None:
    altered = tmp_path / "altered.zip"
    with zipfile.ZipFile(released.path) as source, zipfile.ZipFile(altered, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename == "report.html":
                info.date_time = (2020, 1, 1, 0, 0, 0)
            with io.BytesIO(content) as stream, target.open(info, "w") as entry:
                shutil.copyfileobj(stream, entry)
    outcome = await run_vigie("--json", "evidence", "verify", str(altered))
    assert outcome.code == 7, outcome
    answer = json.loads(outcome.out)
    assert answer["valid"] is False
    assert answer["reason"]
    assert answer["detail"]
