"""A full spool refuses new footage, keeps what it has, says so early, and recovers by itself."""

from pathlib import Path

import pytest

from ingest_support import START_US, Told, camera_recorder, footage, recorder_tools
from vigie.ingest.recorder.pool import WriterPool
from vigie.ingest.spool.gauges import SpoolGauges
from vigie.ingest.spool.quota import QuotaLimits, SpoolQuota
from vigie.ingest.upload.queue import Backlog
from vigie.platform.clock import ManualWallClock
from vigie.platform.metrics import MetricsRegistry

FILM = footage()
TOTAL = sum(FILM.group(index).size_bytes for index in range(8))


def test_new_footage_is_refused_and_older_is_kept(tmp_path: Path) -> None:
    told = Told()
    tools = recorder_tools(tmp_path, quota_bytes=TOTAL // 2)
    recorder = camera_recorder(tools, told)
    for index in range(8):
        recorder.group(FILM.parameters, FILM.group(index))

    kept = sum(segment.sample_count for segment in told.segments)
    assert 0 < kept < 200
    assert tools.quota.full
    assert told.interruptions[0][0] == "SPOOL_FULL"
    assert told.interruptions[0][2] == told.segments[-1].end_us
    assert told.ends[0].reason == "OUTAGE"

    # The uploader has removed what was stored.
    tools.quota.release(tools.quota.used_bytes)
    recorder.group(FILM.parameters, FILM.group(8))
    recorder.ended("STOPPED", "", START_US)
    assert not tools.quota.full
    assert told.segments[-1].start_us == START_US + 8_020_000
    assert told.segments[-1].number == 0


def test_a_disk_that_others_fill_is_noticed_too(tmp_path: Path) -> None:
    free = [2 << 20]
    clock = ManualWallClock(0)
    quota = SpoolQuota(QuotaLimits(1 << 40, 1 << 20), lambda: free[0], clock.now_us)
    assert quota.take(500_000)
    free[0] = 1 << 20
    clock.advance(2)
    assert not quota.take(1)
    free[0] = 10 << 20
    clock.advance(2)
    assert quota.take(500_000)


def test_a_full_spool_does_not_flutter() -> None:
    quota = SpoolQuota(QuotaLimits(1000, 0), lambda: 1 << 40, lambda: 0)
    assert quota.take(1000)
    assert not quota.take(10)
    quota.release(20)
    assert not quota.take(10)
    quota.release(100)
    assert quota.take(10)


@pytest.mark.parametrize(
    ("used", "level"), [(0, "none"), (500, "filling"), (800, "nearly_full"), (1000, "full")]
)
def test_warnings_stand_in_metrics_long_before(used: int, level: str) -> None:
    registry = MetricsRegistry()
    quota = SpoolQuota(QuotaLimits(1000, 0), lambda: 1 << 40, lambda: 0)
    quota.add(used)
    gauges = SpoolGauges(
        pool=WriterPool(threads=1, queue_bytes=1),
        backlog=Backlog(),
        quota=quota,
        quota_bytes=1000,
        wall_clock=ManualWallClock(START_US),
        registry=registry,
    )
    gauges.measure()
    assert gauges.level == level
    assert registry.value("vigie_ingest_spool_warning_info", level=level) == 1
    assert registry.value("vigie_ingest_spool_fill_ratio") == used / 1000


def test_a_disk_that_does_not_answer_is_a_full_one_and_no_crash() -> None:
    """The task that measures may not fail: with it the process would end."""

    def away() -> int:
        raise FileNotFoundError("the spool is not mounted")

    registry = MetricsRegistry()
    quota = SpoolQuota(QuotaLimits(1000, 0), away, lambda: 0)
    gauges = SpoolGauges(
        pool=WriterPool(threads=1, queue_bytes=1),
        backlog=Backlog(),
        quota=quota,
        quota_bytes=1000,
        wall_clock=ManualWallClock(START_US),
        registry=registry,
    )
    gauges.measure()
    assert gauges.level == "full"
    assert registry.value("vigie_ingest_spool_fill_ratio") == 1


def test_footage_is_not_lost_in_silence_when_the_disk_does_not_answer(tmp_path: Path) -> None:
    """A group that is not written ends its run: the frames after it do not follow those before."""
    away = [False]

    def free() -> int:
        if away[0]:
            raise OSError(5, "Input/output error")
        return 1 << 40

    told = Told()
    wall = ManualWallClock(START_US)
    tools = recorder_tools(tmp_path, free_bytes=free, wall_clock=wall)
    recorder = camera_recorder(tools, told)
    for index in range(12):
        away[0] = index == 4
        wall.advance(1)  # the disk is asked once a second
        recorder.group(FILM.parameters, FILM.group(index))
    recorder.ended("STOPPED", "", START_US)
    assert told.interruptions[0][0] == "STORE_REFUSED"
    assert told.interruptions[0][2] == START_US + 4_020_000
    assert len(told.runs) == 2
    assert len(told.damaged) == 1
