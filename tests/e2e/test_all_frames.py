"""Every frame a camera films can be had again: all, in order, as sent, at its true time."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from e2e import estate, proof
from e2e.callers import play, segments
from e2e.harness import Cameras, Installation

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
EVERY_CAMERA = pytest.mark.parametrize("camera", estate.EVERY_HEALTHY)
_RATE = 25


@EVERY_CAMERA
async def test_stored_objects_concatenated_are_what_the_camera_sent(
    camera: str,
    vigie: Installation,
    cameras: Cameras,
    recorded: tuple[int, int],
    tmp_path: Path,
) -> None:
    listed = await segments(vigie, camera, *recorded)
    stored = dict(vigie.objects(f"footage/{camera}"))
    runs = defaultdict(list)
    for segment in listed:
        runs[segment.run].append(segment)
    assert len(runs) == 1
    content = [stored[segment.object_key] for segment in listed]
    whole = proof.concatenate(content)
    frames = proof.frames_of_file(whole)
    first_us = min(frame.shown_us for frame in frames)
    found = proof.timed(frames, listed[0].start_time.ToMicroseconds(), first_us)
    await proof.assert_all_there(cameras.control(camera), camera, found, frames_at_least=8 * _RATE)
    assert sum(segment.sample_count for segment in listed) == len(found)
    assert await asyncio.to_thread(proof.ffmpeg_complaints, whole, tmp_path) == ""
    for data in content[:2]:
        assert proof.frames_of_file(data)
        assert await asyncio.to_thread(proof.ffmpeg_complaints, data, tmp_path) == ""


@EVERY_CAMERA
async def test_play_delivers_every_frame_at_its_time(
    camera: str, vigie: Installation, cameras: Cameras, recorded: tuple[int, int]
) -> None:
    played = await play(vigie, camera, *recorded)
    assert not played.gaps
    assert played.end is not None
    found = proof.timed_of_play(played.fragments)
    await proof.assert_all_there(cameras.control(camera), camera, found, frames_at_least=8 * _RATE)
    assert played.fragments[0].show_start_us == recorded[0]
    assert played.fragments[-1].show_end_us == recorded[1]
