"""A recording product that is broken for a while: what it must have done, proved frame by frame."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from e2e import estate, proof
from e2e.callers import GAP, SPAN, Entry, play, recorded_from, stored_until, timelines
from e2e.harness import DEPLOYMENTS, WALL, Installation, simulated_cameras
from vigie.simcam import CameraConfig, ServerConfig
from vigie.simcam.client import SimCamProcess

KEY_INTERVAL_US: Final = 1_000_000
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Account:
    """What became of one camera's footage in a window.

    Attributes:
        frames: that are there, each as it was sent.
        gaps: in order.
        entries: the whole timeline.
    """

    frames: int
    gaps: list[Entry]
    entries: list[Entry]

    @property
    def missing_seconds(self) -> float:
        """In all gaps."""
        return sum(gap.end_us - gap.start_us for gap in self.gaps) / 1e6

    @property
    def causes(self) -> set[str]:
        """Of all gaps."""
        return {gap.cause for gap in self.gaps}


@dataclass(slots=True)
class Broken:
    """A product at work, and its cameras.

    Attributes:
        vigie: the product.
        simulator: its cameras.
        cameras: their identifiers.
        begun_us: from here on every camera is recorded.
    """

    vigie: Installation
    simulator: SimCamProcess
    cameras: tuple[str, ...]
    begun_us: int = 0

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page for machines."""
        return await asyncio.to_thread(_get, self.vigie.http_addresses()[0], path)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric that have these labels."""
        _, text = await self.get("/metrics")
        return sum(
            value
            for found, has, value in _samples(text)
            if found == name and labels.items() <= has.items()
        )

    async def not_ready(self) -> dict[str, str]:
        """Module -> why it says that it cannot work."""
        _, text = await self.get("/readyz")
        modules: dict[str, dict[str, Any]] = json.loads(text)["modules"]
        return {name: each["reason"] for name, each in modules.items() if not each["ready"]}

    async def stored_to(self, instant_us: int, *, seconds: float = 60) -> int:
        """Wait until footage of every camera beyond an instant is stored; the earliest end."""
        ends = await stored_until(
            self.vigie, self.cameras, self.begun_us, instant_us, seconds=seconds
        )
        return min(ends.values())

    async def account(self, start_us: int, end_us: int) -> dict[str, Account]:
        """Prove the footage of every camera in a window; camera -> what became of it."""
        told = await timelines(self.vigie, self.cameras, start_us, end_us)
        return {
            camera: await self._proved(camera, entries, start_us, end_us)
            for camera, entries in told.items()
        }

    async def _proved(
        self, camera: str, entries: list[Entry], start_us: int, end_us: int
    ) -> Account:
        assert {entry.kind for entry in entries} <= {SPAN, GAP}, (camera, entries)
        gaps = [entry for entry in entries if entry.kind == GAP]
        played = await play(self.vigie, camera, start_us, end_us)
        found = proof.timed_of_play(played.fragments)
        numbers = [each.frame.mark.decode_number for each in found]
        assert numbers == sorted(set(numbers)), f"{camera}: doubled or reordered"
        control = self.simulator.control
        await proof.assert_as_sent(control, camera, found)
        lost = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
        if lost:
            sent = await proof.expected_frames(control, camera, lost[0], lost[-1])
            for number in lost:
                at_us = sent[number]["capture_us"]
                assert any(
                    gap.start_us - proof.TOLERANCE_US <= at_us <= gap.end_us + proof.TOLERANCE_US
                    for gap in gaps
                ), (camera, number, at_us, gaps)
        return Account(len(numbers), gaps, entries)


def _get(address: str, path: str) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            yield match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])


@contextlib.asynccontextmanager
async def simulator_of(
    cameras: tuple[CameraConfig, ...], folder: Path, footage: Path
) -> AsyncIterator[SimCamProcess]:
    """Simulated cameras for any number of products."""
    config = ServerConfig(cameras=cameras, port_per_camera=True, cache_folder=footage)
    async with simulated_cameras(config, folder) as simulator:
        yield simulator


@contextlib.asynccontextmanager
async def recording(
    simulator: SimCamProcess,
    folder: Path,
    cameras: tuple[str, ...],
    settings: dict[str, dict[str, str]] | None = None,
) -> AsyncIterator[Broken]:
    """A product that records all the cameras; begins when footage of each is stored."""
    vigie = Installation(DEPLOYMENTS["one-process"], folder, estate.PEOPLE, settings)
    broken = Broken(vigie, simulator, cameras)
    await vigie.start()
    try:
        asked_us = broken.begun_us = WALL.now_us()
        await estate.register(vigie, simulator.urls, cameras)
        await broken.stored_to(asked_us)
        broken.begun_us = await recorded_from(vigie, cameras, asked_us)
        yield broken
    finally:
        await vigie.stop()
