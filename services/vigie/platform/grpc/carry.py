"""Carries calls on to another process: bytes in, bytes out, both ways, with flow control.

Whoever carries a call decides nothing: the process that serves it authenticates the caller,
checks what he may, and puts the access on record. Nothing is decoded.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NoReturn, Protocol

import grpc
import grpc.aio
import structlog

from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.grpc.failure import STATUS_DETAILS_KEY, failure_of, status_of
from vigie.platform.grpc.hops import CARRIED_BY_KEY, HOP_KEY, carried_metadata
from vigie.platform.identity.port import TokenSource
from vigie.platform.reasons import SERVICE_UNREACHABLE, STOPPING

Owners = Callable[[Any], str | None]
"""Request -> address of the one instance that can answer it; ``None``: it is answered here."""
_REQUEST_ID_KEY: Final = "x-request-id"
_ABORT_SECONDS: Final = 2.0
_END: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]  # its stubs do not know it

log = structlog.get_logger("vigie.grpc")


class InstanceChannels(Protocol):
    """Channels to processes of the product, by address."""

    def channel_to(self, address: str) -> grpc.aio.Channel:
        """The channel to one instance."""
        ...


class Carrier:
    """Carries calls, and ends those under way when the process stops.

    Args:
        instance: name of this process, for the guard against circles.
        hop: token that proves that a service carries; ``None`` where certificates do.
        channels: to single instances; needed for `carry_to_owner` only.
        elsewhere: of a call that was carried to an instance which is no longer the owner.
    """

    def __init__(
        self,
        instance: str,
        *,
        hop: TokenSource | None = None,
        channels: InstanceChannels | None = None,
        elsewhere: ReasonSpec = SERVICE_UNREACHABLE,
    ) -> None:
        self._elsewhere = elsewhere
        self._instance = instance
        self._hop = hop
        self._channels = channels
        self._under_way: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._under_way)

    def end_all(self) -> None:
        """End every call that is being carried: the process stops."""
        self._stopping = True
        for task in tuple(self._under_way):
            task.cancel()

    async def carry_to_owner(
        self, address: str, path: str, request: Any, context: Any, *, peer: str
    ) -> None:
        """Carry a call with one request to the instance that owns what it asks for, once.

        ``peer``: where it comes from, which may have been carried here already.
        """
        metadata = dict(context.invocation_metadata() or ())
        if CARRIED_BY_KEY in metadata:
            error = VigieError(self._elsewhere, "the owner changed while the call was on its way")
            await refuse(context, error)
        assert self._channels is not None
        channel = self._channels.channel_to(address)

        async def only() -> AsyncIterator[bytes]:
            yield request.SerializeToString()

        more = [(CARRIED_BY_KEY, self._instance)]
        await self.carry(channel, path, only(), context, peer=peer, more=more)

    async def carry(
        self,
        channel: grpc.aio.Channel,
        path: str,
        requests: AsyncIterator[bytes],
        context: Any,
        *,
        peer: str,
        more: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Carry one call; returns when it has ended well, else ends it with the same status.

        Args:
            channel: to the process that serves it.
            path: its method.
            requests: its messages.
            context: gRPC's, of the call that came in.
            peer: where that comes from; the process that serves it is told.
            more: further metadata.
        """
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            metadata = [*carried_metadata(context.invocation_metadata() or (), peer=peer), *more]
            await self._carry(channel, path, requests, context, metadata)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            task.uncancel()
            await refuse(context, VigieError(STOPPING, "this process is stopping"))
        finally:
            self._under_way.discard(task)

    async def _carry(
        self,
        channel: grpc.aio.Channel,
        path: str,
        requests: AsyncIterator[bytes],
        context: Any,
        metadata: list[tuple[str, Any]],
    ) -> None:
        if self._hop is not None:
            metadata.append((HOP_KEY, await self._hop.token()))
        call = channel.stream_stream(path, None, None)(
            requests, timeout=context.time_remaining(), metadata=grpc.aio.Metadata(*metadata)
        )
        try:
            await _answers(call, context)
        except grpc.aio.AioRpcError:
            pass  # the status is taken below, as that of every end
        finally:
            if not call.done():
                call.cancel()
        await _end(call, context)


async def _answers(call: Any, context: Any) -> None:
    first = await call.initial_metadata()
    begun = False
    while True:
        answer = await call.read()
        if answer is _END:
            return
        if not begun:
            begun = True
            if first:
                await context.send_initial_metadata(tuple(first))
        await context.write(answer)


async def _end(call: Any, context: Any) -> None:
    code, trailing = await call.code(), tuple(await call.trailing_metadata() or ())
    if code is grpc.StatusCode.OK:
        context.set_trailing_metadata(trailing)
        return
    told = any(key == STATUS_DETAILS_KEY for key, _ in trailing)
    if code is grpc.StatusCode.UNAVAILABLE and not told:
        details = await call.details()
        log.warning("carried_call_found_nobody", details=details)
        await refuse(context, VigieError(SERVICE_UNREACHABLE, "the service does not answer"))
    await _abort(context, code, await call.details(), trailing)


async def refuse(context: Any, error: VigieError) -> NoReturn:
    """End a call with the status of ``error``, its details included."""
    metadata = dict(context.invocation_metadata() or ())
    request_id = str(metadata.get(_REQUEST_ID_KEY, ""))
    language = str(metadata.get("accept-language", ""))
    failure = failure_of(error)
    status = status_of(failure, request_id=request_id, accept_language=language)
    trailing = ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    await _abort(context, failure.code, status.message, trailing)


async def _abort(
    context: Any, code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, Any]]
) -> NoReturn:
    # A client that reads nothing more must not keep the call: its end is not waited for.
    async with asyncio.timeout(_ABORT_SECONDS):
        await context.abort(code, details, trailing)
    raise AssertionError("abort returns only by raising")
