"""The table of failure modes: a run replaces what it speaks of, and leaves the rest alone."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import failure_modes  # noqa: E402 - tools/ is no package: its folder must be on the path first
from faults.ledger import SECTIONS  # noqa: E402 - the same


def row(section: str, fault: str, missing: float | None = None) -> dict[str, Any]:
    return {
        "section": section, "fault": fault, "promise": "holds", "seen": "a|b",
        "missing_seconds": missing, "recovery_seconds": None,
    }  # fmt: skip


def test_every_section_has_a_title() -> None:
    assert list(failure_modes.TITLES) == list(SECTIONS)


def test_sections_that_a_run_does_not_speak_of_stay() -> None:
    before = failure_modes.merged("", [row("kill", "old kill"), row("disk", "old disk")])
    after = failure_modes.merged(before, [row("kill", "new kill", 1.25), row("services", "new")])
    assert "old kill" not in after
    assert [line for line in after.splitlines() if line.startswith("## ")] == [
        f"## {failure_modes.TITLES[section]}" for section in ("disk", "kill", "services")
    ]
    assert "| new kill | holds | a\\|b | 1.2 |  |" in after
    assert "| old disk |" in after
    assert failure_modes.merged(after, []) == after


def test_rows_that_a_bounded_run_does_not_speak_of_stay_if_asked() -> None:
    before = failure_modes.merged("", [row("kill", "a|a", 3), row("kill", "b"), row("disk", "d")])
    after = failure_modes.merged(before, [row("kill", "c", 1), row("kill", "a|a", 2)], keep=True)
    assert [line for line in after.splitlines() if line.startswith("| ") and "holds" in line] == [
        "| fault | what holds | seen | missing (s) | well again after (s) |",
        "| d | holds | a\\|b |  |  |",
        "| fault | what holds | seen | missing (s) | well again after (s) |",
        "| a\\|a | holds | a\\|b | 2.0 |  |",
        "| b | holds | a\\|b |  |  |",
        "| c | holds | a\\|b | 1.0 |  |",
    ]


def test_of_several_rounds_the_worst_is_shown(tmp_path: Path) -> None:
    for name, missing in (("one", 2.0), ("two", 7.5), ("three", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "1.jsonl").write_text(json.dumps(row("kill", "k", missing)), "utf-8")
    found = failure_modes.entries(*sorted(tmp_path.iterdir()))
    assert found == [row("kill", "k", 7.5)]


def test_the_page_is_as_the_tool_would_write_it() -> None:
    page = failure_modes.PAGE.read_text("utf-8")
    made = page.partition(failure_modes.BEGIN)[2].partition(failure_modes.END)[0]
    assert failure_modes.merged(made, []) == made.strip()
