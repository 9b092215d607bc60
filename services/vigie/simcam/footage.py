"""Footage of simulated cameras: made once by ffmpeg, kept in a cache, looped for ever.

`FootageSpec` says what is wanted, `FootageCache.get` makes it (or finds it) and loads it as a
`Footage`: access units in decoding order with their parameter sets, as the network sees them.
Only the video track of a file is ever read; sound is never served from it.
"""

import hashlib
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

import av
import ffmpeg
import imageio_ffmpeg
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from vigie.simcam.marks import Codec, split_annexb, split_sample
from vigie.simcam.nal import is_parameter_set, parameter_sets_of_extradata
from vigie.simcam.overlay import Scene, draw_frames

_FORMAT_VERSION: Final = 3
"""Part of every cache key: raise it when the pictures or the encoder's settings change."""

Rate = Annotated[Fraction, BeforeValidator(Fraction), PlainSerializer(str)]


class FootageError(Exception):
    """Footage could not be made or read; the message says which and why."""


class FootageSpec(BaseModel):
    """What a simulated camera shows.

    Attributes:
        codec: "h264" or "h265" (ignored with ``source``).
        width, height: picture size in pixels, even.
        frames_per_second: rate; "30000/1001" is allowed.
        frame_count: length of the loop in frames.
        gop_frames: frames between key frames; the loop always begins with one.
        b_frames: consecutive B-frames between two others (0: none).
        bitrate_bps: bits a second the encoder aims at.
        preset: speed preset of x264 and x265.
        seed: varies colour and texture.
        level_idc: writes this level into the SPS: the same pictures with other parameter sets.
        source: an MP4 file whose video track is served instead of a drawn scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    codec: Codec = "h264"
    width: int = Field(default=640, ge=192, le=7680, multiple_of=2)
    height: int = Field(default=360, ge=96, le=4320, multiple_of=2)
    frames_per_second: Rate = Fraction(25)
    frame_count: int = Field(default=250, ge=1, le=100_000)
    gop_frames: int = Field(default=25, ge=1, le=1000)
    b_frames: int = Field(default=0, ge=0, le=8)
    bitrate_bps: int = Field(default=500_000, ge=10_000, le=100_000_000)
    preset: str = "ultrafast"
    seed: int = 1
    level_idc: int | None = None
    source: Path | None = None

    def key(self) -> str:
        """Name in the cache: readable beginning, then a hash of everything that matters."""
        identity = self.model_dump_json() + str(_FORMAT_VERSION)
        if self.source is not None:
            status = self.source.stat()
            identity += f"{status.st_size} {status.st_mtime_ns}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return f"{self.codec}-{self.width}x{self.height}-{digest}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit: NAL units without parameter sets, and its place in display order."""

    nals: tuple[bytes, ...]
    display_index: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class Footage:
    """A loop of access units in decoding order.

    Attributes:
        key: name in the cache, unique for the content.
        codec: "h264" or "h265".
        width, height: picture size in pixels.
        frames_per_second: constant rate at which it is served.
        parameter_sets: SPS, PPS (H.264) or VPS, SPS, PPS (H.265), in this order.
        samples: at least one; the first is a key frame.
        reorder_depth: frames a picture is sent after its capture at least, because of B-frames.
    """

    key: str
    codec: Codec
    width: int
    height: int
    frames_per_second: Fraction
    parameter_sets: tuple[bytes, ...]
    samples: tuple[Sample, ...]
    reorder_depth: int


class FootageCache:
    """Makes and keeps footage in a folder; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, Footage] = {}
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, spec: FootageSpec) -> Footage:
        """The footage for ``spec``, from memory, from the folder, or made now.

        Raises:
            FootageError: ffmpeg failed, or the file cannot be served.
        """
        try:
            key = spec.key()
        except OSError as error:
            raise FootageError(f"cannot read {spec.source}: {error.strerror}") from error
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # others make other footage meanwhile
            if key not in self._loaded:
                self._loaded[key] = load_footage(self._file(spec, key), key, self._rate(spec))
            return self._loaded[key]

    @staticmethod
    def _rate(spec: FootageSpec) -> Fraction | None:
        return spec.frames_per_second if spec.source is None else None

    def _file(self, spec: FootageSpec, key: str) -> Path:
        if spec.source is not None and spec.level_idc is None:
            return spec.source
        path = self._folder / f"{key}.mp4"
        if path.exists():
            return path
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part.mp4")
        os.close(handle)
        temporary = Path(name)
        try:
            if spec.level_idc is not None:
                plain = spec.model_copy(update={"level_idc": None})
                _change_level(self._file(plain, plain.key()), temporary, spec)
            else:
                _encode(spec, temporary)
            # The first to finish wins: encoders with threads do not repeat themselves to the byte,
            # and whoever has loaded a file must agree with whoever loads it later.
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
        return path


def _codec_options(spec: FootageSpec) -> dict[str, Any]:
    common: dict[str, Any] = {
        "preset": spec.preset,
        "pix_fmt": "yuv420p",
        "b:v": spec.bitrate_bps,
        "maxrate": spec.bitrate_bps,
        "bufsize": spec.bitrate_bps,
        "g": spec.gop_frames,
        "bf": spec.b_frames,
    }
    if spec.codec == "h264":
        return common | {
            "vcodec": "libx264",
            "keyint_min": spec.gop_frames,
            "sc_threshold": 0,
            "x264-params": "open-gop=0:b-adapt=0:b-pyramid=none",
        }
    parameters = (
        f"keyint={spec.gop_frames}:min-keyint={spec.gop_frames}:scenecut=0:open-gop=0"
        f":bframes={spec.b_frames}:b-adapt=0:b-pyramid=0:log-level=error"
    )
    return common | {"vcodec": "libx265", "x265-params": parameters, "tag:v": "hvc1"}


def _encode(spec: FootageSpec, path: Path) -> None:
    """Draw the scene and pipe it through ffmpeg into ``path``."""
    size = f"{spec.width}x{spec.height}"
    rate = str(spec.frames_per_second)
    graph = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="yuv420p", s=size, framerate=rate)
    graph = ffmpeg.output(graph, str(path), **_codec_options(spec), format="mp4", an=None)
    command = _command(graph)
    scene = Scene(spec.width, spec.height, spec.frames_per_second, spec.seed)
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)  # noqa: S603 - our own binary and arguments
        if process.stdin is None:
            raise FootageError("ffmpeg was started without a pipe")
        try:
            for frame in draw_frames(scene, spec.frame_count):
                process.stdin.write(frame)
        except BrokenPipeError:
            pass  # ffmpeg ended early; its exit code and messages say why
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
        if process.wait() != 0:
            messages.seek(0)
            text = messages.read().decode(errors="replace").strip()
            raise FootageError(f"ffmpeg could not make {spec.key()}: {text}")


def _change_level(source: Path, path: Path, spec: FootageSpec) -> None:
    """Copy the video track with another level in its SPS: same pictures, other parameter sets."""
    name = "h264_metadata" if _codec_of(source) == "h264" else "hevc_metadata"
    level = f"{name}=level={(spec.level_idc or 0) / (10 if name == 'h264_metadata' else 30):.1f}"
    graph = ffmpeg.output(
        ffmpeg.input(str(source))["v:0"], str(path), vcodec="copy", format="mp4", **{"bsf:v": level}
    )
    result = subprocess.run(  # noqa: S603 - our own binary and arguments
        _command(graph), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if result.returncode != 0:
        text = result.stderr.decode(errors="replace").strip()
        raise FootageError(f"ffmpeg could not change the level of {source.name}: {text}")


def _command(graph: Any) -> list[str]:
    options = ("-hide_banner", "-loglevel", "error", "-nostdin")
    graph = ffmpeg.overwrite_output(ffmpeg.nodes.GlobalNode(graph, "global_args", options).stream())
    command: list[str] = ffmpeg.compile(graph, cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


def _codec_of(path: Path) -> Codec:
    with av.open(str(path)) as container:
        return _codec_name(container.streams.video[0].codec_context.name, path)


def _codec_name(name: str, path: Path) -> Codec:
    if name == "h264":
        return "h264"
    if name == "hevc":
        return "h265"
    raise FootageError(f"{path.name} holds {name} video; H.264 or H.265 can be served")


def load_footage(path: Path, key: str, rate: Fraction | None = None) -> Footage:
    """Read the video track of an MP4 file into memory.

    Args:
        path: the file.
        key: name the footage goes by.
        rate: frames a second to serve it at; None takes the average rate of the file.

    Raises:
        FootageError: no video, another codec, or it does not start with a key frame.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FootageError(f"{path.name} holds no video track")
            stream = container.streams.video[0]
            codec = _codec_name(stream.codec_context.name, path)
            extradata = stream.codec_context.extradata or b""
            frames_per_second = rate or stream.average_rate or Fraction(25)
            packets = [packet for packet in container.demux(stream) if packet.size]
            raw = [(bytes(packet), packet.pts, packet.is_keyframe) for packet in packets]
            size = (stream.codec_context.width, stream.codec_context.height)
    except av.FFmpegError as error:
        raise FootageError(f"cannot read {path.name}: {error.strerror}") from error
    return _assemble(
        path,
        key,
        codec=codec,
        extradata=extradata,
        rate=Fraction(frames_per_second),
        raw=raw,
        size=size,
    )


def _assemble(
    path: Path,
    key: str,
    *,
    codec: Codec,
    extradata: bytes,
    rate: Fraction,
    raw: list[tuple[bytes, int | None, bool]],
    size: tuple[int, int],
) -> Footage:
    if not raw or not raw[0][2]:
        raise FootageError(f"{path.name} does not start with a key frame")
    if any(pts is None for _, pts, _ in raw):
        raise FootageError(f"{path.name} has frames without a time stamp")
    order = {
        pts: index for index, pts in enumerate(sorted(pts for _, pts, _ in raw if pts is not None))
    }
    is_annexb = extradata.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"))
    parameter_sets = parameter_sets_of_extradata(codec, extradata)
    samples = []
    for data, pts, is_key in raw:
        nals = split_annexb(data) if is_annexb else split_sample(data)
        kept = tuple(nal for nal in nals if not is_parameter_set(codec, nal))
        samples.append(Sample(kept, order[pts if pts is not None else 0], is_key))
    if samples[0].display_index != 0:
        raise FootageError(f"{path.name} begins with pictures shown before its first key frame")
    depth = max(sample.display_index - index for index, sample in enumerate(samples))
    return Footage(key, codec, *size, rate, parameter_sets, tuple(samples), depth)
