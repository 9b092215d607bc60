"""What the checker says."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_FINDINGS: Final = 10_000


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "ERROR"
    """An invariant does not hold."""
    WARNING = "WARNING"
    """It holds, but something is left over, late, or could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        invariant: ``I1`` to ``I10`` (docs/design/architecture.md).
        severity: see `Severity`.
        what: one sentence.
        where: names of the things concerned (camera, run, object_key, …).
        remedy: what to do about it.
    """

    invariant: str
    severity: Severity
    what: str
    where: dict[str, str]
    remedy: str

    def __str__(self) -> str:
        place = " ".join(f"{name}={value}" for name, value in self.where.items())
        return f"{self.invariant} {self.severity} {self.what} [{place}] -> {self.remedy}"


@dataclass(slots=True)
class Report:
    """Everything one run of the checker has found.

    Attributes:
        bound_us: what is younger than this was left out: it may still be under way.
        deep: whether every object was read and hashed again.
        findings: in the order of the invariants; at most `MAX_FINDINGS`.
        checked: what was looked at, how often.
        suppressed: findings beyond the limit.
    """

    bound_us: int
    deep: bool
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0

    @property
    def clean(self) -> bool:
        """Whether no invariant is broken (warnings may remain)."""
        return not any(f.severity is Severity.ERROR for f in self.findings)

    def add(self, finding: Finding) -> None:
        """Keep a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.suppressed += 1

    def count(self, what: str, number: int = 1) -> None:
        """Note that something was looked at."""
        self.checked[what] = self.checked.get(what, 0) + number

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "clean": self.clean,
            "bound_us": self.bound_us,
            "deep": self.deep,
            "checked": dict(sorted(self.checked.items())),
            "suppressed": self.suppressed,
            "findings": [asdict(finding) for finding in self.findings],
        }


def error(invariant: str, what: str, remedy: str, **where: object) -> Finding:
    """A broken invariant."""
    return Finding(invariant, Severity.ERROR, what, _texts(where), remedy)


def warning(invariant: str, what: str, remedy: str, **where: object) -> Finding:
    """Something to look at."""
    return Finding(invariant, Severity.WARNING, what, _texts(where), remedy)


def _texts(where: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in where.items()}
