"""Verifies a package offline: no service, no network, no trust in whoever hands it over.

The order matters: nothing is interpreted before it is known to be signed.

1. the container is canonical and its names are safe;
2. the signature fits the exact bytes of the manifest;
3. the signer is the one who is trusted, where the verifier says who that is;
4. the manifest follows its schema;
5. the files are those named, no more and no less, and bear the time of the package;
6. every file has the size and the SHA-256 of the manifest, and the certificates in the signature
   are those of the file that is signed with it;
7. every media file parses, and its samples are those of the source segments it names;
8. every camera's intervals are the window asked for, and what is STORED is in the media files;
9. the chain of custody is in order, and nobody approved their own request.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from vigie.evidence import archive
from vigie.evidence.cms import Signature, verify_detached
from vigie.evidence.manifest import (
    CERTIFICATE_NAME,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Camera,
    File,
    Manifest,
    parse_manifest,
)
from vigie.evidence.media_check import check_media
from vigie.evidence.rejection import RejectedError

_MANIFEST_LIMIT: Final = 256 << 20
_SIGNATURE_LIMIT: Final = 1 << 20
_MICROSECOND: Final = timedelta(microseconds=1)

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A package that holds.

    Attributes:
        manifest: what it says, now believed.
        signature: who signed.
        trusted: whether the signer was compared with one the verifier knows.
        file_count: files whose digest was checked.
        size_bytes: how much was read.
    """

    manifest: Manifest
    signature: Signature
    trusted: bool
    file_count: int
    size_bytes: int


def verify_package(
    path: Path,
    *,
    trusted: Sequence[x509.Certificate] = (),
    progress: Progress | None = None,
) -> Verification:
    """Verify the package at ``path``, a ZIP file or the folder it was unpacked to.

    Args:
        path: the package.
        trusted: certificates of signers (or of their issuers) the verifier trusts; none: the
            signature is checked, and who signed is for the reader to compare.
        progress: told as files are read.

    Raises:
        RejectedError: the first thing that is wrong.
    """
    with closing(archive.open_package(path)) as package:
        names = package.names()
        if MANIFEST_NAME not in names:
            raise RejectedError("MANIFEST_MISSING", MANIFEST_NAME)
        if SIGNATURE_NAME not in names:
            raise RejectedError("SIGNATURE_MISSING", SIGNATURE_NAME)
        content = archive.read_all(package, MANIFEST_NAME, limit=_MANIFEST_LIMIT)
        signature_der = archive.read_all(package, SIGNATURE_NAME, limit=_SIGNATURE_LIMIT)
        signature = verify_detached(signature_der, content)
        _check_signer(signature, trusted)
        manifest = parse_manifest(content)
        _check_names(names, manifest)
        package.check_times(manifest.created_time)
        for file in manifest.files:
            _check_digest(package, file, progress)
        _check_certificate(package, signature)
        for file in manifest.files:
            if file.media is not None:
                with closing(package.region(file.path)) as stream:
                    check_media(file, stream)
        for camera in manifest.cameras:
            _check_completeness(camera, manifest)
        _check_cameras(manifest)
        _check_custody(manifest)
    size_bytes = len(content) + sum(file.size_bytes for file in manifest.files)
    return Verification(manifest, signature, bool(trusted), len(manifest.files), size_bytes)


def _check_signer(signature: Signature, trusted: Sequence[x509.Certificate]) -> None:
    if not trusted or any(signature.certificate == each for each in trusted):
        return
    for issuer in trusted:
        try:
            signature.certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise RejectedError("SIGNER_UNTRUSTED", f"certificate {signature.fingerprint}")


def _check_certificate(package: archive.Package, signature: Signature) -> None:
    """The certificates in the signature, unsigned there, must be those that the manifest signs.

    All of them, no more and no less, in the order of DER (X.690, 11.6): another one would be room
    for what nobody signed.
    """
    content = archive.read_all(package, CERTIFICATE_NAME, limit=_SIGNATURE_LIMIT)
    der = serialization.Encoding.DER
    try:
        signed = x509.load_pem_x509_certificates(content)
    except ValueError:
        signed = []
    found = [each.public_bytes(der) for each in signature.certificates]
    same = found == sorted(each.public_bytes(der) for each in signed)
    if not same or signed[0] != signature.certificate:
        raise RejectedError(
            "SIGNATURE_INVALID",
            f"{SIGNATURE_NAME} holds other certificates than {CERTIFICATE_NAME}",
        )


def _check_names(names: Sequence[str], manifest: Manifest) -> None:
    listed = [file.path for file in manifest.files]
    if len(set(listed)) != len(listed):
        raise RejectedError("MANIFEST_INVALID", "a file is listed twice")
    present = set(names) - {MANIFEST_NAME, SIGNATURE_NAME}
    for missing in sorted({*listed, CERTIFICATE_NAME} - present):
        raise RejectedError("FILE_MISSING", missing)
    for unexpected in sorted(present - set(listed)):
        raise RejectedError("FILE_UNEXPECTED", unexpected)


def _check_digest(package: archive.Package, file: File, progress: Progress | None) -> None:
    digest = hashlib.sha256()
    size = 0
    with closing(package.open(file.path)) as stream:
        try:
            for chunk in archive.chunks_of(stream):
                digest.update(chunk)
                size += len(chunk)
                if progress:
                    progress(file.path, size, file.size_bytes)
        except archive.READ_ERRORS as error:
            raise RejectedError("FILE_ALTERED", f"{file.path}: {error}") from error
    if size != file.size_bytes:
        raise RejectedError(
            "FILE_ALTERED", f"{file.path} is {size} bytes long, {file.size_bytes} were signed"
        )
    if digest.hexdigest() != file.sha256:
        raise RejectedError("FILE_ALTERED", f"{file.path} has SHA-256 {digest.hexdigest()}")


def _check_completeness(camera: Camera, manifest: Manifest) -> None:
    window = manifest.request.window
    at = window.start
    stored = missing = 0
    for interval in camera.intervals:
        if interval.start != at or interval.end <= interval.start:
            raise RejectedError(
                "COMPLETENESS_INCONSISTENT", f"{camera.camera}: {at.isoformat()} is not accounted"
            )
        at = interval.end
        length = (interval.end - interval.start) // _MICROSECOND
        if interval.state == "STORED":
            stored += length
            _check_covered(camera.camera, interval.start, interval.end, manifest)
        else:
            missing += length
            if not interval.cause:
                raise RejectedError(
                    "COMPLETENESS_INCONSISTENT", f"{camera.camera}: a gap without a cause"
                )
    requested = (window.end - window.start) // _MICROSECOND
    if at != window.end or (requested, stored, missing) != (
        camera.requested_us,
        camera.stored_us,
        camera.missing_us,
    ):
        raise RejectedError("COMPLETENESS_INCONSISTENT", f"{camera.camera}: the sums do not fit")


def _check_covered(camera: str, start: datetime, end: datetime, manifest: Manifest) -> None:
    """``start`` to ``end`` must lie within the source segments of this camera's files."""
    pieces = sorted(
        (segment.start, segment.end)
        for file in manifest.files
        if file.media is not None and file.media.camera == camera
        for segment in file.media.segments
    )
    at = start
    for piece_start, piece_end in pieces:
        if piece_start <= at < piece_end:
            at = piece_end
    if at < end:
        raise RejectedError(
            "COMPLETENESS_INCONSISTENT", f"{camera}: no footage at {at.isoformat()}"
        )


def _check_cameras(manifest: Manifest) -> None:
    """The statement speaks of every camera asked for, once, and of no other."""
    stated = [camera.camera for camera in manifest.cameras]
    if sorted(stated) != sorted(manifest.request.cameras) or len(set(stated)) != len(stated):
        raise RejectedError("COMPLETENESS_INCONSISTENT", "not the cameras that were asked for")
    for file in manifest.files:
        if file.media is not None and file.media.camera not in stated:
            raise RejectedError("MEDIA_INCONSISTENT", f"{file.path} is of another camera")


def _check_custody(manifest: Manifest) -> None:
    request = manifest.request
    if request.requester.subject == request.approver.subject:
        raise RejectedError("CUSTODY_INCONSISTENT", "the request was approved by who made it")
    times = [entry.time for entry in manifest.custody]
    if not times or times != sorted(times) or times[-1] > manifest.created_time:
        raise RejectedError("CUSTODY_INCONSISTENT", "the steps are not in order")
