"""An investigator asks, a supervisor approves, the package is built, fetched and verified."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509

from vigie.cli.language import tr
from vigie.demo import estate
from vigie.demo.scene import Scene, window
from vigie.evidence.rejection import RejectedError
from vigie.evidence.signer import CERTIFICATE_FILE
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.evidence.verify import verify_package
from vigie.platform.grpc.client import ClientError

_SETTLED = frozenset(
    {pb.EVIDENCE_STATE_READY, pb.EVIDENCE_STATE_FAILED, pb.EVIDENCE_STATE_CANCELLED}
)


async def release(scene: Scene) -> None:
    """From the request to the file on the investigator's disk."""
    account = scene.account
    with account.step("An evidence package", "Un paquet de preuve"):
        asker = scene.stage.client(pb_grpc.EvidenceServiceStub, "enqueteur")
        request = await asker.CreateEvidenceRequest(
            pb.CreateEvidenceRequestRequest(
                cameras=[f"cameras/{camera}" for camera in estate.EVIDENCE],
                window=window(scene.broken_us[0] - 6_000_000, scene.settled_us - 1_000_000),
                purpose="Vol de fret en réunion",
                case_reference="PV 2026/00421",
                legal_basis="Article 77-1-1 du code de procédure pénale, réquisition 118",
            )
        )
        account.say(f"{request.name}  hold {request.hold[:14]}…")
        await _own_approval_is_refused(scene, request.name)
        decider = scene.stage.client(pb_grpc.EvidenceServiceStub, "responsable-csu")
        await decider.ApproveEvidenceRequest(
            pb.ApproveEvidenceRequestRequest(
                name=request.name, reason="Réquisition vérifiée", etag=request.etag
            )
        )
        ready = await _follow(scene, asker, request.name)
        account.check(
            tr("the package is READY", "le paquet est prêt"),
            ready.state == pb.EVIDENCE_STATE_READY,
            f"{ready.failure} {ready.failure_detail}".strip() or ready.package.sha256[:16] + "…",
        )
        path = await _download(scene, asker, ready)
        _verify(scene, path)


async def _own_approval_is_refused(scene: Scene, name: str) -> None:
    """Who asks does not decide: neither by right nor, with the right, by rule."""
    asker = scene.stage.client(pb_grpc.EvidenceServiceStub, "enqueteur")
    reason = ""
    try:
        await asker.ApproveEvidenceRequest(
            pb.ApproveEvidenceRequestRequest(name=name, reason="ma propre demande")
        )
    except grpc.aio.AioRpcError as error:
        reason = ClientError.of(error).reason
    scene.account.check(
        tr("the asker cannot approve", "le demandeur ne peut pas approuver"),
        reason in {"PERMISSION_DENIED", "EVIDENCE_SELF_APPROVAL"},
        reason,
    )


async def _follow(scene: Scene, stub: Any, name: str) -> pb.EvidenceRequest:
    async def settled() -> pb.EvidenceRequest | None:
        request = pb.GetEvidenceRequestRequest(name=name)
        found: pb.EvidenceRequest = await stub.GetEvidenceRequest(request)
        return found if found.state in _SETTLED else None

    return await scene.until(settled, "evidence package", seconds=60)


async def _download(scene: Scene, stub: Any, ready: pb.EvidenceRequest) -> Path:
    """In two pieces, as after a lost connection."""
    folder = scene.stage.folder / "evidence"
    folder.mkdir(exist_ok=True)
    path = folder / ready.package.file_name
    half = ready.package.size_bytes // 2
    with path.open("wb") as stream:
        for begin in (0, half):
            request = pb.DownloadPackageRequest(
                name=ready.name, offset_bytes=stream.tell() if begin else 0,
                sha256=ready.package.sha256,
            )  # fmt: skip
            call = stub.DownloadPackage(request)
            async for message in call:
                stream.write(message.data)
                if begin == 0 and stream.tell() >= half:
                    call.cancel()
                    break
    scene.account.check(
        tr("downloaded in two pieces", "téléchargé en deux fois"),
        path.stat().st_size == ready.package.size_bytes,
        f"{path.stat().st_size} {tr('bytes', 'octets')}",
    )
    scene.account.facts["package"] = {"path": str(path.name), "sha256": ready.package.sha256}
    return path


def _verify(scene: Scene, path: Path) -> None:
    certificate = scene.stage.data / CERTIFICATE_FILE
    trusted = x509.load_pem_x509_certificates(certificate.read_bytes())
    try:
        found = verify_package(path, trusted=trusted)
    except RejectedError as error:
        scene.account.check(
            tr("it verifies offline", "il se vérifie hors ligne"), passed=False, detail=str(error)
        )
        return
    missing = sum(camera.missing_us for camera in found.manifest.cameras)
    scene.account.check(
        tr("it verifies offline, and names its gap", "vérifié hors ligne, la lacune est nommée"),
        found.trusted and missing > 0,
        f"{found.file_count} {tr('files', 'fichiers')}, "
        f"{missing / 1e6:.1f} s {tr('missing', 'manquantes')}",
    )


async def tamper(scene: Scene) -> None:
    """One altered byte in a copy, and the verifier names the file."""
    with scene.account.step("One byte of a copy is altered", "Un octet d'une copie est altéré"):
        package = next((scene.stage.folder / "evidence").glob("*.zip"))
        root = scene.stage.folder / "altered"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(root)
        victim = next(root.rglob("*.mp4"))
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 0x01
        victim.write_bytes(bytes(content))
        reason = ""
        try:
            verify_package(root)
        except RejectedError as error:
            reason = f"{error.reason}: {error.detail}"
        scene.account.check(
            tr("the copy is refused, its file named", "la copie est refusée, le fichier nommé"),
            reason.startswith("FILE_ALTERED") and victim.name in reason,
            reason[:80],
        )
        shutil.rmtree(root)
