import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from unit.media.encoded import encode
from unit.media.recorded import START_US, Segment, record
from vigie.evidence.builder import Built, PackageBuilder
from vigie.evidence.model import CustodyStep, EvidenceRequest, Person, State
from vigie.evidence.ports import SegmentFacts, TimelinePiece
from vigie.evidence.reasons import EVIDENCE_ZONES_UNKNOWN
from vigie.evidence.repository import TOPICS, EvidenceRepository
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.signer import Signer, load_signer
from vigie.evidence.tables import MIGRATIONS
from vigie.media.codec import VideoCodec
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import migrate
from vigie.platform.database.embedded import open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import open_event_log
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.registry.v1.events_pb2 import CameraState

CAMERA = "cam-lagarenne-01"
NOW_US = START_US + 3_600_000_000
GAP_SETTLE_US = 60_000_000
ASKER = Person("asker", "Asking officer", "Gendarmerie")
DECIDER = Person("decider", "Deciding officer", "City")


@dataclass
class FakeRecordings:
    """What recording would answer, from values."""

    pieces: dict[str, list[TimelinePiece]] = field(default_factory=dict)
    stored: dict[str, list[SegmentFacts]] = field(default_factory=dict)
    held: bool = True
    stood: dict[str, list[str]] = field(default_factory=lambda: {CAMERA: ["zone-garenne"]})
    away: bool = False

    async def zones(
        self, cameras: Sequence[str], start_us: int, end_us: int
    ) -> Mapping[str, Sequence[str]]:
        if self.away:
            raise VigieError(EVIDENCE_ZONES_UNKNOWN, "recording answered UNAVAILABLE")
        return {camera: self.stood.get(camera, []) for camera in cameras}

    async def timeline(self, camera: str, start_us: int, end_us: int) -> Sequence[TimelinePiece]:
        clipped = [
            replace(piece, start_us=max(piece.start_us, start_us), end_us=min(piece.end_us, end_us))
            for piece in self.pieces[camera]
        ]
        return [piece for piece in clipped if piece.start_us < piece.end_us]

    async def segments(self, camera: str, start_us: int, end_us: int) -> Sequence[SegmentFacts]:
        return [s for s in self.stored[camera] if s.start_us < end_us and s.end_us > start_us]

    async def hold_applied(self, hold: str) -> bool:
        return self.held


@pytest.fixture(scope="session")
def recorded() -> list[Segment]:
    """Ten seconds of one run: five segments of two key-frame intervals."""
    return record(VideoCodec.H264, encode(VideoCodec.H264, frames=250, gop=25), ppm=120)


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[EvidenceRepository]:
    """Without a request, on a database and a log of its own."""
    clock = ManualWallClock(NOW_US)
    database = await open_database(tmp_path / "vigie.db")
    log = await open_event_log(database, clock)
    await log.declare(TOPICS)
    await migrate(database, MIGRATIONS)
    yield EvidenceRepository(database, log, clock, IdentifierSource(clock))
    await log.close()
    await database.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryObjectStore]:
    opened = await open_directory_store(tmp_path / "store", ManualWallClock(NOW_US))
    yield opened
    await opened.close()


@pytest.fixture
async def recordings(store: DirectoryObjectStore, recorded: list[Segment]) -> FakeRecordings:
    """The run is stored; ten seconds before and after it are gaps."""
    facts = [await keep(store, number, each) for number, each in enumerate(recorded)]
    begin, end = facts[0].start_us, facts[-1].end_us
    ten = 10_000_000
    pieces = [
        TimelinePiece(begin - ten, begin, "GAP", "CAMERA_UNREACHABLE", "connection refused"),
        TimelinePiece(begin, end, "SPAN"),
        TimelinePiece(end, end + ten, "GAP", "INGEST_DOWN"),
    ]
    return FakeRecordings({CAMERA: pieces}, {CAMERA: facts})


async def keep(store: DirectoryObjectStore, number: int, segment: Segment) -> SegmentFacts:
    planned = segment.planned()
    key = f"footage/{CAMERA}/2026/{number}.m4v"
    sha256 = hashlib.sha256(segment.data).hexdigest()
    await store.put_bytes(key, segment.data, sha256=sha256, content_type="video/mp4", metadata={})
    first, last = planned.fragments[0], planned.fragments[-1]
    configuration = planned.header.configuration
    return SegmentFacts(
        object_key=key, run="0" * 32, number=number, start_us=segment.start_us,
        end_us=segment.start_us + segment.duration_us, media_start_ticks=first.base_decode_time,
        media_duration_ticks=last.end_decode_time - first.base_decode_time,
        size_bytes=len(segment.data), sha256=sha256, header_sha256="", width=configuration.width,
        codec=configuration.codec_string, height=configuration.height,
        camera_clock_offset_us=-1500 if number else None,
    )  # fmt: skip


class OneCamera:
    def get(self, camera: str) -> CameraState | None:
        if camera != CAMERA:
            return None
        return CameraState(camera=CAMERA, display_name="La Garenne <Nord>", zone="zone-garenne")


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    clock = ManualWallClock(START_US)
    return load_signer(EvidenceConfig(), tmp_path_factory.mktemp("keys"), clock)


@pytest.fixture
def builder(
    store: DirectoryObjectStore, recordings: FakeRecordings, signer: Signer
) -> PackageBuilder:
    return PackageBuilder(
        store=store, recordings=recordings, cameras=OneCamera(), signer=signer,
        wall_clock=ManualWallClock(NOW_US), installation="Test", version="0",
        gap_settle_us=GAP_SETTLE_US,
    )  # fmt: skip


def approved(start_us: int, end_us: int) -> EvidenceRequest:
    return EvidenceRequest(
        request="a" * 32, cameras=(CAMERA,), zones=("zone-garenne",), start_us=start_us,
        end_us=end_us, purpose="Vol <aggravé>", case_reference="PV 2026/1", legal_basis="CPP 60-1",
        state=State.BUILDING, requester=ASKER, create_us=NOW_US - 3000, update_us=NOW_US - 1000,
        decider=DECIDER, decision_us=NOW_US - 1000, decision_reason="requisition seen",
    )  # fmt: skip


CUSTODY = [
    CustodyStep(NOW_US - 3000, "asker", "Asking officer", "REQUESTED", "Vol"),
    CustodyStep(NOW_US - 1000, "decider", "Deciding officer", "APPROVED", "requisition seen"),
]


@pytest.fixture
async def built(builder: PackageBuilder, tmp_path: Path) -> Built:
    """A package of a window that begins before and ends within the run."""
    request = approved(START_US - 2_000_000, START_US + 7_300_000)
    return await builder.build(request, CUSTODY, tmp_path / "package.zip", lambda _: None)
