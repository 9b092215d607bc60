"""What waits in the spool, in order: per camera its runs, per run its segments, then its end."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vigie.ingest.spool.layout import RunDirectory
from vigie.platform.objectstore import FileState

REMEMBERED_STATES: Final = 4
"""Of how many segments of a run the state after writing is remembered. What has waited longer is
read and hashed again when it is stored: it may have been out of memory meanwhile."""


@dataclass(slots=True)
class RunBacklog:
    """What of one run waits. Numbers only: the records are read from the disk when needed.

    Attributes:
        written: state of the newest files just after this process had written them.
        failures: attempts in a row that failed for a fault of this run's own.
        retry_us: when to try again after such a fault, by the monotonic clock.
    """

    directory: RunDirectory
    segments: deque[int] = field(default_factory=deque)
    written: dict[int, FileState] = field(default_factory=dict)
    highest: int = -1
    ended: bool = False
    damaged: bool = False
    failures: int = 0
    retry_us: int = 0

    @property
    def has_work(self) -> bool:
        """Whether something can be uploaded now."""
        return bool(self.segments) or (self.ended and not self.damaged)


class Backlog:
    """Everything that waits for its upload; used from the event loop only."""

    def __init__(self) -> None:
        self._cameras: dict[str, dict[str, RunBacklog]] = {}

    def run(self, directory: RunDirectory) -> RunBacklog:
        """The entry of a run, made when it is new."""
        runs = self._cameras.setdefault(directory.camera, {})
        return runs.setdefault(directory.run, RunBacklog(directory))

    def next(self, camera: str, now_us: int) -> RunBacklog | None:
        """The oldest run of a camera that has work; damaged runs are passed over.

        So is one that waits after a fault of its own, unless all do: then the first to be tried.
        """
        runs = self._cameras.get(camera, {})
        waiting = [runs[run] for run in sorted(runs) if runs[run].has_work]
        return min(waiting, key=lambda run: max(run.retry_us, now_us), default=None)

    def add_segment(
        self, directory: RunDirectory, number: int, written: FileState | None = None
    ) -> bool:
        """Queue a closed segment; false when it was queued before."""
        run = self.run(directory)
        if number <= run.highest:
            return False
        run.highest = number
        run.segments.append(number)
        if written is not None:
            run.written[number] = written
            run.written.pop(number - REMEMBERED_STATES, None)
        return True

    def forget(self, directory: RunDirectory) -> None:
        """The run is done with."""
        runs = self._cameras.get(directory.camera, {})
        runs.pop(directory.run, None)
        if not runs:
            self._cameras.pop(directory.camera, None)

    def damaged(self) -> list[RunBacklog]:
        """Runs that repair has to close."""
        return [run for runs in self._cameras.values() for run in runs.values() if run.damaged]

    @property
    def waiting_segments(self) -> int:
        """How many closed segments wait."""
        return sum(len(run.segments) for runs in self._cameras.values() for run in runs.values())

    def first_waiting(self) -> list[Path]:
        """The file of the first waiting segment of every run."""
        return [
            run.directory.media(run.segments[0])
            for runs in self._cameras.values()
            for run in runs.values()
            if run.segments
        ]
