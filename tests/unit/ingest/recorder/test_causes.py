"""Which cause a gap has, and from when on: what one has told is not told anew by the next."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ingest_support import START_US, Told, camera_recorder, footage, recorder_tools
from vigie.ingest.recorder.camera import CameraRecorder, RecorderTools
from vigie.ingest.supervisor.outages import OutageBook
from vigie.ingest.v1.events_pb2 import Outage, SegmentEvent
from vigie.platform.clock import ManualWallClock
from vigie.platform.eventlog import Event

FILM = footage()
FOOTAGE_ENDS_US = START_US + 2_020_000
BACK_US = START_US + 3 * 3_600_000_000
"""The camera is back, three hours later."""


@dataclass
class Telling(Told):
    """Tells interruptions to a book of outages, as the keeper does."""

    outages: dict[str, Outage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = OutageBook(
            "cam-test-01",
            instance="ingest-test",
            new_id=lambda: f"outage-{len(self.outages)}",
            publish=self._publish,
        )

    def _publish(self, key: str, event: Event) -> None:
        self.outages[key] = SegmentEvent.FromString(event.value or b"").outage

    def interrupted(self, cause: str, detail: str, at_us: int) -> None:
        super().interrupted(cause, detail, at_us)
        self.book.begin(cause, detail, at_us, max(at_us, BACK_US))


class Bench:
    """A recorder with two groups of footage, whose spool can be full."""

    def __init__(self, root: Path) -> None:
        self.told, self.wall = Telling(), ManualWallClock(START_US)
        self.tools: RecorderTools = recorder_tools(root, wall_clock=self.wall)
        self.recorder: CameraRecorder = camera_recorder(self.tools, self.told)
        for index in range(2):
            self.recorder.group(FILM.parameters, FILM.group(index))

    def fill(self) -> None:
        self.tools.quota.add(1 << 30)

    def group_at(self, start_us: int) -> int:
        """Deliver a group that comes then; says when its first frame came."""
        group = FILM.group(0, start_us=start_us)
        self.wall.set(group.arrival_us[-1])
        self.recorder.group(FILM.parameters, group)
        return group.arrival_us[0]

    @property
    def causes(self) -> list[tuple[str, int]]:
        return [(cause, at_us) for cause, _, at_us in self.told.interruptions]


def test_a_full_spool_begins_when_the_camera_is_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.recorder.ended("CAMERA_UNREACHABLE", "", FOOTAGE_ENDS_US + 1_000_000)
    bench.fill()
    came_us = bench.group_at(BACK_US)
    assert bench.causes == [("CAMERA_UNREACHABLE", FOOTAGE_ENDS_US), ("SPOOL_FULL", came_us)]
    camera, spool = bench.told.outages.values()
    assert (camera.start_us, camera.end_us) == (FOOTAGE_ENDS_US, came_us)
    assert spool.start_us == came_us


def test_so_does_a_queue_that_is_full(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.recorder.ended("CAMERA_UNREACHABLE", "", FOOTAGE_ENDS_US + 1_000_000)
    bench.wall.set(BACK_US)
    bench.recorder.refused()
    assert bench.causes == [("CAMERA_UNREACHABLE", FOOTAGE_ENDS_US), ("STORE_REFUSED", BACK_US)]


def test_so_does_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.recorder.ended("CAMERA_UNREACHABLE", "", FOOTAGE_ENDS_US + 1_000_000)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("vigie.ingest.recorder.camera.sync_new_run", refuse)
        came_us = bench.group_at(BACK_US)
    assert bench.causes == [("CAMERA_UNREACHABLE", FOOTAGE_ENDS_US), ("STORE_REFUSED", came_us)]


@pytest.mark.parametrize("changed", [False, True])
def test_what_ends_the_footage_begins_where_that_ends(tmp_path: Path, *, changed: bool) -> None:
    """Also when the run had just been ended by other parameters, which is no gap."""
    bench = Bench(tmp_path)
    bench.fill()
    film = footage("h264-b") if changed else FILM
    bench.recorder.group(film.parameters, film.group(2))
    assert bench.causes == [("SPOOL_FULL", FOOTAGE_ENDS_US)]


def test_footage_in_between_is_where_the_next_gap_begins(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.recorder.ended("CAMERA_UNREACHABLE", "", FOOTAGE_ENDS_US + 1_000_000)
    bench.group_at(BACK_US)
    bench.fill()
    bench.group_at(BACK_US + 60_000_000)
    cause, at_us = bench.causes[1]
    assert cause == "SPOOL_FULL"
    assert at_us == pytest.approx(BACK_US + 1_020_000, abs=1000)
