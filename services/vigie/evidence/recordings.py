"""Asks the recording context for footage and holds, through its contract."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import grpc.aio

from vigie.common.v1 import types_pb2
from vigie.evidence import reasons
from vigie.evidence.convert import timestamp
from vigie.evidence.ports import SegmentFacts, TimelinePiece
from vigie.platform.errors import VigieError
from vigie.platform.grpc.client import ServiceClients
from vigie.recording.v1 import recording_pb2, recording_pb2_grpc, retention_pb2, retention_pb2_grpc

_KIND_PREFIX = "TIMELINE_ENTRY_KIND_"
_CAUSE_PREFIX = "GAP_CAUSE_"
_PAGE_SIZE = 1000
_HOLD_WAIT_SECONDS = 5
_ZONES_TIMEOUT_SECONDS = 5.0
"""A person waits for the answer, who can ask again."""


class RecordingClient:
    """`vigie.evidence.ports.Recordings` over gRPC.

    Args:
        clients: calls with a service credential of this context. Stubs are made at each call: the
            address of the own process is known only once it listens.
    """

    def __init__(self, clients: ServiceClients) -> None:
        self._clients = clients

    @property
    def _recording(self) -> "recording_pb2_grpc.RecordingServiceAsyncStub":
        stub: Any = self._clients.stub(
            recording_pb2_grpc.RecordingServiceStub, "vigie.recording.v1.RecordingService"
        )
        return cast("recording_pb2_grpc.RecordingServiceAsyncStub", stub)

    @property
    def _holds(self) -> "retention_pb2_grpc.HoldServiceAsyncStub":
        stub: Any = self._clients.stub(
            retention_pb2_grpc.HoldServiceStub, "vigie.recording.v1.HoldService"
        )
        return cast("retention_pb2_grpc.HoldServiceAsyncStub", stub)

    async def zones(
        self, cameras: Sequence[str], start_us: int, end_us: int
    ) -> Mapping[str, Sequence[str]]:
        """See `Recordings.zones`."""
        request = recording_pb2.GetCameraZonesRequest(
            cameras=[f"cameras/{camera}" for camera in cameras], window=_window(start_us, end_us)
        )
        try:
            answer = await self._recording.GetCameraZones(request, timeout=_ZONES_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
            raise VigieError(
                reasons.EVIDENCE_ZONES_UNKNOWN, f"recording answered {status}", status=status
            ) from error
        return {
            each.camera.removeprefix("cameras/"): [
                zone.removeprefix("zones/") for zone in each.zones
            ]
            for each in answer.cameras
        }

    async def timeline(self, camera: str, start_us: int, end_us: int) -> Sequence[TimelinePiece]:
        """See `Recordings.timeline`."""
        pieces: list[TimelinePiece] = []
        token = ""
        while True:
            answer = await self._recording.GetTimeline(
                recording_pb2.GetTimelineRequest(
                    cameras=[f"cameras/{camera}"],
                    window=_window(start_us, end_us),
                    page_token=token,
                )
            )
            for timeline in answer.timelines:
                pieces += [_piece(entry) for entry in timeline.entries]
            token = answer.next_page_token
            if not token:
                return pieces

    async def segments(self, camera: str, start_us: int, end_us: int) -> Sequence[SegmentFacts]:
        """See `Recordings.segments`."""
        found: list[SegmentFacts] = []
        token = ""
        while True:
            answer = await self._recording.ListSegments(
                recording_pb2.ListSegmentsRequest(
                    camera=f"cameras/{camera}",
                    window=_window(start_us, end_us),
                    page_size=_PAGE_SIZE,
                    page_token=token,
                )
            )
            found += [_segment(segment) for segment in answer.segments]
            token = answer.next_page_token
            if not token:
                return sorted(found, key=lambda segment: (segment.run, segment.number))

    async def hold_applied(self, hold: str) -> bool:
        """See `Recordings.hold_applied`."""
        request = retention_pb2.GetHoldRequest(name=f"holds/{hold}")
        request.wait.FromSeconds(_HOLD_WAIT_SECONDS)
        answer = await self._holds.GetHold(request)
        return answer.state == retention_pb2.HOLD_APPLICATION_APPLIED


def _window(start_us: int, end_us: int) -> types_pb2.TimeWindow:
    return types_pb2.TimeWindow(start_time=timestamp(start_us), end_time=timestamp(end_us))


def _piece(entry: recording_pb2.TimelineEntry) -> TimelinePiece:
    cause = types_pb2.GapCause.Name(entry.cause).removeprefix(_CAUSE_PREFIX)
    return TimelinePiece(
        start_us=entry.start_time.ToMicroseconds(),
        end_us=entry.end_time.ToMicroseconds(),
        kind=recording_pb2.TimelineEntryKind.Name(entry.kind).removeprefix(_KIND_PREFIX),
        cause="" if cause == "UNSPECIFIED" else cause,
        detail=entry.detail,
    )


def _segment(segment: recording_pb2.Segment) -> SegmentFacts:
    known = segment.HasField("camera_clock_offset")
    return SegmentFacts(
        object_key=segment.object_key,
        run=segment.run,
        number=segment.number,
        start_us=segment.start_time.ToMicroseconds(),
        end_us=segment.end_time.ToMicroseconds(),
        media_start_ticks=segment.media_start_ticks,
        media_duration_ticks=segment.media_duration_ticks,
        size_bytes=segment.size_bytes,
        sha256=segment.sha256,
        header_sha256=segment.header_sha256,
        codec=segment.codec,
        width=segment.width,
        height=segment.height,
        camera_clock_offset_us=segment.camera_clock_offset.ToMicroseconds() if known else None,
    )
