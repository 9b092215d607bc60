"""Fan-out of one camera: a ring of the current group, and a bounded queue for each viewer."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from vigie.ingest import reasons
from vigie.ingest.engine import TIMESCALE, LiveFrames
from vigie.ingest.live.chunks import Chunk, Chunker
from vigie.ingest.v1.events_pb2 import StreamState
from vigie.media.errors import MediaError
from vigie.platform.errors import VigieError

_log = structlog.get_logger(__name__)

QUEUE_CHUNKS: Final = 50
"""So many ticks (2 s at 40 ms) a viewer may lag behind before it skips to the next key frame."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Frames were left out."""

    frame_count: int
    duration_us: int


@dataclass(frozen=True, slots=True)
class StateChange:
    """The camera stopped or came back."""

    state: StreamState.ValueType
    cause: str
    detail: str
    at_us: int


Item = Chunk | Skipped | StateChange


class Viewer:
    """One who watches. What he cannot take in time is left out, up to the next key frame."""

    def __init__(self, leave: Callable[["Viewer"], None], skipped: Counter) -> None:
        self._leave = leave
        self._skipped_frames = skipped
        self._items: deque[Item] = deque()
        self._some = asyncio.Event()
        self._limit = QUEUE_CHUNKS
        self._skipped = 0
        self._skipped_ticks = 0
        self._skipping = True
        self._fresh = True
        self._owner: str | None = None

    def replay(self, chunks: list[Chunk]) -> None:
        """Begin with the group that is growing."""
        for chunk in chunks:
            self._items.append(chunk)
        self._skipping = not chunks
        self._fresh = self._skipping
        self._limit = QUEUE_CHUNKS + len(chunks)
        self._some.set()

    def push(self, chunk: Chunk) -> None:
        """Give one chunk, or leave it out."""
        if len(self._items) >= self._limit and not self._skipping:
            self._skip_waiting()
        if self._skipping and not chunk.key_frame:
            self._count(chunk)
            return
        if self._skipping and not self._fresh:
            self._items.append(Skipped(self._skipped, self._skipped_ticks * 1_000_000 // TIMESCALE))
        self._skipping = self._fresh = False
        self._skipped = self._skipped_ticks = 0
        self._items.append(chunk)
        self._some.set()

    def tell(self, change: StateChange) -> None:
        """Give a change of state; the frames after it begin with a key frame anyway."""
        if self._items and isinstance(self._items[-1], StateChange):
            self._items.pop()
        self._items.append(change)
        self._some.set()

    def dismiss(self, owner: str) -> None:
        """The camera is received by another instance now: nothing more comes here."""
        self._owner = owner
        self._some.set()

    async def next(self) -> Item:
        """What comes next; waits for it.

        Raises:
            VigieError: LIVE_ELSEWHERE.
        """
        while not self._items:
            if self._owner is not None:
                raise VigieError(
                    reasons.LIVE_ELSEWHERE, "ask again: it is carried there", owner=self._owner
                )
            self._some.clear()
            await self._some.wait()
        if len(self._items) <= QUEUE_CHUNKS:
            self._limit = QUEUE_CHUNKS
        return self._items.popleft()

    def close(self) -> None:
        """Watch no longer."""
        self._leave(self)

    def _skip_waiting(self) -> None:
        waiting = list(self._items)
        changes = [item for item in waiting if isinstance(item, StateChange)]
        self._items.clear()
        self._items.extend(changes[-1:])
        self._skipping = True
        for item in waiting:
            if isinstance(item, Chunk):
                self._count(item)
            elif isinstance(item, Skipped):
                # A notice that nobody read: the next one tells of both.
                self._skipped += item.frame_count
                self._skipped_ticks += item.duration_us * TIMESCALE // 1_000_000

    def _count(self, chunk: Chunk) -> None:
        if not self._fresh:
            self._skipped += chunk.sample_count
            self._skipped_ticks += chunk.duration_ticks
            self._skipped_frames.inc(chunk.sample_count)


class LiveChannel:
    """The viewers of one camera. Costs nothing while there are none.

    ``wants_frames`` is read by the engine's thread every tick; everything else happens on the
    event loop.

    Args:
        camera: camera identifier.
        viewers: gauge of all viewers.
        skipped: counter of frames left out.
    """

    def __init__(self, camera: str, *, viewers: Gauge, skipped: Counter) -> None:
        self._camera = camera
        self._gauge = viewers
        self._skipped = skipped
        self._viewers: set[Viewer] = set()
        self._ring: list[Chunk] = []
        self._chunker = Chunker()
        self._state: StateChange | None = None
        self.wants_frames = False

    def watch(self) -> Viewer:
        """A new viewer, who starts at the last key frame."""
        viewer = Viewer(self._left, self._skipped)
        if self._state is not None:
            viewer.tell(self._state)
        viewer.replay(self._ring)
        self._viewers.add(viewer)
        self._gauge.inc()
        self.wants_frames = True
        return viewer

    def dismiss(self, owner: str) -> None:
        """Send all viewers to the instance that receives the camera now."""
        for viewer in self._viewers:
            viewer.dismiss(owner)

    def push(self, frames: LiveFrames) -> None:
        """The frames of a tick."""
        if not self._viewers:
            return
        try:
            chunk = self._chunker.chunk(frames)
        except (MediaError, ValueError) as error:
            _log.warning("live_unsupported", camera=self._camera, error=str(error))
            return
        if chunk is None:
            return
        if chunk.key_frame:
            self._ring = []
        self._ring.append(chunk)
        for viewer in self._viewers:
            viewer.push(chunk)

    def change(self, change: StateChange, *, is_live: bool) -> None:
        """The reception does something else; ``is_live``: frames come (again)."""
        self._state = None if is_live else change
        if not is_live:
            # The next session counts its times anew.
            self._ring = []
            self._chunker = Chunker()
        for viewer in self._viewers:
            viewer.tell(change)

    def _left(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._gauge.dec()
        if not self._viewers:
            self.wants_frames = False
            self._ring = []
            self._chunker = Chunker()


class LiveHub:
    """The channels of all cameras.

    Args:
        viewers: gauge of all viewers.
        skipped: counter of frames left out.
    """

    def __init__(self, *, viewers: Gauge, skipped: Counter) -> None:
        self._viewers = viewers
        self._skipped = skipped
        self._channels: dict[str, LiveChannel] = {}

    def channel(self, camera: str) -> LiveChannel:
        """The channel of a camera, made when it is new."""
        channel = self._channels.get(camera)
        if channel is None:
            channel = LiveChannel(camera, viewers=self._viewers, skipped=self._skipped)
            self._channels[camera] = channel
        return channel

    def dismiss(self, camera: str, owner: str) -> None:
        """See `LiveChannel.dismiss`."""
        channel = self._channels.get(camera)
        if channel is not None:
            channel.dismiss(owner)

    def forget(self, camera: str) -> None:
        """The camera is gone."""
        channel = self._channels.get(camera)
        if channel is not None and not channel.wants_frames:
            del self._channels[camera]
