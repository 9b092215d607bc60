from fractions import Fraction
from itertools import pairwise

import pytest

from unit.simcam.conftest import START_US, MakeCamera, MakeFootage
from vigie.platform.clock import ManualMonotonicClock
from vigie.simcam.marks import mark_of_sample
from vigie.simcam.packetize import PreparedFootage


def test_numbers_go_on_for_ever_over_the_loop(make_camera: MakeCamera) -> None:
    camera = make_camera()
    hours_later = 25 * 3600 * 30 + 7
    frame = camera.expected(hours_later)
    mark = mark_of_sample(frame.sample)
    assert mark == frame.mark
    assert mark is not None
    assert mark.frame_number == hours_later
    assert mark.capture_us - camera.capture_us(0) == hours_later * 40_000
    assert frame.media_nals[-1] == camera.expected(hours_later - 20).media_nals[-1]


def test_capture_begins_within_one_frame_of_the_start(make_camera: MakeCamera) -> None:
    assert 0 <= make_camera().capture_us(0) - START_US < 40_000
    assert make_camera(id="cam-02").capture_us(0) != make_camera().capture_us(0)


def test_fractional_rates_do_not_accumulate_errors(
    make_camera: MakeCamera, make_footage: MakeFootage
) -> None:
    camera = make_camera(make_footage(rate=Fraction(30_000, 1001)))
    assert camera.capture_us(30_000) - camera.capture_us(0) == 1_001_000_000
    assert camera.rtp_ticks(30_000) - camera.rtp_ticks(0) == 90_000 * 1001


def test_b_frames_are_sent_after_they_can_be_known(
    make_camera: MakeCamera, make_footage: MakeFootage, monotonic: ManualMonotonicClock
) -> None:
    camera = make_camera(make_footage(b_frames=True))
    frames = [camera.expected(number) for number in range(60)]
    assert sorted(f.mark.frame_number for f in frames) == list(range(60))
    assert [f.mark.decode_number for f in frames] == list(range(60))
    shift_us = START_US - monotonic.now_us()
    for frame in frames:
        assert camera.due_us(frame.mark.decode_number) + shift_us >= frame.mark.capture_us
    dues = [camera.due_us(number) for number in range(60)]
    assert {late - early for early, late in pairwise(dues)} == {40_000}


def test_a_change_of_footage_waits_for_a_key_frame_and_keeps_the_past(
    make_camera: MakeCamera, make_footage: MakeFootage
) -> None:
    camera = make_camera()
    past = camera.expected(13)
    other = PreparedFootage(make_footage("h265", key="other"))
    first = camera.change_footage(other, 14)
    assert first == 20
    assert camera.expected(13) == past
    assert camera.expected(19).codec == "h264"
    assert camera.expected(20).codec == "h265"
    assert camera.expected(20).is_key
    assert [camera.expected(n).mark.frame_number for n in range(15, 45)] == list(range(15, 45))


def test_two_changes_at_once_follow_each_other(
    make_camera: MakeCamera, make_footage: MakeFootage
) -> None:
    camera = make_camera()
    original = camera.prepared
    first = camera.change_footage(PreparedFootage(make_footage(key="other")), 14)
    back = camera.change_footage(original, 14)
    assert first < back
    assert camera.expected(back).is_key


def test_another_rate_is_refused(make_camera: MakeCamera, make_footage: MakeFootage) -> None:
    with pytest.raises(ValueError, match="another rate"):
        make_camera().change_footage(PreparedFootage(make_footage(rate=Fraction(50))), 0)


def test_drift_and_jump_move_the_cameras_clock_only(
    make_camera: MakeCamera, monotonic: ManualMonotonicClock
) -> None:
    camera = make_camera()
    camera.clock.set_drift(200.0, camera.now_us())
    hour = 25 * 3600
    before = camera.rtp_ticks(hour) - camera.rtp_ticks(0)
    assert before - 90_000 * 3600 == pytest.approx(0.72 * 90_000, abs=10)
    assert camera.capture_us(hour) - camera.capture_us(0) == 3_600_000_000
    camera.clock.jump(10_000_000, reports_only=False)
    assert camera.rtp_ticks(hour) - camera.rtp_ticks(0) == before
    wall_us, _ = camera.report_times()
    assert wall_us - camera.now_us() == pytest.approx(10_000_000, abs=10)


def test_reports_only_jumps_leave_media_time_alone(make_camera: MakeCamera) -> None:
    camera = make_camera(clock_offset_seconds=2.0)
    ticks = camera.rtp_ticks(5)
    camera.clock.jump(-60_000_000, reports_only=True)
    assert camera.rtp_ticks(5) == ticks
    assert camera.report_times()[0] - camera.now_us() == -58_000_000


def test_reports_and_frames_agree_on_the_time(
    make_camera: MakeCamera, monotonic: ManualMonotonicClock
) -> None:
    camera = make_camera(clock_offset_seconds=3.0, clock_drift_ppm=150.0)
    frame_us = camera.capture_us(1000)
    monotonic._now_us += frame_us - camera.now_us()
    wall_us, ticks = camera.report_times()
    assert abs(ticks - camera.rtp_ticks(1000)) <= 1
    assert wall_us - frame_us == 3_000_000 + 6000  # 150 ppm of 40 s


def test_hashes_tell_media_from_parameter_sets(make_camera: MakeCamera) -> None:
    inside, outside = make_camera(), make_camera(in_band_parameter_sets=False)
    assert inside.expected(0).sha256 != outside.expected(0).sha256
    assert inside.expected(0).media_sha256 == outside.expected(0).media_sha256
