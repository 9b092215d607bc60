"""Streams made and served by foreign software: ffmpeg encodes and publishes, MediaMTX serves."""

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av
import imageio_ffmpeg

from vigie.media import h264, h265
from vigie.simcam.footage import FootageCache, FootageSpec, load_footage

VIDEO = Path(__file__).resolve().parents[4] / "shared" / "video"
"""Real footage of fixed cameras, where the machine has it; see `real_clip` for the others."""

TIMESCALE = 90_000
_READY_SECONDS = 30


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a file that is published: slices only, and its time.

    Attributes:
        slices: VCL NAL units; parameter sets, SEI and delimiters may be rewritten on the way.
        ticks: presentation time, `TIMESCALE`.
        skips: a leading picture that cannot be decoded at the start of a run (RASL).
    """

    slices: tuple[bytes, ...]
    ticks: int
    skips: bool


@dataclass(frozen=True)
class Clip:
    """A file that is published in a loop."""

    name: str
    path: Path
    codec: str
    frames: tuple[SourceFrame, ...]


def slices_of(codec: str, nals: Iterable[bytes]) -> tuple[bytes, ...]:
    """The VCL NAL units."""
    if codec == "h264":
        return tuple(nal for nal in nals if 1 <= h264.nal_type(nal[0]) <= 5)
    return tuple(nal for nal in nals if h265.VCL_MASK >> h265.nal_type(nal[0]) & 1)


def read_clip(name: str, path: Path) -> Clip:
    footage = load_footage(path, name)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [packet.pts for packet in container.demux(stream) if packet.size]
        base = stream.time_base
    assert base is not None
    frames = []
    for sample, time in zip(footage.samples, times, strict=True):
        assert time is not None
        slices = slices_of(footage.codec, sample.nals)
        skips = footage.codec == "h265" and bool(
            h265.SKIPPED_LEADING_MASK >> h265.nal_type(slices[0][0]) & 1
        )
        frames.append(SourceFrame(slices, round(time * base * TIMESCALE), skips))
    return Clip(name, path, footage.codec, tuple(frames))


def ffmpeg(*arguments: str) -> list[str]:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return [program, "-hide_banner", "-nostdin", "-y", "-v", "error", *arguments]


def encode(folder: Path, name: str, *options: str) -> Path:
    """Ten seconds of ffmpeg's test picture with the encoder's own idea of a stream."""
    path = folder / f"{name}.mp4"
    source = "testsrc2=size=640x360:rate=25:duration=10"
    command = ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", *options, str(path))
    subprocess.run(command, check=True, capture_output=True)
    return path


def real_clip(folder: Path, name: str) -> Path:
    """Real footage, or in a clone that has none a drawn scene with a sound track."""
    path = VIDEO / f"{name}.mp4"
    if path.exists():
        return path
    path = folder / f"{name}.mp4"
    video = "testsrc2=size=768x432:rate=25/2:duration=12"
    command = ffmpeg(
        "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", "sine=duration=12", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-profile:v", "baseline", "-g", "25", "-c:a", "aac", str(path),
    )  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


def make_clips(folder: Path) -> list[Clip]:
    """Both codecs without B-frames, and as encoders make them by themselves: with B-pyramids,
    scene cuts, and for H.265 open groups whose leading pictures need the group before."""
    FootageCache(folder).get(plain := FootageSpec(frame_count=250))
    FootageCache(folder).get(plain_h265 := FootageSpec(codec="h265", frame_count=250))
    paths = {
        "cam-h264": folder / f"{plain.key()}.mp4",
        "cam-h265": folder / f"{plain_h265.key()}.mp4",
        "cam-h264-b": encode(folder, "h264-b", "-c:v", "libx264", "-bf", "3", "-g", "50"),
        "cam-h265-b": encode(
            folder, "h265-b", "-c:v", "libx265", "-tag:v", "hvc1",
            "-x265-params", "bframes=4:keyint=50:open-gop=1:log-level=error",
        ),
        "cam-cars": real_clip(folder, "car-detection"),
        "cam-persons": real_clip(folder, "one-by-one-person-detection"),
    }  # fmt: skip
    return [read_clip(name, path) for name, path in paths.items()]


class Publishers:
    """One ffmpeg a clip, publishing it without end; an async context manager."""

    def __init__(self, clips: Sequence[Clip], server: str, api: str, folder: Path) -> None:
        self._clips = clips
        self._server = server.rstrip("/")
        self._api = api.rstrip("/")
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.urls = {clip.name: f"{self._server}/{clip.name}" for clip in clips}

    async def __aenter__(self) -> Self:
        for clip in self._clips:
            log = (self._folder / f"{clip.name}.log").open("wb")
            with log:
                command = ffmpeg(
                    "-re", "-stream_loop", "-1", "-i", str(clip.path), "-c", "copy",
                    "-f", "rtsp", "-rtsp_transport", "tcp", self.urls[clip.name],
                )  # fmt: skip
                self._processes.append(subprocess.Popen(command, stderr=log))
        wanted = set(self.urls)
        for _ in range(_READY_SECONDS * 5):
            ready = {path["name"] for path in self._paths() if path["ready"]}
            if wanted <= ready:
                return self
            await asyncio.sleep(0.2)
        await self.__aexit__()
        raise AssertionError(f"not published: {wanted - ready}")

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def ended(self) -> list[str]:
        """Publishers that are gone already, so that a loss would be theirs."""
        pairs = zip(self._clips, self._processes, strict=True)
        return [clip.name for clip, process in pairs if process.poll() is not None]

    def readers(self) -> dict[str, int]:
        """How many read each path."""
        return {path["name"]: len(path["readers"]) for path in self._paths()}

    def _paths(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._api}/v3/paths/list?itemsPerPage=100") as answer:
            found: list[dict[str, Any]] = json.load(answer)["items"]
        return found
