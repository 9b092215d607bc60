"""The checker: proves the invariants I1 to I10 on a live installation.

`run_fsck` runs every check and returns a `Report`; one module an invariant or two, small functions
that yield findings. Nothing is changed.
"""

from vigie.recording.fsck.report import Finding, Report, Severity
from vigie.recording.fsck.run import FsckOptions, Installation, run_fsck

__all__ = ["Finding", "FsckOptions", "Installation", "Report", "Severity", "run_fsck"]
