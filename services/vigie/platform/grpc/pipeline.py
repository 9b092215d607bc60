"""What happens to every call, in this order.

0. what serves the call has started: otherwise nothing is done and nothing is recorded
1. request id: taken from ``x-request-id`` or made; bound to the logs; returned at the end
2. authentication: the bearer token, or the certificate of a service, becomes an identity
3. the request is read, under a limit of time; of callers who are not known only so many are waited
   for
4. permission: the caller holds it somewhere (the zones are checked by `Call.admit`); a service is
   one that the contract names
5. validation of the request against its contract
6. the servicer, with the call bound; nothing leaves before it was admitted
7. the end: access record of a refusal, a failure or a finished stream; status with details
8. metrics and one line in the log
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.arrival import Arrival
from vigie.platform.grpc.call import bind_call
from vigie.platform.grpc.callers import Callers
from vigie.platform.grpc.failure import STATUS_DETAILS_KEY, Failure, failure_of, status_of
from vigie.platform.grpc.guarded import GuardedContext, checked_requests
from vigie.platform.grpc.journal import AccessJournal
from vigie.platform.grpc.limiter import StrangerLimiter
from vigie.platform.grpc.methods import PUBLIC, MethodSpec
from vigie.platform.grpc.metrics import HostMetrics
from vigie.platform.grpc.peers import SERVICE_SUBJECT
from vigie.platform.grpc.session import HostCall, Origin, zones_of
from vigie.platform.grpc.stated import stated_by
from vigie.platform.grpc.strangers import StrangerSlots
from vigie.platform.grpc.streams import OpenStream, OpenStreams
from vigie.platform.grpc.validation import RequestValidator
from vigie.platform.identity.port import IdentityRefusedError
from vigie.platform.reasons import (
    CALL_CANCELLED,
    METHOD_INTERNAL,
    PERMISSION_DENIED,
    SERVICE_NOT_PERMITTED,
    SERVICE_STARTING,
)

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ABORT_SECONDS = 2.0
_REFUSALS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Run:
    """A call on its way, when it began, and what tells who makes it."""

    call: HostCall
    context: Any
    started_us: int
    callers: Callers


def _open(service: str) -> str | None:
    del service
    return None


class CallPipeline:
    """Serves calls around the servicers' methods."""

    def __init__(
        self,
        *,
        validator: RequestValidator,
        journal: AccessJournal,
        limiter: StrangerLimiter,
        slots: StrangerSlots,
        streams: OpenStreams,
        metrics: HostMetrics,
        monotonic_clock: MonotonicClock,
        max_unary_seconds: float,
        gate: Callable[[str], str | None] = _open,
    ) -> None:
        self._gate = gate
        self._validator = validator
        self._journal = journal
        self._limiter = limiter
        self._slots = slots
        self._streams = streams
        self._metrics = metrics
        self._monotonic_clock = monotonic_clock
        self._max_unary_seconds = max_unary_seconds
        self._log = structlog.get_logger("vigie.grpc")

    async def serve_one(
        self,
        spec: MethodSpec,
        behaviour: Callable[[Any, Any], Any],
        request: Any,
        context: Any,
        callers: Callers,
    ) -> Any:
        """Serve a call with one answer; ``request`` is to come, or a stream of messages.

        ``callers`` tells who calls the server that it came in at.
        """
        run = self._begin(spec, context, callers)
        try:
            with structlog.contextvars.bound_contextvars(request_id=run.call.request_id):
                async with asyncio.timeout(self._max_unary_seconds):
                    checked = await self._enter(run, request)
                    answer = await behaviour(checked, GuardedContext(context, run.call))
                    run.call.require_admitted()
        except asyncio.CancelledError:
            self._leave(run)
            raise
        except Exception as error:  # noqa: BLE001 - boundary of the call: becomes a status
            await self._fail(run, error)
        self._finished(run, None)
        context.set_trailing_metadata(((REQUEST_ID_KEY, run.call.request_id),))
        return answer

    async def serve_many(
        self,
        spec: MethodSpec,
        behaviour: Callable[[Any, Any], Any],
        request: Any,
        context: Any,
        callers: Callers,
    ) -> None:
        """Serve a call with a stream of answers; arguments as of `serve_one`."""
        run = self._begin(spec, context, callers)
        with structlog.contextvars.bound_contextvars(request_id=run.call.request_id):
            body = asyncio.create_task(self._stream(run, behaviour, request))
        stream = OpenStream(run.call, body)
        self._streams.add(stream)
        open_streams = self._metrics.streams.labels(spec.service, spec.method)
        open_streams.inc()
        try:
            await asyncio.wait({body})
        except asyncio.CancelledError:
            body.cancel()
            self._journal.in_background(self._after_cancellation(run, body))
            raise
        finally:
            self._streams.remove(stream)
            open_streams.dec()
        error = stream.ended_by or _outcome(body)
        if error is not None:
            await self._fail(run, error)
        await self._insist_closing(run, None)
        self._finished(run, None)
        context.set_trailing_metadata(((REQUEST_ID_KEY, run.call.request_id),))

    async def record_suppressed(self, *, everything: bool = False) -> None:
        """Put counts of suppressed attempts on record that are due."""
        now_us = self._journal.now_us()
        spec = MethodSpec("", "", "", 0, internal=False, server_streaming=False)
        for item in self._limiter.due(now_us, everything=everything):
            call = HostCall(spec, Origin(item.peer, ""), self._journal)
            entry = call.refusal("ATTEMPTS_SUPPRESSED", suppressed_attempts=item.count)
            try:
                await self._journal.write_refusal(entry)
            except VigieError:
                self._limiter.restore(item.peer, item.count, now_us)

    async def drain(self) -> None:
        """Wait for records that are being written of calls that have ended."""
        await self._journal.drain()

    # --- the steps ------------------------------------------------------------------------

    def _begin(self, spec: MethodSpec, context: Any, callers: Callers) -> _Run:
        metadata = dict(context.invocation_metadata() or ())
        request_id = str(metadata.get(REQUEST_ID_KEY, ""))
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = self._journal.new_identifier()
        origin = Origin(context.peer(), request_id, str(metadata.get("accept-language", "")))
        call = HostCall(spec, origin, self._journal)
        bind_call(call)
        return _Run(call, context, self._monotonic_clock.now_us(), callers)

    async def _enter(self, run: _Run, request: Any) -> Any:
        spec = run.call.spec
        if (waits := self._gate(spec.service)) is not None:
            raise VigieError(SERVICE_STARTING, waits)
        try:
            await self._authenticate(run)
        except VigieError:
            # What he asks for goes on record with his refusal, if he says it in time.
            with suppress(VigieError):
                await self._hear(run, request)
            raise
        request = await self._hear(run, request)
        caller = run.call.caller
        if spec.internal and not caller.service:
            raise VigieError(METHOD_INTERNAL, "only services of the product may call this method")
        if caller.service and caller.subject.removeprefix(SERVICE_SUBJECT) not in spec.callers:
            raise VigieError(SERVICE_NOT_PERMITTED, f"{caller.subject} may not call {spec.path}")
        if not zones_of(caller, spec.permission):
            raise VigieError(
                PERMISSION_DENIED,
                f"the permission {spec.permission} is missing",
                permission=spec.permission,
            )
        # After the refusals: who may not call learns nothing of what a right request looks like.
        if hasattr(request, "ListFields"):
            self._validator.check(request)
        else:
            request = checked_requests(request, self._validator)
        return request

    async def _authenticate(self, run: _Run) -> None:
        peer = await run.callers.peer_of(run.context)
        run.call.origin = replace(run.call.origin, peer=peer)
        if run.call.spec.permission == PUBLIC:
            return
        try:
            run.call.identity = await run.callers.identify(run.context)
        except IdentityRefusedError as error:
            run.call.claimed = error.claimed
            raise

    async def _hear(self, run: _Run, request: Any) -> Any:
        """The one request of a call, once it has come; a stream of requests as it is."""
        call = run.call
        if not isinstance(request, Arrival):
            return request
        known = call.identity is not None
        with nullcontext() if known else self._slots.slot(call.origin.peer_host):
            message = await request.request()
        call.stated = stated_by(message, call.spec.permission)
        return message

    async def _stream(self, run: _Run, behaviour: Callable[[Any, Any], Any], request: Any) -> None:
        guarded = GuardedContext(run.context, run.call)
        checked = await self._enter(run, request)
        answers: AsyncIterator[Any] | Awaitable[None] = behaviour(checked, guarded)
        if isinstance(answers, AsyncIterator):
            try:
                async for answer in answers:
                    await guarded.write(answer)
            finally:
                # Servicers release what they hold (subscriptions, files) at once, not when the
                # collector finds the generator.
                await getattr(answers, "aclose", _nothing)()
        else:
            await answers
        # An answer without messages tells something too.
        run.call.require_admitted()

    # --- the end --------------------------------------------------------------------------

    async def _fail(self, run: _Run, error: BaseException) -> NoReturn:
        """Record, count, log, and answer with the status of ``error``."""
        failure = failure_of(error)
        if failure.unexpected:
            self._log.error(
                "rpc_failed_unexpectedly",
                method=run.call.spec.path,
                request_id=run.call.request_id,
                exc_info=error,
            )
        try:
            failure = await self._record_failure(run, failure)
        except asyncio.CancelledError:
            self._leave(run)
            raise
        self._finished(run, failure)
        status = status_of(
            failure,
            request_id=run.call.request_id,
            accept_language=run.call.origin.accept_language,
        )
        trailing = (
            (REQUEST_ID_KEY, run.call.request_id),
            (STATUS_DETAILS_KEY, status.SerializeToString()),
        )
        # A client that reads nothing more must not keep the call: its end is not waited for.
        async with asyncio.timeout(_ABORT_SECONDS):
            await run.context.abort(failure.code, status.message, trailing)
        raise AssertionError("abort returns only by raising")

    async def _record_failure(self, run: _Run, failure: Failure) -> Failure:
        call = run.call
        if call.admissions:
            await self._insist_closing(run, failure)
            return failure
        if failure.spec is SERVICE_STARTING:
            # As if nobody listened yet; the log itself may be what is waited for.
            return failure
        refused = failure.code in _REFUSALS
        if call.refusal_recorded or not (refused or call.spec.recorded):
            return failure
        suppressed = 0
        if call.identity is None:
            granted = self._limiter.attempt(call.origin.peer_host, self._journal.now_us())
            if granted is None:
                self._metrics.suppressed.inc()
                return failure
            suppressed = granted
        try:
            entry = call.refusal(failure.reason, suppressed_attempts=suppressed)
            await self._journal.write_refusal(entry)
        except VigieError as error:
            self._limiter.restore(call.origin.peer_host, suppressed, self._journal.now_us())
            return failure_of(error)
        return failure

    async def _insist_closing(self, run: _Run, failure: Failure | None) -> None:
        """Write the closing record of an admitted call; a slow log does not hold the client."""
        call = run.call
        if not call.admissions:
            return
        entry = call.closing(
            end_status=failure.code.name if failure else grpc.StatusCode.OK.name,
            reason=failure.reason if failure else "",
        )
        try:
            await self._journal.write(entry)
        except (VigieError, asyncio.CancelledError) as error:
            self._journal.in_background(self._journal.insist(entry))
            if isinstance(error, asyncio.CancelledError):
                raise

    async def _after_cancellation(self, run: _Run, body: asyncio.Task[None]) -> None:
        await asyncio.wait({body})
        _outcome(body)
        await self._close_cancelled(run)

    def _leave(self, run: _Run) -> None:
        self._journal.in_background(self._close_cancelled(run))

    async def _close_cancelled(self, run: _Run) -> None:
        failure = Failure(CALL_CANCELLED.code, CALL_CANCELLED.name, "", CALL_CANCELLED)
        await self._insist_closing(run, failure)
        self._finished(run, failure)

    def _finished(self, run: _Run, failure: Failure | None) -> None:
        spec = run.call.spec
        code = failure.code if failure else grpc.StatusCode.OK
        reason = failure.reason if failure else ""
        duration_us = self._monotonic_clock.now_us() - run.started_us
        self._metrics.requests.labels(spec.service, spec.method, code.name, reason).inc()
        self._metrics.duration.labels(spec.service, spec.method).observe(duration_us / 1e6)
        if code in _REFUSALS:
            self._metrics.denied.labels(spec.service, spec.method, reason).inc()
        log = self._log.warning if failure and code in _REFUSALS else self._log.info
        log(
            "rpc",
            method=spec.path,
            code=code.name,
            reason=reason,
            duration_us=duration_us,
            subject=(run.call.claimed or run.call.caller).subject,
            peer=run.call.origin.peer,
            request_id=run.call.request_id,
            messages_sent=run.call.messages_sent,
        )


async def _nothing() -> None:
    return


def _outcome(body: asyncio.Task[None]) -> BaseException | None:
    """How a body ended: ``None``, or its exception (a cancellation is one)."""
    if body.cancelled():
        return asyncio.CancelledError()
    return body.exception()
