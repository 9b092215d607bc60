"""The table of failure modes, made from what the fault tests wrote down.

Printed; with ``--write`` it goes into ``docs/reference/failure-modes.md``, too: a section that the
results speak of is replaced, the others stay as they are. With ``--keep`` only the rows are that
the results speak of: bounded rounds try with each seed others of the things that may be drawn. Of
several rounds (a folder of results each) a row shows the one in which most was missing.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
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


def entries(*folders: Path) -> list[dict[str, Any]]:
    """What these runs wrote, as it was written, of several about a fault the worst."""
    worst: dict[tuple[str, str], dict[str, Any]] = {}
    for file in (
        file for folder in folders or (LEDGER,) for file in sorted(folder.glob("*.jsonl"))
    ):
        for row in map(json.loads, file.read_bytes().splitlines()):
            named = (row["section"], row["fault"])
            if named not in worst or _harm(row) > _harm(worst[named]):
                worst[named] = row
    return list(worst.values())


def _harm(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["missing_seconds"] or 0.0, row["recovery_seconds"] or 0.0


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Markdown, a table for each section."""
    return "\n\n".join(_sections(rows).values())


def _sections(
    rows: Iterable[Mapping[str, Any]], kept: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, str]:
    """Title -> its part of the page, in the order of the page; ``kept``: title -> fault -> line."""
    parts = {}
    rows = list(rows)
    for section, title in TITLES.items():
        mine = {_cell(row["fault"]): _line(row) for row in rows if row["section"] == section}
        if mine:
            lines = {**(kept or {}).get(title, {}), **mine}
            head = "| fault | what holds | seen | missing (s) | well again after (s) |"
            body = [head, "| --- | --- | --- | --- | --- |", *(lines[f] for f in sorted(lines))]
            parts[title] = f"## {title}\n\n" + "\n".join(body)
    return parts


def merged(before: str, rows: Iterable[Mapping[str, Any]], *, keep: bool = False) -> str:
    """What was made earlier, with what ``rows`` speak of made anew: sections, or rows alone."""
    old = {part.split("\n", 1)[0]: part for part in before.split("## ")[1:]}
    kept = {title: dict(_faults(part)) for title, part in old.items()} if keep else None
    parts = {title: f"## {part}".strip() for title, part in old.items()}
    parts |= _sections(rows, kept)
    return "\n\n".join(parts[title] for title in TITLES.values() if title in parts)


def _faults(part: str) -> Iterator[tuple[str, str]]:
    """Fault and line of each row of a part of the page."""
    rows = [line for line in part.splitlines() if line.startswith("| ")][2:]
    for line in rows:
        yield line[2:].partition(" | ")[0], line


def _line(row: Mapping[str, Any]) -> str:
    cells = [row["fault"], row["promise"], row["seen"]]
    cells += [_seconds(row["missing_seconds"]), _seconds(row["recovery_seconds"])]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def main() -> int:
    """Print the table; 1 when there are no results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into the page")
    parser.add_argument("--keep", action="store_true", help="other rows of the page stay")
    parser.add_argument("results", type=Path, nargs="*", help=f"folders (default: {LEDGER.name})")
    options = parser.parse_args()
    found = entries(*options.results)
    made = table(found)
    if not made:
        print("no results: run `make faults-local` or `make faults` first", file=sys.stderr)
        return 1
    print(made)
    if options.write:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        old, _, after = rest.partition(END)
        whole = merged(old, found, keep=options.keep)
        PAGE.write_text(f"{before}{BEGIN}\n\n{whole}\n\n{END}{after}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
