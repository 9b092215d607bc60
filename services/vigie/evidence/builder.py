"""Builds a package.

1. the timeline of every camera: nothing may be pending or still come, every instant is stored or
   missing;
2. the completeness statement, and the segments that overlap the window;
3. for every camera and unbroken stretch of a run one media file, its samples as received; every
   source segment is read whole and compared with the digest recorded at reception first;
4. the certificate, a note on reading, the report for people;
5. the manifest over all of that, and the signature over the manifest.

Nothing here is kept when a step fails: a package is whole or it is not.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from vigie.evidence import manifest as m
from vigie.evidence import reasons
from vigie.evidence.archive import PackageWriter
from vigie.evidence.model import CustodyStep, EvidenceRequest, Missing
from vigie.evidence.model import Person as ModelPerson
from vigie.evidence.ports import CameraDirectory, Recordings, SegmentFacts, TimelinePiece
from vigie.evidence.report import render_report
from vigie.evidence.signer import Signer
from vigie.evidence.sources import SourceContent, SourceReader
from vigie.evidence.statement import missing_of, state_completeness
from vigie.evidence.texts import README, weaknesses
from vigie.media.bmff.package import plan_package, whole_fragments
from vigie.media.bmff.plan import MediaPart, PlannedSegment
from vigie.platform.clock import WallClock, from_us
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore

REPORT_NAME: Final = "report.html"
README_NAME: Final = "LISEZMOI-README.txt"
_LONGEST_SEGMENT_US: Final = 300_000_000

Progress = Callable[[int], None]
"""Told how much is done, in thousandths; called from the writing thread."""


@dataclass(frozen=True, slots=True)
class Built:
    """A package on local disk, not yet verified."""

    path: Path
    manifest: m.Manifest
    missing: tuple[Missing, ...]


@dataclass(slots=True)
class _Work:
    """What one build gathers."""

    request: EvidenceRequest
    custody: Sequence[CustodyStep]
    statements: list[m.Camera] = field(default_factory=list)
    segments: dict[str, list[SegmentFacts]] = field(default_factory=dict)
    files: list[m.File] = field(default_factory=list)

    @property
    def window_us(self) -> tuple[int, int]:
        return self.request.start_us, self.request.end_us


@dataclass(frozen=True, slots=True)
class _Output:
    """Where a build writes, reads and reports from its thread."""

    writer: PackageWriter
    reader: SourceReader
    ahead: Executor
    advance: Callable[[int], None]


class PackageBuilder:
    """Makes packages of this installation.

    Args:
        store: where footage is.
        recordings: what says which footage there is.
        cameras: their names.
        signer: of the manifest.
        wall_clock: says when a package was made, and how old a gap is.
        installation: its name.
        version: of the program.
        gap_settle_us: how old a gap for which this side is to blame must be.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        recordings: Recordings,
        cameras: CameraDirectory,
        signer: Signer,
        wall_clock: WallClock,
        installation: str,
        version: str,
        gap_settle_us: int,
    ) -> None:
        self._store = store
        self._recordings = recordings
        self._cameras = cameras
        self._signer = signer
        self._wall_clock = wall_clock
        self._installation = installation
        self._version = version
        self._gap_settle_us = gap_settle_us

    async def build(
        self,
        request: EvidenceRequest,
        custody: Sequence[CustodyStep],
        path: Path,
        progress: Progress,
    ) -> Built:
        """Write the package of an approved request to ``path`` (which must not exist).

        Raises:
            VigieError: EVIDENCE_PENDING_FOOTAGE, EVIDENCE_SOURCE_ALTERED, EVIDENCE_SOURCE_MISSING,
                EVIDENCE_ZONES_UNKNOWN, EVIDENCE_ZONES_CHANGED.
        """
        work = _Work(request, custody)
        zones = await self._zones(request)
        for camera in request.cameras:
            await self._gather(work, camera, zones[camera])
        reader = SourceReader(self._store, asyncio.get_running_loop())
        document = await asyncio.to_thread(self._write, work, reader, path, progress)
        missing = [each for statement in work.statements for each in missing_of(statement)]
        return Built(path, document, tuple(missing))

    async def _zones(self, request: EvidenceRequest) -> Mapping[str, Sequence[str]]:
        """The zones of the window: those that the request was admitted for, and no other.

        Recording may not have heard of a move when the request was made, and programs before this
        one asked for the zones of the day of the request.
        """
        window_us = request.start_us, request.end_us
        found = await self._recordings.zones(request.cameras, *window_us)
        for camera in request.cameras:
            if not found.get(camera):
                raise VigieError(reasons.EVIDENCE_ZONES_UNKNOWN, f"cameras/{camera}")
            if not set(request.zones).issuperset(found[camera]):
                raise VigieError(reasons.EVIDENCE_ZONES_CHANGED, f"cameras/{camera}")
        return found

    async def _gather(self, work: _Work, camera: str, zones: Sequence[str]) -> None:
        start_us, end_us = work.window_us
        pieces = await self._recordings.timeline(camera, start_us, end_us)
        if any(piece.kind == "PENDING" for piece in pieces):
            raise VigieError(reasons.EVIDENCE_PENDING_FOOTAGE, f"cameras/{camera}")
        if any(self._may_be_filled(piece) for piece in pieces):
            raise VigieError(
                reasons.EVIDENCE_PENDING_FOOTAGE, f"cameras/{camera}: a gap may still be filled"
            )
        state = self._cameras.get(camera)
        statement = state_completeness(
            camera,
            state.display_name if state else "",
            zones,
            work.window_us,
            pieces,
        )
        work.statements.append(statement)
        earlier_us = start_us - _LONGEST_SEGMENT_US
        work.segments[camera] = list(await self._recordings.segments(camera, earlier_us, end_us))

    def _may_be_filled(self, piece: TimelinePiece) -> bool:
        """Whether footage of a gap may be on its way.

        Another process may have recorded the camera and be behind with its uploads, so that later
        footage is listed already; or a process that died is back and stores what is in its spool.
        """
        if piece.kind != "GAP" or piece.cause != "INGEST_DOWN":
            return False
        return piece.end_us > self._wall_clock.now_us() - self._gap_settle_us

    def _write(
        self, work: _Work, reader: SourceReader, path: Path, progress: Progress
    ) -> m.Manifest:
        created_us = max([self._wall_clock.now_us(), *(step.time_us for step in work.custody)])
        total = max(1, sum(each.size_bytes for own in work.segments.values() for each in own))
        done = 0

        def advance(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            progress(min(999, 1000 * done // total))

        with (
            PackageWriter(path, from_us(created_us)) as writer,
            ThreadPoolExecutor(1, "vigie-evidence-read") as ahead,
        ):
            output = _Output(writer, reader, ahead, advance)
            for camera, segments in work.segments.items():
                for stretch in _stretches(segments):
                    self._write_media(work, output, camera, stretch)
            self._write_text(work, writer, m.CERTIFICATE_NAME, self._signer.certificate_pem())
            self._write_text(work, writer, README_NAME, README.encode())
            # The report shows the files before it: it cannot carry its own digest.
            report = render_report(self._manifest(work, created_us))
            self._write_text(work, writer, REPORT_NAME, report)
            document = self._manifest(work, created_us)
            content = document.to_bytes()
            for name, data in (
                (m.MANIFEST_NAME, content),
                (m.SIGNATURE_NAME, self._signer.sign(content)),
            ):
                writer.add(name, [data], size_bytes=len(data))
        return document

    def _write_text(self, work: _Work, writer: PackageWriter, name: str, data: bytes) -> None:
        size_bytes, sha256 = writer.add(name, [data], size_bytes=len(data))
        work.files.append(m.File(path=name, size_bytes=size_bytes, sha256=sha256))

    def _write_media(
        self, work: _Work, output: _Output, camera: str, stretch: Sequence[SegmentFacts]
    ) -> None:
        """One file: plan it from the indexes of its segments, then copy verified content."""
        planned = _select(output.reader, stretch, *work.window_us)
        if not planned:
            return
        plan = plan_package(planned)
        if plan.start_us > max(work.window_us[0], stretch[0].start_us):
            # An open GOP: its first pictures refer to the one before, so that is needed too.
            planned = _select(output.reader, stretch, planned[0].start_us - 1, work.window_us[1])
            plan = plan_package(planned)
        sources: list[m.SourceSegment] = []

        def chunks() -> Iterator[bytes | memoryview]:
            of_segment = {each.source: each for each in planned}
            counts = iter(plan.sample_counts)
            for segment, fetched, parts in _ahead(output, plan.parts):
                digest = hashlib.sha256()
                with fetched as content:
                    for part in parts:
                        yield part.head
                        for chunk in content.chunks(part.offset, part.length):
                            digest.update(chunk)
                            yield chunk
                own = of_segment[segment]
                samples = sum(islice(counts, len(own.fragments)))
                sources.append(
                    _source(own, max(own.start_us, plan.start_us), samples, digest.hexdigest())
                )
                output.advance(segment.size_bytes)
            yield plan.tail

        first = planned[0]
        name = f"media/{camera}/{_stamp(first.start_us)}_{first.source.run}.mp4"
        size_bytes, sha256 = output.writer.add(name, chunks(), size_bytes=plan.size_bytes)
        media = m.Media(
            camera=camera,
            run=first.source.run,
            codec=first.source.codec,
            width=first.source.width,
            height=first.source.height,
            start=sources[0].start,
            end=sources[-1].end,
            segments=tuple(sources),
        )
        work.files.append(m.File(path=name, size_bytes=size_bytes, sha256=sha256, media=media))

    def _manifest(self, work: _Work, created_us: int) -> m.Manifest:
        request = work.request
        approver = request.decider
        if approver is None:
            raise ValueError(f"{request.name} was approved by nobody")
        return m.Manifest(
            schema=m.SCHEMA,
            version=2 if any(camera.zones for camera in work.statements) else 1,
            created_time=from_us(created_us),
            request=m.Request(
                name=request.name,
                cameras=request.cameras,
                window=m.Window(start=from_us(request.start_us), end=from_us(request.end_us)),
                purpose=request.purpose,
                case_reference=request.case_reference,
                legal_basis=request.legal_basis,
                requested_time=from_us(request.create_us),
                requester=_person(request.requester),
                approved_time=from_us(request.decision_us),
                approver=_person(approver),
                approval_reason=request.decision_reason,
            ),
            issuer=m.Issuer(
                product="Vigie",
                version=self._version,
                installation=self._installation,
                signer_fingerprint=self._signer.fingerprint,
            ),
            cameras=tuple(work.statements),
            files=tuple(work.files),
            custody=tuple(_custody(step) for step in work.custody),
            weaknesses=tuple(weaknesses(work.statements, work.files)),
        )


def _stretches(segments: Sequence[SegmentFacts]) -> Iterator[list[SegmentFacts]]:
    """Segments of one run without a hole: one valid file each."""
    ordered = sorted(segments, key=lambda segment: (segment.run, segment.number))
    for _, group in groupby(
        enumerate(ordered), key=lambda pair: (pair[1].run, pair[1].number - pair[0])
    ):
        yield [segment for _, segment in group]


def _select(
    reader: SourceReader, stretch: Sequence[SegmentFacts], from_us: int, to_us: int
) -> list[PlannedSegment[SegmentFacts]]:
    """The whole fragments of a stretch that overlap the window."""
    overlapping = (each for each in stretch if each.start_us < to_us and each.end_us > from_us)
    chosen = (whole_fragments(reader.index(each), from_us, to_us) for each in overlapping)
    return [each for each in chosen if each is not None]


def _source(
    planned: PlannedSegment[SegmentFacts], start_us: int, samples: int, samples_sha256: str
) -> m.SourceSegment:
    segment = planned.source
    return m.SourceSegment(
        object_key=segment.object_key,
        number=segment.number,
        start=from_us(start_us),
        end=from_us(planned.end_us),
        size_bytes=segment.size_bytes,
        sha256=segment.sha256,
        fragments=len(planned.fragments),
        samples=samples,
        samples_sha256=samples_sha256,
        camera_clock_offset_us=segment.camera_clock_offset_us,
    )


def _ahead(
    output: _Output, parts: Sequence[MediaPart[SegmentFacts]]
) -> Iterator[tuple[SegmentFacts, SourceContent, list[MediaPart[SegmentFacts]]]]:
    """The parts by source segment, with its content; the next one is read and hashed meanwhile."""
    groups = [(key, list(own)) for key, own in groupby(parts, key=lambda part: part.source)]
    waiting: deque[Future[SourceContent]] = deque()
    upcoming = iter(groups)

    def fetch_next() -> None:
        for segment, _ in islice(upcoming, 1):
            waiting.append(output.ahead.submit(output.reader.fetch, segment))

    try:
        fetch_next()
        for segment, own in groups:
            fetch_next()
            yield segment, waiting.popleft().result(), own
    finally:
        for future in waiting:
            if not future.cancel() and future.exception() is None:
                future.result().__exit__(None, None, None)


def _stamp(instant_us: int) -> str:
    return from_us(instant_us).strftime("%Y-%m-%dT%H-%M-%S.%fZ")


def _person(person: ModelPerson) -> m.Person:
    return m.Person(subject=person.subject, display_name=person.display_name, agency=person.agency)


def _custody(step: CustodyStep) -> m.Custody:
    return m.Custody(
        time=from_us(step.time_us),
        actor=step.actor,
        display_name=step.display_name,
        action=step.action,
        detail=step.detail,
    )


def package_sha256(path: Path) -> str:
    """SHA-256 of a finished file, lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
