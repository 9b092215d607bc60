"""Playback from an instant: headers, fragments, gaps, end; in order, resumable."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.recording.index import reader
from vigie.recording.playback.footage import Footage, Shot
from vigie.recording.playback.media import ObjectGoneError
from vigie.recording.reasons import FOOTAGE_DAMAGED
from vigie.recording.requests import duration, timestamp
from vigie.recording.timeline.algebra import Entry, Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.tokens import make_token
from vigie.recording.v1 import playback_pb2 as pb


class _ChangedError(Exception):
    """The footage does not go on where the timeline, read earlier, says it does."""


def play_token(camera: str, instant_us: int) -> str:
    """The token that resumes a playback of a camera at an instant."""
    return make_token([instant_us], f"play {camera}")


@dataclass(slots=True)
class Progress:
    """How far a playback is."""

    at_us: int
    run: str = ""
    fragment_count: int = 0
    size_bytes: int = 0


class Player:
    """Plays one camera.

    Args:
        database: where the index is.
        timelines: tells spans and gaps.
        footage: reads what spans list.
    """

    def __init__(self, database: Database, timelines: TimelineReader, footage: Footage) -> None:
        self._database = database
        self._timelines = timelines
        self._footage = footage

    async def play(self, camera: str, window: Interval) -> AsyncIterator[pb.PlayResponse]:
        """The messages of a playback; every message carries where to resume after it.

        Raises:
            VigieError: FOOTAGE_DAMAGED, STORE_UNAVAILABLE.
        """
        progress = Progress(window.start_us)
        stuck = 0
        while True:
            before_us = progress.at_us
            try:
                async for message in self._pass(camera, window, progress):
                    yield message
                break
            except (ObjectGoneError, _ChangedError) as change:
                # What is listed was destroyed meanwhile: the timeline, read again, says so.
                await self._explain(camera, progress.at_us, str(change))
                if progress.at_us == before_us and (stuck := stuck + 1) > 1:
                    raise VigieError(
                        FOOTAGE_DAMAGED, f"{camera}: the index lists what no segment covers"
                    ) from change
                progress.run = ""
        whole = progress.at_us >= window.end_us
        yield pb.PlayResponse(
            end=pb.PlayEnd(
                reason=pb.PLAY_END_REASON_WINDOW_END if whole else pb.PLAY_END_REASON_STORED_END,
                end_time=timestamp(progress.at_us),
                fragment_count=progress.fragment_count,
                size_bytes=progress.size_bytes,
            ),
            resume_token=play_token(camera, progress.at_us),
        )

    async def _pass(
        self, camera: str, window: Interval, progress: Progress
    ) -> AsyncIterator[pb.PlayResponse]:
        """From where the playback is to the end of what is stored, by one reading of the index."""
        if progress.at_us >= window.end_us:
            return
        ahead = Interval(progress.at_us, window.end_us)
        async for entry in self._timelines.entries(camera, ahead):
            if entry.kind is Kind.SPAN:
                async for message in self._span(camera, entry, progress):
                    yield message
            elif entry.kind is Kind.GAP:
                progress.at_us = entry.end_us
                progress.run = ""
                token = play_token(camera, entry.end_us)
                yield pb.PlayResponse(gap=gap_message(entry), resume_token=token)
            else:
                return

    async def _span(
        self, camera: str, entry: Entry, progress: Progress
    ) -> AsyncIterator[pb.PlayResponse]:
        window = Interval(entry.start_us, entry.end_us)
        async for shot in self._footage.shots(entry.run, window):
            if shot.show_start_us < shot.show_end_us and shot.show_start_us != progress.at_us:
                raise _ChangedError(camera)
            if progress.run != entry.run:
                header = header_message(shot)
                progress.size_bytes += len(header.initialization)
                token = play_token(camera, progress.at_us)
                yield pb.PlayResponse(header=header, resume_token=token)
                progress.run = entry.run
            async for message in self._fragment(camera, shot, progress):
                yield message
        if progress.at_us != entry.end_us:
            raise _ChangedError(camera)

    async def _fragment(
        self, camera: str, shot: Shot, progress: Progress
    ) -> AsyncIterator[pb.PlayResponse]:
        fragment, segment = shot.fragment, shot.opened.source
        offset = 0
        async for chunk in self._footage.media.read(segment, fragment.offset, fragment.size_bytes):
            message = fragment_message(shot, offset, chunk)
            offset += len(chunk)
            token = ""
            if message.last:
                progress.at_us = max(progress.at_us, shot.show_end_us)
                progress.fragment_count += 1
                progress.size_bytes += fragment.size_bytes
                token = play_token(camera, progress.at_us)
            yield pb.PlayResponse(fragment=message, resume_token=token)

    async def _explain(self, camera: str, at_us: int, object_key: str) -> None:
        """An object was not there: refuse to go on unless its footage is not listed any more."""
        window = Interval(at_us, at_us + 1)
        async with self._database.reading() as connection:
            for segment in await reader.segments_in(connection, camera, window, limit=8):
                if segment.object_key == object_key:
                    raise self._footage.media.damaged(segment, "MISSING", "it is not in the store")


def header_message(shot: Shot) -> pb.PlayHeader:
    """What a decoder needs for the run of a shot."""
    header, segment = shot.opened.header, shot.opened.source
    return pb.PlayHeader(
        run=segment.run,
        initialization=header.data,
        content_type=f'video/mp4; codecs="{segment.codec}"',
        codec=segment.codec,
        width=header.width,
        height=header.height,
        timescale=header.timescale,
        start_time=timestamp(shot.show_start_us),
    )


def fragment_message(shot: Shot, offset: int, chunk: bytes) -> pb.PlayFragment:
    """A piece of a fragment."""
    size = shot.fragment.size_bytes
    return pb.PlayFragment(
        start_time=timestamp(shot.start_us),
        duration=duration(shot.end_us - shot.start_us),
        media_time_ticks=shot.fragment.base_decode_time,
        size_bytes=size,
        offset=offset,
        data=chunk,
        last=offset + len(chunk) == size,
        show_start_time=timestamp(shot.show_start_us),
        show_end_time=timestamp(shot.show_end_us),
    )


def gap_message(entry: Entry) -> pb.PlayGap:
    """A gap as the contract has it."""
    return pb.PlayGap(
        start_time=timestamp(entry.start_us),
        end_time=timestamp(entry.end_us),
        cause=int(entry.cause or 0),  # type: ignore[arg-type]  # equal numbers, see `Cause`
        detail=entry.detail,
    )
