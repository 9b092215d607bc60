"""Recorders that are not ours, as peers of a measurement: same cameras, same core, copying only."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

SOURCE_CORE, RECEIVER_CORE = 0, 1
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 180
SETTLE_SECONDS = 5
PEERS = ("ffmpeg", "pyav", "mediamtx")


@dataclass(frozen=True)
class Figures:
    """What reception cost in the steady state.

    Attributes:
        cpu: user and system seconds a camera-minute.
        pss: bytes a camera.
        started: seconds until every camera was being recorded.
        rate: bits a second and camera that reached files; 0 where it is not looked at.
    """

    cpu: float
    pss: float
    started: float
    rate: float = 0.0


def say(text: str) -> None:
    print(text, flush=True)


def pinned(core: int) -> list[str]:
    """The beginning of a command that runs on one core, where there are several."""
    return ["taskset", "-c", str(core)] if len(os.sched_getaffinity(0)) > 1 else []


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def pss_bytes(pid: int) -> int:
    """Proportional share of memory; nothing for a process that has ended."""
    with contextlib.suppress(ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


async def steady(pids: Sequence[int], seconds: float, cameras: int, started: float) -> Figures:
    """Watch processes for a while."""
    await asyncio.sleep(SETTLE_SECONDS)
    before, since = sum(map(cpu_seconds, pids)), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - since
    cpu = (sum(map(cpu_seconds, pids)) - before) * 60 / passed / cameras
    return Figures(cpu, sum(map(pss_bytes, pids)) / cameras, started)


def missing(peer: str) -> str:
    """Why a peer cannot be measured here; empty when it can."""
    if peer == "mediamtx" and shutil.which("mediamtx") is None:
        return "no mediamtx on the PATH"
    return ""


async def measure(peer: str, folder: Path, addresses: Sequence[str], seconds: float) -> Figures:
    """Let a peer record every address into files below ``folder``, and watch it."""
    folder.mkdir()
    commands = {"ffmpeg": _ffmpeg, "pyav": _pyav, "mediamtx": _mediamtx}[peer](folder, addresses)
    began = time.monotonic()
    with _running(commands) as processes:
        while sum(size > 10_000 for size in _sizes(folder)) < len(addresses):
            if time.monotonic() - began > READY_SECONDS:
                say(f"{peer}: not every camera was being recorded in time")
                break
            await asyncio.sleep(0.2)
        started = time.monotonic() - began
        before, since = sum(_sizes(folder)), time.monotonic()
        pids = [process.pid for process in processes]
        figures = await steady(pids, seconds, len(addresses), started)
        size = sum(_sizes(folder)) - before
        rate = size * 8 / (time.monotonic() - since) / len(addresses)
        if ended := sum(process.poll() is not None for process in processes):
            say(f"{peer}: {ended} processes ended by themselves")
    return Figures(figures.cpu, figures.pss, figures.started, rate)


def _ffmpeg(folder: Path, addresses: Sequence[str]) -> list[list[str]]:
    """One process a camera."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return [
        [
            program, "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", address, "-an",
            "-c", "copy", "-f", "mp4", "-movflags", "+frag_keyframe", str(folder / f"{number}.mp4"),
        ]
        for number, address in enumerate(addresses)
    ]  # fmt: skip


def _pyav(folder: Path, addresses: Sequence[str]) -> list[list[str]]:
    """One process, one thread a camera."""
    return [
        [sys.executable, str(Path(__file__).with_name("pyav_recorder.py")), str(folder), *addresses]
    ]


def _mediamtx(folder: Path, addresses: Sequence[str]) -> list[list[str]]:
    """One process, every server of its own off."""
    off = "".join(f"{name}: no\n" for name in ("rtsp", "rtmp", "hls", "webrtc", "srt", "api"))
    paths = "".join(f"  cam{n}:\n    source: {a}\n" for n, a in enumerate(addresses))
    configuration = folder.with_suffix(".yml")
    configuration.write_text(
        f"logLevel: warn\n{off}pathDefaults:\n  rtspTransport: tcp\n  record: yes\n"
        f"  recordFormat: fmp4\n  recordSegmentDuration: 30s\n  recordPath: {folder}/%path-%s-%f\n"
        f"paths:\n{paths}"
    )
    return [["mediamtx", str(configuration)]]


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*.mp4")]


@contextlib.contextmanager
def _running(commands: Sequence[Sequence[str]]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes = [subprocess.Popen([*pinned(RECEIVER_CORE), *command]) for command in commands]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
