"""Clips: an exact window as one MP4, or as few as can tell it truly."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from vigie.media.bmff.clip import plan_clips
from vigie.media.bmff.plan import MediaPlan
from vigie.media.errors import MediaError, MediaReason
from vigie.platform.clock import from_us
from vigie.platform.errors import VigieError
from vigie.recording import reasons
from vigie.recording.model import Segment
from vigie.recording.playback.footage import Footage
from vigie.recording.playback.media import ObjectGoneError, StoredSegment, damaged
from vigie.recording.playback.play import gap_message
from vigie.recording.requests import timestamp
from vigie.recording.timeline.algebra import Entry, Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.v1 import playback_pb2 as pb

# A window that begins among leading pictures needs the key-frame interval before it.
_LOOK_BACK_US: Final = 60_000_000


@dataclass(slots=True)
class _Stretch:
    """Footage that goes into one plan: runs that do not overlap each other."""

    window: Interval
    segments: list[StoredSegment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip, planned and not yet made: its files, and the gaps of its window."""

    camera: str
    plans: list[MediaPlan[Segment]]
    gaps: list[Entry]


class ClipMaker:
    """Plans clips and streams them.

    Args:
        timelines: tells spans and gaps.
        footage: reads what spans list.
    """

    def __init__(self, timelines: TimelineReader, footage: Footage) -> None:
        self._timelines = timelines
        self._footage = footage

    async def plan(self, camera: str, window: Interval) -> Clip:
        """Plan the clip of a window.

        Raises:
            VigieError: NO_FOOTAGE, FOOTAGE_DAMAGED, STORE_UNAVAILABLE.
        """
        entries = [entry async for entry in self._timelines.entries(camera, window)]
        gaps = [entry for entry in entries if entry.kind is Kind.GAP]
        plans: list[MediaPlan[Segment]] = []
        for stretch in await self._stretches(entries):
            try:
                plans += plan_clips(
                    stretch.segments, stretch.window.start_us, stretch.window.end_us
                )
            except MediaError as error:
                if error.reason is not MediaReason.EMPTY_WINDOW:
                    raise damaged(stretch.segments[0].source, str(error)) from error
        if not plans:
            raise no_footage(camera, entries)
        return Clip(camera, plans, gaps)

    async def _stretches(self, entries: list[Entry]) -> list[_Stretch]:
        stretches: list[_Stretch] = []
        for entry in entries:
            if entry.kind is not Kind.SPAN:
                continue
            opened = await self._open(entry)
            if not opened:
                continue
            # A run that had begun before the one before it ended comes from a second process: its
            # frames overlap, so it gets a file of its own, cut where the other run ends.
            before = stretches[-1] if stretches else None
            overlaps = before is not None and any(
                o.source.run != b.source.run and o.start_us < b.end_us
                for o in opened
                for b in before.segments
            )
            if before is None or overlaps:
                stretches.append(_Stretch(Interval(entry.start_us, entry.end_us), opened))
            else:
                before.window = Interval(before.window.start_us, entry.end_us)
                known = {b.source.object_key for b in before.segments}
                before.segments += [o for o in opened if o.source.object_key not in known]
        return stretches

    async def _open(self, entry: Entry) -> list[StoredSegment]:
        window = Interval(entry.start_us - _LOOK_BACK_US, entry.end_us)
        opened: list[StoredSegment] = []
        async for segment in self._footage.segments(entry.run, window):
            try:
                opened.append(await self._footage.media.open(segment))
            except ObjectGoneError as error:
                if segment.end_us > entry.start_us:
                    raise self._footage.media.damaged(
                        segment, "MISSING", "it is not in the store"
                    ) from error
                opened.clear()  # before the window and gone already: not needed
        return opened

    async def stream(self, clip: Clip) -> AsyncIterator[pb.GetClipResponse]:
        """The messages of a clip.

        Raises:
            VigieError: FOOTAGE_DAMAGED, STORE_UNAVAILABLE.
        """
        whole = hashlib.sha256()
        size_bytes = 0
        for number, plan in enumerate(clip.plans):
            yield pb.GetClipResponse(file=_file_message(clip, number, plan))
            digest = hashlib.sha256()
            async for chunk in self._bytes(plan):
                digest.update(chunk)
                whole.update(chunk)
                size_bytes += len(chunk)
                yield pb.GetClipResponse(data=chunk)
            end = pb.ClipFileEnd(number=number, sha256=digest.hexdigest())
            yield pb.GetClipResponse(file_end=end)
        yield pb.GetClipResponse(
            end=pb.ClipEnd(
                file_count=len(clip.plans),
                size_bytes=size_bytes,
                sha256=whole.hexdigest(),
                gaps=[gap_message(entry) for entry in clip.gaps],
            )
        )

    async def _bytes(self, plan: MediaPlan[Segment]) -> AsyncIterator[bytes]:
        for part in plan.parts:
            try:
                await self._footage.media.verify(part.source)
                if part.head:
                    yield part.head
                async for chunk in self._footage.media.read(part.source, part.offset, part.length):
                    yield chunk
            except ObjectGoneError as error:
                raise damaged(part.source, "it is not in the store any more") from error
        if plan.tail:
            yield plan.tail


def no_footage(camera: str, entries: list[Entry]) -> VigieError:
    """NO_FOOTAGE, naming the cause that takes most of the window."""
    longest = max(entries, key=lambda entry: entry.duration_us, default=None)
    said = "" if longest is None else longest.cause.name if longest.cause else longest.kind.name
    return VigieError(reasons.NO_FOOTAGE, f"{camera}: {said or 'nothing stored'}", cause=said)


def _file_message(clip: Clip, number: int, plan: MediaPlan[Segment]) -> pb.ClipFile:
    instant = from_us(plan.start_us).strftime("%Y%m%dT%H%M%S.%fZ")
    return pb.ClipFile(
        number=number,
        filename=f"{clip.camera}_{instant}.mp4",
        content_type=plan.content_type,
        size_bytes=plan.size_bytes,
        start_time=timestamp(plan.start_us),
        end_time=timestamp(plan.end_us),
        gaps=[
            gap_message(entry)
            for entry in clip.gaps
            if entry.start_us < plan.end_us and entry.end_us > plan.start_us
        ],
    )
