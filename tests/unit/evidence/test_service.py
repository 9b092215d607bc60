"""Who may ask for which footage, decide about it, and fetch it; over gRPC."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest

from recording_rig import reason_of
from unit.evidence.conftest import CAMERA, NOW_US, FakeRecordings, OneCamera
from vigie.common.v1.types_pb2 import TimeWindow
from vigie.evidence.convert import timestamp
from vigie.evidence.model import Person, State
from vigie.evidence.module import SERVICE
from vigie.evidence.repository import TOPICS, EvidenceRepository
from vigie.evidence.service import Dependencies, EvidenceService
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.tables import MIGRATIONS
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.evidence.watch import RequestWatch
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import migrate
from vigie.platform.database.embedded import open_database
from vigie.platform.eventlog import open_event_log
from vigie.platform.grpc.call import Caller
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.objectstore.directory import DirectoryObjectStore
from vigie.platform.paging import PAGE_BYTES, Tokens

EVERYTHING = ("evidence.request", "evidence.read", "evidence.approve", "evidence.download")
CALLERS: Mapping[str, Caller] = {
    "a": caller_with("of-a", *EVERYTHING, zones=["zone-a"]),
    "b": caller_with("of-b", *EVERYTHING, zones=["zone-b"]),
    "both": caller_with("of-both", *EVERYTHING, zones=["zone-a", "zone-b"]),
    "decider": caller_with("decider", *EVERYTHING, zones=["zone-a", "zone-b"]),
    "all": caller_with("of-all", *EVERYTHING),
}


@dataclass
class Desk:
    """The service with its requests; what recording would say is a matter of the test."""

    host: RunningHost
    repository: EvidenceRepository
    recordings: FakeRecordings
    clock: ManualWallClock

    def stub(self, caller: str) -> pb_grpc.EvidenceServiceStub:
        return pb_grpc.EvidenceServiceStub(self.host.channel(caller))

    async def ask(self, caller: str, camera: str = CAMERA, **more: str) -> pb.EvidenceRequest:
        window = TimeWindow(
            start_time=timestamp(NOW_US - 60_000_000), end_time=timestamp(NOW_US - 1_000_000)
        )
        texts = {"purpose": "Vol", "case_reference": "PV 1", "legal_basis": "CPP 60-1"} | more
        return await self.stub(caller).CreateEvidenceRequest(
            pb.CreateEvidenceRequestRequest(cameras=[f"cameras/{camera}"], window=window, **texts)
        )


@asynccontextmanager
async def serving(folder: Path, store: DirectoryObjectStore) -> AsyncIterator[Desk]:
    clock = ManualWallClock(NOW_US)
    database = await open_database(folder / "vigie.db")
    log = await open_event_log(database, clock)
    await log.declare(TOPICS)
    await migrate(database, MIGRATIONS)
    identifiers = IdentifierSource(clock)
    repository = EvidenceRepository(database, log, clock, identifiers)
    recordings = FakeRecordings()
    service = EvidenceService(
        Dependencies(
            repository=repository, cameras=OneCamera(), recordings=recordings, store=store,
            watch=RequestWatch(repository), wall_clock=clock, identifiers=identifiers,
            tokens=Tokens(b"k" * 32), config=EvidenceConfig(), metrics=MetricsRegistry(),
        )
    )  # fmt: skip
    binding = ServiceBinding(SERVICE, service, pb_grpc.add_EvidenceServiceServicer_to_server)
    async with running_host([binding], CALLERS) as host:
        yield Desk(host, repository, recordings, clock)
    await log.close()
    await database.close()


@pytest.fixture
async def desk(tmp_path: Path, store: DirectoryObjectStore) -> AsyncIterator[Desk]:
    async with serving(tmp_path, store) as desk:
        yield desk


async def refused(desk: Desk, caller: str, **asked: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await desk.ask(caller, **asked)
    return reason_of(caught.value)


async def test_footage_is_asked_for_in_the_zone_it_was_recorded_in(desk: Desk) -> None:
    """The camera has been moved since: where it stands now gives nobody its old footage."""
    desk.recordings.stood = {CAMERA: ["zone-a"]}  # the directory has it in zone-garenne by now
    assert await refused(desk, "b") == "PERMISSION_DENIED"
    request = await desk.ask("a")
    (kept,) = await desk.repository.every((State.REQUESTED,))
    assert kept.zones == ("zone-a",)
    name = request.name
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await desk.stub("b").GetEvidenceRequest(pb.GetEvidenceRequestRequest(name=name))
    assert reason_of(caught.value) == "PERMISSION_DENIED"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await desk.stub("b").ApproveEvidenceRequest(
            pb.ApproveEvidenceRequestRequest(name=name, reason="seen")
        )
    assert reason_of(caught.value) == "PERMISSION_DENIED"


async def test_a_camera_that_moved_meanwhile_wants_rights_in_every_zone(desk: Desk) -> None:
    desk.recordings.stood = {CAMERA: ["zone-a", "zone-b", "zone-a"]}
    assert await refused(desk, "a") == await refused(desk, "b") == "PERMISSION_DENIED"
    await desk.ask("both")
    (kept,) = await desk.repository.every((State.REQUESTED,))
    assert kept.zones == ("zone-a", "zone-b")
    assert desk.host.recorder.entries[-1].zones == ("zone-a", "zone-b")


async def test_nobody_is_admitted_while_recording_does_not_answer(desk: Desk) -> None:
    """Nor learns whether a camera exists; the attempt is on record."""
    desk.recordings.away = True
    for camera in (CAMERA, "cam-nowhere"):
        assert await refused(desk, "all", camera=camera) == "EVIDENCE_ZONES_UNKNOWN"
    assert desk.host.recorder.entries[-1].reason == "EVIDENCE_ZONES_UNKNOWN"
    assert await desk.repository.every() == []


async def test_who_may_not_know_of_a_camera_is_not_told_of_it(desk: Desk) -> None:
    """Unknown to the registry, or not yet known to recording: both look alike."""
    desk.recordings.stood = {}
    assert await refused(desk, "a", camera="cam-nowhere") == "PERMISSION_DENIED"
    assert await refused(desk, "a") == "PERMISSION_DENIED"
    assert await refused(desk, "all", camera="cam-nowhere") == "EVIDENCE_CAMERA_UNKNOWN"
    assert await refused(desk, "all") == "EVIDENCE_ZONES_UNKNOWN"
    assert await desk.repository.every() == []


async def test_downloads_do_not_make_an_answer_larger_than_a_message(desk: Desk) -> None:
    """Every one is a step of the custody; who calls ten thousand times hides no request."""
    desk.recordings.stood = {CAMERA: ["zone-a"]}
    request = await desk.ask("a")
    name = request.name.removeprefix("evidenceRequests/")
    person = Person("of-a", "\U0001f6a8" * 60, "")
    for number in range(2500):
        await desk.repository.note(name, person, "DOWNLOADED", f"from byte {number}")
    read = pb.GetEvidenceRequestRequest(name=request.name)
    found = await desk.stub("a").GetEvidenceRequest(read)
    assert found.ByteSize() < 100_000
    assert found.custody[-1].detail == "from byte 2499"
    assert [step.action for step in found.custody].count("STEPS_LEFT_OUT") == 1
    (listed,) = await listed_by(desk, "a", page_size=0)
    assert listed == [found]


async def listed_by(desk: Desk, caller: str, page_size: int) -> list[list[pb.EvidenceRequest]]:
    """The pages of a list."""
    pages: list[list[pb.EvidenceRequest]] = []
    query = pb.ListEvidenceRequestsRequest(page_size=page_size)
    while True:
        answer = await desk.stub(caller).ListEvidenceRequests(query)
        pages.append(list(answer.evidence_requests))
        if not answer.next_page_token:
            return pages
        query.page_token = answer.next_page_token


async def test_a_page_of_requests_ends_where_its_bytes_do(desk: Desk) -> None:
    """Purposes are counted in characters, of up to four bytes, and stand in the custody, too."""
    desk.recordings.stood = {CAMERA: ["zone-a"]}
    asked = []
    for number in range(90):
        desk.clock.advance(1)
        long = {"purpose": "\U0001f6a8" * 2000, "case_reference": f"PV {number}"}
        asked.append((await desk.ask("a", **long)).name)
    pages = await listed_by(desk, "a", page_size=200)
    assert [each.name for page in pages for each in page] == asked[::-1]
    assert len(pages) == 3
    assert all(sum(each.ByteSize() for each in page) <= PAGE_BYTES for page in pages)
