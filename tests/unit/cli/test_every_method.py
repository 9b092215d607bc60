"""Every public method of the contracts has a command (issue: "the CLI covers every method")."""

from pathlib import Path

import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer, every_method
from vigie.cli.exits import Exit

PLACES = {
    "ZoneService/CreateCommune": "commune create 63113 --name Clermont-Ferrand",
    "ZoneService/GetCommune": "commune get 63113",
    "ZoneService/ListCommunes": "commune list",
    "ZoneService/UpdateCommune": "commune update 63113 --name Clermont",
    "ZoneService/DeleteCommune": "commune delete 63113",
    "ZoneService/CreateZone": "zone create zae-brezet --commune 63113 --name Brézet",
    "ZoneService/GetZone": "zone get zae-brezet",
    "ZoneService/ListZones": "zone list --commune 63113",
    "ZoneService/UpdateZone": "zone update zae-brezet --description x",
    "ZoneService/DeleteZone": "zone delete zae-brezet",
    "ZoneService/CreateSite": "site create mat-12 --zone zae-brezet --name Mât",
    "ZoneService/GetSite": "site get mat-12",
    "ZoneService/ListSites": "site list --zone zae-brezet",
    "ZoneService/UpdateSite": "site update mat-12 --position 45.7,3.1",
    "ZoneService/DeleteSite": "site delete mat-12",
}
CAMERAS = {
    "CameraService/CreateCamera": "camera create cam-01 --zone z1 --uri rtsp://10.0.0.8/s",
    "CameraService/GetCamera": "camera get cam-01",
    "CameraService/ListCameras": "camera list",
    "CameraService/UpdateCamera": "camera update cam-01 --name x",
    "CameraService/CommissionCamera": "camera commission cam-01",
    "CameraService/SuspendCamera": "camera suspend cam-01 --reason travaux",
    "CameraService/ResumeCamera": "camera resume cam-01",
    "CameraService/MoveCamera": "camera move cam-01 --zone z2",
    "CameraService/RetireCamera": "camera retire cam-01 --reason volée",
    "CameraService/ListCameraRevisions": "camera revisions cam-01",
    "CameraService/ImportCameras": "camera import {csv} --dry-run",
    "CameraService/ExportCameras": "camera export",
    "CameraService/ProbeCamera": "camera probe cam-01",
    "CameraService/WatchCameras": "camera watch",
    "AuthorisationService/CreateAuthorisation": "authorisation create --number 2026-1"
    " --prefecture P --valid-from 2026-01-01 --valid-until 2027-01-01 --zone z1"
    " --purpose terrorism",
    "AuthorisationService/GetAuthorisation": "authorisation get 2026-1",
    "AuthorisationService/ListAuthorisations": "authorisation list --state expiring",
    "AuthorisationService/UpdateAuthorisation": "authorisation update 2026-1 --number 2",
    "AuthorisationService/RevokeAuthorisation": "authorisation revoke 2026-1 --reason annulé",
}
FOOTAGE = {
    "StreamService/GetStream": "stream get cam-01",
    "StreamService/ListStreams": "stream list",
    "StreamService/WatchStreams": "stream watch",
    "LiveService/WatchLive": "live cam-01 -o {new} --purpose ronde",
    "RecordingService/GetTimeline": "timeline cam-01",
    "RecordingService/ListSegments": "segments cam-01",
    "RecordingService/GetCompleteness": "completeness",
    "PlaybackService/Play": "play cam-01 -o {new} --purpose ronde",
    "PlaybackService/GetClip": "clip cam-01 -o {new} --purpose ronde",
    "PlaybackService/GetSnapshot": "snapshot cam-01 -o {new} --purpose ronde",
    "HoldService/GetHold": "hold get h1 --wait 5s",
    "HoldService/ListHolds": "hold list --state pending",
    "RetentionService/PreviewRetention": "retention preview",
    "RetentionService/ListDestructions": "retention destructions --from -7d",
    "EvidenceService/CreateEvidenceRequest": "evidence request cam-01 --from -5m --to now"
    " --purpose vol --case 2026/1 --legal-basis CPP",
    "EvidenceService/GetEvidenceRequest": "evidence get r1",
    "EvidenceService/ListEvidenceRequests": "evidence list",
    "EvidenceService/ApproveEvidenceRequest": "evidence approve r1 --reason conforme",
    "EvidenceService/RefuseEvidenceRequest": "evidence refuse r1 --reason incomplet",
    "EvidenceService/CancelEvidenceRequest": "evidence cancel r1",
    "EvidenceService/WatchEvidenceRequests": "evidence watch",
    "EvidenceService/DownloadPackage": "evidence download r1 -o {new}",
}
RIGHTS = {
    "AuditService/SearchAccesses": "audit search --decision refused",
    "AuditService/GetAccess": "audit get 0198c1de-0000-7000-8000-000000000000",
    "AuditService/ExportAccesses": "audit export -o -",
    "AccessService/WhoAmI": "access whoami",
    "AccessService/ListPermissions": "access permissions",
    "AccessService/ListPeople": "access people",
}
COMMANDS = PLACES | CAMERAS | FOOTAGE | RIGHTS
OTHER_CODES = {
    "CameraService/ProbeCamera": Exit.CHECK_FAILED,  # an empty answer: not reachable
    "EvidenceService/DownloadPackage": Exit.FAILED,  # an empty answer: not the digest promised
    "PlaybackService/Play": Exit.NOT_FOUND,  # an empty answer: nothing is stored
}


def test_the_table_names_every_public_method_and_nothing_else() -> None:
    public = {method.name for method in every_method() if not method.internal}
    assert set(COMMANDS) == public


@pytest.mark.parametrize("method", sorted(COMMANDS))
@pytest.mark.parametrize("form", ["table", "json"])
def test_its_command_calls_the_method(
    method: str, form: str, vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    table = tmp_path / "cameras.csv"
    table.write_text("camera,zone\n", encoding="utf-8")
    text = COMMANDS[method].format(csv=table, new=tmp_path / "new")
    outcome = vigie(*(("--json",) if form == "json" else ()), *text.split())
    assert method in {call.method for call in fake.calls}, outcome
    assert outcome.code == OTHER_CODES.get(method, Exit.OK), outcome
