"""WatchCameras: every camera, then every change, in a stream that can be resumed."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import structlog

from vigie.platform.database import Database
from vigie.platform.eventlog import EventLog, Position, StoredEvent, Unprocessable, parse_event
from vigie.platform.eventlog.events import EVENT_WITHOUT_VALUE
from vigie.platform.eventlog.following import Follower
from vigie.platform.eventlog.progress import Progress, resumed, unpack
from vigie.platform.grpc.call import ZoneSet
from vigie.platform.paging import Tokens
from vigie.registry import camerastore, names
from vigie.registry.camerabook import CameraBook
from vigie.registry.journal import CAMERAS_TOPIC
from vigie.registry.v1.cameras_pb2 import WatchCamerasResponse
from vigie.registry.v1.events_pb2 import CameraState

log = structlog.get_logger(__name__)

_QUERY: Final = b"WatchCameras, packed, of zones"
_FORMER_QUERY: Final = b"WatchCameras"
_FORMER: Final = 1
_SCOPE_BYTES: Final = 8
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

    def position_of(self, resume_token: str, zones: ZoneSet) -> Sequence[Position]:
        """Where to go on, in each partition read so far; nowhere yet: with every camera.

        A token that was given out for other zones begins anew: what stood in a zone that the
        caller may see only now was never told and may not change for years.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        opened = self._tokens.open_bytes(resume_token, (_QUERY, _FORMER_QUERY))
        if opened is None:
            return ()
        form, body = opened
        scope = _scope(zones)
        if form == _FORMER or not body.startswith(scope):
            return ()  # the former tokens do not say for which zones they are
        return unpack(body[len(scope) :])

    async def follow(
        self, after: Sequence[Position], zones: ZoneSet
    ) -> AsyncGenerator[WatchCamerasResponse, None]:
        """The stream after a position; ends only when the caller ends it.

        A checkpoint comes once everything that was in the topic has been told, and after that
        whenever what came since has been told and nothing more is at hand.

        Raises:
            VigieError: RESUME_TOKEN_INVALID: the log ends before ``after``.
        """
        scope = _scope(zones)
        progress = Progress(after, lambda packed: self._tokens.seal_bytes(scope + packed, _QUERY))
        present = self._event_log.read(CAMERAS_TOPIC.name, after=progress.positions())
        async for stored in resumed(present):
            progress.advance(stored.position)
            if (message := await self._message(stored, zones)) is not None:
                message.resume_token = progress.token()
                yield message
        yield _checkpoint(progress)
        following = self._event_log.read(
            CAMERAS_TOPIC.name, after=progress.positions(), follow=True
        )
        async with Follower(following) as follower:
            told = True
            while True:
                change = await follower.next(None if told else _QUIET_SECONDS)
                told = change is None
                if change is None:
                    yield _checkpoint(progress)
                    continue
                progress.advance(change.position)
                if (message := await self._message(change, zones)) is not None:
                    message.resume_token = progress.token()
                    yield message

    async def _message(self, stored: StoredEvent, zones: ZoneSet) -> WatchCamerasResponse | None:
        try:
            state = parse_event(stored, CameraState)
        except Unprocessable as why:
            if why.reason != EVENT_WITHOUT_VALUE:
                log.warning("camera_event_unreadable", key=stored.event.key, reason=why.reason)
            return None
        async with self._database.reading() as connection:
            record = await camerastore.get(connection, state.camera)
            if record is None:
                return None
            if record.zone in zones:
                camera = await self._book.read(connection, record)
                return WatchCamerasResponse(camera=camera)
            past = await camerastore.zones_of_history(connection, state.camera)
        # The event of the move itself may be compacted away: whoever could have known the camera
        # is told that it is gone, if need be more than once.
        if any(zone in zones for zone in past):
            name = names.camera_name(state.camera)
            return WatchCamerasResponse(departed_camera=name)
        return None


def _checkpoint(progress: Progress) -> WatchCamerasResponse:
    return WatchCamerasResponse(resume_token=progress.newest_token(), is_checkpoint=True)


def _scope(zones: ZoneSet) -> bytes:
    """A digest of the zones a watch is for."""
    names_of = ["*"] if zones.everywhere else sorted(zones.names)
    return hashlib.sha256("\0".join(names_of).encode()).digest()[:_SCOPE_BYTES]
