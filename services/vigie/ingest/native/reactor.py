"""The receiving thread: ticks that drain every socket, and a selector for what cannot wait.

A wake-up for each packet costs far more than the packet (see ``docs/design/reception.md``), so
sockets that play are not watched at all: they are read at each tick. Only connecting and
conversing sockets are watched, since a conversation of six round trips would take six ticks.
"""

import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from vigie.ingest.engine import EndCause, SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection, Progress
from vigie.ingest.native.dial import Dialler
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import State
from vigie.ingest.native.resolver import Resolved
from vigie.ingest.native.session import NativeSession
from vigie.ingest.native.statistics import ReactorStatistics

_US: Final = 1_000_000
_GOLDEN: Final = 0.6180339887498949
_DITHER: Final = 0.2
_ERRORS: Final = select.EPOLLERR | select.EPOLLHUP
_MASKS: Final = {
    Progress.WANTS_READ: select.EPOLLIN | _ERRORS,
    Progress.WANTS_WRITE: select.EPOLLOUT | _ERRORS,
    Progress.READY: select.EPOLLIN | _ERRORS,
}
_log = structlog.get_logger("vigie.ingest.native")


class Reactor:
    """One thread and the sessions it carries.

    Args:
        environment: clocks, settings and what else is shared.
        name: of the thread.
    """

    def __init__(self, environment: Environment, name: str) -> None:
        self._environment = environment
        settings = environment.settings
        self._tick_us = round(settings.tick_seconds * _US)
        self._live_tick_us = round(settings.live_tick_seconds * _US)
        self.buffer = bytearray(settings.receive_buffer_bytes)
        self.view = memoryview(self.buffer)
        self.statistics = ReactorStatistics()
        self._sessions: list[NativeSession] = []
        self._watched: dict[int, NativeSession] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._poll = select.epoll()
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._poll.register(self._wakee, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopping = self._is_over = False
        self._closings = False
        self._tick_number = 0
        self._next_tick_us = self._next_live_us = 0

    # --- from any thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end of all sessions, then of the thread."""
        self._stopping = True
        self.wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; whether it has ended."""
        if not self._thread.ident:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def open(self, source: SourceSpec, sink: SessionSink) -> NativeSession:
        """Begin a session; its first step is taken by the thread.

        One that is opened when the thread ends, or has ended, is told at once that it is over.
        """
        session = NativeSession(source, sink, self._environment, self)
        self._call(lambda: self._adopt(session))
        return session

    def call_soon(self, session: NativeSession, dialler: Dialler, found: Resolved) -> None:
        """See `Host.call_soon`."""
        self._call(lambda: self._guard(session, lambda: session.resolved(dialler, found)))

    def wake(self) -> None:
        """Look after the sessions now: one of them is to be closed."""
        self._closings = True
        self._signal()

    @property
    def session_count(self) -> int:
        """Sessions carried, including those whose opening is under way."""
        return len(self._sessions) + len(self._calls)

    def _call(self, action: Callable[[], None]) -> None:
        self._calls.append(action)
        if self._is_over:  # nobody else is left to do it
            self._do_calls()
        else:
            self._signal()

    def _signal(self) -> None:
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            pass  # enough wake-ups wait already
        except OSError:
            pass  # the thread has ended and given the socket back; nobody is left to be woken

    # --- for sessions --------------------------------------------------------------------------

    def watch(self, connection: Connection, session: NativeSession, progress: Progress) -> None:
        """See `Host.watch`."""
        descriptor = connection.fileno()
        try:
            if descriptor in self._watched:
                self._poll.modify(descriptor, _MASKS[progress])
            else:
                self._poll.register(descriptor, _MASKS[progress])
        except FileNotFoundError:  # whoever had the number closed it, and the kernel let go of it
            self._poll.register(descriptor, _MASKS[progress])
        self._watched[descriptor] = session

    def unwatch(self, connection: Connection) -> None:
        """See `Host.unwatch`."""
        descriptor = connection.fileno()
        if self._watched.pop(descriptor, None) is not None:
            # Where it is closed already the kernel has let go of it by itself, and another thread
            # may have the number by now, for a file that this selector does not know.
            with suppress(OSError):
                self._poll.unregister(descriptor)

    def note_received(self, size_bytes: int, *, throttled: bool) -> None:
        """Counters of a drain."""
        self.statistics.received_bytes += size_bytes
        self.statistics.throttled += throttled

    def note_garbage(self, size_bytes: int) -> None:
        """Counter of what was skipped."""
        self.statistics.garbage_bytes += size_bytes

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._next_tick_us = self._environment.monotonic.now_us()
            while not (self._stopping and not self._sessions and not self._calls):
                self._turn()
        finally:
            # What was called until now is done here, what is called from now on by the caller.
            self._is_over = True
            self._do_calls()
            self._poll.close()
            self._waker.close()
            self._wakee.close()

    def _turn(self) -> None:
        """Wait for the next tick or an event; do what is due."""
        now_us = self._environment.monotonic.now_us()
        wait_us = min(self._next_tick_us, self._next_live_us or self._next_tick_us) - now_us
        for descriptor, _ in self._poll.poll(max(wait_us, 0) / _US):
            self._on_event(descriptor)
        self._do_calls()
        if self._closings:
            self._closings = False
            self._end_closing()
        now_us = self._environment.monotonic.now_us()
        if now_us >= self._next_tick_us:
            self._tick(now_us)
        elif self._next_live_us and now_us >= self._next_live_us:
            self._live_tick()

    def _do_calls(self) -> None:
        while True:
            try:
                action = self._calls.popleft()
            except IndexError:
                return
            action()

    def _on_event(self, descriptor: int) -> None:
        session = self._watched.get(descriptor)
        if session is not None:
            now_us, wall_us = self._now()
            self._guard(session, lambda: session.on_ready(now_us, wall_us))
        elif descriptor == self._wakee.fileno():
            self._wakee.recv(4096)

    def _end_closing(self) -> None:
        if self._stopping:
            for session in self._sessions:
                session.is_closing = True
        self._visit([session for session in self._sessions if session.is_closing])
        self._forget_ended()

    def _tick(self, now_us: int) -> None:
        """The base tick: every session."""
        statistics, lag_us = self.statistics, now_us - self._next_tick_us
        statistics.note_lag(lag_us)
        if lag_us >= self._environment.stall_us and self._sessions:
            _log.warning("reception_stalled", seconds=round(lag_us / _US, 1))
        statistics.ticks += 1
        self._visit(self._sessions)
        self._forget_ended()
        after_us = self._environment.monotonic.now_us()
        self._tick_number += 1
        # Where a period of camera and tick have a common measure, frames would always wait the
        # same part of a tick; moving the ticks about lets some frame come just before one, which
        # is what fixes the time of a run (docs/design/time.md).
        dither = (self._tick_number * _GOLDEN % 1.0 - 0.5) * _DITHER
        period_us = round(self._tick_us * (1 + dither))
        self._next_tick_us = max(now_us + period_us, after_us)
        self._plan_live(after_us)

    def _live_tick(self) -> None:
        """Between base ticks: only those that somebody watches, or that come fast."""
        self._visit([session for session in self._sessions if session.wants_ticks_often])
        self._forget_ended()
        self._plan_live(self._environment.monotonic.now_us())

    def _plan_live(self, now_us: int) -> None:
        wanted = any(session.wants_ticks_often for session in self._sessions)
        self._next_live_us = now_us + self._live_tick_us if wanted else 0

    def _visit(self, sessions: list[NativeSession]) -> None:
        for session in sessions:
            now_us, wall_us = self._now()
            try:
                session.on_tick(now_us, wall_us)
            except Exception:  # noqa: BLE001 - boundary of one camera's work; `_fail` logs it
                self._fail(session)

    def _now(self) -> tuple[int, int]:
        return self._environment.monotonic.now_us(), self._environment.wall.now_us()

    def _adopt(self, session: NativeSession) -> None:
        if self._stopping or self._is_over:
            self._guard(session, lambda: session.end(EndCause.STOPPED, ""))
            return
        self._sessions.append(session)
        self._guard(session, session.begin)
        self._forget_ended()

    def _forget_ended(self) -> None:
        if any(session.state is State.ENDED for session in self._sessions):
            self._sessions = [s for s in self._sessions if s.state is not State.ENDED]
        self.statistics.sessions = len(self._sessions)
        self.statistics.playing = sum(s.state is State.PLAYING for s in self._sessions)

    def _guard(self, session: NativeSession, action: Callable[[], None]) -> None:
        """The boundary of one camera's work: an error of ours ends its session, no other."""
        try:
            action()
        except Exception:  # noqa: BLE001 - boundary of one camera's work; `_fail` logs it
            self._fail(session)

    def _fail(self, session: NativeSession) -> None:
        _log.exception("session_failed", camera=session.camera)
        try:
            session.fail()
        except Exception:  # noqa: BLE001 - its sink cannot even be told the end; the others go on
            _log.exception("sink_failed", camera=session.camera)
