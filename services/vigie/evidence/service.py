"""EvidenceService: what people ask, decide, follow and download."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc.aio

from vigie.evidence import reasons
from vigie.evidence.convert import states_from_proto, to_proto
from vigie.evidence.downloads import stream_package
from vigie.evidence.metrics import DOWNLOADED_BYTES
from vigie.evidence.model import EvidenceRequest, Person, State
from vigie.evidence.ports import CameraDirectory, Recordings
from vigie.evidence.repository import EvidenceRepository, Step
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.evidence.watch import RequestWatch
from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call, current_call
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore
from vigie.platform.paging import Tokens, fitting, page_size_of, query_of

Context = grpc.aio.ServicerContext[Any, Any]
DEFAULT_PAGE_SIZE = 50
MOST_PAGE_SIZE = 200
SHORTEST_PURPOSE = 3


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the service stands on."""

    repository: EvidenceRepository
    cameras: CameraDirectory
    recordings: Recordings
    store: ObjectStore
    watch: RequestWatch
    wall_clock: WallClock
    identifiers: IdentifierSource
    tokens: Tokens
    config: EvidenceConfig
    metrics: MetricsRegistry


class EvidenceService(pb_grpc.EvidenceServiceServicer):
    """Serves the contract in protos/vigie/evidence/v1."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._on = dependencies
        self._downloaded = dependencies.metrics.counter(DOWNLOADED_BYTES)

    async def CreateEvidenceRequest(
        self, request: pb.CreateEvidenceRequestRequest, context: Context
    ) -> pb.EvidenceRequest:
        """Ask for evidence; the hold is placed with the request itself."""
        call = current_call()
        cameras = [name.removeprefix("cameras/") for name in request.cameras]
        window_us = self._window(request)
        self._check_window(window_us)
        zones = await self._zones(cameras, window_us)
        await call.admit(
            objects=list(request.cameras),
            zones=zones,
            window_us=window_us,
            purpose=request.purpose,
            case_reference=request.case_reference,
        )
        for camera in cameras:
            if self._on.cameras.get(camera) is None:
                raise VigieError(
                    reasons.EVIDENCE_CAMERA_UNKNOWN, f"cameras/{camera}", field="cameras"
                )
        if zones is None:
            raise VigieError(
                reasons.EVIDENCE_ZONES_UNKNOWN, "recording has not heard of a camera yet"
            )
        self._check_texts(request)
        now_us = self._on.wall_clock.now_us()
        wanted = EvidenceRequest(
            request=self._on.identifiers.hex(),
            cameras=tuple(sorted(cameras)),
            zones=tuple(zones),
            start_us=window_us[0],
            end_us=window_us[1],
            purpose=request.purpose.strip(),
            case_reference=request.case_reference.strip(),
            legal_basis=request.legal_basis.strip(),
            state=State.REQUESTED,
            requester=_person(call),
            create_us=now_us,
            update_us=now_us,
        )
        created = await self._on.repository.create(
            wanted,
            client_request_id=_scoped(call, request.request_id),
            client_request_digest=_digest(request),
        )
        self._on.watch.changed(created.request)
        return await self._answer(created)

    async def GetEvidenceRequest(
        self, request: pb.GetEvidenceRequestRequest, context: Context
    ) -> pb.EvidenceRequest:
        """Read one request."""
        return await self._answer(await self._admitted(request.name))

    async def ListEvidenceRequests(
        self, request: pb.ListEvidenceRequestsRequest, context: Context
    ) -> pb.ListEvidenceRequestsResponse:
        """List the requests all of whose cameras stand in zones the caller may read."""
        call = current_call()
        await call.admit(objects=["evidenceRequests"], case_reference=request.case_reference)
        query = query_of(request)
        cursor = self._on.tokens.open_page(request.page_token, query, subject=call.caller.subject)
        before = str(cursor["before"]) if cursor else ""
        size = page_size_of(request.page_size, default=DEFAULT_PAGE_SIZE, most=MOST_PAGE_SIZE)
        allowed = call.zones_allowed()
        found: list[EvidenceRequest] = []
        while len(found) <= size:
            page = await self._on.repository.list(
                states=states_from_proto(request.states),
                case_reference=request.case_reference,
                before=before,
                limit=size + 1,
            )
            found += [each for each in page if all(zone in allowed for zone in each.zones)]
            if len(page) <= size:
                break
            before = page[-1].request
        token = ""
        answers = fitting([await self._answer(each) for each in found[:size]])
        if len(found) > len(answers):
            last = {"before": found[len(answers) - 1].request}
            token = self._on.tokens.seal(last, query, subject=call.caller.subject)
        return pb.ListEvidenceRequestsResponse(evidence_requests=answers, next_page_token=token)

    async def ApproveEvidenceRequest(
        self, request: pb.ApproveEvidenceRequestRequest, context: Context
    ) -> pb.EvidenceRequest:
        """Approve; the builder takes over."""
        return await self._decide(request.name, State.APPROVED, request.reason, request.etag)

    async def RefuseEvidenceRequest(
        self, request: pb.RefuseEvidenceRequestRequest, context: Context
    ) -> pb.EvidenceRequest:
        """Refuse; the hold is released."""
        return await self._decide(request.name, State.REFUSED, request.reason, request.etag)

    async def CancelEvidenceRequest(
        self, request: pb.CancelEvidenceRequestRequest, context: Context
    ) -> pb.EvidenceRequest:
        """Withdraw one's own request."""
        found = await self._admitted(request.name)
        caller = current_call().caller
        if found.requester.subject != caller.subject:
            raise VigieError(reasons.EVIDENCE_NOT_REQUESTER, found.name)
        step = Step("CANCELLED", _person(current_call()), "", {}, State.CANCELLED)
        changed = await self._on.repository.advance(found.request, step, etag=request.etag)
        self._on.watch.changed(changed.request)
        return await self._answer(changed)

    async def WatchEvidenceRequests(
        self, request: pb.WatchEvidenceRequestsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEvidenceRequestsResponse]:
        """Follow requests."""
        call = current_call()
        if request.name:
            found = await self._admitted(request.name)
            only = found.request
        else:
            await call.admit(objects=["evidenceRequests"])
            only = ""
        allowed = call.zones_allowed()
        following = self._on.watch.follow(only=only, resume_token=request.resume_token)
        async with aclosing(following) as messages:
            async for message in messages:
                if message.request is None:
                    yield pb.WatchEvidenceRequestsResponse(
                        is_checkpoint=True, resume_token=message.resume_token
                    )
                elif all(zone in allowed for zone in message.request.zones):
                    answer = await self._answer(message.request)
                    yield pb.WatchEvidenceRequestsResponse(
                        evidence_request=answer, resume_token=message.resume_token
                    )

    async def DownloadPackage(
        self, request: pb.DownloadPackageRequest, context: Context
    ) -> AsyncIterator[pb.DownloadPackageResponse]:
        """Send the package from an offset."""
        found = await self._admitted(request.name)
        call = current_call()
        if found.state is not State.READY or found.package is None:
            raise VigieError(
                reasons.EVIDENCE_STATE_WRONG, f"{found.name} is {found.state}, not READY"
            )
        if request.sha256 and request.sha256 != found.package.sha256:
            raise VigieError(
                reasons.EVIDENCE_PACKAGE_CHANGED, f"the package is {found.package.sha256}"
            )
        if request.offset_bytes > found.package.size_bytes:
            raise VigieError(
                reasons.EVIDENCE_OFFSET_INVALID,
                f"the package is {found.package.size_bytes} bytes long",
                field="offset_bytes",
            )
        # The hand-over is on record before the first byte goes (custody, and the access record).
        detail = f"from byte {request.offset_bytes}"
        await self._on.repository.note(found.request, _person(call), "DOWNLOADED", detail)
        package = found.package
        async for message in stream_package(self._on.store, package, request.offset_bytes):
            call.delivered(size_bytes=len(message.data))
            self._downloaded.inc(len(message.data))
            yield message

    async def _decide(self, name: str, state: State, reason: str, etag: str) -> pb.EvidenceRequest:
        found = await self._admitted(name)
        call = current_call()
        if found.requester.subject == call.caller.subject:
            raise VigieError(reasons.EVIDENCE_SELF_APPROVAL, found.name)
        changes: dict[str, Any] = {
            "decider": _person(call),
            "decision_us": self._on.wall_clock.now_us(),
            "decision_reason": reason.strip(),
        }
        step = Step(str(state), _person(call), reason.strip(), changes, state)
        changed = await self._on.repository.advance(found.request, step, etag=etag)
        self._on.watch.changed(changed.request)
        return await self._answer(changed)

    async def _admitted(self, name: str) -> EvidenceRequest:
        """The request, once the caller is admitted to all its zones."""
        found = await self._on.repository.get(name.removeprefix("evidenceRequests/"))
        call = current_call()
        if found is None:
            await call.admit(objects=[name], zones=None)
            raise VigieError(reasons.EVIDENCE_REQUEST_NOT_FOUND, name, field="name")
        await call.admit(
            objects=[found.name, *(f"cameras/{camera}" for camera in found.cameras)],
            zones=found.zones,
            window_us=(found.start_us, found.end_us),
            purpose=found.purpose,
            case_reference=found.case_reference,
        )
        return found

    async def _answer(self, request: EvidenceRequest) -> pb.EvidenceRequest:
        return to_proto(request, await self._on.repository.custody_told(request.request))

    async def _zones(self, cameras: Sequence[str], window_us: tuple[int, int]) -> list[str] | None:
        """Zones the cameras stood in during the window; ``None`` when one of them is unknown.

        A camera that has been moved takes its old footage out of nobody's responsibility: as
        playback, evidence is for those who answer for the zone it was recorded in.
        """
        stood = await self._on.recordings.zones(cameras, *window_us)
        known = all(stood.get(camera) and self._on.cameras.get(camera) for camera in cameras)
        return sorted({zone for zones in stood.values() for zone in zones}) if known else None

    def _window(self, request: pb.CreateEvidenceRequestRequest) -> tuple[int, int]:
        window = request.window
        return (
            window.start_time.ToMicroseconds(),
            window.end_time.ToMicroseconds(),
        )

    def _check_window(self, window_us: tuple[int, int]) -> None:
        longest_us = self._on.config.longest_window_hours * 3_600_000_000
        if window_us[1] > self._on.wall_clock.now_us():
            raise VigieError(
                reasons.EVIDENCE_WINDOW_INVALID,
                "the window ends in the future",
                field="window.end_time",
            )
        if window_us[1] - window_us[0] > longest_us:
            raise VigieError(
                reasons.EVIDENCE_WINDOW_INVALID,
                f"the window is longer than {self._on.config.longest_window_hours} hours",
                field="window",
            )

    def _check_texts(self, request: pb.CreateEvidenceRequestRequest) -> None:
        if len(request.purpose.strip()) < SHORTEST_PURPOSE:
            raise VigieError(reasons.EVIDENCE_FIELD_MISSING, "purpose", field="purpose")
        for field in ("case_reference", "legal_basis"):
            if not getattr(request, field).strip():
                raise VigieError(reasons.EVIDENCE_FIELD_MISSING, field, field=field)


def _person(call: Call) -> Person:
    caller = call.caller
    return Person(caller.subject, caller.display_name, caller.agency)


def _scoped(call: Call, request_id: str) -> str:
    """A client's identifier is its own: two people cannot collide."""
    return f"{call.caller.subject}/{request_id}" if request_id else ""


def _digest(request: pb.CreateEvidenceRequestRequest) -> str:
    """What a repeated request must be equal to."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
