"""Parts of a process that stand on other machines: opened when they answer, watched from then on.

A process comes up whether they are there or not. What it is made of is given stand-ins, which say
that the real thing is unavailable until it is open. Waiting ends only where it cannot help: wrong
credentials, another version, a missing bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.eventlog import Event, EventLog, Position, StoredEvent, Subscription, TopicSpec
from vigie.platform.eventlog.port import Share
from vigie.platform.module import ServiceBinding
from vigie.platform.objectstore import (
    FileState,
    Folder,
    ListedObject,
    ObjectInfo,
    ObjectStore,
    PutResult,
)
from vigie.platform.reasons import STOPPING
from vigie.platform.supervisor import Supervisor, heed_cancellation

T = TypeVar("T")
CHECK_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_AWAY_SECONDS: Final = 2.0
"""What is away is looked at more often: it is in use again before anybody says that it is back."""

log = structlog.get_logger("vigie.remote")


class Remote(Generic[T]):
    """One thing on another machine; a `vigie.platform.module.Module`.

    Args:
        name: unique in the target, e.g. ``event-log``.
        what: for people: kind and place, e.g. ``event log: kafka at 127.0.0.1:9092``.
        open_: opens it; raises VigieError with UNAVAILABLE while it is merely away.
        check: raises when it cannot be used now.
        close: gives it back.
        away: the reason of what is asked before it is open.
        clock: paces attempts, counts since when.
        supervisor: ends the process when waiting cannot help.
        check_seconds: pause between two checks.
    """

    def __init__(
        self,
        name: str,
        what: str,
        open_: Callable[[], Awaitable[T]],
        *,
        check: Callable[[T], Awaitable[object]],
        close: Callable[[T], Awaitable[object]],
        away: ReasonSpec,
        clock: MonotonicClock,
        supervisor: Supervisor,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._supervisor = supervisor
        self._name = name
        self._what = what
        self._open = open_
        self._check = check
        self._close = close
        self._away = away
        self._clock = clock
        self._check_seconds = check_seconds
        self._opened: T | None = None
        self._fatal: VigieError | None = None
        self._trouble: VigieError | None = None
        self._since_us = 0
        self._task: asyncio.Task[Any] | None = None
        self._is_open = asyncio.Event()

    @property
    def name(self) -> str:
        """See `Module.name`."""
        return self._name

    def services(self) -> Sequence[ServiceBinding]:
        """See `Module.services`: none."""
        return ()

    def get(self) -> T:
        """The thing itself.

        Raises:
            VigieError: why it is not open: `away`, or what waiting cannot mend.
        """
        if self._opened is not None:
            return self._opened
        if self._fatal is not None:
            raise self._fatal
        raise VigieError(self._away, self.not_ready() or f"{self._what} is not open yet")

    async def opened(self) -> T:
        """Wait until it is open (errors that waiting cannot mend as `get`)."""
        await self._is_open.wait()
        return self.get()

    async def start(self) -> None:
        """See `Module.start`: begins to open it, and does not wait."""
        self._since_us = self._clock.now_us()
        self._task = self._supervisor.spawn(self._name, self._run())

    def not_ready(self) -> str | None:
        """See `Module.not_ready`: what is away, since when, and what it was told."""
        if self._fatal is not None:
            return f"{self._what}: {self._fatal.message}"
        if self._trouble is None:
            return None if self._opened is not None else f"{self._what} is being opened"
        seconds = (self._clock.now_us() - self._since_us) // MICROSECONDS_PER_SECOND
        # What is needed to open it may be what is away: an outbox lies in a database.
        how = "unreachable" if self._trouble.reason is self._away else "waits"
        return f"{self._what} {how} since {seconds} s: {self._trouble.message}"

    async def stop(self, *, timeout_seconds: float) -> None:
        """See `Module.stop`: whoever uses it has stopped before."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        opened, self._opened = self._opened, None
        self._fatal = self._fatal or VigieError(STOPPING, f"{self._what} is closed")
        if opened is not None:
            async with asyncio.timeout(timeout_seconds):
                await self._close(opened)

    async def _run(self) -> None:
        try:
            self._opened = await self._patiently()
        except VigieError as error:
            self._fatal = error
            raise
        finally:
            self._is_open.set()
        while True:
            away = self._trouble is not None
            seconds = min(self._check_seconds, _AWAY_SECONDS) if away else self._check_seconds
            heed_cancellation()
            await self._clock.sleep(seconds)
            await self._look(self._opened)

    async def _patiently(self) -> T:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                opened = await self._open()
            except VigieError as error:
                if error.reason.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                self._note(error)
            else:
                self._note(None)
                return opened
            heed_cancellation()
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _look(self, opened: T) -> None:
        try:
            await self._check(opened)
        except VigieError as error:
            self._note(error)
        except Exception as error:
            log.debug("remote_check_failed", name=self._name, exc_info=error)
            self._note(VigieError(self._away, f"{type(error).__name__}: {error}"))
        else:
            self._note(None)

    def _note(self, trouble: VigieError | None) -> None:
        """Remember and log a change, once; details of the same trouble are renewed."""
        if trouble is not None and self._trouble is None:
            if self._opened is not None:
                self._since_us = self._clock.now_us()
            log.warning("remote_away", name=self._name, what=self._what, error=str(trouble))
        elif trouble is None and self._trouble is not None:
            seconds = (self._clock.now_us() - self._since_us) // MICROSECONDS_PER_SECOND
            log.info("remote_back", name=self._name, what=self._what, away_seconds=seconds)
        self._trouble = trouble


class RemoteEventLog:
    """An `EventLog` that is EVENT_LOG_UNAVAILABLE until the real one is open."""

    def __init__(self, remote: Remote[EventLog]) -> None:
        self._remote = remote

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """See `EventLog.declare`."""
        await self._remote.get().declare(topics)

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> None:
        """See `EventLog.append`."""
        await self._remote.get().append(topic, events, connection=connection)

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """See `EventLog.subscribe`."""
        return await self._remote.get().subscribe(topic, group)

    def read(
        self,
        topic: str,
        *,
        after: Position | Sequence[Position] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """See `EventLog.read`."""
        return self._remote.get().read(topic, after=after, follow=follow)

    async def leads(self, connection: AsyncConnection) -> bool:
        """See `EventLog.leads`."""
        return await self._remote.get().leads(connection)

    async def ends(self, topic: str) -> Sequence[Position]:
        """See `EventLog.ends`."""
        return await self._remote.get().ends(topic)

    async def share(self, topic: str, group: str) -> Share:
        """See `EventLog.share`."""
        return await self._remote.get().share(topic, group)

    async def close(self) -> None:
        """See `EventLog.close`: the remote is closed when its module stops."""


class RemoteStore:
    """An `ObjectStore` that is STORE_UNAVAILABLE until the real one is open."""

    def __init__(self, remote: Remote[ObjectStore]) -> None:
        self._remote = remote

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        written: FileState | None = None,
    ) -> PutResult:
        """See `ObjectStore.put_file`."""
        return await self._remote.get().put_file(
            key, path, sha256=sha256, content_type=content_type, metadata=metadata, written=written
        )

    async def put_bytes(
        self,
        key: str,
        content: bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutResult:
        """See `ObjectStore.put_bytes`."""
        return await self._remote.get().put_bytes(
            key, content, sha256=sha256, content_type=content_type, metadata=metadata
        )

    def read(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 1 << 18
    ) -> AsyncIterator[bytes]:
        """See `ObjectStore.read`."""
        return self._remote.get().read(key, offset=offset, length=length, chunk_size=chunk_size)

    async def local_path(self, key: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        return await self._remote.get().local_path(key)

    async def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        return await self._remote.get().stat(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self._remote.get().list(prefix, start_after=start_after)

    def list_keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ListedObject]:
        """See `ObjectStore.list_keys`."""
        return self._remote.get().list_keys(prefix, start_after=start_after)

    async def folder(self, prefix: str) -> Folder:
        """See `ObjectStore.folder`."""
        return await self._remote.get().folder(prefix)

    async def delete(self, key: str) -> bool:
        """See `ObjectStore.delete`."""
        return await self._remote.get().delete(key)

    async def place_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.place_hold`."""
        await self._remote.get().place_hold(key, hold_id)

    async def release_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.release_hold`."""
        await self._remote.get().release_hold(key, hold_id)

    async def set_retention(self, key: str, retain_until_us: int) -> None:
        """See `ObjectStore.set_retention`."""
        await self._remote.get().set_retention(key, retain_until_us)

    async def check(self) -> None:
        """See `ObjectStore.check`."""
        await self._remote.get().check()
