"""LiveService: live pictures of one camera, with the access on record before the first byte."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from vigie.ingest.engine import TIMESCALE
from vigie.ingest.live.channel import Item, LiveHub, Skipped, StateChange
from vigie.ingest.live.chunks import Chunk, LiveInit
from vigie.ingest.services.names import (
    CameraStates,
    admit_cameras,
    camera_of,
    checked_purpose,
    is_retired,
)
from vigie.ingest.upload.events import gap_cause
from vigie.ingest.v1 import live_pb2, live_pb2_grpc
from vigie.ingest.v1.events_pb2 import STREAM_STATE_STOPPED
from vigie.platform.grpc.call import current_call

_RETIRED: Final = StateChange(STREAM_STATE_STOPPED, "NOT_IN_SERVICE", "retired", 0)
"""Of a retired camera nobody keeps a state; since when it is so, its history says."""


class LiveServicer(live_pb2_grpc.LiveServiceServicer):
    """See `live.proto`.

    Args:
        hub: the channels of all cameras.
        cameras: newest state of every camera, for its zone.
    """

    def __init__(self, hub: LiveHub, cameras: CameraStates) -> None:
        self._hub = hub
        self._cameras = cameras

    async def WatchLive(
        self, request: live_pb2.WatchLiveRequest, context: Any
    ) -> AsyncIterator[live_pb2.WatchLiveResponse]:
        """See `live.proto`."""
        del context
        call = current_call()
        camera = camera_of(request.camera, "camera")
        purpose = checked_purpose(request.purpose)
        await admit_cameras(call, [camera], self._cameras, purpose)
        viewer = self._hub.channel(camera).watch()
        init: LiveInit | None = None
        if is_retired(self._cameras, camera):
            viewer.tell(_RETIRED)
        try:
            while True:
                item = await viewer.next()
                if isinstance(item, Chunk) and item.init is not init:
                    init = item.init
                    header = _header(init)
                    call.delivered(size_bytes=header.ByteSize())
                    yield header
                for message in _messages(item):
                    until_us = item.arrival_us if isinstance(item, Chunk) else None
                    call.delivered(size_bytes=message.ByteSize(), until_us=until_us)
                    yield message
        finally:
            viewer.close()
            if is_retired(self._cameras, camera):
                self._hub.forget(camera)


def _header(init: LiveInit) -> live_pb2.WatchLiveResponse:
    parameters = init.parameters
    return live_pb2.WatchLiveResponse(
        header=live_pb2.LiveHeader(
            data=init.data,
            content_type=init.content_type,
            codec=parameters.codec_string,
            width=parameters.width,
            height=parameters.height,
            timescale=TIMESCALE,
            parameter_sets=list(parameters.parameter_sets),
        )
    )


def _messages(item: Item) -> Iterator[live_pb2.WatchLiveResponse]:
    match item:
        case Chunk():
            yield from item.messages
        case Skipped():
            yield live_pb2.WatchLiveResponse(
                skipped=live_pb2.LiveSkipped(
                    frame_count=item.frame_count, duration_us=item.duration_us
                )
            )
        case StateChange():
            state = live_pb2.LiveStateChange(state=item.state, detail=item.detail, at_us=item.at_us)
            if item.cause:
                state.cause = gap_cause(item.cause)
            yield live_pb2.WatchLiveResponse(state=state)
