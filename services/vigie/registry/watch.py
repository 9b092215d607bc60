"""WatchCameras: every camera, then every change, in a stream that can be resumed."""

from collections.abc import AsyncIterator
from typing import Final

from vigie.platform.database import Database
from vigie.platform.eventlog import EventLog, Position, StoredEvent
from vigie.platform.grpc.call import ZoneSet
from vigie.platform.paging import Tokens
from vigie.registry import camerastore, names
from vigie.registry.camerabook import CameraBook
from vigie.registry.journal import CAMERAS_TOPIC
from vigie.registry.v1.cameras_pb2 import WatchCamerasResponse
from vigie.registry.v1.events_pb2 import CameraState

_QUERY: Final = b"WatchCameras"


class CameraWatch:
    """Follows the topic of camera states.

    An event only says *that* a camera changed; what is sent is the camera as the database has it,
    so that a watcher who is behind does not see states that are past.
    """

    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        book: CameraBook,
        tokens: Tokens,
    ) -> None:
        self._database = database
        self._event_log = event_log
        self._book = book
        self._tokens = tokens

    def position_of(self, resume_token: str) -> Position | None:
        """Where to go on.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        cursor = self._tokens.open_resume(resume_token, _QUERY)
        return None if cursor is None else Position(cursor["partition"], cursor["offset"])

    async def follow(
        self, after: Position | None, zones: ZoneSet
    ) -> AsyncIterator[WatchCamerasResponse]:
        """The stream after a position; ends only when the caller ends it."""
        end = await self._event_log.end(CAMERAS_TOPIC.name)
        if end is None or (after is not None and after >= end):
            yield self._checkpoint(after or Position(0, -1))
        async for stored in self._event_log.read(CAMERAS_TOPIC.name, after=after, follow=True):
            message = await self._message(stored, zones)
            if message is not None:
                yield message
            if end is None or stored.position >= end:
                # Known events are through: the watcher's table is complete up to here.
                newest = await self._event_log.end(CAMERAS_TOPIC.name)
                if newest is None or stored.position >= newest:
                    yield self._checkpoint(stored.position)

    def _checkpoint(self, position: Position) -> WatchCamerasResponse:
        return WatchCamerasResponse(resume_token=self._token(position), is_checkpoint=True)

    def _token(self, position: Position) -> str:
        cursor = {"partition": position.partition, "offset": position.offset}
        return self._tokens.seal(cursor, _QUERY)

    async def _message(self, stored: StoredEvent, zones: ZoneSet) -> WatchCamerasResponse | None:
        state = CameraState.FromString(stored.event.value or b"")
        token = self._token(stored.position)
        async with self._database.reading() as connection:
            record = await camerastore.get(connection, state.camera)
            if record is None:
                return None
            if record.zone in zones:
                camera = await self._book.read(connection, record)
                return WatchCamerasResponse(resume_token=token, camera=camera)
            past = await camerastore.zones_of_history(connection, state.camera)
        # The event of the move itself may be compacted away: whoever could have known the camera
        # is told that it is gone, if need be more than once.
        if any(zone in zones for zone in past):
            name = names.camera_name(state.camera)
            return WatchCamerasResponse(resume_token=token, departed_camera=name)
        return None
