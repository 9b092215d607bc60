"""The table of failure modes, made from what the fault tests wrote down.

Printed; with ``--write`` it goes into ``docs/reference/failure-modes.md``, too: a section that the
results speak of is replaced, the others stay as they are.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LEDGER: Final = ROOT / "build" / "faults" / "ledger"
PAGE: Final = ROOT / "docs" / "reference" / "failure-modes.md"
BEGIN: Final = "<!-- made by tools/failure_modes.py -->"
END: Final = "<!-- end of what was made -->"
TITLES: Final = {
    "streams": "Streams of cameras",
    "files": "Files",
    "events": "Events",
    "disk": "Disk and store",
    "kill": "The process is killed",
    "power": "The power is cut",
    "clock": "The clock",
    "load": "More than the machine carries",
    "soak": "A long time",
    "fuzzing": "Hostile bytes",
    "fsck": "The checker",
    "services": "Services apart on Kafka, S3 and PostgreSQL",
}


def entries() -> list[dict[str, Any]]:
    """What the last run wrote, as it was written."""
    lines = [line for file in sorted(LEDGER.glob("*.jsonl")) for line in file.open("rb")]
    return [json.loads(line) for line in lines]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Markdown, a table for each section."""
    return "\n\n".join(_sections(rows).values())


def _sections(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Title -> its part of the page, in the order of the page."""
    parts = {}
    rows = list(rows)
    for section, title in TITLES.items():
        mine = sorted((r for r in rows if r["section"] == section), key=lambda r: str(r["fault"]))
        if mine:
            head = "| fault | what holds | seen | missing (s) | well again after (s) |"
            lines = [head, "| --- | --- | --- | --- | --- |", *map(_line, mine)]
            parts[title] = f"## {title}\n\n" + "\n".join(lines)
    return parts


def merged(before: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """What was made earlier, with the sections that ``rows`` speak of made anew."""
    parts = {part.split("\n", 1)[0]: f"## {part}".strip() for part in before.split("## ")[1:]}
    parts |= _sections(rows)
    return "\n\n".join(parts[title] for title in TITLES.values() if title in parts)


def _line(row: Mapping[str, Any]) -> str:
    cells = [row["fault"], row["promise"], row["seen"]]
    cells += [_seconds(row["missing_seconds"]), _seconds(row["recovery_seconds"])]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def main() -> int:
    """Print the table; 1 when there are no results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into the page")
    options = parser.parse_args()
    made = table(entries())
    if not made:
        print("no results: run `make faults-local` or `make faults` first", file=sys.stderr)
        return 1
    print(made)
    if options.write:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        old, _, after = rest.partition(END)
        whole = merged(old, entries())
        PAGE.write_text(f"{before}{BEGIN}\n\n{whole}\n\n{END}{after}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
