"""Foreign clients (libav) understand the simulator without a complaint."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from integration.simcam.conftest import QUICK, Serve, quick
from vigie.simcam import (
    CameraConfig,
    Credentials,
    FrameMark,
    Quirk,
    decode_blocks,
    mark_of_annexb,
)
from vigie.simcam.marks import split_annexb

LOGIN = Credentials(username="operator", password="throw-away")


@dataclass
class Seen:
    marks: list[FrameMark | None]
    nals: list[list[bytes]]
    blocks: list[int | None]


def view(url: str, packets: int, **options: str) -> Seen:
    seen = Seen([], [], [])
    with av.open(url, options={"rtsp_transport": "tcp", **options}, timeout=10) as container:
        for packet in container.demux(video=0):
            seen.marks.append(mark_of_annexb(bytes(packet)))
            seen.nals.append(split_annexb(bytes(packet)))
            for frame in packet.decode():
                luma = frame.planes[0]
                seen.blocks.append(decode_blocks(memoryview(luma), frame.width, luma.line_size))
            if len(seen.marks) == packets:
                return seen
    return seen


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("b_frames", [0, 2])
async def test_libav_sees_every_frame_unaltered(
    serve: Serve, caplog: pytest.LogCaptureFixture, codec: str, b_frames: int
) -> None:
    av.logging.set_level(av.logging.WARNING)
    footage = quick(codec=codec, b_frames=b_frames)
    async with serve(CameraConfig(id="cam-01", footage=footage, credentials=LOGIN)) as server:
        url = server.url("cam-01", with_credentials=True)
        with caplog.at_level(logging.WARNING):
            seen = await asyncio.to_thread(view, url, 150)
        assert not caplog.records
        marks = [mark for mark in seen.marks if mark is not None]
        assert len(marks) == 150
        first = marks[0].decode_number
        assert [mark.decode_number for mark in marks] == list(range(first, first + 150))
        for mark, nals in zip(marks, seen.nals, strict=True):
            expected = server.expected("cam-01", mark.decode_number)
            assert mark == expected.mark
            assert nals == list(expected.nals)
        start = min(mark.frame_number for mark in marks)
        numbers = range(start, start + len(seen.blocks))
        assert seen.blocks == [number % 100 for number in numbers]


@pytest.mark.parametrize("quirk", list(Quirk))
async def test_no_quirk_costs_a_frame(
    serve: Serve, caplog: pytest.LogCaptureFixture, quirk: Quirk
) -> None:
    av.logging.set_level(av.logging.WARNING)
    codec = "h265" if quirk is Quirk.SEPARATE_PARAMETER_SETS else "h264"
    camera = CameraConfig(id="cam-01", footage=quick(codec=codec), quirks=frozenset({quirk}))
    async with serve(camera) as server:
        with caplog.at_level(logging.WARNING):
            seen = await asyncio.to_thread(view, server.url("cam-01"), 60)
        assert not caplog.records
        marks = [mark for mark in seen.marks if mark is not None]
        first = marks[0].decode_number
        assert [mark.decode_number for mark in marks] == list(range(first, first + 60))
        for mark, nals in zip(marks, seen.nals, strict=True):
            assert nals == list(server.expected("cam-01", mark.decode_number).nals)


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("schemes", [("digest-md5",), ("basic",), ("digest-sha256", "digest-md5")])
async def test_ffmpeg_plays_without_a_warning(
    serve: Serve, tmp_path: Path, codec: str, schemes: tuple[str, ...]
) -> None:
    login = LOGIN.model_copy(update={"schemes": schemes})
    camera = CameraConfig(
        id="cam-01", footage=quick(codec=codec, b_frames=2), credentials=login, has_audio=True
    )
    async with serve(camera) as server:
        process = await asyncio.create_subprocess_exec(
            imageio_ffmpeg.get_ffmpeg_exe(),
            *("-hide_banner", "-loglevel", "warning", "-xerror", "-rtsp_transport", "tcp"),
            *("-allowed_media_types", "video"),
            *("-i", server.url("cam-01", with_credentials=True), "-frames:v", "50"),
            *("-f", "null", "-"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, messages = await process.communicate()
        assert messages.decode() == ""
        assert process.returncode == 0
        assert server.cameras["cam-01"].audio_setups == 0


async def test_a_wrong_password_starts_nothing(serve: Serve) -> None:
    async with serve(CameraConfig(id="cam-01", footage=QUICK, credentials=LOGIN)) as server:
        wrong = server.url("cam-01").replace("://", "://operator:guess@")
        with pytest.raises(av.FFmpegError):
            await asyncio.to_thread(view, wrong, 1)
        assert server.session_count("cam-01") == 0


async def test_sound_is_set_up_only_by_who_asks_for_it(serve: Serve) -> None:
    async with serve(CameraConfig(id="cam-01", footage=QUICK, has_audio=True)) as server:
        await asyncio.to_thread(view, server.url("cam-01"), 5, analyzeduration="1")
        assert server.cameras["cam-01"].audio_setups == 1  # libav sets up every track
