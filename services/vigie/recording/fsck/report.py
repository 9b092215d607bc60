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


class Action(StrEnum):
    """What `vigie.recording.fsck.repair` does to mend; the target in brackets."""

    SETTLE = "SETTLE"
    """Bring an object, its record and its row together [object key]."""
    RUN = "RUN"
    """Make the spans and the end of a run anew [run]."""
    TELL = "TELL"
    """Write the newest word of a topic into the index once more [topic/key]."""
    FORGET = "FORGET"
    """Remove from the index what no event tells [topic/key]."""
    HOLD = "HOLD"
    """Bring a hold in the store in line with its topic [hold, space, object key]."""
    SET_ASIDE = "SET_ASIDE"
    """Move an object that is not ours into the store's quarantine [object key]."""
    FINISH = "FINISH"
    """Note the end of a destruction whose object is gone [object key]."""


@dataclass(frozen=True, slots=True)
class Mend:
    """How a finding can be mended without a person's judgement."""

    action: Action
    target: str


LOST: Final = "footage that is not there cannot be made again; a copy has to come from outside"
EVIDENCE: Final = "the log and the register are evidence: no program may rewrite them"
LAW: Final = "destroying is the work of retention, on its own record, never of a repair"
ITSELF: Final = "it ends by itself"
JUDGEMENT: Final = "which side is right is for a person to judge"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        invariant: ``I1`` to ``I10`` (docs/design/architecture.md).
        severity: see `Severity`.
        what: one sentence.
        where: names of the things concerned (camera, run, object_key, …).
        remedy: what to do about it.
        mend: what `vigie fsck --repair` does about it; ``None``: nothing, see ``by_hand``.
        by_hand: why it is not mended by the program; empty where it is.
    """

    invariant: str
    severity: Severity
    what: str
    where: dict[str, str]
    remedy: str
    mend: Mend | None = None
    by_hand: str = ""

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

    def sort(self) -> None:
        """Put the findings in the order of the invariants, each in the order it was found."""
        self.findings.sort(key=lambda finding: int(finding.invariant[1:]))

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


def error(invariant: str, what: str, remedy: str, how: Mend | str, **where: object) -> Finding:
    """A broken invariant; ``how`` it is mended, or why that is not for a program."""
    mend, by_hand = _how(how)
    return Finding(invariant, Severity.ERROR, what, _texts(where), remedy, mend, by_hand)


def warning(invariant: str, what: str, remedy: str, how: Mend | str, **where: object) -> Finding:
    """Something to look at; ``how`` as for `error`."""
    mend, by_hand = _how(how)
    return Finding(invariant, Severity.WARNING, what, _texts(where), remedy, mend, by_hand)


def _how(how: Mend | str) -> tuple[Mend | None, str]:
    return (how, "") if isinstance(how, Mend) else (None, how)


def _texts(where: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in where.items()}


def settle(object_key: str) -> Mend:
    """See `Action.SETTLE`."""
    return Mend(Action.SETTLE, object_key)


def remake(run: str) -> Mend:
    """See `Action.RUN`."""
    return Mend(Action.RUN, run)


def tell(topic: str, key: str) -> Mend:
    """See `Action.TELL`."""
    return Mend(Action.TELL, f"{topic}/{key}")


def forget(topic: str, key: str) -> Mend:
    """See `Action.FORGET`."""
    return Mend(Action.FORGET, f"{topic}/{key}")


def hold_of(hold: str, object_key: str) -> Mend:
    """See `Action.HOLD`."""
    return Mend(Action.HOLD, f"{hold} {object_key}")


def set_aside(object_key: str) -> Mend:
    """See `Action.SET_ASIDE`."""
    return Mend(Action.SET_ASIDE, object_key)
