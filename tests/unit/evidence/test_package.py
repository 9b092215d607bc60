import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ffmpeg_reading import complaints
from long_forms import LONG
from unit.evidence.conftest import (
    CAMERA,
    CUSTODY,
    GAP_SETTLE_US,
    NOW_US,
    FakeRecordings,
    OneCamera,
    approved,
)
from unit.media.recorded import START_US, Segment, libav_sees
from vigie.evidence import reasons
from vigie.evidence.archive import PackageWriter
from vigie.evidence.builder import Built, PackageBuilder
from vigie.evidence.manifest import MANIFEST_NAME, SIGNATURE_NAME
from vigie.evidence.model import CustodyStep
from vigie.evidence.rejection import RejectedError
from vigie.evidence.signer import Signer
from vigie.evidence.verify import verify_package
from vigie.platform.clock import ManualWallClock, to_us
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.directory import DirectoryObjectStore


def media_name(built: Built) -> str:
    return next(file.path for file in built.manifest.files if file.media)


def unpacked(built: Built, folder: Path) -> Path:
    with zipfile.ZipFile(built.path) as package:
        package.extractall(folder)
    return folder


def refused(path: Path, **options: list[x509.Certificate]) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        verify_package(path, trusted=options.get("trusted", []))
    return caught.value


def is_refused(path: Path) -> bool:
    try:
        verify_package(path)
    except RejectedError:
        return True
    return False


async def test_a_package_verifies_as_a_file_and_as_a_folder(
    built: Built, signer: Signer, tmp_path: Path
) -> None:
    found = verify_package(built.path, trusted=[signer.certificate])
    assert found.trusted
    assert found.manifest == built.manifest
    assert verify_package(unpacked(built, tmp_path / "folder")).manifest == built.manifest


async def test_every_instant_is_there_or_missing_for_a_cause(built: Built) -> None:
    camera = built.manifest.cameras[0]
    assert camera.requested_us == 9_300_000
    assert camera.missing_us == 2_000_000
    assert [(i.state, i.cause) for i in camera.intervals] == [
        ("MISSING", "CAMERA_UNREACHABLE"),
        ("STORED", ""),
    ]
    assert [(m.camera, m.cause, m.duration_us) for m in built.missing] == [
        (CAMERA, "CAMERA_UNREACHABLE", 2_000_000)
    ]


async def test_samples_are_those_received_and_play_without_a_warning(
    built: Built, recorded: list[Segment], tmp_path: Path
) -> None:
    with zipfile.ZipFile(built.path) as package:
        data = package.read(media_name(built))
    (tmp_path / "play").mkdir()
    assert complaints(data, tmp_path / "play") == ""
    sent = [packet for segment in recorded for packet in libav_sees(segment.data).packets]
    found = libav_sees(data).packets
    assert found == sent[: len(found)]
    assert len(found) >= 7.3 * len(sent) / 10


async def test_the_window_takes_whole_key_frame_intervals_and_no_more(built: Built) -> None:
    media = next(file.media for file in built.manifest.files if file.media)
    end_us = built.manifest.request.window.end
    assert media.end >= end_us
    assert (media.end - end_us).total_seconds() < 1.01
    assert [segment.number for segment in media.segments] == list(range(len(media.segments)))


ALTERATIONS: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "media flipped": (lambda root, media: flip(root / media, -1000), "FILE_ALTERED"),
    "report flipped": (lambda root, _: flip(root / "report.html", 100), "FILE_ALTERED"),
    "certificate flipped": (lambda root, _: flip(root / "certificate.pem", 99), "FILE_ALTERED"),
    "manifest flipped": (lambda root, _: flip(root / MANIFEST_NAME, 200), "SIGNATURE_INVALID"),
    "media cut": (lambda root, media: cut(root / media), "FILE_ALTERED"),
    "media gone": (lambda root, media: (root / media).unlink(), "FILE_MISSING"),
    "file added": (lambda root, _: (root / "note.txt").write_text("x") and None, "FILE_UNEXPECTED"),
    "signature gone": (lambda root, _: (root / SIGNATURE_NAME).unlink(), "SIGNATURE_MISSING"),
    "manifest gone": (lambda root, _: (root / MANIFEST_NAME).unlink(), "MANIFEST_MISSING"),
    "media renamed": (
        lambda root, media: (root / media).rename(root / "media" / "other.mp4") and None,
        "FILE_MISSING",
    ),
    "time changed": (
        lambda root, _: replace_in(
            root / MANIFEST_NAME, b'"created_time": "2', b'"created_time": "1'
        ),
        "SIGNATURE_INVALID",
    ),
    "link": (lambda root, _: (root / "link").symlink_to("/etc/hostname"), "PACKAGE_ENTRY_UNSAFE"),
}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace_in(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("alteration", ALTERATIONS)
async def test_an_altered_folder_is_refused_and_the_alteration_named(
    built: Built, alteration: str, tmp_path: Path
) -> None:
    root = unpacked(built, tmp_path / "folder")
    alter, reason = ALTERATIONS[alteration]
    alter(root, media_name(built))
    assert refused(root).reason == reason


async def test_no_bit_of_the_container_can_be_flipped(built: Built, tmp_path: Path) -> None:
    """Headers, directory and end of the ZIP: what the signature does not cover."""
    data = built.path.read_bytes()
    with zipfile.ZipFile(built.path) as package:
        entries = package.infolist()
        directory = package.start_dir
    spots = [e.header_offset + i for e in entries for i in range(30 + len(e.filename))]
    spots += range(directory, len(data))
    target = tmp_path / "flipped.zip"
    for spot in spots:
        flipped = bytearray(data)
        flipped[spot] ^= 1 << (spot % 8)
        target.write_bytes(bytes(flipped))
        assert is_refused(target), f"a flip at byte {spot} went unnoticed"


async def test_no_bit_of_the_signature_can_be_flipped(built: Built, tmp_path: Path) -> None:
    root = unpacked(built, tmp_path / "folder")
    path = root / SIGNATURE_NAME
    data = path.read_bytes()
    accepted = []
    # Every day some bit of every byte, each of the eight by turns; in the long form all of them.
    for bit in range(0, len(data) * 8, 1 if LONG else 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bytes(flipped))
        if not is_refused(root):
            accepted.append(bit)
    assert accepted == []


async def test_a_renamed_entry_or_other_time_is_refused(built: Built, tmp_path: Path) -> None:
    for number, (name, shift) in enumerate((("report2.html", 0), ("report.html", 5))):
        target = tmp_path / f"{number}.zip"
        created = built.manifest.created_time
        with (
            zipfile.ZipFile(built.path) as source,
            PackageWriter(target, created.replace(second=(created.second + shift) % 60)) as copy,
        ):
            for info in source.infolist():
                data = source.read(info)
                new = name if info.filename == "report.html" else info.filename
                copy.add(new, [data], size_bytes=len(data))
        assert refused(target).reason == ("FILE_MISSING" if not shift else "FILE_TIME_ALTERED")


async def test_a_package_signed_by_somebody_else_is_refused(
    built: Built, signer: Signer, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", "/dev/null", "-out", str(other), "-subj", "/CN=other"]
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    subprocess.run(command, check=True, capture_output=True)
    trusted = x509.load_pem_x509_certificates(other.read_bytes())
    assert refused(built.path, trusted=trusted).reason == "SIGNER_UNTRUSTED"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
async def test_openssl_accepts_the_signature(built: Built, tmp_path: Path) -> None:
    root = unpacked(built, tmp_path / "folder")
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", SIGNATURE_NAME]
    command += ["-content", MANIFEST_NAME, "-CAfile", "certificate.pem", "-purpose", "any"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_an_altered_source_stops_the_release(
    builder: PackageBuilder, store: DirectoryObjectStore, recordings: FakeRecordings, tmp_path: Path
) -> None:
    facts = recordings.stored[CAMERA][1]
    path = tmp_path / "store" / facts.object_key
    path.chmod(0o600)
    flip(path, -3000)
    request = approved(START_US, START_US + 5_000_000)
    with pytest.raises(VigieError) as caught:
        await builder.build(request, CUSTODY, tmp_path / "p.zip", lambda _: None)
    assert caught.value.reason is reasons.EVIDENCE_SOURCE_ALTERED


async def test_a_missing_source_stops_the_release(
    builder: PackageBuilder, store: DirectoryObjectStore, recordings: FakeRecordings, tmp_path: Path
) -> None:
    await store.delete(recordings.stored[CAMERA][1].object_key)
    with pytest.raises(VigieError) as caught:
        await builder.build(
            approved(START_US, START_US + 5_000_000), CUSTODY, tmp_path / "p.zip", lambda _: None
        )
    assert caught.value.reason is reasons.EVIDENCE_SOURCE_MISSING


async def test_the_zones_of_the_window_are_stated(
    builder: PackageBuilder, recordings: FakeRecordings, tmp_path: Path
) -> None:
    """A camera that stood in one zone needs nothing that older verifiers do not know."""
    request = replace(approved(START_US, START_US + 5_000_000), zones=("zone-a", "zone-b"))
    for stood, version in ((["zone-a"], 1), (["zone-a", "zone-b", "zone-a"], 2)):
        recordings.stood = {CAMERA: stood}
        path = tmp_path / f"{version}.zip"
        built = await builder.build(request, CUSTODY, path, lambda _: None)
        manifest = verify_package(path).manifest
        assert manifest == built.manifest
        assert manifest.version == version
        with zipfile.ZipFile(path) as package:
            camera = json.loads(package.read(MANIFEST_NAME))["cameras"][0]
            page = package.read("report.html").decode()
        assert camera["zone"] == stood[-1]
        assert camera.get("zones") == (stood if version == 2 else None)
        assert " → ".join(stood) in page


async def test_a_package_holds_footage_of_no_zone_that_was_not_asked(
    builder: PackageBuilder, recordings: FakeRecordings, tmp_path: Path
) -> None:
    request = replace(approved(START_US, START_US + 5_000_000), zones=("zone-b",))
    for stood, reason in (
        (["zone-a", "zone-b"], reasons.EVIDENCE_ZONES_CHANGED),
        ([], reasons.EVIDENCE_ZONES_UNKNOWN),
    ):
        recordings.stood = {CAMERA: stood}
        with pytest.raises(VigieError) as caught:
            await builder.build(request, CUSTODY, tmp_path / "p.zip", lambda _: None)
        assert caught.value.reason is reason


async def test_pending_footage_is_waited_for(
    builder: PackageBuilder, recordings: FakeRecordings, tmp_path: Path
) -> None:
    pieces = recordings.pieces[CAMERA]
    pieces[1] = replace(pieces[1], kind="PENDING")
    with pytest.raises(VigieError) as caught:
        await builder.build(
            approved(START_US, START_US + 1_000_000), CUSTODY, tmp_path / "p.zip", lambda _: None
        )
    assert caught.value.reason is reasons.EVIDENCE_PENDING_FOOTAGE


@pytest.mark.parametrize(
    ("cause", "age_us", "waits"),
    [
        ("INGEST_DOWN", GAP_SETTLE_US - 1, True),
        ("INGEST_DOWN", GAP_SETTLE_US, False),
        ("CAMERA_SILENT", 0, False),
    ],
)
async def test_a_gap_that_may_still_be_filled_is_waited_for(
    store: DirectoryObjectStore,
    recordings: FakeRecordings,
    signer: Signer,
    tmp_path: Path,
    *,
    cause: str,
    age_us: int,
    waits: bool,
) -> None:
    """Later footage may be listed before what another process has on its way."""
    pieces = recordings.pieces[CAMERA]
    gap = pieces[2] = replace(pieces[2], cause=cause)
    builder = PackageBuilder(
        store=store, recordings=recordings, cameras=OneCamera(), signer=signer,
        wall_clock=ManualWallClock(gap.end_us + age_us), installation="Test", version="0",
        gap_settle_us=GAP_SETTLE_US,
    )  # fmt: skip
    request = approved(gap.start_us - 1_000_000, gap.end_us)
    building = builder.build(request, CUSTODY, tmp_path / "p.zip", lambda _: None)
    if not waits:
        assert [each.cause for each in (await building).missing] == [cause]
        return
    with pytest.raises(VigieError) as caught:
        await building
    assert caught.value.reason is reasons.EVIDENCE_PENDING_FOOTAGE


async def test_a_package_is_not_older_than_its_custody(
    builder: PackageBuilder, tmp_path: Path
) -> None:
    """The clock of whoever took the last step may be ahead of the builder's."""
    ahead = CustodyStep(NOW_US + 5_000, "vigie/evidence", "Vigie", "HELD", "holds/a")
    request = approved(START_US, START_US + 5_000_000)
    built = await builder.build(request, [*CUSTODY, ahead], tmp_path / "p.zip", lambda _: None)
    verify_package(built.path)
    assert to_us(built.manifest.created_time) == NOW_US + 5_000


async def test_the_report_is_safe_to_open(built: Built) -> None:
    with zipfile.ZipFile(built.path) as package:
        page = package.read("report.html").decode()
    assert "La Garenne &lt;Nord&gt;" in page
    assert "Vol &lt;aggravé&gt;" in page
    for forbidden in ("<script", "http://", "https://", "src="):
        assert forbidden not in page


async def test_the_manifest_is_what_its_published_schema_says(built: Built) -> None:
    with zipfile.ZipFile(built.path) as package:
        document = json.loads(package.read(MANIFEST_NAME))
    assert document["schema"] == "vigie-evidence-manifest"
    media = document["files"][0]["media"]
    assert len(media["segments"]) >= 4
    assert (
        document["issuer"]["signer_fingerprint"]
        == hashlib.sha256(
            x509.load_pem_x509_certificate(
                zipfile.ZipFile(built.path).read("certificate.pem")
            ).public_bytes(serialization.Encoding.DER)
        ).hexdigest()
    )
