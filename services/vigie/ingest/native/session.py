"""One camera, from its address to the end, driven by its reactor's thread.

Steps: dial (name, TCP, TLS), converse (OPTIONS to PLAY), receive in ticks, end. A redirect goes
back to the first step. Whatever happens, the sink gets the whole frames of the last group
and then ``ended``, exactly once.
"""

import secrets
from typing import Final

import structlog

from vigie.ingest.engine import ConnectionInfo, EndCause, SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection, Progress, fill
from vigie.ingest.native.demux import Demultiplexer
from vigie.ingest.native.dial import Dialler, let_go
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host, State
from vigie.ingest.native.login import authenticator_for
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.resolver import Resolved
from vigie.ingest.native.turn import Turn
from vigie.ingest.native.watch import Watch
from vigie.ingest.rtsp import address as addresses
from vigie.ingest.rtsp.address import Address, scrubber_for
from vigie.ingest.rtsp.client import RtspClient
from vigie.ingest.rtsp.errors import RtspError
from vigie.ingest.rtsp.events import Event, Playing, Prepared, Redirected
from vigie.ingest.stall import StallWatch, stall_detail

_US: Final = 1_000_000
_log = structlog.get_logger("vigie.ingest.native")


class NativeSession:
    """See the module. All methods but `close` belong to the reactor's thread.

    Args:
        source: the camera.
        sink: where its media goes.
        environment: clocks, settings and what else is shared.
        host: the reactor.
    """

    def __init__(
        self, source: SourceSpec, sink: SessionSink, environment: Environment, host: Host
    ) -> None:
        self._source = source
        self._sink = sink
        self._environment = environment
        self._settings = environment.settings
        self._host = host
        self._scrub = scrubber_for(source)
        self._ssrc = secrets.randbits(32)
        self._address: Address | None = None
        self._dialler: Dialler | None = None
        self._connection: Connection | None = None
        self._client: RtspClient | None = None
        self._demux: Demultiplexer | None = None
        self._reception: Reception | None = None
        self._rest = b""  # a packet or message that is not whole yet
        self._turn = Turn(self._settings, environment.processor_ns)
        self._is_cut = False  # the turn ended before everything was read
        self._redirects = 0
        self._deadline_us = 0  # of the conversation
        self._last_byte_us = 0
        self._stalls = StallWatch(environment.monotonic.now_us(), environment.stall_us)
        self._watch: Watch | None = None
        self._now_us = self._wall_us = 0
        self._control_channel = 1
        self.state = State.DIALLING
        self.is_closing = False
        self.is_hot = False

    # --- from any thread -----------------------------------------------------------------------

    def close(self) -> None:
        """See `vigie.ingest.engine.Session.close`."""
        self.is_closing = True
        self._host.wake()

    # --- steps ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Step 1: take the address apart and resolve the name."""
        self._stalls.look(self._environment.monotonic.now_us())  # the thread begins to look
        try:
            address = addresses.parse(self._source.uri)
        except RtspError as error:
            self.end(error.cause, error.detail)
            return
        self._dial(address)

    def _dial(self, address: Address) -> None:
        self._address = address
        self.state = State.DIALLING
        dialler = Dialler(
            address,
            self._environment,
            verify_tls=self._source.verify_tls,
            watch=lambda connection, progress: self._host.watch(connection, self, progress),
            unwatch=self._host.unwatch,
        )
        self._dialler = dialler
        dialler.resolve(lambda found: self._host.call_soon(self, dialler, found))

    def resolved(self, dialler: Dialler, found: Resolved) -> None:
        """Step 2: connect to the first address, then the others."""
        if self.state is State.DIALLING and dialler is self._dialler:
            self._dialled(dialler, dialler.resolved(found))

    def _dialled(self, dialler: Dialler, connection: Connection | None) -> None:
        """Step 3: converse, when the connection is there."""
        if dialler.failure:
            self.end(EndCause.CAMERA_UNREACHABLE, dialler.failure)
        elif connection is not None:
            self._connection = connection
            self._converse(connection)

    def _converse(self, connection: Connection) -> None:
        address = self._address
        assert address is not None
        self._client = RtspClient(address, authenticator_for(self._source, address), self._scrub)
        self._demux = Demultiplexer(self._client, self, self._settings)
        self.state = State.CONVERSING
        timeout_us = round(self._settings.handshake_timeout_seconds * _US)
        self._deadline_us = self._environment.monotonic.now_us() + timeout_us
        self._host.watch(connection, self, Progress.WANTS_READ)
        self._client.start()
        self._flush()

    # --- events --------------------------------------------------------------------------------

    def on_ready(self, now_us: int, wall_us: int) -> None:
        """The watched socket is ready."""
        self._now_us, self._wall_us = now_us, wall_us
        if self._was_away(now_us):
            return
        if self.state is State.DIALLING and self._dialler is not None:
            self._dialled(self._dialler, self._dialler.advance())
        elif self.state is State.CONVERSING:
            self._drain()

    def on_tick(self, now_us: int, wall_us: int) -> None:
        """Look after timers; when playing, drain the socket."""
        self._now_us, self._wall_us = now_us, wall_us
        if self._was_away(now_us):
            return
        # While it converses the selector tells, but not of what lies in the TLS layer already.
        if self.state is State.PLAYING or self._is_cut:
            self._drain()
        if self.is_closing:
            self.end(EndCause.STOPPED, "")
        else:
            self._look_at_time()

    def _was_away(self, now_us: int) -> bool:
        """Whether this process was, until now: then the session is over.

        What has come meanwhile is not read: nobody knows when it came.
        """
        away_us = self._stalls.look(now_us)
        if away_us:
            cause = EndCause.STOPPED if self.is_closing else EndCause.INGEST_DOWN
            self.end(cause, stall_detail(away_us))
        return self.state is State.ENDED

    def _look_at_time(self) -> None:
        if self.state is State.PLAYING:
            self._look_at_timers()
        elif self.state is State.DIALLING and self._dialler is not None:
            self._dialled(self._dialler, self._dialler.check(self._now_us))
        elif self.state is State.CONVERSING:
            if self._now_us >= self._deadline_us:
                detail = f"no answer to {self._awaited('the request')} in time"
                self.end(EndCause.CAMERA_SILENT, detail)
            else:
                self._look_at_pause()

    def _awaited(self, otherwise: str) -> str:
        return (self._client.waits_for if self._client is not None else "") or otherwise

    def _look_at_pause(self) -> None:
        """A body of unsaid length has ended when nothing more comes."""
        pause_us = round(self._settings.pause_seconds * _US)
        if self._rest and self._now_us - self._last_byte_us >= pause_us:
            rest, self._rest = self._rest, b""
            self._host.buffer[: len(rest)] = rest
            self._take(len(rest), paused=True)

    # --- receiving -----------------------------------------------------------------------------

    def _drain(self) -> None:
        """Read what has come, up to the budget of a tick, and take it apart."""
        connection, view, turn = self._connection, self._host.view, self._turn
        assert connection is not None
        budget, piece = self._settings.session_budget_bytes, self._settings.piece_bytes
        received, more, self._is_cut = 0, True, False
        turn.begin()
        while more and self._connection is connection:
            rest = self._rest
            view[: len(rest)] = rest
            room = view[: len(rest) + piece]
            filled, is_closed = fill(connection, room, len(rest), budget - received)
            received += filled - len(rest)
            more = filled == len(room)
            if filled > len(rest):
                if not self._note_arrival():
                    return
                self._take(filled)
            if is_closed and self._connection is connection:
                self._on_closed()
            if turn.is_used_up(received, more=more):
                self._is_cut, more = self._connection is connection, False
        self._after_drain(received)
        if turn.end():
            self.end(EndCause.STREAM_UNSUPPORTED, "what comes takes too long to be taken apart")

    def _note_arrival(self) -> bool:
        """Stamp what was read, after it was read; whether it can be used.

        On a busy machine it may have come long after the tick began, and a frame must never seem
        to have come before it was taken: the earliest frame fixes the time of all.
        """
        clocks = self._environment
        self._now_us, self._wall_us = clocks.monotonic.now_us(), clocks.wall.now_us()
        if self._was_away(self._now_us):
            return False
        self._last_byte_us = self._now_us
        if self._reception is not None:
            self._reception.note_time(self._wall_us, self._now_us)
            self._reception.is_behind = self._stalls.is_behind(self._now_us)
        return True

    def _after_drain(self, received: int) -> None:
        self._host.note_received(received, throttled=self._is_cut)
        self.is_hot = received >= self._settings.hot_bytes
        reception, watch = self._reception, self._watch
        if self.state is not State.PLAYING or reception is None or watch is None:
            return
        frames = reception.deliver(self._wall_us)
        watch.delivered(frames, reception, self._now_us)

    def _take(self, end: int, *, paused: bool = False) -> None:
        """Take ``buffer[0:end]`` apart; keep what is not whole."""
        demux, client = self._demux, self._client
        assert demux is not None
        assert client is not None
        start, garbage = 0, demux.garbage_bytes
        buffer = self._host.buffer
        try:
            while True:
                position = demux.consume(buffer, start, end, self._now_us, paused=paused)
                happened = client.take_events()
                if self._handle(happened):
                    return
                if not happened or position == end:
                    break
                start = position
        except RtspError as error:
            self.end(error.cause, error.detail)
            return
        if demux.garbage_bytes != garbage:
            self._host.note_garbage(demux.garbage_bytes - garbage)
        self._rest = bytes(self._host.view[position:end])
        if client.has_output or (self._connection is not None and self._connection.unsent_bytes):
            self._flush()

    def _handle(self, events: list[Event]) -> bool:
        """Act on events; whether this connection is over."""
        for event in events:
            if isinstance(event, Prepared):
                self._on_prepared(event)
            elif isinstance(event, Playing):
                self._on_playing(event)
            elif isinstance(event, Redirected):
                self._on_redirected(event)
                return True
            else:
                self.end(event.cause, event.detail)
                return True
        return False

    def _on_prepared(self, event: Prepared) -> None:
        assert self._demux is not None
        reception = Reception(event.track, self._sink, self._settings.limits)
        reception.note_time(self._wall_us, self._now_us)
        self._reception = reception
        self._control_channel = event.transport.control_channel
        self._demux.attach(reception, event.transport.media_channel, self._control_channel)

    def _on_playing(self, event: Playing) -> None:
        assert self._connection is not None
        assert self._address is not None
        self.state = State.PLAYING
        self._host.unwatch(self._connection)
        self._watch = Watch(self._settings, event.keep_alive_seconds, self._now_us)
        transport = "rtsps/tcp" if self._address.secure else "rtsp/tcp"
        self._sink.connected(ConnectionInfo(event.server, transport, event.has_audio))

    def _on_redirected(self, event: Redirected) -> None:
        if self.state is State.PLAYING:
            # Another stream with other times: no part of this session, nor of its run. The next
            # one asks where the camera is known to be, which sends it on if it must.
            self.end(EndCause.CLOSED_BY_CAMERA, "the camera sent the session elsewhere")
            return
        self._send_output()
        self._drop_connection()
        self._redirects += 1
        if self._redirects > self._settings.max_redirects:
            self.end(EndCause.STREAM_UNSUPPORTED, "redirected too many times")
        else:
            self._dial(event.target)

    def _on_closed(self) -> None:
        detail = "the camera closed the connection"
        if self.state is State.CONVERSING:
            detail += f" at {self._awaited('the start')}"
        self.end(EndCause.CLOSED_BY_CAMERA, detail)

    def control_packet(self, buffer: bytearray, offset: int, length: int) -> None:
        """RTCP came (called by the demultiplexer)."""
        if self._reception is not None:
            self._reception.control_packet(buffer, offset, length, self._wall_us, self._now_us)

    # --- timers --------------------------------------------------------------------------------

    def _look_at_timers(self) -> None:
        now_us, watch = self._now_us, self._watch
        assert self._reception is not None
        assert watch is not None
        if watch.is_report_due(now_us):
            self._send_report()
        if watch.is_keep_alive_due(now_us):
            assert self._client is not None
            self._client.keep_alive()
            self._flush()
        verdict = watch.verdict(now_us, is_foreign=self._reception.is_foreign)
        if verdict is not None:
            self.end(*verdict)

    def _send_report(self) -> None:
        assert self._reception is not None
        assert self._connection is not None
        report = self._reception.receiver_report(self._ssrc, self._now_us)
        if report is not None:
            header = bytes((0x24, self._control_channel)) + len(report).to_bytes(2, "big")
            self._connection.send(header + report)

    def _send_output(self) -> None:
        if self._connection is not None and self._client is not None:
            self._connection.send(self._client.take_output())

    def _flush(self) -> None:
        self._send_output()
        connection = self._connection
        if connection is not None and connection.unsent_bytes > self._settings.output_bytes:
            self.end(EndCause.CLOSED_BY_CAMERA, "the camera no longer reads what is sent to it")

    # --- the end -------------------------------------------------------------------------------

    def end(self, cause: EndCause, detail: str) -> None:
        """Deliver what is whole, say goodbye, tell the sink; once."""
        if self.state is State.ENDED:
            return
        was_playing = self.state is State.PLAYING
        self.state = State.ENDED
        reception = self._reception
        try:
            if reception is not None and was_playing:
                reception.finish(self._environment.wall.now_us())
            if self._client is not None:
                if cause is EndCause.STOPPED:
                    self._client.teardown()
                if self._client.has_output:  # also the answer to what has ended it
                    self._send_output()
        finally:
            self._finish(cause, self._scrub(detail))

    def fail(self) -> None:
        """An error of ours (already logged): end without touching the media again."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self._finish(EndCause.INGEST_DOWN, "an internal error; see the log")

    def _finish(self, cause: EndCause, detail: str) -> None:
        """Tell the sink whatever becomes of the connection: without that word nobody goes on."""
        try:
            self._drop_connection()
        finally:
            _log.info("session_ended", camera=self._source.camera, cause=cause.value, detail=detail)
            self._sink.ended(cause, detail)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._rest, self._reception, self._demux, self._is_cut = b"", None, None, False
        if self._dialler is not None:
            self._dialler.drop()
        if connection is not None:
            let_go(connection, self._host.unwatch)

    @property
    def camera(self) -> str:
        """For logs."""
        return self._source.camera

    @property
    def wants_ticks_often(self) -> bool:
        """Whether this one is drained at the live tick."""
        return self.is_hot or (self.state is State.PLAYING and self._sink.wants_frames)
