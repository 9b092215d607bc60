"""What was cut goes on where it stopped, and only what is whole gets its name."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import grpc
import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer, RefusedError
from vigie.audit.v1 import audit_service_pb2 as audit
from vigie.cli.exits import Exit
from vigie.evidence.v1 import evidence_service_pb2 as evidence


def package() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", "x" * 5000)
    return buffer.getvalue()


CONTENT = package()


@pytest.fixture
def offered(fake: FakeServer) -> FakeServer:
    found = evidence.EvidenceRequest(name="evidenceRequests/r1")
    found.package.sha256 = hashlib.sha256(CONTENT).hexdigest()
    found.package.size_bytes = len(CONTENT)
    found.package.file_name = "r1.zip"
    fake.answers["EvidenceService/GetEvidenceRequest"] = found
    fake.answers["EvidenceService/DownloadPackage"] = lambda request: [
        evidence.DownloadPackageResponse(data=CONTENT[at : at + 1000])
        for at in range(request.offset_bytes, len(CONTENT), 1000)
    ]
    return fake


def test_a_package_is_downloaded_and_checked(
    vigie: Vigie, offered: FakeServer, tmp_path: Path
) -> None:
    target = tmp_path / "r1.zip"
    outcome = vigie("--json", "evidence", "download", "r1", "-o", str(target))
    assert outcome.code == Exit.OK
    assert target.read_bytes() == CONTENT
    assert outcome.json()[0]["path"] == str(target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_download_that_was_cut_goes_on(vigie: Vigie, offered: FakeServer, tmp_path: Path) -> None:
    def cut(request: evidence.DownloadPackageRequest) -> object:
        yield evidence.DownloadPackageResponse(data=CONTENT[:1000])
        raise RefusedError(grpc.StatusCode.UNAVAILABLE)

    target = tmp_path / "r1.zip"
    whole = offered.answers["EvidenceService/DownloadPackage"]
    offered.answers["EvidenceService/DownloadPackage"] = cut
    assert vigie("evidence", "download", "r1", "-o", str(target)).code == Exit.UNAVAILABLE
    assert not target.exists()
    offered.answers["EvidenceService/DownloadPackage"] = whole
    assert vigie("evidence", "download", "r1", "-o", str(target)).code == Exit.OK
    assert target.read_bytes() == CONTENT
    assert offered.calls[-1].request.offset_bytes == 1000


def test_what_was_damaged_on_the_way_gets_no_name(
    vigie: Vigie, offered: FakeServer, tmp_path: Path
) -> None:
    damaged = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    offered.answers["EvidenceService/DownloadPackage"] = evidence.DownloadPackageResponse(
        data=damaged
    )
    target = tmp_path / "r1.zip"
    outcome = vigie("evidence", "download", "r1", "-o", str(target))
    assert outcome.code == Exit.FAILED
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_never_overwritten(
    vigie: Vigie, offered: FakeServer, tmp_path: Path
) -> None:
    target = tmp_path / "r1.zip"
    target.write_bytes(b"mine")
    assert vigie("evidence", "download", "r1", "-o", str(target)).code == Exit.CONFLICT
    assert target.read_bytes() == b"mine"
    assert not [call for call in offered.calls if call.method.endswith("DownloadPackage")]


def test_the_server_does_not_choose_the_folder(
    vigie: Vigie, offered: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    offered.answers["EvidenceService/GetEvidenceRequest"].package.file_name = "../escaped.zip"
    assert vigie("evidence", "download", "r1").code == Exit.OK
    assert (tmp_path / "here" / "escaped.zip").read_bytes() == CONTENT


EXPORT = ("audit", "export", "--from", "-1h", "-o")


def chunk(number: int, *, last: bool = False) -> audit.ExportAccessesResponse:
    return audit.ExportAccessesResponse(
        data=f"line {number}\n".encode(), record_count=1, resume_token=f"t{number}", complete=last
    )


def test_an_export_that_was_cut_goes_on_with_its_first_criteria(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    def cut(_: object) -> object:
        yield chunk(1)
        raise RefusedError(grpc.StatusCode.UNAVAILABLE)

    target = tmp_path / "log.jsonl"
    fake.answers["AuditService/ExportAccesses"] = cut
    assert vigie(*EXPORT, str(target)).code == Exit.UNAVAILABLE
    assert not target.exists()
    # A piece that arrived without its token being kept is received again, not doubled.
    with (tmp_path / "log.jsonl.part").open("ab") as part:
        part.write(b"half a li")
    fake.answers["AuditService/ExportAccesses"] = [chunk(2, last=True)]
    assert vigie(*EXPORT, str(target)).code == Exit.OK
    assert target.read_text(encoding="utf-8") == "line 1\nline 2\n"
    first, second = (call.request for call in fake.calls)
    assert second.resume_token == "t1"
    assert second.filter == first.filter
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("left", [b"", b"line"])
def test_a_part_that_has_lost_its_end_is_not_filled_with_zeros(
    vigie: Vigie, fake: FakeServer, tmp_path: Path, left: bytes
) -> None:
    fake.answers["AuditService/ExportAccesses"] = [chunk(1)]
    target = tmp_path / "log.jsonl"
    assert vigie(*EXPORT, str(target)).code == Exit.UNAVAILABLE
    (tmp_path / "log.jsonl.part").write_bytes(left)
    fake.answers["AuditService/ExportAccesses"] = [chunk(2, last=True)]
    outcome = vigie(*EXPORT, str(target))
    assert outcome.code == Exit.USAGE
    assert not target.exists()
    assert len(fake.calls) == 1


def test_the_part_of_another_export_is_not_gone_on_with(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    def cut(_: object) -> object:
        yield chunk(1)
        raise RefusedError(grpc.StatusCode.UNAVAILABLE)

    fake.answers["AuditService/ExportAccesses"] = cut
    target = tmp_path / "log.jsonl"
    vigie(*EXPORT, str(target))
    outcome = vigie(*EXPORT, str(target), "--decision", "refused")
    assert outcome.code == Exit.USAGE
    assert len(fake.calls) == 1


def test_an_export_that_is_not_complete_is_not_called_whole(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    fake.answers["AuditService/ExportAccesses"] = [chunk(1)]
    target = tmp_path / "log.jsonl"
    assert vigie(*EXPORT, str(target)).code == Exit.UNAVAILABLE
    assert not target.exists()
    notes = json.loads((tmp_path / "log.jsonl.resume").read_text(encoding="utf-8"))
    assert notes["request"]["resume_token"] == "t1"


def test_criteria_reach_the_search(vigie: Vigie, fake: FakeServer) -> None:
    vigie("audit", "search", "--camera", "cam-1", "--kind", "communication", "--kind", "export",
          "--case", "2026/1", "--phase", "closed", "--from", "-1d")  # fmt: skip
    sent = fake.called("AuditService/SearchAccesses")
    assert sent.filter.object == "cameras/cam-1"
    assert len(sent.filter.kinds) == 2
    assert sent.filter.case_reference == "2026/1"
    assert sent.filter.access_window.HasField("start_time")
    assert (sent.order_by, sent.page_size) == ("time desc", 100)
