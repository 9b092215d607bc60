import pytest

from vigie.ingest.delivery import ArrivalClock, reorder_depth
from vigie.ingest.engine import EndCause
from vigie.ingest.native.environment import grantable_buffer
from vigie.ingest.native.resolver import Resolved, Resolver
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.native.statistics import ReactorStatistics
from vigie.ingest.native.watch import Watch

SECOND = 1_000_000
SETTINGS = NativeSettings(
    silence_timeout_seconds=10, frame_timeout_seconds=60, foreign_timeout_seconds=5
)


def test_silence_is_told_after_its_time_and_not_before() -> None:
    watch = Watch(SETTINGS, 30, 0)
    watch.packets(3 * SECOND)
    assert watch.verdict(13 * SECOND - 1, is_foreign=False) is None
    verdict = watch.verdict(13 * SECOND, is_foreign=False)
    assert verdict == (EndCause.CAMERA_SILENT, "no media for 10 s")


def test_packets_without_frames_are_no_video() -> None:
    watch = Watch(SETTINGS, 30, 0)
    for second in range(60):
        watch.packets(second * SECOND)
        assert watch.verdict(second * SECOND, is_foreign=False) is None
    verdict = watch.verdict(60 * SECOND, is_foreign=False)
    assert verdict is not None
    assert verdict[0] is EndCause.CAMERA_SILENT


def test_what_cannot_be_decoded_as_announced_asks_for_a_new_conversation() -> None:
    watch = Watch(SETTINGS, 30, 0)
    watch.packets(5 * SECOND)
    assert watch.verdict(5 * SECOND, is_foreign=False) is None
    verdict = watch.verdict(5 * SECOND, is_foreign=True)
    assert verdict is not None
    assert verdict[0] is EndCause.STREAM_UNSUPPORTED
    watch.frames(4 * SECOND)
    assert watch.verdict(5 * SECOND, is_foreign=True) is None


def test_a_goodbye_counts_unless_media_goes_on() -> None:
    watch = Watch(SETTINGS, 30, 0)
    watch.goodbye(SECOND)
    watch.goodbye(2 * SECOND)
    assert watch.verdict(3 * SECOND - 1, is_foreign=False) is None
    verdict = watch.verdict(3 * SECOND, is_foreign=False)
    assert verdict is not None
    assert verdict[0] is EndCause.CLOSED_BY_CAMERA
    watch.packets(3 * SECOND)
    assert watch.verdict(4 * SECOND, is_foreign=False) is None


def test_keep_alives_and_reports_are_due_at_their_intervals() -> None:
    watch = Watch(SETTINGS, 30, 0)
    due = [second for second in range(100) if watch.is_keep_alive_due(second * SECOND)]
    assert due == [30, 60, 90]
    due = [second for second in range(20) if watch.is_report_due(second * SECOND)]
    assert due == [5, 10, 15]


def test_arrivals_follow_a_wall_clock_that_is_set_between_frames() -> None:
    clock = ArrivalClock()
    clock.note(1_000_000, 0)
    clock.note(1_100_010, 100_000)  # slewed by less than is worth noting
    clock.note(9_200_000, 200_000)  # set
    assert clock.to_wall([0, 100_000, 200_000, 300_000]) == [
        1_000_000,
        1_100_000,
        9_200_000,
        9_300_000,
    ]
    assert clock.to_wall([400_000]) == [9_400_000]


def test_the_depth_of_reordering_is_counted() -> None:
    assert reorder_depth([0, 1, 2]) == 0
    assert reorder_depth([0, 3, 1, 2, 6, 4, 5]) == 1
    assert reorder_depth([0, 4, 2, 1, 3]) == 2


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="threads"):
        NativeSettings(threads=0)
    with pytest.raises(ValueError, match="tick_seconds"):
        NativeSettings(live_tick_seconds=0.2)
    with pytest.raises(ValueError, match="receive_buffer_bytes"):
        NativeSettings(receive_buffer_bytes=1000)


def test_names_resolve_or_say_why_not() -> None:
    resolver = Resolver()
    found: list[Resolved] = []
    resolver.resolve("127.0.0.1", 554, found.append)
    resolver.resolve("::1", 554, found.append)
    assert [item[0][1][0] for item in found if isinstance(item, list)] == ["127.0.0.1", "::1"]
    outcome: list[Resolved] = []
    resolver.resolve("no such name.invalid", 554, outcome.append)
    resolver._pool.shutdown(wait=True)
    assert isinstance(outcome[0], str)


def test_peaks_start_anew_when_read() -> None:
    statistics = ReactorStatistics()
    for lag in (5, 90, 7):
        statistics.note_lag(lag)
    assert statistics.take_peak() == 90
    assert statistics.take_peak() == 7


def test_no_buffer_is_asked_for_that_is_not_granted() -> None:
    assert grantable_buffer(1 << 40) == 0
    assert grantable_buffer(4096) == 4096
