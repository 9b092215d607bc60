"""The cameras of one of several ingest processes: its share of the topic `cameras`."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from vigie.ingest.supervisor.cameras import CAMERAS_TOPIC
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.port import Change, Gained, Lost, Share
from vigie.platform.reasons import STOPPING
from vigie.platform.supervisor import Supervisor

GROUP: Final = "ingest-cameras"

_log = structlog.get_logger(__name__)


class SharedCameras:
    """See `CameraAssignment`: the cameras whose keys stand in the partitions of this member.

    What it loses is told by the difference of two assignments, so a camera that it keeps is never
    let go, not even for a moment. Two processes may believe for a while that a camera is theirs:
    both record it then, in runs of their own, and the timeline shows the union.

    Args:
        event_log: divides the topic among the members of a group.
        tasks: where the changes are followed.
    """

    def __init__(self, event_log: EventLog, tasks: Supervisor) -> None:
        self._event_log = event_log
        self._tasks = tasks
        self._partition_of: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self._share: Share | None = None
        self._task: asyncio.Task[Any] | None = None

    def is_mine(self, camera: str) -> bool:
        """See `CameraAssignment.is_mine`."""
        return camera in self._partition_of

    def on_change(self, listener: Callable[[], None]) -> None:
        """See `CameraAssignment.on_change`."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Join the group, and follow what it gives (errors as `EventLog.share`)."""
        self._share = await self._event_log.share(CAMERAS_TOPIC, GROUP)
        self._task = self._tasks.spawn("ingest-share", self._follow(self._share))

    def not_ready(self) -> str | None:
        """Why the share may not be current now, in one line."""
        return "the cameras are not shared yet" if self._share is None else self._share.not_ready()

    async def stop(self) -> None:
        """Leave the group, so that others take the cameras over at once (idempotent).

        What was this member's is still so for it: whoever stops it ends the sessions.
        """
        share, self._share = self._share, None
        if share is not None:
            await share.close()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=1)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self, share: Share) -> None:
        try:
            async for change in share.changes():
                self._apply(change)
        except VigieError as error:
            if error.reason is not STOPPING:
                raise

    def _apply(self, change: Change) -> None:
        match change:
            case Gained():
                for stored in change.events:
                    self._partition_of[stored.event.key] = stored.position.partition
                _log.info("cameras_gained", partitions=len(change.partitions),
                          cameras=len(change.events), generation=change.generation)  # fmt: skip
            case Lost():
                before = len(self._partition_of)
                self._partition_of = {
                    camera: partition
                    for camera, partition in self._partition_of.items()
                    if partition not in change.partitions
                }
                _log.info("cameras_lost", partitions=len(change.partitions),
                          cameras=before - len(self._partition_of),
                          generation=change.generation)  # fmt: skip
            case _:
                stored = change.stored
                if stored.event.value is None:
                    known = self._partition_of.pop(stored.event.key, None) is not None
                else:
                    known = stored.event.key in self._partition_of
                    self._partition_of[stored.event.key] = stored.position.partition
                if known and stored.event.value is not None:
                    return  # the table of cameras tells what has changed in it
        for listener in self._listeners:
            listener()
