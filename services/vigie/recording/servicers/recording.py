"""RecordingService: timelines, segments, completeness."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import current_call
from vigie.platform.reasons import PAGE_TOKEN_INVALID
from vigie.recording import reasons, requests
from vigie.recording.admission import Access, Admission, Whereabouts, stays_of
from vigie.recording.index import holdings, reader
from vigie.recording.model import Cause, Segment
from vigie.recording.rebuild.describing import Describer
from vigie.recording.timeline.algebra import Entry
from vigie.recording.timeline.completeness import CauseTotal, Completeness
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.timeline.resolution import coarsen
from vigie.recording.tokens import make_token, read_token
from vigie.recording.v1 import recording_pb2 as pb
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceServicer

ENTRY_BUDGET: Final = 5000
"""Entries in one answer of GetTimeline: about half a mebibyte."""
_DEFAULT_SEGMENTS: Final = 200

_Context = grpc.aio.ServicerContext[Any, Any]


class RecordingServicer(RecordingServiceServicer):
    """Answers what there is; see the contract."""

    def __init__(
        self,
        database: Database,
        timelines: TimelineReader,
        *,
        describer: Describer | None = None,
        entry_budget: int = ENTRY_BUDGET,
    ) -> None:
        self._describer = describer
        self._database = database
        self._timelines = timelines
        self._admission = Admission(database)
        self._entry_budget = entry_budget

    async def GetTimeline(
        self, request: pb.GetTimelineRequest, context: _Context
    ) -> pb.GetTimelineResponse:
        """See the contract."""
        cameras = requests.cameras(request.cameras, limit=requests.MAX_TIMELINE_CAMERAS)
        window = requests.window(request.window)
        resolution_us = _resolution(request.resolution, window)
        bound_to = f"timeline {cameras} {window} {resolution_us}"
        first, at_us, now_us = 0, window.start_us, self._timelines.now_us()
        if request.page_token:
            first, at_us, now_us = read_token(
                request.page_token, bound_to, PAGE_TOKEN_INVALID, "page_token"
            )
        await self._admission.admit(current_call(), Access(cameras, window))
        response = pb.GetTimelineResponse(read_time=requests.timestamp(now_us))
        budget = self._entry_budget
        for number, camera in enumerate(cameras[first:], first):
            part = Interval(at_us if number == first else window.start_us, window.end_us)
            timeline, stopped_us = await self._timeline(camera, part, now_us, resolution_us, budget)
            response.timelines.append(timeline)
            budget -= len(timeline.entries)
            if stopped_us < window.end_us or (budget <= 0 and number + 1 < len(cameras)):
                done = stopped_us >= window.end_us
                position = [number + done, window.start_us if done else stopped_us, now_us]
                response.next_page_token = make_token(position, bound_to)
                break
        return response

    async def _timeline(
        self, camera: str, part: Interval, now_us: int, resolution_us: int, budget: int
    ) -> tuple[pb.CameraTimeline, int]:
        """As much of a timeline as the budget allows, and where it stops."""
        entries: list[Entry] = []
        stopped_us = part.end_us
        async for entry in self._timelines.entries(camera, part, now_us=now_us):
            if len(entries) >= budget and resolution_us:
                entries = coarsen(entries, resolution_us)
            if len(entries) >= budget:
                stopped_us = entry.start_us
                break
            entries.append(entry)
        drawn = coarsen(entries, resolution_us) if resolution_us else entries
        timeline = pb.CameraTimeline(
            camera=f"cameras/{camera}",
            entries=[entry_message(entry) for entry in drawn],
            merged=any(entry.merged for entry in drawn),
        )
        return timeline, stopped_us

    async def ListSegments(
        self, request: pb.ListSegmentsRequest, context: _Context
    ) -> pb.ListSegmentsResponse:
        """See the contract."""
        camera = requests.identifier(request.camera, "cameras", "camera")
        window = requests.window(request.window)
        bound_to = f"segments {camera} {window}"
        after: tuple[int, str] | None = None
        if request.page_token:
            start_us, key = read_token(
                request.page_token, bound_to, PAGE_TOKEN_INVALID, "page_token"
            )
            after = (start_us, key)
        await self._admission.admit(current_call(), Access([camera], window))
        limit = requests.page_size(request.page_size, _DEFAULT_SEGMENTS)
        segments = await self._segments(camera, window, limit + 1, after)
        async with self._database.reading() as connection:
            keys = [segment.object_key for segment in segments[:limit]]
            holds = await holdings.holds_on(connection, keys)
        response = pb.ListSegmentsResponse(
            segments=[
                segment_message(segment, holds.get(segment.object_key, ()))
                for segment in segments[:limit]
            ]
        )
        if len(segments) > limit:
            last = segments[limit - 1]
            response.next_page_token = make_token([last.start_us, last.object_key], bound_to)
        return response

    async def _segments(
        self, camera: str, window: Interval, limit: int, after: tuple[int, str] | None
    ) -> list[Segment]:
        """Segments of a window; hours that have no rows yet, after a reindex, get them first."""
        from_us = max(window.start_us, after[0]) if after is not None else window.start_us
        while True:
            async with self._database.reading() as connection:
                segments = await reader.segments_in(
                    connection, camera, window, limit=limit, after=after
                )
            if self._describer is None:
                return segments
            reach_us = segments[-1].start_us + 1 if len(segments) == limit else window.end_us
            if not await self._describer.next(camera, Interval(from_us, reach_us)):
                return segments

    async def GetCompleteness(
        self, request: pb.GetCompletenessRequest, context: _Context
    ) -> pb.GetCompletenessResponse:
        """See the contract."""
        named = requests.cameras(request.cameras, limit=requests.MAX_COMPLETENESS_CAMERAS)
        wanted = {
            requests.identifier(name, "zones", f"zones[{i}]")
            for i, name in enumerate(request.zones)
        }
        window = requests.window(request.window)
        call = current_call()
        async with self._database.reading() as connection:
            whereabouts = await Whereabouts.read(connection)
        if named:
            await self._admission.admit(call, Access(named, window))
        allowed = call.zones_allowed()
        stood = {
            camera: whereabouts.during(camera, window) for camera in named or whereabouts.cameras
        }
        chosen = {
            camera: zones
            for camera, zones in stood.items()
            if (named or all(zone in allowed for zone in zones))
            and (not wanted or not wanted.isdisjoint(zones))
        }
        if len(chosen) > requests.MAX_COMPLETENESS_CAMERAS:
            raise VigieError(
                reasons.TOO_MANY_CAMERAS, f"{len(chosen)} cameras; name them", field="cameras"
            )
        if not named:
            objects = [f"cameras/{camera}" for camera in sorted(chosen)]
            zones = wanted.union(*chosen.values()) - {""}
            window_us = (window.start_us, window.end_us)
            await call.admit(objects=objects, zones=sorted(zones), window_us=window_us)
        at_end = Interval(window.end_us - 1, window.end_us)
        return await self._completeness(
            {camera: min(whereabouts.during(camera, at_end)) for camera in chosen}, window
        )

    async def GetCameraZones(
        self, request: pb.GetCameraZonesRequest, context: _Context
    ) -> pb.GetCameraZonesResponse:
        """See the contract."""
        cameras = requests.cameras(request.cameras, limit=requests.MAX_TIMELINE_CAMERAS)
        window = requests.window(request.window)
        response = pb.GetCameraZonesResponse()
        async with self._database.reading() as connection:
            for camera in cameras:
                stays = await stays_of(connection, camera, window)
                # A while without a zone is nobody's: then nothing is said of the others either.
                zones = [] if "" in stays else [f"zones/{zone}" for zone in stays]
                response.cameras.add(camera=f"cameras/{camera}", zones=zones)
        return response

    async def _completeness(
        self, placed: Mapping[str, str], window: Interval
    ) -> pb.GetCompletenessResponse:
        """Of cameras, and of the zones in which they stood at the end of the window."""
        now_us = self._timelines.now_us()
        response = pb.GetCompletenessResponse(read_time=requests.timestamp(now_us))
        by_zone: dict[str, Completeness] = {}
        for camera in sorted(placed):
            totals = Completeness()
            async for entry in self._timelines.entries(camera, window, now_us=now_us):
                totals.add(entry)
            zone = placed[camera]
            by_zone.setdefault(zone, Completeness()).merge(totals)
            message = completeness_message(f"cameras/{camera}", totals)
            message.zone = f"zones/{zone}" if zone else ""
            response.cameras.append(message)
        response.zones.extend(
            completeness_message(f"zones/{zone}", totals)
            for zone, totals in sorted(by_zone.items())
            if zone
        )
        return response


def _resolution(value: Duration, window: Interval) -> int:
    resolution_us = value.seconds * 1_000_000 + value.nanos // 1000
    if not 0 <= resolution_us <= window.duration_us:
        raise VigieError(
            reasons.RESOLUTION_INVALID, "between 0 and the length of the window", field="resolution"
        )
    return resolution_us


def entry_message(entry: Entry) -> pb.TimelineEntry:
    """One entry as the contract has it."""
    return pb.TimelineEntry(
        kind=int(entry.kind),  # type: ignore[arg-type]  # equal numbers, see `Kind`
        start_time=requests.timestamp(entry.start_us),
        end_time=requests.timestamp(entry.end_us),
        run=entry.run,
        cause=int(entry.cause or 0),  # type: ignore[arg-type]  # equal numbers, see `Cause`
        detail=entry.detail,
        merged_entries=entry.merged,
    )


def segment_message(segment: Segment, holds: Sequence[str]) -> pb.Segment:
    """One segment as the contract has it."""
    message = pb.Segment(
        object_key=segment.object_key,
        camera=f"cameras/{segment.camera}",
        run=segment.run,
        number=segment.number,
        start_time=requests.timestamp(segment.start_us),
        end_time=requests.timestamp(segment.end_us),
        media_start_ticks=segment.media_start_ticks,
        media_duration_ticks=segment.media_duration_ticks,
        timescale=segment.timescale,
        sample_count=segment.sample_count,
        size_bytes=segment.size_bytes,
        sha256=segment.sha256,
        header_sha256=segment.header_sha256,
        codec=segment.codec,
        width=segment.width,
        height=segment.height,
        holds=[f"holds/{hold}" for hold in holds],
    )
    if segment.camera_clock_offset_us is not None:
        message.camera_clock_offset.CopyFrom(requests.duration(segment.camera_clock_offset_us))
    return message


def completeness_message(name: str, totals: Completeness) -> pb.Completeness:
    """Totals as the contract has them."""
    return pb.Completeness(
        name=name,
        expected=requests.duration(totals.expected_us),
        stored=requests.duration(totals.stored_us),
        missing=_causes(totals.missing),
        excluded=_causes(totals.excluded),
        pending=requests.duration(totals.pending_us),
    )


def _causes(totals: dict[Cause, CauseTotal]) -> list[pb.CauseDuration]:
    longest_first = sorted(totals.items(), key=lambda item: (-item[1].duration_us, item[0]))
    return [
        pb.CauseDuration(
            cause=int(cause),  # type: ignore[arg-type]  # equal numbers, see `Cause`
            duration=requests.duration(total.duration_us),
            gap_count=total.gap_count,
        )
        for cause, total in longest_first
    ]
