"""`vigie fsck --repair`: says what it would do; does it with `--apply` and a reason, on record."""

import asyncio
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from faults.estate import B, build
from unit.cli.conftest import Vigie
from unit.cli.test_offline import recorded
from vigie.app import TOPICS
from vigie.cli.exits import Exit
from vigie.platform.database.lock import DataDirectoryLock


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A recorded installation, with a row of its index missing and a stranger in its bucket."""
    asyncio.run(build(tmp_path))
    directory = tmp_path / "data"
    (directory / "vigie.sqlite").rename(directory / "vigie.db")
    for name in ("store", "spool"):
        (tmp_path / name).rename(directory / name)
    with closing(connect(directory / "vigie.db")) as database:
        database.execute(
            "DELETE FROM recording_segments WHERE object_key = ?", (B.segments[1].key,)
        )
        for topic in TOPICS:  # the estate declares them smaller than the product does
            database.execute(
                "UPDATE eventlog_topic SET partitions = ?, retention_days = ?, compacted = ?"
                " WHERE name = ?",
                (topic.partitions, topic.retention_days, topic.compacted, topic.name),
            )
        database.commit()
    (directory / "store" / "footage" / "holiday.mp4").write_bytes(b"not ours")
    return directory


def rows(data: Path) -> int:
    with closing(connect(data / "vigie.db")) as database:
        return int(database.execute("SELECT count(*) FROM recording_segments").fetchone()[0])


def test_a_repair_is_said_first_and_changes_nothing(vigie: Vigie, data: Path) -> None:
    before = rows(data)
    outcome = vigie("--json", "fsck", "--repair", "--grace", "0s", "--data", str(data))
    assert outcome.code == Exit.CHECK_FAILED
    (report,) = outcome.json()
    repair = report["repair"]
    assert not repair["applied"]
    doings = {(step["doing"], step["target"]) for step in repair["steps"]}
    assert ("INDEX", B.segments[1].key) in doings
    assert ("SET_ASIDE", "footage/holiday.mp4") in doings
    # The footage is of long ago: it is overdue, and destroying it is not for a repair.
    assert all(left["why"] for left in repair["left"])
    assert {left["invariant"] for left in repair["left"]} == {"I9"}
    assert rows(data) == before
    assert not any("fsck" in record.method for record in asyncio.run(recorded(data)))
    text = vigie("fsck", "--repair", "--grace", "0s", "--data", str(data)).out
    assert "would be mended" in text
    assert "left to people" in text


def test_a_repair_is_done_with_a_reason_and_on_record(vigie: Vigie, data: Path) -> None:
    before = rows(data)
    line = ("fsck", "--repair", "--apply", "--grace", "0s", "--data", str(data))
    assert vigie(*line).code == Exit.USAGE
    assert vigie("fsck", "--apply", "--reason", "x", "--data", str(data)).code == Exit.USAGE
    (report,) = vigie("--json", *line, "--reason", "a row was lost").json()
    assert report["repair"]["applied"]
    assert report["repair"]["failed"] == []
    assert {finding["invariant"] for finding in report["findings"]} == {"I9"}
    assert rows(data) == before + 1
    mended = [r for r in asyncio.run(recorded(data)) if "/fsck/repair/" in r.method]
    assert {record.method.rpartition("/")[2] for record in mended} == {"set_aside", "index", "run"}
    assert all(record.purpose == "a row was lost" for record in mended)
    assert any(B.segments[1].key in record.objects for record in mended)
    assert (data / "fsck.json").is_file()


def test_a_repair_needs_the_product_stopped(vigie: Vigie, data: Path) -> None:
    with DataDirectoryLock(data):
        line = ("fsck", "--repair", "--data", str(data))
        assert vigie(*line).code == Exit.CHECK_FAILED
        assert vigie(*line, "--apply", "--reason", "x").code == Exit.CONFLICT
