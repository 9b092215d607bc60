"""An installation of separate services on real servers, with cameras and people, to be broken.

Two processes receive the cameras. Between the services and their servers stand proxies that can
be cut, where there is toxiproxy.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc.aio
import pytest

from e2e import estate
from e2e.callers import SPAN, recorded_from, segments, stored_until, timelines, window
from e2e.harness import WALL, Outcome, simulated_cameras, until
from faults.services.footage import Looked, look
from faults.services.people import People
from faults.services.processes import ALL_PARTITIONS, INGEST, Services
from integration.s3.toxiproxy import Toxiproxy
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.recording.v1.recording_pb2 import Segment
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig
from vigie.simcam.client import SimCamProcess

_H264: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_H265: Final = FootageSpec(codec="h265", width=192, height=96, frame_count=50, bitrate_bps=120_000)
CAMERAS: Final = (
    CameraConfig(id="cam-gare", footage=_H264),
    CameraConfig(id="cam-jaude", footage=_H265),
    CameraConfig(id="cam-mairie", footage=_H264),
)
NAMES: Final = tuple(camera.id for camera in CAMERAS)
PATIENCE_SECONDS: Final = 120
_FIRST_US: Final = 4_000_000
_ASKED_US: Final = 3_000_000
_CALL_SECONDS: Final = 3.0
_AT_ONCE: Final = 200
_BEFORE_US: Final = 200_000
"""A window begins so long before what was looked at last: within footage."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """What stands before the servers of the installation."""

    store: Toxiproxy
    database: Toxiproxy

    @classmethod
    def before(cls, environment: Mapping[str, str]) -> "Proxies | None":
        """Before the servers of the environment; ``None``: there is no toxiproxy, or no server."""
        if not environment.get("VIGIE_TEST_TOXIPROXY"):
            return None
        store, database = (environment.get(f"VIGIE_TEST_{it}") for it in ("S3", "POSTGRES"))
        if not store or not database:
            return None
        _, _, place = urlsplit(database).netloc.rpartition("@")
        return cls(Toxiproxy(store), Toxiproxy(f"//{place}"))

    def stand_in(self, patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
        """Let the installation take the proxies for the servers."""
        patch.setenv("VIGIE_TEST_S3", self.store.endpoint)
        url = urlsplit(environment["VIGIE_TEST_POSTGRES"])
        login, at, _ = url.netloc.rpartition("@")
        place = self.database.endpoint.removeprefix("http://")
        patch.setenv("VIGIE_TEST_POSTGRES", url._replace(netloc=f"{login}{at}{place}").geturl())

    def mend(self) -> None:
        """Let everything through again."""
        for proxy in (self.store, self.database):
            proxy.heal()

    def close(self) -> None:
        for proxy in (self.store, self.database):
            proxy.close()


@dataclass(frozen=True, slots=True)
class Survived:
    """What a fault has cost.

    Attributes:
        missing_seconds: footage that is missing, of the camera that lost most.
        recovery_seconds: from the end of the fault until everything worked.
        causes: of the gaps.
        refusals: what people were refused meanwhile.
        joins: how often, in playback, one run is left for another that overlaps it.
        looks: camera -> what was found of it.
    """

    missing_seconds: float
    recovery_seconds: float
    causes: frozenset[str]
    refusals: int
    joins: int
    looks: Mapping[str, Looked]


@dataclass(slots=True)
class Town:
    """The installation at work, and everything that it has ever promised."""

    vigie: Services
    simulator: SimCamProcess
    proxies: Proxies | None
    people: People = field(init=False)
    begun_us: int = 0
    settled_us: int = 0
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[evidence_pb.EvidenceRequest] = field(default_factory=list)
    _packed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.people = People(self.vigie, NAMES)

    async def move_in(self) -> None:
        """Enter cameras and people, and wait for the first footage."""
        asked_us = WALL.now_us()
        await estate.register(self.vigie, self.simulator.urls, NAMES)
        await stored_until(self.vigie, NAMES, asked_us, asked_us + _FIRST_US)
        self.begun_us = await recorded_from(self.vigie, NAMES, asked_us)
        self.people.begin(self.begun_us)
        await self.all_is_well(time.monotonic())
        ends = await stored_until(self.vigie, NAMES, self.begun_us, WALL.now_us())
        self.settled_us = min(ends.values())

    # --- looking ---

    async def owners(self) -> dict[str, str]:
        """Camera -> the ingest process that records it now; nothing while nobody answers."""
        stub = self.vigie.stub(streams_pb2_grpc.StreamServiceStub, "ingest", person="operateur")
        request = streams_pb2.ListStreamsRequest(page_size=100)
        try:
            answer = await stub.ListStreams(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError:
            return {}
        return {
            stream.name.split("/")[1]: stream.instance
            for stream in answer.streams
            if stream.state == ingest_pb2.STREAM_STATE_RECORDING and not stream.stale
        }

    async def all_is_well(self, since: float) -> float:
        """Wait until people see everything and every process is ready; returns when that was."""

        async def well() -> bool:
            return self.people.content(since) and await self.vigie.ready()

        await until(well, "all is well again", seconds=PATIENCE_SECONDS)
        return time.monotonic()

    async def shared_out(self) -> None:
        """Wait until both ingest processes have their share of the cameras, and record it."""

        async def shared() -> bool:
            found = [await self.vigie.share_of(name) for name in INGEST]
            if min(found) == 0 or sum(found) != ALL_PARTITIONS:
                return False
            return set(await self.owners()) >= set(NAMES)

        await until(shared, "the cameras are shared out", seconds=PATIENCE_SECONDS)

    async def owner(self) -> str:
        """An ingest process that records a camera."""
        found: dict[str, str] = {}

        async def known() -> bool:
            found.update(await self.owners())
            return NAMES[0] in found

        await until(known, "somebody records the camera", seconds=PATIENCE_SECONDS)
        return found[NAMES[0]]

    async def taken_over(self, heir: str) -> None:
        """Wait until one ingest process records every camera."""

        async def everything() -> bool:
            if await self.vigie.share_of(heir) != ALL_PARTITIONS:
                return False
            found = await self.owners()
            return all(found.get(camera) == heir for camera in NAMES)

        await until(everything, f"{heir} records everything", seconds=PATIENCE_SECONDS)

    async def _stored(self, camera: str) -> list[Segment]:
        """Everything that was ever stored of a camera."""
        now_us = WALL.now_us()
        return await segments(self.vigie, camera, self.begun_us, now_us, page_size=_AT_ONCE)

    async def _remember(self) -> None:
        """What is listed now must be listed for ever."""
        for camera in NAMES:
            found = await self._stored(camera)
            assert len({each.object_key for each in found}) == len(found)
            self.listed[camera] = {each.object_key: each.sha256 for each in found}

    async def still_listed(self) -> None:
        for camera, before in self.listed.items():
            found = await self._stored(camera)
            now = {each.object_key: each.sha256 for each in found}
            assert len(now) == len(found), "a segment is listed twice"
            assert before.items() <= now.items(), f"not listed: {before.items() - now.items()}"

    async def in_the_end(self, acceptable: Callable[[Outcome], bool] | None = None) -> str:
        """After all faults: what was listed still is, what was delivered is on record, it drains.

        Args:
            acceptable: whether this is all that the checker may find; ``None``: nothing.

        Returns:
            What was counted.
        """
        await self.people.end()
        await self.still_listed()
        delivered = await self.vigie.witness.confirm(self.vigie)
        codes = await self.vigie.stop()
        assert set(codes.values()) == {0}, codes
        assert not self.vigie.waiting()
        report = await self.vigie.fsck(seconds=240)
        assert acceptable(report) if acceptable else report.code == 0, report
        return f"{sum(map(len, self.listed.values()))} segments, {delivered}"

    async def clean(self) -> None:
        """Wait until the checker finds nothing."""

        async def is_clean() -> bool:
            return (await self.vigie.fsck(seconds=PATIENCE_SECONDS)).code == 0

        await until(is_clean, "the checker is content", seconds=PATIENCE_SECONDS)

    # --- evidence ---

    async def ask(self) -> None:
        """Ask for evidence and approve it: it is being made while the fault strikes."""
        stub = self.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
        request = await stub.CreateEvidenceRequest(
            evidence_pb.CreateEvidenceRequestRequest(
                cameras=[f"cameras/{NAMES[0]}"],
                window=window(self.settled_us - _ASKED_US, self.settled_us),
                purpose="Vol de fret en réunion",
                case_reference="PV 2026/00421",
                legal_basis="Article 77-1-1 du code de procédure pénale",
            )
        )
        self.requests.append(request)
        approver = self.vigie.stub(EvidenceServiceStub, "evidence", person="responsable")
        await approver.ApproveEvidenceRequest(
            evidence_pb.ApproveEvidenceRequestRequest(
                name=request.name, reason="vérifiée", etag=request.etag
            )
        )

    async def _ends_in_footage(self, since_us: int) -> bool:
        """Whether footage of every camera is listed at the end of what is looked at.

        Where two processes have recorded a camera, later footage of one may be listed before what
        the other has on its way: until then there is a gap between.
        """
        found = await timelines(self.vigie, NAMES, since_us, self.settled_us)
        return all(entries[-1].kind == SPAN for entries in found.values())

    async def _packages_are_ready(self) -> bool:
        stub = self.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
        for request in (each for each in self.requests if each.name not in self._packed):
            asked = evidence_pb.GetEvidenceRequestRequest(name=request.name)
            try:
                found = await stub.GetEvidenceRequest(asked, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError:
                return False
            assert found.state != evidence_pb.EVIDENCE_STATE_FAILED, found
            if found.state != evidence_pb.EVIDENCE_STATE_READY:
                return False
            assert [step.action for step in found.custody].count("VERIFIED") == 1
            self._packed.add(request.name)
        return True

    # --- faults ---

    async def survive(self, fault: Callable[[], Awaitable[float]]) -> Survived:
        """Let a fault happen, wait until all is well without a hand, and look at what it cost.

        Args:
            fault: ends when it is over; returns the instant from which recovery counts
                (monotonic seconds).
        """
        await self._remember()
        await self.ask()
        before_us, refused = self.settled_us - _BEFORE_US, self.people.refusals.total()
        since = await fault()
        left = self.vigie.waiting()
        well = await self.all_is_well(time.monotonic())
        await self.shared_out()

        async def replayed() -> bool:
            return not any(path.exists() for path in left)

        await until(replayed, "what was in the spools is stored", seconds=PATIENCE_SECONDS)
        await until(self._packages_are_ready, "packages are ready", seconds=PATIENCE_SECONDS)
        ends = await stored_until(self.vigie, NAMES, before_us, WALL.now_us())
        self.settled_us = min(ends.values())
        await until(
            lambda: self._ends_in_footage(before_us), "footage of both is listed",
            seconds=PATIENCE_SECONDS,
        )  # fmt: skip
        await self.still_listed()
        assert not self.people.wrong
        told = {
            camera: await look(
                self.vigie, self.simulator.control, camera, before_us, self.settled_us
            )
            for camera in NAMES
        }
        looks = told.values()
        return Survived(
            max(each.missing_seconds for each in looks),
            well - since,
            frozenset(gap.cause for each in looks for gap in each.gaps),
            self.people.refusals.total() - refused,
            sum(each.joins for each in looks),
            told,
        )


@asynccontextmanager
async def at_work(
    vigie: Services, folder: Path, footage: Path, proxies: Proxies | None
) -> AsyncIterator[Town]:
    """An installation with cameras and people that has begun to record; removed in the end.

    Args:
        vigie: not started yet.
        folder: for the cameras.
        footage: where what they send is kept between runs.
        proxies: before its servers; let everything through in the end.
    """
    cameras = ServerConfig(cameras=CAMERAS, port_per_camera=True, cache_folder=footage)
    try:
        async with simulated_cameras(cameras, folder / "cameras") as simulator:
            await vigie.start()
            town = Town(vigie, simulator, proxies)
            try:
                await town.move_in()
                yield town
            finally:
                await town.people.end()
    finally:
        if proxies is not None:
            proxies.mend()
        await vigie.remove()
