"""What the fuzzer found in the verifier of packages, said plainly."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vigie.evidence.archive import PackageWriter, open_package
from vigie.evidence.manifest import format_instant, parse_manifest
from vigie.evidence.rejection import RejectedError

MANIFEST = Path(__file__).parents[2] / "fuzz" / "seeds" / "manifest" / "whole.json"


def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MANIFEST.read_bytes())
    return content


def refused(content: dict[str, Any]) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        parse_manifest(json.dumps(content).encode())
    return caught.value


def test_an_archive_without_a_file_is_opened_and_holds_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    package = open_package(tmp_path / "empty.zip")
    assert package.names() == []
    package.close()


def test_a_package_said_to_be_older_than_its_format_is_refused(tmp_path: Path) -> None:
    with PackageWriter(tmp_path / "p.zip", datetime(2026, 1, 1, tzinfo=UTC)) as writer:
        writer.add("a", [b"x"], size_bytes=1)
    package = open_package(tmp_path / "p.zip")
    with pytest.raises(RejectedError) as caught:
        package.check_times(datetime(1979, 12, 31, tzinfo=UTC))
    assert caught.value.reason == "FILE_TIME_ALTERED"
    package.close()


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_an_instant_outside_the_calendar_is_refused(instant: str) -> None:
    content = manifest()
    content["created_time"] = instant
    assert refused(content).reason == "MANIFEST_INVALID"


def test_instants_have_one_spelling_in_every_century() -> None:
    assert format_instant(datetime(33, 4, 3, 15, tzinfo=UTC)) == "0033-04-03T15:00:00.000000Z"
    assert format_instant(datetime(2026, 4, 3, tzinfo=UTC)) == "2026-04-03T00:00:00.000000Z"


def test_a_media_file_of_no_segment_is_refused() -> None:
    content = manifest()
    content["files"][0]["media"]["segments"] = []
    assert "segments" in refused(content).detail


@pytest.mark.parametrize(
    ("version", "zones"),
    [(1, ["z", "zone"]), (2, []), (2, ["zone"]), (2, ["zone", "z"]), (3, ["z", "zone"])],
)
def test_zones_are_listed_where_a_camera_moved_and_in_version_2(
    version: int, zones: list[str]
) -> None:
    content = manifest()
    content["version"] = version
    content["cameras"][0] |= {"zone": "zone", "zones": zones}
    expected = "MANIFEST_VERSION" if version > 2 else "MANIFEST_INVALID"
    assert refused(content).reason == expected
    content["version"] = 2
    content["cameras"][0]["zones"] = ["z", "zone"]
    assert parse_manifest(json.dumps(content).encode()).cameras[0].zones == ("z", "zone")


@pytest.mark.parametrize("field", ["fragments", "samples", "size_bytes", "number"])
def test_a_count_below_zero_is_refused(field: str) -> None:
    content = manifest()
    content["files"][0]["media"]["segments"][0][field] = -1
    assert field in refused(content).detail
