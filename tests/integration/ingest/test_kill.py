"""`kill -9` on the write path: a real process, a real signal, a real restart.

VIGIE_LONG_TESTS=1 kills at every fault point.
"""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest_support import Installation, footage, frames_of
from long_forms import LONG
from vigie.ingest.spool.faults import FAULT_POINTS

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
GROUPS = 5
FILM = footage()
# Every step is broken in-process by tests/unit/ingest/spool/test_faults.py; a real signal at the
# steps between which the state of the spool differs is enough for every day.
EVERY_DAY = (
    "ingest.record.rename",
    "ingest.fragment.write",
    "ingest.fragment.sum",
    "ingest.segment.record",
    "ingest.upload.publish",
    "ingest.upload.remove",
    "ingest.end.publish",
    "ingest.end.forget",
)
POINTS = FAULT_POINTS if LONG else EVERY_DAY


def run(root: Path, fault: str) -> int:
    environment = dict(os.environ, VIGIE_FAULT=fault)
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent / "services")])
    (root / "film").write_bytes(pickle.dumps(FILM))
    command = [sys.executable, str(HERE / "recording_process.py"), str(root), str(GROUPS)]
    return subprocess.run(
        command, env=environment, check=False, capture_output=True, timeout=60
    ).returncode


@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_process_loses_at_most_the_interval_in_hand(
    tmp_path: Path, point: str
) -> None:
    once = ".run." in point or ".end." in point or point.endswith("forget")
    assert run(tmp_path, f"{point}:kill@{1 if once else 2}") == -signal.SIGKILL

    after = await Installation(tmp_path).open()
    assert await after.path.uploader.drain(10)
    stored = sorted(await after.stored(), key=lambda segment: segment.start_us)
    frames = [
        frame for segment in stored for frame in frames_of(await after.content(segment.object_key))
    ]
    assert after.spool_files() == []
    assert [segment.number for segment in stored] == list(range(len(stored)))
    events = await after.events()
    assert len(events) == len({str(event) for event in events}), "told twice"
    assert frames == FILM.frames(range(len(frames) // 25))
    await after.close()
    # The process says nothing of how far it was; what had been written before the kill is there.
    written = {"ingest.fragment.write": 1, "ingest.fragment.sum": 2, "ingest.fragment.sync": 2}
    assert len(frames) // 25 >= written.get(point, 0)
