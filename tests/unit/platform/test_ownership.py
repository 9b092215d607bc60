import json
from pathlib import Path

import pytest

from vigie.platform.ownership import RememberedOwners

FILE = "owners.json"


def test_each_place_is_remembered_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "not yet there"
    owners = RememberedOwners(folder, FILE)
    assert owners.recall("bucket/north/") == ""
    owners.remember("bucket/north/", "north")
    owners.remember("bucket/south/", "south")
    again = RememberedOwners(folder, FILE)
    assert again.recall("bucket/north/") == "north"
    assert again.recall("bucket/south/") == "south"
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_without_a_folder_nothing_is_remembered() -> None:
    owners = RememberedOwners(None, FILE)
    owners.remember("bucket", "north")
    assert owners.recall("bucket") == ""


@pytest.mark.parametrize("content", [b"no JSON", b"[1, 2]", b"7", b"\xff\xfe"])
def test_what_is_no_such_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    owners = RememberedOwners(tmp_path, FILE)
    assert owners.recall("bucket") == ""
    owners.remember("bucket", "north")
    assert json.loads((tmp_path / FILE).read_bytes()) == {"bucket": "north"}


def test_what_cannot_be_read_or_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    owners = RememberedOwners(tmp_path, FILE)
    assert owners.recall("bucket") == ""
    owners.remember("bucket", "north")
    assert (tmp_path / FILE).is_dir()
