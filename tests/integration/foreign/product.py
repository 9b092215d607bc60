"""The product as a process, for tests and measurements against software that is not ours."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc.aio

from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.common.v1 import types_pb2
from vigie.platform.clock import ManualWallClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import Quarantine, open_event_log
from vigie.platform.grpc.client import StubType, open_channel
from vigie.platform.objectstore.directory import open_directory_store
from vigie.recording.fsck.run import FsckOptions, Installation, run_fsck
from vigie.recording.v1 import recording_pb2, recording_pb2_grpc
from vigie.registry.v1 import (
    authorisations_pb2,
    authorisations_pb2_grpc,
    cameras_pb2,
    cameras_pb2_grpc,
    zones_pb2,
    zones_pb2_grpc,
)

WALL = SystemWallClock()
ADMINISTRATOR, OPERATOR, BRIGADE, AUDITOR = "administration", "operateur", "brigade", "controle"
ZONE, OTHER_ZONE = "zone-nord", "zone-sud"
PEOPLE = f"""\
[agencies.csu]
name = "Centre de supervision urbain"
[people.{ADMINISTRATOR}]
name = "Administration technique"
agency = "csu"
roles = ["administrator"]
zones = ["*"]
[people.{OPERATOR}]
name = "Poste opérateur"
agency = "csu"
roles = ["operator"]
zones = ["*"]
[people.{BRIGADE}]
name = "Brigade du sud"
agency = "csu"
roles = ["operator"]
zones = ["{OTHER_ZONE}"]
[people.{AUDITOR}]
name = "Contrôle"
agency = "csu"
roles = ["auditor"]
zones = ["*"]
"""
_DAY_US = 86_400_000_000
_READY_SECONDS = 60
_STOP_SECONDS = 120


class Bearer:
    """A token source that always shows the same token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


@dataclass(frozen=True)
class StoredSegment:
    """An object of the bucket with its attributes."""

    path: Path
    camera: str
    run: str
    number: int
    start_us: int
    duration_us: int
    sample_count: int


class Product:
    """`vigie up` in a folder; an async context manager.

    Args:
        folder: everything it keeps; made when missing.
        settings: more lines of the section ``[ingest]``.
        launcher: what the command begins with, e.g. ``taskset -c 1``.
    """

    def __init__(
        self, folder: Path, *, settings: Sequence[str] = (), launcher: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._launcher = launcher
        self._closing = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._addresses: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "people.toml").write_text(PEOPLE, "utf-8")
        lines = [
            '[data]\ndirectory = "data"\nstore_directory = "store"',
            '[grpc]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = "127.0.0.1:0"',
            '[access]\npeople_file = "people.toml"\n[ingest]',
            *self._settings,
        ]
        (self.folder / "vigie.toml").write_text("\n".join(lines) + "\n", "utf-8")
        with (self.folder / "vigie.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._launcher, sys.executable, "-m", "vigie", "up",
                "--config", str(self.folder / "vigie.toml"), stdout=log, stderr=log,
            )  # fmt: skip
        run_file = self.folder / "data" / "run.json"
        for _ in range(_READY_SECONDS * 10):
            if run_file.exists():
                self._addresses = json.loads(run_file.read_text("utf-8"))
                return self
            if self._process.returncode is not None:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(f"vigie up is not ready:\n{self.log()[-3000:]}")

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()
        await self.stop()

    async def stop(self) -> int:
        """SIGTERM, and the exit code of an orderly stop."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> str:
        return str(self._addresses["grpc"])

    @property
    def http_address(self) -> str:
        return str(self._addresses["http"])

    def log(self) -> str:
        return (self.folder / "vigie.log").read_text("utf-8", errors="replace")

    def token(self, person: str, seconds: float = 86_400, *, ago_seconds: int = 0) -> str:
        """A token of the embedded issuer, as if made ``ago_seconds`` ago."""
        then = ManualWallClock(WALL.now_us() - ago_seconds * 1_000_000)
        issuer = development_issuer(AccessConfig(), self.folder / "data", then)
        return issuer.create_token(person, seconds)

    def client(self, make: Callable[[grpc.aio.Channel], StubType], person: str) -> StubType:
        """A stub in the name of a person."""
        source = Bearer(self.token(person))
        channel = open_channel(self.address, source=source, default_timeout_seconds=60)
        self._closing.push_async_callback(channel.close, None)
        return make(channel)

    # --- what an administration enters ----------------------------------------------------------

    async def make_places(self) -> None:
        """A commune with two zones, and an order for both."""
        zones = self.client(zones_pb2_grpc.ZoneServiceStub, ADMINISTRATOR)
        commune = zones_pb2.Commune(display_name="Clermont-Ferrand")
        await zones.CreateCommune(
            zones_pb2.CreateCommuneRequest(insee_code="63113", commune=commune)
        )
        for name in (ZONE, OTHER_ZONE):
            zone = zones_pb2.Zone(commune="communes/63113", display_name=name)
            await zones.CreateZone(zones_pb2.CreateZoneRequest(zone_id=name, zone=zone))
        order = authorisations_pb2.Authorisation(
            number="2026-063-0412",
            prefecture="Préfecture du Puy-de-Dôme",
            purposes=[authorisations_pb2.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY],
            zones=[f"zones/{ZONE}", f"zones/{OTHER_ZONE}"],
            retention_days=30,
            recipients=["csu"],
        )
        now_us = WALL.now_us()
        order.sign_time.FromMicroseconds(now_us - 2 * _DAY_US)
        order.valid_from.FromMicroseconds(now_us - _DAY_US)
        order.valid_until.FromMicroseconds(now_us + 365 * _DAY_US)
        orders = self.client(authorisations_pb2_grpc.AuthorisationServiceStub, ADMINISTRATOR)
        await orders.CreateAuthorisation(
            authorisations_pb2.CreateAuthorisationRequest(
                authorisation_id="order-1", authorisation=order
            )
        )

    async def commission(self, cameras: Mapping[str, str], zone: str = ZONE) -> None:
        """Enter cameras (identifier to address) and put them into service."""
        stub = self.client(cameras_pb2_grpc.CameraServiceStub, ADMINISTRATOR)
        for camera, address in cameras.items():
            entry = cameras_pb2.Camera(
                zone=f"zones/{zone}", display_name=camera, stream_uri=address
            )
            await stub.CreateCamera(cameras_pb2.CreateCameraRequest(camera_id=camera, camera=entry))
        for camera in cameras:
            await stub.CommissionCamera(
                cameras_pb2.CommissionCameraRequest(name=f"cameras/{camera}", reason="essai")
            )

    # --- what was recorded ----------------------------------------------------------------------

    async def timeline(
        self, cameras: Iterable[str], start_us: int, end_us: int
    ) -> dict[str, list[recording_pb2.TimelineEntry]]:
        """Entries of each camera."""
        stub = self.client(recording_pb2_grpc.RecordingServiceStub, OPERATOR)
        answer = await stub.GetTimeline(
            recording_pb2.GetTimelineRequest(
                cameras=[f"cameras/{camera}" for camera in cameras],
                window=time_window(start_us, end_us),
            )
        )
        return {
            timeline.camera.removeprefix("cameras/"): list(timeline.entries)
            for timeline in answer.timelines
        }

    def stored(self) -> Iterator[StoredSegment]:
        """The segments of the bucket, by camera and start."""
        store = self.folder / "store"
        for path in sorted((store / "footage").rglob("*.m4v")):
            parts = path.relative_to(store).parts
            record = store.joinpath(".vigie", "meta", *(f"{part}.d" for part in parts[:-1]))
            known = json.loads((record / f"{parts[-1]}.json").read_text("utf-8"))["metadata"]
            yield StoredSegment(
                path=path,
                camera=known["Vigie-Camera"],
                run=known["Vigie-Run"],
                number=int(known["Vigie-Number"]),
                start_us=int(known["Vigie-StartUs"]),
                duration_us=int(known["Vigie-DurationUs"]),
                sample_count=int(known["Vigie-SampleCount"]),
            )

    async def fsck(self, *, deep: bool = True) -> list[str]:
        """What the checker finds, once the product has stopped."""
        data = self.folder / "data"
        database = await open_database(data / "vigie.db")
        try:
            store = await open_directory_store(self.folder / "store", WALL)
            try:
                event_log = await open_event_log(database, WALL)
                installation = Installation(
                    database=database,
                    store=store,
                    event_log=event_log,
                    wall_clock=WALL,
                    quarantine=Quarantine(database, WALL, event_log),
                    spool=data / "spool",
                )
                report = await run_fsck(installation, FsckOptions(deep=deep, grace_us=0))
            finally:
                await store.close()
        finally:
            await database.close()
        return [str(finding) for finding in report.findings]


def time_window(start_us: int, end_us: int) -> types_pb2.TimeWindow:
    """A window of two instants in microseconds since the Unix epoch."""
    window = types_pb2.TimeWindow()
    window.start_time.FromMicroseconds(start_us)
    window.end_time.FromMicroseconds(end_us)
    return window
