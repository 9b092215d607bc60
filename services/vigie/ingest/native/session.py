"""One camera, from its address to the end, driven by its reactor's thread.

Steps: resolve, connect (TCP, TLS), converse (OPTIONS to PLAY), receive in ticks, end. A redirect
goes back to the first step. Whatever happens, the sink gets the whole frames of the last group
and then ``ended``, exactly once.
"""

import secrets
from enum import Enum, auto
from typing import Final, Protocol

import structlog

from vigie.ingest.engine import ConnectionInfo, EndCause, SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection, Progress
from vigie.ingest.native.demux import Demultiplexer
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.resolver import Resolved, SocketAddress
from vigie.ingest.rtsp import address as addresses
from vigie.ingest.rtsp.auth import Authenticator
from vigie.ingest.rtsp.client import Event, Playing, Prepared, Redirected, RtspClient
from vigie.ingest.rtsp.errors import RtspError

_US: Final = 1_000_000
_NEVER: Final = 1 << 62
_log = structlog.get_logger("vigie.ingest.native")


class State(Enum):
    """Where a session is."""

    RESOLVING = auto()
    CONNECTING = auto()
    CONVERSING = auto()
    PLAYING = auto()
    ENDED = auto()


class Host(Protocol):
    """What a session needs of its reactor."""

    buffer: bytearray
    view: memoryview

    def call_soon(self, session: "NativeSession", outcome: Resolved, attempt: int) -> None:
        """From any thread: hand ``outcome`` to `NativeSession.resolved` in the reactor's."""
        ...

    def watch(self, connection: Connection, session: "NativeSession", progress: Progress) -> None:
        """Wake the session when the socket is ready for what is wanted."""
        ...

    def unwatch(self, connection: Connection) -> None:
        """Leave the socket to the ticks."""
        ...

    def wake(self) -> None:
        """From any thread: look after the sessions now."""
        ...

    def note_received(self, size_bytes: int, *, throttled: bool) -> None:
        """Count what a drain received, and whether it used up its budget."""
        ...

    def note_garbage(self, size_bytes: int) -> None:
        """Count what was skipped."""
        ...


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
        self._scrub = addresses.Scrubber(source.password)
        self._ssrc = secrets.randbits(32)
        self._address: addresses.Address | None = None
        self._targets: list[SocketAddress] = []
        self._connection: Connection | None = None
        self._client: RtspClient | None = None
        self._demux: Demultiplexer | None = None
        self._reception: Reception | None = None
        self._rest = b""  # a packet or message that is not whole yet
        self._redirects = 0
        self._attempt = 0
        self._deadline_us = _NEVER  # of connecting or conversing
        self._last_byte_us = 0
        self._last_packet_us = self._last_frame_us = 0
        self._media_packets = 0
        self._keep_alive_us = 0
        self._next_keep_alive_us = self._next_report_us = _NEVER
        self._goodbye_us = _NEVER
        self._now_us = self._wall_us = 0
        self._control_channel = 1
        self.state = State.RESOLVING
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
        try:
            address = addresses.parse(self._source.uri)
        except RtspError as error:
            self.end(error.cause, error.detail)
            return
        self._resolve(address)

    def _resolve(self, address: addresses.Address) -> None:
        self._address = address
        self._attempt += 1
        attempt = self._attempt
        self.state = State.RESOLVING
        self._set_deadline(self._settings.connect_timeout_seconds)
        self._environment.resolver.resolve(
            address.host, address.port, lambda found: self._host.call_soon(self, found, attempt)
        )

    def resolved(self, found: Resolved, attempt: int) -> None:
        """Step 2: connect to the first address."""
        if self.state is not State.RESOLVING or attempt != self._attempt:
            return
        if isinstance(found, str):
            self.end(EndCause.CAMERA_UNREACHABLE, found)
            return
        self._targets = found
        self._connect()

    def _connect(self) -> None:
        address, environment = self._address, self._environment
        assert address is not None
        self.state = State.CONNECTING
        self._set_deadline(self._settings.connect_timeout_seconds)
        target = self._targets.pop(0)
        try:
            tls = environment.tls(verify=self._source.verify_tls) if address.secure else None
            connection = Connection(target, tls, address.host, environment.kernel_buffer_bytes)
        except OSError as error:
            self._try_next(f"no socket ({type(error).__name__})")
            return
        self._connection = connection
        self._host.watch(connection, self, Progress.WANTS_WRITE)
        self._advance()

    def _try_next(self, detail: str) -> None:
        self._drop_connection()
        if self._targets:
            self._connect()
        else:
            self.end(EndCause.CAMERA_UNREACHABLE, detail)

    def _advance(self) -> None:
        """Step 3: TCP and TLS, then the conversation."""
        connection = self._connection
        assert connection is not None
        try:
            progress = connection.advance()
        except RtspError as error:
            self._try_next(error.detail)
            return
        if progress is not Progress.READY:
            self._host.watch(connection, self, progress)
            return
        self._converse(connection)

    def _converse(self, connection: Connection) -> None:
        address, source = self._address, self._source
        assert address is not None
        own = addresses.parse(source.uri)
        username = source.username or own.username
        password = source.password if source.username else own.password
        if not self._may_tell(own, address):
            username = password = ""
        self._client = RtspClient(address, Authenticator(username, password), self._scrub)
        self._demux = Demultiplexer(self._client, self, self._settings.garbage_bytes)
        self.state = State.CONVERSING
        self._set_deadline(self._settings.handshake_timeout_seconds)
        self._host.watch(connection, self, Progress.WANTS_READ)
        self._client.start()
        self._flush()

    @staticmethod
    def _may_tell(own: addresses.Address, target: addresses.Address) -> bool:
        """Whether the password may be used there: a redirect must not carry it to another host."""
        return own.host == target.host

    # --- events --------------------------------------------------------------------------------

    def on_ready(self, now_us: int, wall_us: int) -> None:
        """The watched socket is ready."""
        self._now_us, self._wall_us = now_us, wall_us
        if self.state is State.CONNECTING:
            self._advance()
        elif self.state is State.CONVERSING:
            self._drain()

    def on_tick(self, now_us: int, wall_us: int) -> None:
        """Look after timers; when playing, drain the socket."""
        self._now_us, self._wall_us = now_us, wall_us
        if self.is_closing:
            if self.state is State.PLAYING:
                self._drain()
            if self.state is not State.ENDED:
                self.end(EndCause.STOPPED, "")
        elif self.state is State.PLAYING:
            self._drain()
            if self.state is State.PLAYING:
                self._look_at_timers()
        elif now_us >= self._deadline_us:
            self._on_deadline()
        elif self.state is State.CONVERSING:
            self._look_at_pause()

    def _set_deadline(self, seconds: float) -> None:
        self._deadline_us = self._environment.monotonic.now_us() + round(seconds * _US)

    def _on_deadline(self) -> None:
        if self.state is State.RESOLVING:
            self.end(EndCause.CAMERA_UNREACHABLE, "the name was not resolved in time")
        elif self.state is State.CONNECTING:
            self._try_next("no answer to the connection in time")
        else:
            waits_for = self._client.waits_for if self._client is not None else ""
            self.end(EndCause.CAMERA_SILENT, f"no answer to {waits_for or 'the request'} in time")

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
        connection, view = self._connection, self._host.view
        assert connection is not None
        if self._reception is not None:
            self._reception.note_time(self._wall_us, self._now_us)
        budget, is_tls, size = self._settings.session_budget_bytes, connection.is_tls, len(view)
        received, more = 0, True
        while more and self._connection is connection:
            rest = self._rest
            filled = len(rest)
            view[:filled] = rest
            while True:
                count = connection.receive_into(view[filled:])
                if count <= 0:
                    more = False
                    break
                filled += count
                received += count
                if filled == size or received >= budget:
                    more = filled == size and received < budget
                    break
                if not is_tls:  # a short read has emptied the socket; asking again would cost
                    more = False
                    break
            if filled > len(rest):
                self._last_byte_us = self._now_us
                self._take(filled)
            if count == 0 and self._connection is connection:
                self._on_closed()
        self._after_drain(received, budget)

    def _after_drain(self, received: int, budget: int) -> None:
        self._host.note_received(received, throttled=received >= budget)
        self.is_hot = received >= self._settings.hot_bytes
        if self.state is State.ENDED or self._reception is None or self._client is None:
            return
        if self._client.is_playing:
            reception = self._reception
            if reception.deliver(self._wall_us) > 0:
                self._last_frame_us = self._now_us
            if reception.media_packets != self._media_packets:
                self._media_packets = reception.media_packets
                self._last_packet_us = self._now_us
                self._goodbye_us = _NEVER
                reception.said_goodbye = False

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
        self._host.note_garbage(demux.garbage_bytes - garbage)
        self._rest = bytes(self._host.view[position:end])
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
        transport = event.transport
        self._control_channel = transport.control_channel
        self._demux.attach(reception, transport.media_channel, transport.control_channel)

    def _on_playing(self, event: Playing) -> None:
        assert self._connection is not None
        assert self._address is not None
        self.state = State.PLAYING
        self._host.unwatch(self._connection)
        now_us = self._now_us
        self._last_packet_us = self._last_frame_us = now_us
        self._keep_alive_us = round(event.keep_alive_seconds * _US)
        self._next_keep_alive_us = now_us + self._keep_alive_us
        self._next_report_us = now_us + round(self._settings.receiver_report_seconds * _US)
        transport = "rtsps/tcp" if self._address.secure else "rtsp/tcp"
        self._sink.connected(ConnectionInfo(event.server, transport, event.has_audio))

    def _on_redirected(self, event: Redirected) -> None:
        self._drop_connection()
        self._redirects += 1
        if self._redirects > self._settings.max_redirects:
            self.end(EndCause.STREAM_UNSUPPORTED, "redirected too many times")
        else:
            self._resolve(event.target)

    def _on_closed(self) -> None:
        if self.state is State.CONVERSING:
            waits_for = self._client.waits_for if self._client is not None else ""
            detail = f"the camera closed the connection at {waits_for or 'the start'}"
        else:
            detail = "the camera closed the connection"
        self.end(EndCause.CLOSED_BY_CAMERA, detail)

    def control_packet(self, buffer: bytearray, offset: int, length: int) -> None:
        """RTCP came (called by the demultiplexer)."""
        if self._reception is None:
            return
        self._reception.control_packet(buffer, offset, length, self._wall_us, self._now_us)
        if self._reception.said_goodbye and self._goodbye_us == _NEVER:
            self._goodbye_us = self._now_us + round(self._settings.farewell_seconds * _US)

    # --- timers --------------------------------------------------------------------------------

    def _look_at_timers(self) -> None:
        now_us = self._now_us
        if now_us >= self._next_report_us:
            self._send_report()
        if now_us >= self._next_keep_alive_us:
            assert self._client is not None
            self._next_keep_alive_us = now_us + self._keep_alive_us
            self._client.keep_alive()
            self._flush()
        if now_us >= self._goodbye_us:
            self.end(EndCause.CLOSED_BY_CAMERA, "the camera said goodbye (RTCP BYE)")
        elif self._is_after(self._last_packet_us, self._settings.silence_timeout_seconds):
            seconds = self._settings.silence_timeout_seconds
            self.end(EndCause.CAMERA_SILENT, f"no media for {seconds:g} s")
        else:
            self._look_at_frames()

    def _look_at_frames(self) -> None:
        settings = self._settings
        assert self._reception is not None
        if self._is_after(self._last_frame_us, settings.frame_timeout_seconds):
            self.end(
                EndCause.CAMERA_SILENT,
                f"packets, but no whole frame for {settings.frame_timeout_seconds:g} s",
            )
        elif self._reception.is_foreign and self._is_after(
            self._last_frame_us, settings.foreign_timeout_seconds
        ):
            # A new conversation will tell what the camera sends now, e.g. after a codec change.
            self.end(EndCause.STREAM_UNSUPPORTED, "what comes cannot be decoded as announced")

    def _is_after(self, since_us: int, seconds: float) -> bool:
        return self._now_us - since_us >= seconds * _US

    def _send_report(self) -> None:
        self._next_report_us = self._now_us + round(self._settings.receiver_report_seconds * _US)
        assert self._reception is not None
        assert self._connection is not None
        report = self._reception.receiver_report(self._ssrc, self._now_us)
        if report is not None:
            header = bytes((0x24, self._control_channel)) + len(report).to_bytes(2, "big")
            self._connection.send(header + report)

    def _flush(self) -> None:
        if self._connection is None or self._client is None:
            return
        self._connection.send(self._client.take_output())
        if self._connection.unsent_bytes > self._settings.output_bytes:
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
            if cause is EndCause.STOPPED and self._client is not None:
                self._client.teardown()
                self._flush()
        finally:
            self._drop_connection()
            detail = self._scrub(detail)
            _log.info("session_ended", camera=self._source.camera, cause=cause.value, detail=detail)
            self._sink.ended(cause, detail)

    def fail(self) -> None:
        """An error of ours (already logged): end without touching the media again."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self._drop_connection()
        self._sink.ended(EndCause.INGEST_DOWN, "an internal error; see the log")

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._rest = b""
        self._reception = None
        self._demux = None
        if connection is not None:
            self._host.unwatch(connection)
            connection.close()

    @property
    def camera(self) -> str:
        """For logs."""
        return self._source.camera

    @property
    def wants_ticks_often(self) -> bool:
        """Whether this one is drained at the live tick."""
        return self.is_hot or (self.state is State.PLAYING and self._sink.wants_frames)
