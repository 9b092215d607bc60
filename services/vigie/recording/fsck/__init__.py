"""The checker: proves the invariants I1 to I10 on a live installation, and mends what it may.

`run_fsck` runs every check and returns a `Report`; one module an invariant or two, small functions
that yield findings. Nothing is changed by it. `Planner` turns findings into the steps of a repair,
`repair` does them.
"""

from vigie.recording.fsck.mending import Parts
from vigie.recording.fsck.plan import Doing, Plan, Planner, Step
from vigie.recording.fsck.repair import RepairReport, repair
from vigie.recording.fsck.report import Finding, Report, Severity, error, warning
from vigie.recording.fsck.run import FsckOptions, Installation, run_fsck

__all__ = [
    "Doing",
    "Finding",
    "FsckOptions",
    "Installation",
    "Parts",
    "Plan",
    "Planner",
    "RepairReport",
    "Report",
    "Severity",
    "Step",
    "error",
    "repair",
    "run_fsck",
    "warning",
]
