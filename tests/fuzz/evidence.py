"""What a verifier is handed by somebody it does not trust: archive, signature, manifest, media."""

import hashlib
import io
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from fuzz.draw import Draw
from fuzz.files import in_memory, segment
from fuzz.target import Target, promise
from vigie.evidence import archive, verify
from vigie.evidence.cms import verify_detached
from vigie.evidence.manifest import File, Media, SourceSegment, parse_manifest
from vigie.evidence.media_check import check_media
from vigie.evidence.rejection import RejectedError
from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment, read_fragments, read_header

SEEDS: Final = Path(__file__).parent / "seeds"
SIGNED: Final = b"what the signature of the seeds covers\n"
_START: Final = datetime(2026, 9, 1, tzinfo=UTC)


def _archive(data: bytes) -> None:
    """What is opened must be what `PackageWriter` writes, to the last byte."""
    with in_memory(data) as path, closing(archive.open_package(path)) as package:
        names = package.names()
        contents: dict[str, bytes] = {}
        for name in names:
            archive.check_name(name)
            region = package.region(name)
            with closing(region):
                raw = region.read()
            try:
                contents[name] = archive.read_all(package, name, limit=1 << 20)
            except archive.READ_ERRORS:
                return
            promise(raw == contents[name], "both ways of reading give the same")
        assert isinstance(package, archive.ZipPackage)
        entries = list(package._entries.values())
    times = {entry.date_time for entry in entries}
    try:
        created = datetime(*times.pop(), tzinfo=UTC) if len(times) == 1 else None
    except ValueError:
        return  # the 13th month: no package has such a time
    if created is None:
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # a memory disk: no write waits
        again = Path(folder) / "package.zip"
        with archive.PackageWriter(again, created) as writer:
            for entry in entries:
                name = entry.filename
                writer.add(name, [contents[name]], size_bytes=len(contents[name]))
        promise(again.read_bytes() == data, "every deviation is refused")


@cache
def _original() -> tuple[bytes, x509.Certificate]:
    """Made once, with a key that was thrown away."""
    content = (SEEDS / "signature" / "signed.p7s").read_bytes()
    return content, verify_detached(content, SIGNED).certificate


def _signature(data: bytes) -> None:
    found = verify_detached(data, SIGNED)
    promise(len(found.fingerprint) == 64, "a fingerprint")
    content, certificate = _original()
    # The certificate travels unsigned: `verify_package` holds it against the one that the manifest
    # signs. Beside it, no bit may be another.
    promise(data == content or found.certificate != certificate, "only the one signature holds")


def _manifest(data: bytes) -> None:
    manifest = parse_manifest(data)
    content = manifest.to_bytes()
    promise(parse_manifest(content) == manifest, "a manifest is its own copy")
    promise(parse_manifest(content).to_bytes() == content, "and has one spelling")
    for file in manifest.files:
        archive.check_name(file.path)
    verify._check_names([file.path for file in manifest.files], manifest)
    for camera in manifest.cameras:
        verify._check_completeness(camera, manifest)
    verify._check_cameras(manifest)
    verify._check_custody(manifest)


def _media(data: bytes) -> None:
    """A media file and what a manifest says of it."""
    draw = Draw(data)
    content = bytearray(segment())
    counts = [draw.below(4) for _ in range(1 + draw.below(3))] if draw.flag() else [1, 2]
    while draw.more:
        at, step = draw.number(2) % len(content), draw.below(3)
        if step == 0:
            content[at] ^= 1 << draw.below(8)
        elif step == 1:
            content[at : at + 4] = draw.take(4)
        else:
            del content[at : at + draw.below(8)]
    altered = bytes(content) != segment()
    file, taken = _stated(bytes(content), counts)
    check_media(file, io.BytesIO(content))
    # Nothing that is stated as nothing is true, if of no use.
    found = not altered or not taken or read_fragments(bytes(content))
    promise(found, "a file without what is stated is refused")
    promise(taken == sum(counts), "every fragment belongs to a segment")


@cache
def _parts() -> tuple[MediaHeader, list[Fragment]]:
    header = read_header(segment())
    return header, read_fragments(segment(), header)


def _stated(content: bytes, counts: list[int]) -> tuple[File, int]:
    header, fragments = _parts()
    at, segments, start = 0, [], _START
    for number, count in enumerate(counts):
        own = fragments[at : at + count]
        at += len(own)
        digest = hashlib.sha256()
        for each in own:
            digest.update(content[each.data_offset : each.data_offset + each.data_size])
        ticks = sum(each.duration for each in own)
        end = start + timedelta(microseconds=ticks * 1_000_000 // header.timescale)
        segments.append(
            SourceSegment(
                object_key=f"key/{number}", number=number, start=start, end=end, size_bytes=1,
                sha256="0" * 64, fragments=count, samples=sum(len(e.table.sizes) for e in own),
                samples_sha256=digest.hexdigest(), camera_clock_offset_us=None,
            )
        )  # fmt: skip
        start = end
    found = header.configuration
    media = Media(
        camera="cam-01", run="run", codec=found.codec_string, width=found.width,
        height=found.height, start=_START, end=start, segments=tuple(segments),
    )  # fmt: skip
    stated = File(path="media/a.mp4", size_bytes=len(content), sha256="0" * 64, media=media)
    return stated, at


_MANIFEST_WORDS: Final = (
    b'"schema": "vigie-evidence-manifest"', b'"version": 1', b"0001-01-01T00:00:00+23:59",
    b"9999-12-31T23:59:59-23:59", b'"segments": []', b"[[[[[[[[", b"-1", b"1e400", b'"STORED"',
    b'"MISSING"', b'"../', b"\\ud800", b"true",
)  # fmt: skip
_ZIP_WORDS: Final = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff")
_DECLARED: Final = (RejectedError,)
TARGETS: Final = (
    Target("archive", _archive, _DECLARED, False, 4096, _ZIP_WORDS),
    Target("signature", _signature, _DECLARED, False, 2048, (b"\x30\x82", b"\xa0\x80", b"\5\0")),
    Target("manifest", _manifest, _DECLARED, False, 8192, _MANIFEST_WORDS),
    Target("evidence-media", _media, _DECLARED, False, 64),
)
