"""The second engine behind the reception port."""

import threading

import av.logging

from vigie.ingest.engine import Session, SessionSink, SourceSpec
from vigie.ingest.libav.session import LibavSession, LibavSettings
from vigie.ingest.stall import Heartbeat
from vigie.platform.clock import MonotonicClock, WallClock


class LibavEngine:
    """Receives what libav can open; a thread a session.

    Args:
        wall: says when frames came.
        monotonic: says how long things take; must advance by itself.
        settings: see `LibavSettings`.
    """

    def __init__(
        self, wall: WallClock, monotonic: MonotonicClock, settings: LibavSettings | None = None
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._settings = settings or LibavSettings()
        self._lock = threading.Lock()
        self._sessions: list[LibavSession] = []
        self._is_started = False
        self._heartbeat = Heartbeat(monotonic)

    def start(self) -> None:
        """Start the sessions opened so far; from now on each starts at once."""
        # Losses are told by libav's log alone; messages go to the thread that caused them.
        av.logging.set_level(av.logging.WARNING)
        self._heartbeat.start()
        with self._lock:
            self._is_started = True
            for session in self._sessions:
                session.start()

    def open(self, source: SourceSpec, sink: SessionSink) -> Session:
        """Begin to receive."""
        session = LibavSession(
            source,
            sink,
            self._settings,
            self._wall,
            self._monotonic,
            heartbeat=self._heartbeat,
        )
        with self._lock:
            if self._is_started:
                self._sessions = [known for known in self._sessions if known.is_alive]
                session.start()
            self._sessions.append(session)
        return session

    def stop(self, *, timeout_seconds: float) -> None:
        """Close all sessions (each delivers its last group) and join the threads.

        A thread that waits for a silent source is left to end by its read timeout.
        """
        with self._lock:
            sessions, self._sessions = self._sessions, []
        deadline_us = self._monotonic.now_us() + round(timeout_seconds * 1_000_000)
        for session in sessions:
            session.close()
        for session in sessions:
            if session.is_alive:
                session.join(max(deadline_us - self._monotonic.now_us(), 0) / 1_000_000)
        self._heartbeat.stop()
