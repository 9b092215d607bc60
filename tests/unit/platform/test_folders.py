"""Names that survive the loss of power."""

import os
from pathlib import Path

import pytest

from vigie.platform.folders import make_durable_folder, write_file_durably


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is forced to the disk, by name, in order."""
    names: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


def test_each_level_is_durable_before_the_next_is_made(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "top").mkdir()
    make_durable_folder(tmp_path / "top" / "a" / "b", 0o700)
    # First the name of what was there: whoever made it may have been killed before this.
    assert synced == [tmp_path.name, "top", "a"]
    assert (tmp_path / "top" / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_there_is_made_durable_all_the_same(
    tmp_path: Path, synced: list[str]
) -> None:
    make_durable_folder(tmp_path)
    assert synced == [tmp_path.parent.name]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        make_durable_folder(tmp_path / "a" / "b")


def test_a_file_is_synced_before_it_takes_its_place(tmp_path: Path, synced: list[str]) -> None:
    path = tmp_path / "key.pem"
    path.with_name("key.pem.new").write_bytes(b"the half that a killed process has left")
    write_file_durably(path, b"whole", mode=0o600)
    assert synced == ["key.pem.new", tmp_path.name]
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
