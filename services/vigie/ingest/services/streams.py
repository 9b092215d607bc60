"""StreamService: what the reception of each camera is doing, from the compacted topic."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.ingest import reasons
from vigie.ingest.services.names import (
    CameraStates,
    admit_cameras,
    camera_of,
    is_retired,
    stream_of,
)
from vigie.ingest.services.watching import StatusFeed
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.ingest.v1.events_pb2 import StreamStatusEvent
from vigie.platform.clock import MICROSECONDS_PER_SECOND, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, Position
from vigie.platform.eventlog.progress import unpack
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.grpc.call import Call, current_call
from vigie.platform.paging import Tokens, page_size_of, query_of

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000
_STALE_HEARTBEATS: Final = 3
_PACKED: Final = b"packed"
"""Behind the query of a watch: tells its tokens from those of the former form."""


class StreamServicer(streams_pb2_grpc.StreamServiceServicer):
    """See `streams.proto`.

    Args:
        log: for watches that resume where this process has not come yet.
        statuses: newest status of every camera.
        cameras: newest state of every camera, for its zone.
        tokens: seals page and resume tokens.
        wall_clock: tells what is stale.
        heartbeat_seconds: how often a living process repeats a status.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        statuses: CompactedTable[StreamStatusEvent],
        cameras: CameraStates,
        tokens: Tokens,
        wall_clock: WallClock,
        heartbeat_seconds: float,
    ) -> None:
        self._statuses = statuses
        self._feed = StatusFeed(log, statuses)
        self._cameras = cameras
        self._tokens = tokens
        self._wall_clock = wall_clock
        self._stale_us = round(heartbeat_seconds * _STALE_HEARTBEATS * MICROSECONDS_PER_SECOND)

    async def GetStream(
        self, request: streams_pb2.GetStreamRequest, context: Any
    ) -> streams_pb2.Stream:
        """See `streams.proto`."""
        del context
        camera = stream_of(request.name, "name")
        await admit_cameras(current_call(), [camera], self._cameras)
        status = self._statuses.get(camera)
        if status is None:
            raise VigieError(reasons.STREAM_NOT_FOUND, f"{camera} has no stream yet", field="name")
        return self._stream(status)

    async def ListStreams(
        self, request: streams_pb2.ListStreamsRequest, context: Any
    ) -> streams_pb2.ListStreamsResponse:
        """See `streams.proto`."""
        del context
        call = current_call()
        query = query_of(request)
        wanted = self._wanted(request.cameras)
        cursor = self._tokens.open_page(request.page_token, query, subject=call.caller.subject)
        await admit_cameras(call, wanted, self._cameras)
        after = str(cursor["after"]) if cursor else ""
        may_see = self._filter(call, wanted)
        states = set(request.states)
        matching = [
            status
            for camera, status in sorted(self._statuses.items.items())
            if camera > after and may_see(camera) and (not states or status.state in states)
        ]
        size = page_size_of(request.page_size, default=DEFAULT_PAGE_SIZE, most=MAX_PAGE_SIZE)
        page = matching[:size]
        token = ""
        if len(matching) > size:
            token = self._tokens.seal(
                {"after": page[-1].camera}, query, subject=call.caller.subject
            )
        return streams_pb2.ListStreamsResponse(
            streams=[self._stream(status) for status in page], next_page_token=token
        )

    async def WatchStreams(
        self, request: streams_pb2.WatchStreamsRequest, context: Any
    ) -> AsyncIterator[streams_pb2.WatchStreamsResponse]:
        """See `streams.proto`."""
        del context
        call = current_call()
        query = query_of(request, without=("resume_token",))
        wanted = self._wanted(request.cameras)
        after = self._positions(request.resume_token, query)
        await admit_cameras(call, wanted, self._cameras)
        may_see = self._filter(call, wanted)
        packed_query = query + _PACKED

        def seal(packed: bytes) -> str:
            return self._tokens.seal_bytes(packed, packed_query)

        with self._feed.watch(may_see, heartbeats=request.include_heartbeats) as watch:
            async with aclosing(watch.told(after, seal)) as told:
                async for status, token in told:
                    answer = streams_pb2.WatchStreamsResponse(
                        stream=None if status is None else self._stream(status),
                        resume_token=token,
                        is_checkpoint=status is None,
                    )
                    call.delivered(size_bytes=answer.ByteSize())
                    yield answer

    def _positions(self, resume_token: str, query: bytes) -> Sequence[Position]:
        """Where to go on; of the former tokens, too, which were JSON."""
        opened = self._tokens.open_bytes(resume_token, (query + _PACKED, query))
        if opened is None:
            return ()
        form, body = opened
        if form == 0:
            return unpack(body)
        return [Position(int(one), int(offset)) for one, offset in json.loads(body)["positions"]]

    def _wanted(self, names: Sequence[str]) -> list[str]:
        return [camera_of(name, f"cameras[{index}]") for index, name in enumerate(names)]

    def _filter(self, call: Call, wanted: Sequence[str]) -> Callable[[str], bool]:
        chosen = frozenset(wanted)

        def may_see(camera: str) -> bool:
            if chosen:
                return camera in chosen
            # Asked each time: a camera may be moved, and rights may change, while somebody looks.
            state = self._cameras.get(camera)
            zones = call.zones_allowed()
            return zones.everywhere or (state is not None and state.zone in zones)

        return may_see

    def _stream(self, status: StreamStatusEvent) -> streams_pb2.Stream:
        updated = status.update_time
        updated_us = updated.seconds * MICROSECONDS_PER_SECOND + updated.nanos // 1000
        stream = streams_pb2.Stream(
            name=f"cameras/{status.camera}/stream",
            instance=status.instance,
            update_time=updated,
            state=status.state,
            cause=status.cause,
            detail=status.detail,
            run=status.run,
            codec=status.codec,
            width=status.width,
            height=status.height,
            frame_rate_millihertz=status.frame_rate_millihertz,
            bit_rate_bps=status.bit_rate_bps,
            camera_clock_offset_us=status.camera_clock_offset_us,
            has_camera_clock=status.has_camera_clock,
            failed_attempts=status.failed_attempts,
            # Of a retired camera the last word was said.
            stale=self._wall_clock.now_us() - updated_us > self._stale_us
            and not is_retired(self._cameras, status.camera),
        )
        if status.run_start_us:
            stream.run_start_time.CopyFrom(_timestamp(status.run_start_us))
        if status.last_frame_us:
            stream.last_frame_time.CopyFrom(_timestamp(status.last_frame_us))
        return stream


def _timestamp(instant_us: int) -> Timestamp:
    seconds, rest = divmod(instant_us, MICROSECONDS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)
