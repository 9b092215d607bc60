"""Streams that are open, and when they must end before their time."""

import asyncio
from dataclasses import dataclass

import structlog

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import ZoneSet
from vigie.platform.grpc.metrics import HostMetrics
from vigie.platform.grpc.session import HostCall, holds, zones_of
from vigie.platform.identity.port import Authenticator
from vigie.platform.reasons import INTERNAL_ERROR, RIGHTS_CHANGED, STOPPING, TOKEN_EXPIRED


@dataclass(slots=True, eq=False)
class OpenStream:
    """One stream that is being served.

    Attributes:
        call: its call.
        body: the task that serves it.
        ended_by: why the host ended it, once it did.
    """

    call: HostCall
    body: asyncio.Task[None]
    ended_by: VigieError | None = None

    def end(self, error: VigieError) -> None:
        """End the stream with ``error``; the first reason counts."""
        if self.ended_by is None and not self.body.done():
            self.ended_by = error
            self.body.cancel()


def covers(now: ZoneSet, before: ZoneSet) -> bool:
    """Whether everything held before is held now."""
    if now.everywhere:
        return True
    return not before.everywhere and before.names <= now.names


class OpenStreams:
    """All open streams of a host; ends those whose caller may no longer see them."""

    def __init__(
        self, authenticator: Authenticator, wall_clock: WallClock, metrics: HostMetrics
    ) -> None:
        self._authenticator = authenticator
        self._wall_clock = wall_clock
        self._metrics = metrics
        self._streams: set[OpenStream] = set()
        self._revision = authenticator.revision
        self._log = structlog.get_logger("vigie.grpc")

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: OpenStream) -> None:
        """Watch over a stream."""
        self._streams.add(stream)

    def remove(self, stream: OpenStream) -> None:
        """The stream has ended."""
        self._streams.discard(stream)

    async def check(self) -> None:
        """End streams whose token has ended, or whose caller's rights no longer cover them."""
        now_us = self._wall_clock.now_us()
        revision = self._authenticator.revision
        changed = revision != self._revision
        for stream in list(self._streams):
            identity = stream.call.identity
            if identity is None:
                continue
            if identity.expires_at_us <= now_us:
                self._end(stream, VigieError(TOKEN_EXPIRED, "the token has ended"))
            elif changed:
                await self._revalidate(stream)
        self._revision = revision

    def end_all(self) -> None:
        """End every stream: the process stops."""
        for stream in list(self._streams):
            stream.end(VigieError(STOPPING, "this process is stopping"))

    async def _revalidate(self, stream: OpenStream) -> None:
        call = stream.call
        assert call.identity is not None
        try:
            fresh = await self._authenticator.revalidate(call.identity)
        except VigieError as error:
            self._end(stream, error)
            return
        except Exception:  # noqa: BLE001 - whether he still may is not known: then he may not
            self._log.exception("revalidation_failed", subject=call.caller.subject)
            self._end(stream, VigieError(INTERNAL_ERROR, "the rights could not be checked"))
            return
        declared = call.spec.permission
        before = zones_of(call.caller, declared)
        call.identity = fresh
        now = zones_of(fresh.caller, declared)
        # A stream admitted without naming zones filters by those held when it began.
        unbound = not call.admissions or any(not item.zones for item in call.admissions)
        lost = not all(holds(fresh.caller, item) for item in call.admissions)
        if lost or (unbound and not covers(now, before)):
            withdrawn = VigieError(
                RIGHTS_CHANGED, f"the permission {declared} was withdrawn", permission=declared
            )
            self._end(stream, withdrawn)

    def _end(self, stream: OpenStream, error: VigieError) -> None:
        if stream.ended_by is None:
            self._metrics.revoked.labels(error.reason.name).inc()
        stream.end(error)
