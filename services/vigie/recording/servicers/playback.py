"""PlaybackService: playback, clips, stills."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from vigie.platform.clock import MonotonicClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import current_call
from vigie.platform.reasons import RESUME_TOKEN_INVALID
from vigie.recording import reasons, requests
from vigie.recording.admission import Access, Admission
from vigie.recording.index.convert import timestamp_us
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.playback.clip import ClipMaker
from vigie.recording.playback.play import Player
from vigie.recording.playback.snapshot import SnapshotMaker
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.tokens import read_token
from vigie.recording.v1 import playback_pb2 as pb
from vigie.recording.v1.playback_pb2_grpc import PlaybackServiceServicer

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class PlaybackParts:
    """What the service stands on."""

    timelines: TimelineReader
    player: Player
    clips: ClipMaker
    snapshots: SnapshotMaker


class PlaybackServicer(PlaybackServiceServicer):
    """Shows stored footage; see the contract."""

    def __init__(
        self,
        database: Database,
        parts: PlaybackParts,
        monotonic_clock: MonotonicClock,
        metrics: RecordingMetrics,
    ) -> None:
        self._parts = parts
        self._admission = Admission(database)
        self._monotonic_clock = monotonic_clock
        self._metrics = metrics

    async def Play(
        self, request: pb.PlayRequest, context: _Context
    ) -> AsyncIterator[pb.PlayResponse]:
        """See the contract."""
        purpose, case = requests.purpose(request.purpose)
        camera = requests.identifier(request.camera, "cameras", "camera")
        window = await self._play_window(request, camera)
        call = current_call()
        await self._admission.admit(call, Access([camera], window, purpose, case))
        begun_us: int | None = self._monotonic_clock.now_us()
        async for message in self._parts.player.play(camera, window):
            if begun_us is not None:
                waited_us = self._monotonic_clock.now_us() - begun_us
                self._metrics.first_byte.observe(waited_us / 1e6)
                begun_us = None
            # Before it leaves: a viewer who goes away while it is on its way may have got it, and
            # the record may say a message too much, never one too few.
            if message.HasField("fragment"):
                shown = message.fragment.show_end_time if message.fragment.last else None
                until_us = None if shown is None else timestamp_us(shown)
                call.delivered(size_bytes=len(message.fragment.data), until_us=until_us)
                self._metrics.played_bytes.labels(method="Play").inc(len(message.fragment.data))
            elif message.HasField("header"):
                call.delivered(size_bytes=len(message.header.initialization))
            yield message

    async def _not_in_future(self, camera: str, start_us: int, field: str) -> None:
        """Refuse what cannot be there: later than now, and than all that is stored.

        After the clock was set back, footage from before lies ahead of now: the timeline lists
        it, so it can be played.

        Raises:
            VigieError: WINDOW_IN_FUTURE; DATABASE_UNAVAILABLE.
        """
        now_us = self._parts.timelines.now_us()
        if start_us > now_us:
            stored_us = await self._parts.timelines.last_stored_us(camera)
            requests.not_in_future(start_us, max(now_us, stored_us or 0), field)

    async def _play_window(self, request: pb.PlayRequest, camera: str) -> Interval:
        now_us = self._parts.timelines.now_us()
        end_us = timestamp_us(request.end_time) if request.HasField("end_time") else now_us
        if request.resume_token:
            (start_us,) = read_token(
                request.resume_token, f"play {camera}", RESUME_TOKEN_INVALID, "resume_token"
            )
            # Resumed at its very end, a playback has only its end left to tell.
            return Interval(start_us, max(end_us, start_us))
        if not request.HasField("start_time"):
            raise VigieError(reasons.WINDOW_REVERSED, "say from when to play", field="start_time")
        start_us = timestamp_us(request.start_time)
        await self._not_in_future(camera, start_us, "start_time")
        if end_us < start_us or (end_us == start_us and request.HasField("end_time")):
            raise VigieError(
                reasons.WINDOW_REVERSED, "end_time must be after start_time", field="end_time"
            )
        if end_us - start_us > requests.MAX_WINDOW_US:
            raise VigieError(reasons.WINDOW_TOO_LONG, "at most 31 days", field="end_time")
        return Interval(start_us, end_us)

    async def GetClip(
        self, request: pb.GetClipRequest, context: _Context
    ) -> AsyncIterator[pb.GetClipResponse]:
        """See the contract."""
        purpose, case = requests.purpose(request.purpose)
        camera = requests.identifier(request.camera, "cameras", "camera")
        window = requests.window(request.window, limit_us=requests.MAX_CLIP_US)
        await self._not_in_future(camera, window.start_us, "window.start_time")
        call = current_call()
        await self._admission.admit(call, Access([camera], window, purpose, case))
        clip = await self._parts.clips.plan(camera, window)
        async for message in self._parts.clips.stream(clip):
            if message.HasField("data"):  # counted before it leaves, as above
                call.delivered(size_bytes=len(message.data))
                self._metrics.played_bytes.labels(method="GetClip").inc(len(message.data))
            elif message.HasField("file_end"):
                plan = clip.plans[message.file_end.number]
                call.delivered(messages=0, until_us=plan.end_us)
            yield message

    async def GetSnapshot(
        self, request: pb.GetSnapshotRequest, context: _Context
    ) -> pb.GetSnapshotResponse:
        """See the contract."""
        purpose, case = requests.purpose(request.purpose)
        camera = requests.identifier(request.camera, "cameras", "camera")
        if not request.HasField("time"):
            raise VigieError(reasons.WINDOW_REVERSED, "say which instant", field="time")
        instant_us = timestamp_us(request.time)
        await self._not_in_future(camera, instant_us, "time")
        call = current_call()
        window = Interval(instant_us, instant_us + 1)
        await self._admission.admit(call, Access([camera], window, purpose, case))
        still = await self._parts.snapshots.snapshot(
            camera, instant_us, max_width=request.max_width
        )
        call.delivered(size_bytes=len(still.image), until_us=still.frame_us)
        self._metrics.played_bytes.labels(method="GetSnapshot").inc(len(still.image))
        return pb.GetSnapshotResponse(
            image=still.image,
            content_type="image/jpeg",
            frame_time=requests.timestamp(still.frame_us),
            width=still.width,
            height=still.height,
            run=still.run,
            object_key=still.object_key,
        )
