"""Six services on Kafka, MinIO and PostgreSQL: processor time, memory, segments to the timeline.

    VIGIE_TEST_KAFKA=… VIGIE_TEST_S3=… VIGIE_TEST_POSTGRES=… python tests/bench/bench_services.py
    python tests/bench/bench_services.py --full              # 100 cameras, 1080p25, 4 Mbit/s, 2 min
    python tests/bench/bench_services.py -n 251 --no-peer    # from a closed segment to the timeline

Simulated cameras run in a process of their own; gateway and services each in one. Printed: CPU
seconds (user and system) a camera-minute of *our* processes, not of broker, store and database,
each service apart; beside it one `ffmpeg -c copy` process a camera writing files, of the same
cameras, afterwards; memory (PSS) of each service idle and with all cameras; and the time from the
end of a segment until the timeline has it, by looking into the index every 20 ms: 251 cameras with
segments of 30 s are 8.4 segments a second, and --segment-seconds makes the same rate of fewer
cameras. Everything shares one machine: look at how late the simulator was.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

import asyncpg
from peers import READY_SECONDS, Figures, cpu_seconds, measure, pss_bytes, say
from postgresql_estate import server_of

from e2e import estate
from e2e.harness import DEPLOYMENTS, Installation, simulated_cameras
from faults.soaking.churn import enter_cameras, make_places
from vigie.access.settings import AccessConfig
from vigie.ingest.config import IngestConfig
from vigie.platform.eventlog.kafka import KafkaConfig
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig
from vigie.simcam.client import SimCamProcess

NEEDED = ("VIGIE_TEST_KAFKA", "VIGIE_TEST_S3", "VIGIE_TEST_POSTGRES")
MUST_REACH_CPU = 0.25
MUST_REACH_SECONDS = 2.0
LOOK_SECONDS = 0.02
SETTLE_SECONDS = 5


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * len(values)))]


class Delays:
    """Looks at the timeline (rows of spans) for segments that it did not have before.

    Args:
        database: of the services.
        segment_seconds: length of a segment: several may be listed between two looks.

    Attributes:
        seconds: from the end of each segment until it was listed.
    """

    def __init__(self, database: str, segment_seconds: float) -> None:
        self._database = database
        self._segment_seconds = segment_seconds
        self.seconds: list[float] = []
        self._last: dict[tuple[str, int], int] = {}

    async def watch(self, enough: asyncio.Event) -> None:
        """Look until told that it is enough; what was listed before is not counted."""
        server = server_of(os.environ)
        assert server is not None
        connection = await server.connect(self._database)
        try:
            await self._look(connection)
            self.seconds.clear()
            while not enough.is_set():
                await self._look(connection)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()

    async def _look(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(
            "SELECT run, first_number, last_number, end_us FROM recording.recording_spans"
        )
        now = time.time()
        for row in rows:
            place = (row["run"], row["first_number"])
            known = self._last.get(place, row["first_number"] - 1)
            self._last[place] = row["last_number"]
            ago = now - row["end_us"] / 1e6
            self.seconds += [
                ago + self._segment_seconds * earlier
                for earlier in range(row["last_number"] - known)
            ]


def processes(made: Installation) -> dict[str, int]:
    """Service -> process."""
    return dict(zip(made.deployment.targets, made.process_ids(), strict=True))


async def all_sending(simulator: SimCamProcess, began: float) -> None:
    while time.monotonic() - began < READY_SECONDS:
        states = await simulator.control.cameras()
        if all(state["sessions"] and state["frames_sent"] for state in states.values()):
            return
        await asyncio.sleep(0.5)
    raise SystemExit("not every camera was connected to in time")


async def measure_services(
    made: Installation, simulator: SimCamProcess, cameras: Any, options: argparse.Namespace
) -> float:
    """Record with six services; CPU seconds a camera-minute."""
    await make_places(made)
    pids = processes(made)
    await asyncio.sleep(SETTLE_SECONDS)
    idle = {name: pss_bytes(pid) for name, pid in pids.items()}
    began = time.monotonic()
    for start in range(0, len(cameras), 25):
        part = cameras[start : start + 25]
        await enter_cameras(made, [(each, simulator.urls[each.id]) for each in part])
    await all_sending(simulator, began)
    say(f"{len(cameras)} cameras are recorded after {time.monotonic() - began:.1f} s")
    # A segment length more, so that every camera is in its stride.
    await asyncio.sleep(SETTLE_SECONDS + options.segment_seconds)
    await simulator.control.worst_lateness_us()
    enough = asyncio.Event()
    external = made._external
    assert external is not None
    delays = Delays(external.database, options.segment_seconds)
    watching = asyncio.create_task(delays.watch(enough))
    await asyncio.sleep(1)
    before, since = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    await asyncio.sleep(options.seconds)
    passed = time.monotonic() - since
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    loaded = {name: pss_bytes(pid) for name, pid in pids.items()}
    enough.set()
    await watching
    late_us = await simulator.control.worst_lateness_us()
    say(f"simulator: late by {late_us / 1000:.0f} ms at worst; load {os.getloadavg()[0]:.1f}")
    each = 60 / passed / len(cameras)
    for name in pids:
        say(
            f"  {name:9} CPU {used[name] * each:.5f} s a camera-minute;"
            f" PSS {idle[name] / 1e6:.1f} MB idle, {loaded[name] / 1e6:.1f} MB"
        )
    total = sum(used.values()) * each
    memory = [sum(values.values()) / 1e6 for values in (idle, loaded)]
    say(
        f"  together  CPU {total:.4f} s a camera-minute;"
        f" PSS {memory[0]:.0f} MB idle, {memory[1]:.0f} MB"
    )
    tell_delays(delays.seconds, passed)
    return total


def tell_delays(seconds: list[float], passed: float) -> None:
    """Print how soon segments were listed."""
    if not seconds:
        say("no segment was closed meanwhile: measure for longer than --segment-seconds")
        return
    middle, last = quantile(seconds, 0.5), quantile(seconds, 0.99)
    reached = "yes" if last <= MUST_REACH_SECONDS else "NO"
    say(
        f"end of a segment to the timeline: {len(seconds)} segments"
        f" ({len(seconds) / passed:.1f} a second), p50 {middle:.2f} s, p99 {last:.2f} s,"
        f" worst {max(seconds):.2f} s; p99 must reach {MUST_REACH_SECONDS:g} s: {reached}"
    )


def as_delivered() -> dict[str, dict[str, str]]:
    """The product's own values where the tests' configuration is in more of a hurry."""
    ingest, kafka, access = IngestConfig(), KafkaConfig(), AccessConfig()
    return {
        "ingest": {
            "heartbeat_seconds": str(ingest.heartbeat_seconds),
            "reconnect_longest_seconds": str(ingest.reconnect_longest_seconds),
            "silence_timeout_seconds": str(ingest.silence_timeout_seconds),
        },
        "kafka": {"outbox_poll_seconds": str(kafka.outbox_poll_seconds)},
        "access": {"reload_seconds": str(access.reload_seconds)},
    }


async def run(folder: Path, options: argparse.Namespace) -> None:
    footage = FootageSpec(
        width=options.width, height=options.height, frame_count=100, gop_frames=50,
        bitrate_bps=options.bitrate,
    )  # fmt: skip
    cameras = tuple(
        CameraConfig(id=f"cam-{n:03d}", footage=footage) for n in range(options.cameras)
    )
    config = ServerConfig(cameras=cameras, cache_folder=ROOT / "build" / "bench-footage")
    scale = f"{options.cameras} cameras, {options.width}x{options.height}, {options.bitrate} bit/s"
    say(f"{scale}, segments of {options.segment_seconds} s, {options.seconds:g} s")
    settings = as_delivered()
    settings["ingest"]["segment_seconds"] = str(options.segment_seconds)
    async with simulated_cameras(config, folder / "cameras") as simulator:
        deployment = DEPLOYMENTS["six-services"]
        made = Installation(deployment, folder / "vigie", estate.PEOPLE, settings)
        try:
            await made.start()
            ours = await measure_services(made, simulator, cameras, options)
        finally:
            await made.remove()
        if options.no_peer:
            return
        addresses = [simulator.urls[camera.id] for camera in cameras]
        peer: Figures = await measure("ffmpeg", folder / "ffmpeg", addresses, options.seconds)
    ratio = ours / peer.cpu
    reached = "yes" if ratio <= MUST_REACH_CPU else "NO"
    say(f"ffmpeg, a process a camera: CPU {peer.cpu:.4f} s a camera-minute, {peer.rate:.0f} bit/s")
    say(f"our processes take {ratio:.2f} of it; must reach {MUST_REACH_CPU}: {reached}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("-n", "--cameras", type=int, default=100)
    parser.add_argument("-s", "--seconds", type=float, default=30)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--bitrate", type=int, default=500_000)
    parser.add_argument("--segment-seconds", type=int, default=30)
    parser.add_argument("--no-peer", action="store_true", help="without ffmpeg")
    parser.add_argument("--full", action="store_true", help="1080p25 at 4 Mbit/s for two minutes")
    options = parser.parse_args()
    if options.full:
        options.width, options.height, options.bitrate = 1920, 1080, 4_000_000
        options.seconds = 120
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        say(f"no server: {', '.join(missing)}; nothing was measured")
        return
    with tempfile.TemporaryDirectory(prefix="vigie-bench-services-") as folder:
        asyncio.run(run(Path(folder), options))


if __name__ == "__main__":
    main()
