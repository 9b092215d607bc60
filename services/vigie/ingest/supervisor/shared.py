"""The cameras of one ingest process among several: its share of the topic of cameras."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.port import Change, Gained, Lost, Share
from vigie.platform.reasons import STOPPING

INGEST_GROUP: Final = "ingest"

_log = structlog.get_logger(__name__)


class SharedCameras:
    """The assignment by consumer group: a camera belongs to whoever holds its partition.

    Only *which* cameras are this process's own is taken from here; what they are to do is told by
    the table of all cameras, which every process has for the questions of its callers. The two
    are read apart, so a camera may be known here first or there first: listeners look at both.

    Args:
        event_log: where the topic is.
        topic: the compacted topic whose keys are cameras.
    """

    def __init__(self, event_log: EventLog, topic: str) -> None:
        self._log = event_log
        self._topic = topic
        self._mine: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self._share: Share | None = None
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = f"topic {topic} is not shared out yet"

    def is_mine(self, camera: str) -> bool:
        """See `CameraAssignment.is_mine`."""
        return camera in self._mine

    def on_change(self, listener: Callable[[], None]) -> None:
        """See `CameraAssignment.on_change`."""
        self._listeners.append(listener)

    def not_ready(self) -> str | None:
        """Why this process may not have its share, in one line."""
        if self._trouble is not None:
            return self._trouble
        return self._share.not_ready() if self._share is not None else None

    async def join(self) -> None:
        """Become a member of the group; cameras come as it is told what it has.

        Raises:
            VigieError: TOPIC_UNKNOWN, EVENT_LOG_UNAVAILABLE.
        """
        self._mine.clear()  # of a membership before
        self._share = share = await self._log.share(self._topic, INGEST_GROUP)
        self._task = asyncio.create_task(self._follow(share), name="cameras-shared")
        self._task.add_done_callback(self._ended)

    async def leave(self) -> None:
        """Leave the group, so that others take over at once (idempotent)."""
        share, self._share = self._share, None
        if share is not None:
            await share.close()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, share: Share) -> None:
        try:
            async for change in share.changes():
                self._apply(change)
        except VigieError as error:
            if error.reason is not STOPPING:
                raise

    def _apply(self, change: Change) -> None:
        if isinstance(change, Gained):
            for stored in change.events:
                self._mine[stored.event.key] = stored.position.partition
            self._trouble = None
            _log.info(
                "cameras_gained", generation=change.generation, partitions=len(change.partitions),
                cameras=len(change.events),
            )  # fmt: skip
        elif isinstance(change, Lost):
            lost = [key for key, held in self._mine.items() if held in change.partitions]
            for camera in lost:
                del self._mine[camera]
            _log.info(
                "cameras_lost", generation=change.generation, partitions=len(change.partitions),
                cameras=len(lost),
            )  # fmt: skip
        else:
            event, before = change.stored.event, len(self._mine)
            if event.value is None:
                self._mine.pop(event.key, None)
            else:
                self._mine[event.key] = change.stored.position.partition
            if len(self._mine) == before:
                return  # another state of a camera that was known: the table tells
        for listener in self._listeners:
            listener()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._trouble = f"topic {self._topic} is not shared any more: {error!r}"
            _log.error("cameras_share_crashed", topic=self._topic, exc_info=error)
