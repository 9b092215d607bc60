"""A camera that misbehaves costs at most its own footage, and the timeline says why."""

import pytest

from e2e import estate, proof
from e2e.callers import GAP, SPAN, clip, play, timeline
from e2e.harness import Cameras, Installation
from e2e.misbehaviour import LOCKED_OUT, Misbehaviour
from vigie.simcam import FAULTS, Fault

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_a_gap_with_its_cause_or_none(
    fault: Fault, vigie: Installation, misbehaved: Misbehaviour
) -> None:
    camera, spec = f"cam-{fault.value}", FAULTS[fault]
    entries = await timeline(vigie, camera, misbehaved.before_us, misbehaved.settled_us[camera])
    gaps = [entry for entry in entries if entry.kind == GAP]
    causes = {gap.cause for gap in gaps}
    assert {entry.kind for entry in entries} <= {SPAN, GAP}, entries
    if spec.gap == "never":
        assert not gaps
    if spec.gap == "always":
        assert gaps
    allowed = set(spec.causes)
    if fault is Fault.SLOW_START:
        allowed.add("CLOSED_BY_CAMERA")  # by which it was made to connect again
    assert causes <= allowed, gaps
    if spec.causes and gaps and fault is not Fault.SLOW_START:
        assert spec.gap == "possible" or causes & set(spec.causes)
    if spec.new_run:
        assert len({entry.run for entry in entries if entry.kind == SPAN}) >= 2
    assert entries[-1].kind == (GAP if fault in LOCKED_OUT else SPAN)


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_not_missing_is_as_it_was_sent(
    fault: Fault, vigie: Installation, cameras: Cameras, misbehaved: Misbehaviour
) -> None:
    """No broken frame is stored; every frame is there or inside a gap; none is there twice."""
    camera = f"cam-{fault.value}"
    played = await play(vigie, camera, misbehaved.before_us, misbehaved.settled_us[camera])
    found = proof.timed_of_play(played.fragments)
    numbers = [each.frame.mark.decode_number for each in found]
    assert len(numbers) == len(set(numbers))
    await proof.assert_as_sent(cameras.plain.control, camera, found)
    gaps = [(gap.start_time.ToMicroseconds(), gap.end_time.ToMicroseconds()) for gap in played.gaps]
    lost = set(range(numbers[0], numbers[-1])) - set(numbers)
    if lost:
        sent = await proof.expected_frames(cameras.plain.control, camera, min(lost), max(lost))
        for number in lost:
            at_us = sent[number]["capture_us"]
            assert any(
                start_us - proof.TOLERANCE_US <= at_us <= end_us + proof.TOLERANCE_US
                for start_us, end_us in gaps
            ), (number, at_us, gaps)


@pytest.mark.parametrize("camera", estate.EVERY_HEALTHY)
async def test_the_neighbours_do_not_notice(
    camera: str, vigie: Installation, misbehaved: Misbehaviour
) -> None:
    entries = await timeline(vigie, camera, misbehaved.begun_us, misbehaved.cleared_us)
    assert [entry.kind for entry in entries] == [SPAN]


async def test_a_clip_over_a_gap_keeps_the_true_times(
    vigie: Installation, cameras: Cameras, misbehaved: Misbehaviour
) -> None:
    camera = f"cam-{Fault.DROP_CONNECTION.value}"
    entries = await timeline(vigie, camera, misbehaved.before_us, misbehaved.settled_us[camera])
    gap = next(entry for entry in entries if entry.kind == GAP)
    start_us, end_us = gap.start_us - 1_234_567, gap.end_us + 876_543
    (file,) = await clip(vigie, camera, start_us, end_us)
    assert [each.start_time.ToMicroseconds() for each in file.info.gaps] == [gap.start_us]
    frames = proof.timed(proof.frames_of_file(file.data), start_us)
    shown = [each for each in frames if start_us <= each.wall_us < end_us]
    await proof.assert_as_sent(cameras.plain.control, camera, shown)
    assert min(each.wall_us for each in shown) <= start_us + proof.TOLERANCE_US
    assert max(each.wall_us for each in shown) >= end_us - 2 * proof.TOLERANCE_US
    assert not any(gap.start_us + 1000 < each.wall_us < gap.end_us - 1000 for each in shown)
