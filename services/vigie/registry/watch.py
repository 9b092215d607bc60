"""WatchCameras: every camera, then every change, in a stream that can be resumed."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

import structlog

from vigie.platform.database import Database
from vigie.platform.eventlog import EventLog, Position, StoredEvent, Unprocessable, parse_event
from vigie.platform.eventlog.events import EVENT_WITHOUT_VALUE
from vigie.platform.eventlog.following import Follower
from vigie.platform.grpc.call import ZoneSet
from vigie.platform.paging import Tokens
from vigie.registry import camerastore, names
from vigie.registry.camerabook import CameraBook
from vigie.registry.journal import CAMERAS_TOPIC
from vigie.registry.v1.cameras_pb2 import WatchCamerasResponse
from vigie.registry.v1.events_pb2 import CameraState

log = structlog.get_logger(__name__)

_QUERY: Final = b"WatchCameras"
_QUIET_SECONDS: Final = 0.1
"""How long nothing must come before a checkpoint says that what came was all."""


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

    def position_of(self, resume_token: str) -> Sequence[Position]:
        """Where to go on, in each partition read so far.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        cursor = self._tokens.open_resume(resume_token, _QUERY)
        if cursor is None:
            return ()
        # A token of a version that knew one partition only names that one.
        known = cursor.get("positions") or [[cursor.get("partition", 0), cursor.get("offset", -1)]]
        return tuple(Position(int(partition), int(offset)) for partition, offset in known)

    async def follow(
        self, after: Sequence[Position], zones: ZoneSet
    ) -> AsyncGenerator[WatchCamerasResponse, None]:
        """The stream after a position; ends only when the caller ends it.

        A checkpoint comes once everything that was in the topic has been told, and after that
        whenever what came since has been told and nothing more is at hand.
        """
        read = {position.partition: position for position in after}
        async for stored in self._event_log.read(CAMERAS_TOPIC.name, after=tuple(read.values())):
            read[stored.position.partition] = stored.position
            if (message := await self._message(stored, zones, read)) is not None:
                yield message
        yield self._checkpoint(read)
        following = self._event_log.read(
            CAMERAS_TOPIC.name, after=tuple(read.values()), follow=True
        )
        async with Follower(following) as follower:
            told = True
            while True:
                change = await follower.next(None if told else _QUIET_SECONDS)
                told = change is None
                if change is None:
                    yield self._checkpoint(read)
                    continue
                read[change.position.partition] = change.position
                if (message := await self._message(change, zones, read)) is not None:
                    yield message

    def _checkpoint(self, read: Mapping[int, Position]) -> WatchCamerasResponse:
        return WatchCamerasResponse(resume_token=self._token(read), is_checkpoint=True)

    def _token(self, read: Mapping[int, Position]) -> str:
        positions = [[one.partition, one.offset] for one in sorted(read.values())]
        return self._tokens.seal({"positions": positions or [[0, -1]]}, _QUERY)

    async def _message(
        self, stored: StoredEvent, zones: ZoneSet, read: Mapping[int, Position]
    ) -> WatchCamerasResponse | None:
        try:
            state = parse_event(stored, CameraState)
        except Unprocessable as why:
            if why.reason != EVENT_WITHOUT_VALUE:
                log.warning("camera_event_unreadable", key=stored.event.key, reason=why.reason)
            return None
        token = self._token(read)
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
