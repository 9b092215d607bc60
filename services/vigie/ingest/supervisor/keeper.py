"""The life of one camera in ingest: wanted or not, connecting, recording, waiting, again."""

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from prometheus_client import Counter

from vigie.ingest.backoff import Backoff
from vigie.ingest.engine import ConnectionInfo, EndCause, Session
from vigie.ingest.live.channel import StateChange
from vigie.ingest.spool.records import EndRecord, RunRecord, SegmentRecord
from vigie.ingest.supervisor.demand import Demand, demand
from vigie.ingest.supervisor.outages import OutageBook
from vigie.ingest.supervisor.plan import Engines, LoginOpener, ReceptionPlan, reception_plan
from vigie.ingest.supervisor.sink import RecordingSink, SinkTargets
from vigie.ingest.supervisor.status import StatusBoard
from vigie.ingest.supervisor.turns import Turns
from vigie.ingest.v1 import events_pb2
from vigie.ingest.v1.events_pb2 import StreamState
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.registry.v1 import events_pb2 as registry
from vigie.registry.v1.events_pb2 import CameraState

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeeperTools:
    """What every keeper shares.

    Attributes:
        refused_wait_seconds: shortest wait after refused credentials: cameras lock accounts that
            knock too often.
    """

    engines: Engines
    logins: LoginOpener
    turns: Turns
    backoff: Backoff
    random: random.Random
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    connections: Counter
    gaps: Counter
    verify_tls: bool
    segment_seconds: int
    refused_wait_seconds: float


class CameraKeeper:
    """Keeps one session to one camera, as long as it is wanted; lives on the event loop.

    Args:
        camera: camera identifier.
        tools: what all keepers share.
        status: published status.
        outages: published outages.
    """

    def __init__(
        self,
        camera: str,
        *,
        tools: KeeperTools,
        status: StatusBoard,
        outages: OutageBook,
    ) -> None:
        self.camera = camera
        self.status = status
        self.outages = outages
        self._tools = tools
        self._targets: SinkTargets | None = None
        self._state: CameraState | None = None
        self._demand = Demand("NOT_IN_SERVICE", None)
        self._evaluated_us = 0
        self._changed = asyncio.Event()
        self._leaving = False
        self._tells_end = True
        self._is_resting = True
        self._session: Session | None = None
        self._failures = 0

    def attach(self, targets: SinkTargets) -> None:
        """Say where sessions deliver (the intake needs this keeper as its listener)."""
        self._targets = targets

    def update(self, state: CameraState) -> None:
        """The registry wants something (else)."""
        self._state = state
        self._changed.set()

    def tick(self, now_us: int) -> int | None:
        """Look at the clock: has an authorisation begun or ended, or was the clock set?

        Returns:
            The next instant that matters.
        """
        until_us = self._demand.until_us
        if now_us < self._evaluated_us or (until_us is not None and now_us >= until_us):
            self._changed.set()
        return until_us

    def heartbeat(self, now_us: int) -> None:
        """Say again what is so."""
        self.status.tell(now_us)
        self.outages.refresh(now_us)

    def leave(self, *, tell: bool) -> None:
        """End the session and `run`; another process, or the next start, takes over.

        Args:
            tell: publish a last status; not when another process owns the camera now, whose
                status it would overwrite.
        """
        self._leaving = True
        self._tells_end = tell
        if not tell:
            # The recorder finishes what it has in hand and says so: too late for this status.
            self.status.silence()
        self._changed.set()

    @property
    def is_retired(self) -> bool:
        """Whether the camera was taken out of service for good: nothing is left to keep."""
        state = self._state
        return state is not None and state.lifecycle == registry.CAMERA_LIFECYCLE_RETIRED

    async def run(self) -> None:
        """Keep the camera until `leave`, or until it is retired: that is told, once."""
        while not self._leaving:
            self._changed.clear()
            now_us = self._now_us()
            if self._evaluate(now_us).is_wanted:
                await self._serve(now_us)
            else:
                self._rest(now_us)
                if self.is_retired:
                    return
                await self._changed.wait()
        now_us = self._now_us()
        self.outages.refresh(now_us)
        if not self._tells_end:
            return
        self._change(events_pb2.STREAM_STATE_STOPPED, "INGEST_DOWN", "ingest stops", now_us)

    # --- what the recorder tells (RecorderListener) ---------------------------------------------

    def run_began(self, run: RunRecord, start_us: int) -> None:
        """Footage is being written."""
        now_us = self._now_us()
        self.outages.media_began(start_us, now_us)
        if self._session is None:
            return  # told late: the session is over already
        self._failures = self.status.failed_attempts = 0
        was_recording = self.status.run != ""
        self.status.recording(run.run, start_us, now_us)
        if not was_recording:
            self._live_change(events_pb2.STREAM_STATE_RECORDING, "", "", now_us)

    def segment_closed(self, record: SegmentRecord) -> None:
        """The start of a run is exact once its first segment is closed."""
        if record.number:
            return
        now_us = self._now_us()
        self.outages.footage(record.start_us, now_us)
        if self.status.run == record.run:
            self.status.recording(record.run, record.start_us, now_us)

    def run_ended(self, record: EndRecord) -> None:
        """Nothing to do: what ended it is told by `interrupted`, or the next run begins."""

    def run_damaged(self, camera: str, run: str) -> None:
        """Nothing to do: the write path repairs it."""

    def interrupted(self, cause: str, detail: str, at_us: int) -> None:
        """There is no footage from ``at_us`` on."""
        if self._is_resting or self._leaving:
            return
        if cause == EndCause.STOPPED:
            if not self._evaluate(self._now_us()).is_wanted:
                return
            cause, detail = "INGEST_DOWN", "connecting anew: the settings were changed"
        now_us = self._now_us()
        if self.outages.begin(cause, detail, at_us, now_us):
            self._tools.gaps.labels(camera=self.camera, cause=cause).inc()
            _log.info("footage_interrupted", camera=self.camera, cause=cause, detail=detail)
        if self.status.state == events_pb2.STREAM_STATE_RECORDING:
            self._change(events_pb2.STREAM_STATE_CONNECTING, cause, detail, now_us)

    # --- inside ---------------------------------------------------------------------------------

    def _now_us(self) -> int:
        return self._tools.wall_clock.now_us()

    def _evaluate(self, now_us: int) -> Demand:
        if self._state is not None:
            self._demand = demand(self._state, now_us)
            self._evaluated_us = now_us
        return self._demand

    def _rest(self, now_us: int) -> None:
        if not self._is_resting:
            self.outages.release(now_us, now_us)
        self._is_resting = True
        self._failures = self.status.failed_attempts = 0
        cause = self._demand.cause
        if (self.status.state, self.status.cause) != (events_pb2.STREAM_STATE_STOPPED, cause):
            self._change(events_pb2.STREAM_STATE_STOPPED, cause, "", now_us)

    async def _serve(self, now_us: int) -> None:
        """One session, from its turn to the wait after its end."""
        assert self._state is not None
        if self._is_resting:
            self._is_resting = False
            self.outages.begin("INGEST_DOWN", "connecting for the first time", now_us, now_us)
        plan = reception_plan(self._state)
        self._change(
            events_pb2.STREAM_STATE_WAITING, self.outages.cause, self.outages.detail, now_us
        )
        await self._tools.turns.turn()
        if self._changed.is_set():
            return
        cause, detail = await self._receive(plan)
        if cause == EndCause.STOPPED or self._leaving:
            return
        self._failures += 1
        self.status.failed_attempts = self._failures
        seconds = self._tools.backoff.wait_seconds(self._failures, self._tools.random)
        if cause == EndCause.CREDENTIALS_REFUSED:
            seconds = max(seconds, self._tools.refused_wait_seconds)
        self._change(events_pb2.STREAM_STATE_WAITING, cause, detail, self._now_us())
        await self._wait(seconds)

    async def _receive(self, plan: ReceptionPlan) -> tuple[str, str]:
        """Hold a session until it ends by itself or is no longer wanted like this."""
        now_us = self._now_us()
        assert self._targets is not None
        assert self._state is not None
        try:
            source = plan.source(self._tools.logins, verify_tls=self._tools.verify_tls)
        except VigieError as error:
            self.interrupted(EndCause.CREDENTIALS_REFUSED, error.reason.name, now_us)
            return EndCause.CREDENTIALS_REFUSED, error.reason.name
        self._change(
            events_pb2.STREAM_STATE_CONNECTING, self.outages.cause, self.outages.detail, now_us
        )
        self._targets.intake.configure(self._state.segment_seconds or self._tools.segment_seconds)
        ended: asyncio.Future[tuple[EndCause, str]] = asyncio.get_running_loop().create_future()
        sink = RecordingSink(
            self._targets,
            loop=asyncio.get_running_loop(),
            connected=self._connected,
            ended=partial(_resolve, ended),
            opened_us=now_us,
        )
        self._session = session = self._tools.engines[plan.engine].open(source, sink)
        try:
            await self._while_wanted(plan, ended)
        finally:
            session.close()
            # One connection to a camera: the next begins when this one has really ended.
            cause, detail = await ended
            self._session = None
        if cause != EndCause.STOPPED:
            self._tools.connections.labels(outcome=cause.value).inc()
            _log.info("session_ended", camera=self.camera, cause=cause.value, detail=detail)
        return cause.value, detail

    async def _while_wanted(
        self, plan: ReceptionPlan, ended: asyncio.Future[tuple[EndCause, str]]
    ) -> None:
        while not ended.done():
            changed = asyncio.ensure_future(self._changed.wait())
            waited: set[asyncio.Future[Any]] = {ended, changed}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if not self._changed.is_set():
                continue
            self._changed.clear()
            if self._leaving or not self._evaluate(self._now_us()).is_wanted:
                self._changed.set()
                return
            assert self._state is not None
            if reception_plan(self._state) != plan:
                return

    def _connected(self, info: ConnectionInfo) -> None:
        self._tools.connections.labels(outcome="connected").inc()
        _log.info("camera_connected", camera=self.camera, server=info.server)

    async def _wait(self, seconds: float) -> None:
        """Sleep, or return at once when something has changed."""
        sleeping = asyncio.ensure_future(self._tools.monotonic_clock.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changed.cancel()

    def _change(self, state: StreamState.ValueType, cause: str, detail: str, now_us: int) -> None:
        self.status.change(state, cause, detail, now_us)
        self._live_change(state, cause, detail, now_us)

    def _live_change(
        self, state: StreamState.ValueType, cause: str, detail: str, now_us: int
    ) -> None:
        if self._targets is not None:
            self._targets.channel.change(
                StateChange(state, cause, detail, now_us),
                is_live=state == events_pb2.STREAM_STATE_RECORDING,
            )


def _resolve(ended: asyncio.Future[tuple[EndCause, str]], cause: EndCause, detail: str) -> None:
    if not ended.done():
        ended.set_result((cause, detail))
