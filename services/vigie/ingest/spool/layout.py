"""Where things lie in the spool."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vigie.platform.folders import make_durable_folder

_RUN: Final = re.compile(r"[0-9a-f]{32}")
_CAMERA: Final = re.compile(r"[a-z][a-z0-9-]{2,62}")
_NUMBERED: Final = re.compile(r"(\d{6,})\.(m4v|sums|json)")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def run(self) -> str:
        """Run identifier."""
        return self.path.name

    @property
    def camera(self) -> str:
        """Camera identifier."""
        return self.path.parent.name

    @property
    def run_record(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def end_record(self) -> Path:
        """``end.json``."""
        return self.path / "end.json"

    def require_spool(self) -> None:
        """Look that the spool itself is there before believing that something in it is not.

        A disk that is not mounted leaves its mount point, empty: without this look everything
        that waits would seem to be done with.

        Raises:
            OSError: the directory of all runs, made at the start, is not there.
        """
        os.stat(f"{self.path.parent.parent}/")  # noqa: PTH116 - a Path cannot ask for a folder

    def lacks(self, path: Path) -> bool:
        """Whether a file of the run is not there although the spool is.

        Raises:
            OSError: the spool is not there: nobody knows.
        """
        if path.exists():
            return False
        self.require_spool()
        # Again: the disk may have come back between the two looks.
        return not path.exists()

    def media(self, number: int) -> Path:
        """The bytes of a segment."""
        return self.path / f"{number:06d}.m4v"

    def sums(self, number: int) -> Path:
        """The running digests of a segment that is open."""
        return self.path / f"{number:06d}.sums"

    def segment_record(self, number: int) -> Path:
        """The record of a closed segment."""
        return self.path / f"{number:06d}.json"

    def numbers(self, extension: str) -> list[int]:
        """Numbers of the segments that have a file with this extension, ascending."""
        found = []
        for entry in self.path.iterdir():
            match = _NUMBERED.fullmatch(entry.name)
            if match and match[2] == extension:
                found.append(int(match[1]))
        return sorted(found)

    def unclosed(self) -> list[int]:
        """Numbers of the segments that have media and no record, ascending."""
        return [each for each in self.numbers("m4v") if not self.segment_record(each).exists()]


@dataclass(frozen=True, slots=True)
class SpoolLayout:
    """The directories of a spool."""

    root: Path

    @property
    def runs(self) -> Path:
        """Directories of cameras."""
        return self.root / "runs"

    @property
    def quarantine(self) -> Path:
        """What nobody could understand."""
        return self.root / "quarantine"

    def create(self) -> None:
        """Make the directories, durably (idempotent).

        Raises:
            OSError: they cannot be made.
        """
        make_durable_folder(self.runs)
        make_durable_folder(self.quarantine)

    def run(self, camera: str, run: str) -> RunDirectory:
        """Where a run lies."""
        return RunDirectory(self.runs / camera / run)

    def run_directories(self) -> list[RunDirectory]:
        """All runs in the spool: by camera, oldest first (identifiers sort by time)."""
        return [
            RunDirectory(run)
            for camera in sorted(self.runs.iterdir())
            if camera.is_dir() and _CAMERA.fullmatch(camera.name)
            for run in sorted(camera.iterdir())
            if run.is_dir() and _RUN.fullmatch(run.name)
        ]

    def media_bytes(self) -> int:
        """Bytes of all media in the spool."""
        return sum(path.stat().st_size for path in self.runs.glob("*/*/*.m4v"))

    def strangers(self) -> list[Path]:
        """Entries below ``runs`` that are no run of a camera."""
        found: list[Path] = []
        for camera in sorted(self.runs.iterdir()):
            if not (camera.is_dir() and _CAMERA.fullmatch(camera.name)):
                found.append(camera)
                continue
            found += [
                run for run in camera.iterdir() if not (run.is_dir() and _RUN.fullmatch(run.name))
            ]
        return found
