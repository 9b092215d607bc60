"""Sums over a timeline: what was expected, what is there, what is missing and why."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from vigie.recording.model import EXCLUDED_CAUSES, Cause
from vigie.recording.timeline.algebra import Entry, Kind


@dataclass(slots=True)
class CauseTotal:
    """Time without footage because of one cause."""

    duration_us: int = 0
    gap_count: int = 0

    def add(self, duration_us: int, gap_count: int = 1) -> None:
        """Count one more gap."""
        self.duration_us += duration_us
        self.gap_count += gap_count


@dataclass(slots=True)
class Completeness:
    """Totals of a camera or a zone, in microseconds of camera time."""

    stored_us: int = 0
    pending_us: int = 0
    gaps: dict[Cause, CauseTotal] = field(default_factory=dict)

    @property
    def missing(self) -> dict[Cause, CauseTotal]:
        """What was expected and is not there."""
        return {c: t for c, t in self.gaps.items() if c not in EXCLUDED_CAUSES}

    @property
    def excluded(self) -> dict[Cause, CauseTotal]:
        """When nothing was to be stored."""
        return {c: t for c, t in self.gaps.items() if c in EXCLUDED_CAUSES}

    @property
    def expected_us(self) -> int:
        """Stored and missing."""
        return self.stored_us + sum(total.duration_us for total in self.missing.values())

    def add(self, entry: Entry) -> None:
        """Count one entry; the future does not count."""
        if entry.kind is Kind.SPAN:
            self.stored_us += entry.duration_us
        elif entry.kind is Kind.PENDING:
            self.pending_us += entry.duration_us
        elif entry.kind is Kind.GAP:
            assert entry.cause is not None
            self.gaps.setdefault(entry.cause, CauseTotal()).add(entry.duration_us)

    def merge(self, other: "Completeness") -> None:
        """Add the totals of another camera."""
        self.stored_us += other.stored_us
        self.pending_us += other.pending_us
        for cause, total in other.gaps.items():
            self.gaps.setdefault(cause, CauseTotal()).add(total.duration_us, total.gap_count)


def complete(entries: Iterable[Entry]) -> Completeness:
    """The totals of one timeline."""
    totals = Completeness()
    for entry in entries:
        totals.add(entry)
    return totals
