"""The writer threads: bounded queues between the engine's thread, which never waits, and the disk.

A camera belongs to one thread, so its order is kept. What a full queue refuses is told to the
camera's recorder in its place in the order, so that the footage missing there becomes a gap with
a cause and memory stays bounded.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from zlib import crc32

import structlog

_log = structlog.get_logger(__name__)

MAX_WAITING_ITEMS: Final = 256
"""Most entries of one camera in the queue; a group a second stays far below."""


class Work(Protocol):
    """What happens in a writer thread, in order for one camera."""

    def __call__(self) -> None:
        """Do it; must not raise."""
        ...


@dataclass(slots=True)
class _Entry:
    work: Work
    size_bytes: int


class Inbox:
    """The queue of one camera.

    Args:
        pool: to which it belongs.
        thread: index of its writer thread.
        refused: done in the writer thread where footage was refused for lack of room.
    """

    def __init__(self, pool: "WriterPool", thread: int, refused: Work) -> None:
        self._pool = pool
        self.thread = thread
        self.refused = refused
        self.entries: deque[_Entry] = deque()
        self.refusing = False
        self.scheduled = False

    def media(self, work: Work, size_bytes: int) -> bool:
        """Queue the writing of ``size_bytes`` of media; false when there was no room."""
        return self._pool.submit(self, work, size_bytes)

    def control(self, work: Work) -> None:
        """Queue something small that must not be lost (parameters, the end of a session)."""
        self._pool.submit_control(self, work)


class WriterPool:
    """A few threads that write.

    Args:
        threads: how many.
        queue_bytes: most bytes of media waiting in all queues together.
    """

    def __init__(self, *, threads: int, queue_bytes: int) -> None:
        self._queue_bytes = queue_bytes
        self._lock = threading.Lock()
        self._conditions = [threading.Condition(self._lock) for _ in range(threads)]
        self._ready: list[deque[Inbox]] = [deque() for _ in range(threads)]
        self._waiting_bytes = 0
        self._busy = 0
        self._idle = threading.Condition(self._lock)
        self._stopping = False
        self._threads = [
            threading.Thread(
                target=self._run, args=(index,), name=f"vigie-writer-{index}", daemon=True
            )
            for index in range(threads)
        ]

    @property
    def waiting_bytes(self) -> int:
        """Bytes of media in the queues now."""
        return self._waiting_bytes

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def inbox(self, camera: str, refused: Work) -> Inbox:
        """The queue of a camera; the same camera always gets the same thread."""
        return Inbox(self, crc32(camera.encode()) % len(self._threads), refused)

    def submit(self, inbox: Inbox, work: Work, size_bytes: int) -> bool:
        """See `Inbox.media`."""
        with self._lock:
            full = self._waiting_bytes + size_bytes > self._queue_bytes
            if inbox.refusing or full or len(inbox.entries) >= MAX_WAITING_ITEMS:
                if not inbox.refusing:
                    inbox.refusing = True
                    self._put(inbox, _Entry(inbox.refused, 0))
                return False
            self._waiting_bytes += size_bytes
            self._put(inbox, _Entry(work, size_bytes))
            return True

    def submit_control(self, inbox: Inbox, work: Work) -> None:
        """See `Inbox.control`."""
        with self._lock:
            self._put(inbox, _Entry(work, 0))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued or being written."""
        with self._lock:
            return self._is_idle()

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing is queued or being written; false when time ran out."""
        with self._lock:
            return self._idle.wait_for(self._is_idle, timeout_seconds)

    def stop(self, timeout_seconds: float) -> None:
        """Finish what is queued, then end the threads."""
        with self._lock:
            self._stopping = True
            for condition in self._conditions:
                condition.notify()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_seconds)

    def _is_idle(self) -> bool:
        return not self._busy and not any(self._ready)

    def _put(self, inbox: Inbox, entry: _Entry) -> None:
        inbox.entries.append(entry)
        if not inbox.scheduled:
            inbox.scheduled = True
            self._ready[inbox.thread].append(inbox)
            self._conditions[inbox.thread].notify()

    def _run(self, index: int) -> None:
        while (taken := self._take(index)) is not None:
            inbox, entries = taken
            for entry in entries:
                _perform(entry.work)
                self._done(entry)
            self._release(index, inbox)

    def _take(self, index: int) -> tuple[Inbox, Sequence[_Entry]] | None:
        with self._lock:
            condition, ready = self._conditions[index], self._ready[index]
            condition.wait_for(lambda: bool(ready) or self._stopping)
            if not ready:
                return None
            inbox = ready.popleft()
            entries = list(inbox.entries)
            inbox.entries.clear()
            self._busy += 1
            return inbox, entries

    def _done(self, entry: _Entry) -> None:
        if entry.size_bytes:
            with self._lock:
                self._waiting_bytes -= entry.size_bytes

    def _release(self, index: int, inbox: Inbox) -> None:
        with self._lock:
            self._busy -= 1
            # What was refused has been told in its place; from here on there is room again.
            inbox.refusing = inbox.refusing and any(
                entry.work is inbox.refused for entry in inbox.entries
            )
            inbox.scheduled = bool(inbox.entries)
            if inbox.scheduled:
                self._ready[index].append(inbox)
            if self._is_idle():
                self._idle.notify_all()


def _perform(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - the boundary of a unit of work
        # The recorder handles what it expects; anything else
        # must not take the footage of the other cameras of this thread with it.
        _log.exception("writer_failed")
