"""What a simulated camera costs: CPU seconds of the server per camera and minute.

A trivial client drains every connection; the server runs as a process of its own. Prints one line
of JSON. Load tests depend on the simulator being far cheaper than what it loads.
"""

import argparse
import asyncio
import json
import os
import selectors
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from vigie.simcam import CameraConfig, FootageSpec, ServerConfig
from vigie.simcam.client import SimCamProcess
from vigie.simcam.command import camera_ids


class Drain:
    """Plays all cameras and throws away what comes, in ticks like a recorder."""

    def __init__(self, urls: list[str], tick_seconds: float) -> None:
        self._selector = selectors.DefaultSelector()
        self._tick_seconds = tick_seconds
        self._stop = threading.Event()
        self.bytes_received = 0
        self.closed = 0
        self._sockets = [self._play(url) for url in urls]
        for connection in self._sockets:
            self._selector.register(connection, selectors.EVENT_READ, connection)
        self._thread = threading.Thread(target=self._run)

    @staticmethod
    def _play(url: str) -> socket.socket:
        parts = urlsplit(url)
        connection = socket.create_connection((parts.hostname or "", parts.port or 554))
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        connection.sendall(f"SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n".encode())
        answer = connection.recv(4096).decode()
        session = answer.partition("Session: ")[2].partition(";")[0]
        request = f"PLAY {url} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"
        connection.sendall(request.encode())
        connection.setblocking(False)
        return connection

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        self._selector.close()

    def _run(self) -> None:
        buffer = bytearray(1 << 20)
        while not self._stop.wait(self._tick_seconds):
            for key, _ in self._selector.select(0):
                connection: socket.socket = key.data
                size = connection.recv_into(buffer)
                self.bytes_received += size
                if size == 0:
                    self.closed += 1
                    self._selector.unregister(connection)


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process_id: int) -> float:
    """Proportional set size."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run the simulator and the drain; see the module."""
    footage = FootageSpec(
        width=1920, height=1080, bitrate_bps=options.bitrate, gop_frames=50, frame_count=250
    )
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(
            cameras=tuple(CameraConfig(id=i, footage=footage) for i in camera_ids(options.cameras)),
            cache_folder=options.cache or Path(folder),
            tick_milliseconds=options.tick,
        )
        async with SimCamProcess(config, Path(folder)) as simulator:
            drain = await asyncio.to_thread(Drain, list(simulator.urls.values()), 0.1)
            drain.start()
            await asyncio.sleep(options.settle)
            sent = sum(c["frames_sent"] for c in (await simulator.control.cameras()).values())
            received, cpu, began = (
                drain.bytes_received,
                cpu_seconds(simulator.process_id),
                time.monotonic(),
            )
            await asyncio.sleep(options.seconds)
            used = cpu_seconds(simulator.process_id) - cpu
            elapsed = time.monotonic() - began
            received = drain.bytes_received - received
            after = await simulator.control.cameras()
            memory = memory_mb(simulator.process_id)
            drain.stop()
    return {
        "cameras": options.cameras,
        "seconds": round(elapsed, 1),
        "cpu_seconds_per_camera_minute": round(used * 60 / elapsed / options.cameras, 4),
        "core_percent": round(100 * used / elapsed, 1),
        "mbit_per_second": round(received * 8 / elapsed / 1e6, 1),
        "frames_per_camera_second": round(
            (sum(c["frames_sent"] for c in after.values()) - sent) / elapsed / options.cameras, 2
        ),
        "connections_lost": drain.closed,
        "pss_mb": round(memory, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=4.0, help="seconds before measuring")
    parser.add_argument("--bitrate", type=int, default=4_000_000, help="bits a second and camera")
    parser.add_argument("--tick", type=int, default=10, help="milliseconds between wake-ups")
    parser.add_argument("--cache", type=Path, help="folder that keeps the footage")
    sys.stdout.write(json.dumps(asyncio.run(measure(parser.parse_args()))) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
