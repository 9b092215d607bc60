"""What was broken and what came of it: the rows of ``docs/reference/failure-modes.md``.

Every test of this folder that has shown a fault to be survived says so in one entry. The entries
of a run lie in ``build/faults/ledger``, one JSON line each; ``tools/failure_modes.py`` makes the
table.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "faults" / "ledger"
SECTIONS: Final = (
    "streams", "files", "events", "disk", "kill", "power", "clock", "load", "soak", "fuzzing",
    "fsck", "services",
)  # fmt: skip
"""The parts of the table, in its order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault and what was seen.

    Attributes:
        section: one of `SECTIONS`.
        fault: what was done, as an operator would say it.
        promise: what must hold, and did.
        seen: what was counted or measured, with units; may be empty.
        missing_seconds: footage missing because of it, the longest of all cameras; None where
            the question does not arise.
        recovery_seconds: from the end of the fault until all was well again, without a hand.
    """

    section: str
    fault: str
    promise: str
    seen: str = ""
    missing_seconds: float | None = None
    recovery_seconds: float | None = None


class Ledger:
    """Where the tests of one process write their entries.

    Args:
        folder: of the files; one for each process.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._file = folder / f"{os.getpid()}.jsonl"

    def note(self, entry: Entry) -> None:
        """Keep an entry. Raises ValueError: it is of no known section."""
        if entry.section not in SECTIONS:
            raise ValueError(f"no section {entry.section!r}; there are {', '.join(SECTIONS)}")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
