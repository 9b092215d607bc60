"""The queues between reception and disk: in order, bounded, and what they refuse is told."""

import threading
from pathlib import Path

from ingest_support import START_US, Told, camera_recorder, footage, recorder_tools
from vigie.ingest import metrics
from vigie.ingest.recorder.intake import CameraIntake
from vigie.ingest.recorder.pool import MAX_WAITING_ITEMS, WriterPool
from vigie.platform.metrics import MetricsRegistry

FILM = footage()
GROUP_BYTES = max(FILM.group(index).size_bytes for index in range(8))


class Gate:
    """A writer thread that waits until a test lets it go on: a disk that hangs."""

    def __init__(self, pool: WriterPool, camera: str) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        pool.inbox(camera, lambda: None).control(self)

    def __call__(self) -> None:
        self.entered.set()
        assert self.go.wait(10)


def test_a_hanging_disk_never_blocks_reception_and_memory_stays_bounded(tmp_path: Path) -> None:
    pool = WriterPool(threads=1, queue_bytes=3 * GROUP_BYTES)
    pool.start()
    registry = MetricsRegistry()
    told = Told()
    recorder = camera_recorder(recorder_tools(tmp_path), told, segment_seconds=2)
    intake = CameraIntake(pool, recorder, "cam-test-01", registry.counter(metrics.REFUSED))
    gate = Gate(pool, "cam-other-01")
    assert gate.entered.wait(10)

    taken = [intake.group(FILM.parameters, FILM.group(index)) for index in range(50)]
    assert taken[:3] == [True] * 3
    assert not any(taken[5:])
    assert pool.waiting_bytes <= 3 * GROUP_BYTES
    assert len(intake._inbox.entries) <= 7

    gate.go.set()
    assert pool.drain(10)
    assert told.interruptions[0][0] == "STORE_REFUSED"
    assert registry.value("vigie_ingest_groups_refused_total", reason="QUEUE_FULL") == taken.count(
        False
    )
    # Room again: the next key frame starts a new run by itself.
    assert intake.group(FILM.parameters, FILM.group(60))
    intake.ended("STOPPED", "", START_US)
    assert pool.drain(10)
    pool.stop(10)
    assert len(told.runs) == 2
    frames = sum(segment.sample_count for segment in told.segments)
    assert frames == 25 * (taken.count(True) + 1)


def test_what_a_camera_does_without_media_cannot_fill_the_queue(tmp_path: Path) -> None:
    pool = WriterPool(threads=1, queue_bytes=1 << 20)
    recorder = camera_recorder(recorder_tools(tmp_path), Told())
    intake = CameraIntake(pool, recorder, "cam-test-01", MetricsRegistry().counter(metrics.REFUSED))
    for _ in range(10_000):
        intake.lost("PACKETS_LOST", "again", START_US)
    assert len(intake._inbox.entries) <= 1
    for index in range(2 * MAX_WAITING_ITEMS):
        intake.group(FILM.parameters, FILM.group(index % 8))
        intake.lost("PACKETS_LOST", "again", START_US)
    assert len(intake._inbox.entries) <= 2 * MAX_WAITING_ITEMS


def test_an_error_with_one_camera_does_not_stop_the_thread() -> None:
    pool = WriterPool(threads=1, queue_bytes=1 << 20)
    pool.start()
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("not foreseen")

    pool.inbox("cam-a", fail).control(fail)
    pool.inbox("cam-b", fail).control(lambda: done.append(1))
    assert pool.drain(10)
    pool.stop(10)
    assert done == [1]
