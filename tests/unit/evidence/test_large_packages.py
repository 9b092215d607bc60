"""Packages whose sizes and offsets need more than 32 bits, and those that nearly do."""

import subprocess
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from long_forms import LONG
from unit.evidence.conftest import CUSTODY, approved
from unit.media.recorded import START_US
from vigie.evidence import zipform
from vigie.evidence.archive import PackageWriter, open_package
from vigie.evidence.builder import PackageBuilder
from vigie.evidence.rejection import RejectedError
from vigie.evidence.verify import verify_package

CREATED = datetime(2026, 9, 1, tzinfo=UTC)
GIB = 1 << 30


@pytest.mark.parametrize(
    ("module", "threshold"), [(zipfile, "ZIP64_LIMIT"), (zipform, "_WIDE_FROM")]
)
async def test_a_package_above_the_threshold_of_a_writer_verifies(
    builder: PackageBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    threshold: str,
) -> None:
    """Ours is 4 GiB less one byte, that of `zipfile` 2 GiB: both are lowered to some kilobytes."""
    monkeypatch.setattr(module, threshold, 30_000)
    request = approved(START_US - 2_000_000, START_US + 7_300_000)
    built = await builder.build(request, CUSTODY, tmp_path / "package.zip", lambda _: None)
    assert built.path.stat().st_size > 100_000
    assert verify_package(built.path).manifest == built.manifest
    with zipfile.ZipFile(built.path) as package:
        assert package.testzip() is None
        wide = [entry.filename for entry in package.infolist() if entry.extra]
        assert wide == (package.namelist() if module is zipform else [])


@pytest.mark.parametrize("from_count", [3, 4])
def test_more_entries_than_sixteen_bits_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_count: int
) -> None:
    monkeypatch.setattr(zipform, "_MANY_FROM", from_count)
    with PackageWriter(tmp_path / "p.zip", CREATED) as writer:
        for name in "abc":
            writer.add(name, [b"x"], size_bytes=1)
    data = (tmp_path / "p.zip").read_bytes()
    assert (b"PK\6\6" in data) == (from_count == 3)
    with closing(open_package(tmp_path / "p.zip")) as package:
        assert package.names() == ["a", "b", "c"]


def test_an_entry_is_as_long_as_announced(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="announced"),
        PackageWriter(tmp_path / "p.zip", CREATED) as writer,
    ):
        writer.add("a", [b"xy"], size_bytes=1)
    with pytest.raises(RejectedError):
        open_package(tmp_path / "p.zip")


def sparse(path: Path, *sizes: int) -> list[zipform.Entry]:
    """A package of zeros that takes no room on the disk; checksums are not looked at here."""
    entries: list[zipform.Entry] = []
    at = 0
    with path.open("wb") as stream:
        for number, size in enumerate(sizes):
            entry = zipform.Entry(f"media/{number}.mp4", zipform.zip_time(CREATED), 0, size, at)
            stream.seek(at)
            at += stream.write(zipform.local_header(entry)) + size
            entries.append(entry)
        stream.seek(at)
        stream.write(zipform.directory(entries, at))
    return entries


@pytest.mark.parametrize(
    ("sizes", "wide"),
    [
        ((2 * GIB - 1, 1), 0),
        ((2 * GIB, 1), 0),
        ((3 * GIB, 100, 1), 0),
        ((0xFFFFFFFE, 1), 1),
        ((0xFFFFFFFF, 1), 2),
        ((3 * GIB, 3 * GIB, 1), 1),
        ((5 * GIB, 1, 5 * GIB), 3),
    ],
)
def test_large_packages_have_one_form_that_every_reader_knows(
    tmp_path: Path, sizes: tuple[int, ...], wide: int
) -> None:
    """A record is wide where 32 bits do not hold what it says, and nowhere else."""
    path = tmp_path / "large.zip"
    entries = sparse(path, *sizes)
    with closing(open_package(path)) as package:
        assert package.names() == [entry.name for entry in entries]
    with zipfile.ZipFile(path) as package:
        infos = package.infolist()
    assert [(info.file_size, info.header_offset) for info in infos] == [
        (entry.size_bytes, entry.offset) for entry in entries
    ]
    assert sum(bool(info.extra) for info in infos) == wide
    spots = [
        entry.offset + at for entry in entries for at in range(len(zipform.local_header(entry)))
    ]
    spots += range(entries[-1].offset + len(zipform.local_header(entries[-1])) + sizes[-1],
                   path.stat().st_size)  # fmt: skip
    for spot in spots:
        flip(path, spot)
        with pytest.raises(RejectedError):
            open_package(path)
        flip(path, spot)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1 << at % 8]))


def test_a_small_entry_has_no_room_for_a_wide_field(tmp_path: Path) -> None:
    """Nor for any other: a local header that says "see the 64-bit field" hides nothing."""
    path = tmp_path / "p.zip"
    with PackageWriter(path, CREATED) as writer:
        for name in ("a", "b"):
            writer.add(name, [b"x"], size_bytes=1)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as package:
        at, directory = package.infolist()[1].header_offset, package.start_dir
    for extra in (b"\xfe\xca\x09\x00not signed", b"\1\0\x10\0" + b"\1\0\0\0\0\0\0\0" * 2):
        header = bytearray(data[at : at + 31])
        header[18:26] = b"\xff" * 8
        header[28] = len(extra)
        end = bytearray(data[directory:])
        end[-6:-2] = (directory + len(extra)).to_bytes(4, "little")
        path.write_bytes(data[:at] + header + extra + data[at + 31 : directory] + end)
        with zipfile.ZipFile(path) as package:
            assert package.testzip() is None, "a ZIP like any other"
        with pytest.raises(RejectedError, match="headers disagree"):
            open_package(path)


def test_packages_made_by_older_programs_verify(tmp_path: Path) -> None:
    """They were written by `zipfile`; those that were released are below its threshold."""
    older, newer = tmp_path / "older.zip", tmp_path / "newer.zip"
    contents = {"media/cam/a.mp4": b"x" * 70_000, "certificate.pem": b"c", "manifest.json": b""}
    with zipfile.ZipFile(older, "x", zipfile.ZIP_STORED) as package:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, zipform.zip_time(CREATED))
            info.create_system, info.external_attr = 3, 0o100444 << 16
            info.file_size = len(content)
            with package.open(info, "w") as entry:
                entry.write(content)
    with PackageWriter(newer, CREATED) as writer:
        for name, content in contents.items():
            writer.add(name, [content], size_bytes=len(content))
    assert newer.read_bytes() == older.read_bytes()


@pytest.mark.skipif(not LONG, reason="writes two gigabytes (VIGIE_LONG_TESTS=1)")
def test_more_than_two_gibibytes_are_written_and_read(tmp_path: Path) -> None:
    """Nothing lowered, nothing sparse: what a camera records in some seventy minutes."""
    path = tmp_path / "real.zip"
    zeros = memoryview(bytes(16 << 20))
    try:
        with PackageWriter(path, CREATED) as writer:
            for name in ("media/a.mp4", "media/b.mp4"):
                writer.add(name, (zeros for _ in range(65)), size_bytes=65 << 24)
            writer.add("certificate.pem", [b"x"], size_bytes=1)
        with closing(open_package(path)) as package:
            for name in package.names():
                with closing(package.open(name)) as stream:
                    while stream.read(16 << 20):
                        pass  # the checksum of the container is compared at the end
        listed = subprocess.run(["unzip", "-l", path], capture_output=True, check=True, text=True)
        assert "2181038081" in listed.stdout
    finally:
        path.unlink(missing_ok=True)
