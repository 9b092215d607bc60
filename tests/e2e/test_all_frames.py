"""Every frame a camera films can be had again: all, in order, as sent, at its true time."""

import asyncio
import hashlib
from collections import defaultdict
from contextlib import aclosing
from pathlib import Path

import pytest

from e2e import estate, proof
from e2e.callers import clip, play, segments, watch_live
from e2e.harness import Cameras, Installation
from ffmpeg_reading import complaints

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
    assert await asyncio.to_thread(complaints, whole, tmp_path) == ""
    for data in content[:2]:
        assert proof.frames_of_file(data)
        assert await asyncio.to_thread(complaints, data, tmp_path) == ""


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


@pytest.mark.parametrize("camera", ["cam-h264", "cam-h265-b"])
async def test_play_resumes_where_it_stopped(
    camera: str, vigie: Installation, recorded: tuple[int, int]
) -> None:
    whole = await play(vigie, camera, *recorded)
    rest = await play(vigie, camera, *recorded, resume_token=whole.tokens[2])
    assert [each.data for each in rest.fragments] == [each.data for each in whole.fragments[3:]]


@EVERY_CAMERA
async def test_a_clip_is_exactly_its_window(
    camera: str,
    vigie: Installation,
    cameras: Cameras,
    recorded: tuple[int, int],
    tmp_path: Path,
) -> None:
    start_us, end_us = recorded[0] + 1_333_337, recorded[0] + 5_777_771
    (file,) = await clip(vigie, camera, start_us, end_us)
    assert file.info.start_time.ToMicroseconds() == start_us
    assert file.info.end_time.ToMicroseconds() == end_us
    assert hashlib.sha256(file.data).hexdigest() == file.sha256
    frames = proof.timed(proof.frames_of_file(file.data), start_us)
    shown = sorted(
        (each for each in frames if start_us <= each.wall_us < end_us),
        key=lambda each: each.wall_us,
    )
    # The first one was on display already when the window begins, and is shown from there on.
    assert shown[0].wall_us == start_us
    assert start_us - 2 * proof.TOLERANCE_US < shown[0].frame.mark.capture_us
    await proof.assert_as_sent(cameras.control(camera), camera, shown[1:])
    assert not proof.missing(shown)
    assert shown[-1].frame.mark.capture_us >= end_us - 2 * proof.TOLERANCE_US
    assert await asyncio.to_thread(complaints, file.data, tmp_path) == ""
    counters = await asyncio.to_thread(proof.decoded_counters, file.data)
    loop = (await cameras.control(camera).cameras())[camera]["loop_frames"]
    numbers = sorted(each.frame.mark.frame_number % loop for each in shown)
    assert None not in counters, "a picture is damaged"
    assert set(numbers) <= set(counters), "a viewer sees every frame of the window"


@EVERY_CAMERA
async def test_live_delivers_every_frame_as_it_is_filmed(
    camera: str, vigie: Installation, cameras: Cameras
) -> None:
    data, frames = bytearray(), 0
    async with aclosing(watch_live(vigie, camera)) as messages:
        async for message in messages:
            kind = message.WhichOneof("message")
            assert kind in ("header", "chunk"), message
            part = getattr(message, kind)
            data += part.data
            if kind == "chunk":
                frames += part.sample_count
                if frames >= 2 * _RATE and not part.more:
                    break
    found = proof.frames_of_file(bytes(data))
    assert len(found) == frames
    # The frame that was least late says what the clock of the media stands for.
    origin_us = min(frame.mark.capture_us - frame.shown_us for frame in found)
    located = proof.timed(found, origin_us)
    await proof.assert_all_there(
        cameras.control(camera), camera, located, frames_at_least=2 * _RATE
    )
