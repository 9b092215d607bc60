"""What can be tuned in the native engine; the defaults are what was measured."""

from dataclasses import dataclass, field

from vigie.ingest.stall import STALL_SECONDS
from vigie.media.gop import Limits


@dataclass(frozen=True, slots=True)
class NativeSettings:
    """Intervals in seconds, sizes in bytes.

    Attributes:
        threads: receiving threads; one carries some hundred cameras, more only help where the
            interpreter runs them in parallel.
        tick_seconds: how often every socket is drained.
        live_tick_seconds: how often those are that somebody watches, or that come too fast.
        receive_buffer_bytes: shared by all sessions of a thread.
        session_budget_bytes: the most that one session is read in one tick; what comes faster
            waits in the kernel and slows its sender down, not its neighbours.
        piece_bytes: of which so much is read at a time, and the time looked at in between.
        turn_seconds: the most of the processor that one session uses in one tick; what is left
            waits, too.
        fair_turn_seconds: so much of it a session may use tick after tick; an ordinary one uses a
            tenth of it at most.
        overdraft_seconds: a session that owes more than this of what is fair ends.
        early_bytes: the most media that is kept before PLAY is answered.
        hot_bytes: a session that had this much waiting is drained at the live tick.
        kernel_buffer_bytes: asked of the kernel for each socket, where it grants that much.
        connect_timeout_seconds: name, TCP and TLS together, for each address tried.
        handshake_timeout_seconds: from the connection to PLAY.
        pause_seconds: after this long without a byte a body of unsaid length has ended.
        silence_timeout_seconds: without media for this long the camera is silent.
        frame_timeout_seconds: packets without a whole frame for this long are no video.
        foreign_timeout_seconds: the same after something that cannot be decoded came.
        farewell_seconds: how long media may fail to follow an RTCP BYE.
        receiver_report_seconds: interval of RTCP receiver reports.
        garbage_bytes: the most that is skipped in search of the next packet.
        output_bytes: the most that waits to be sent to a camera that does not read.
        max_redirects: in a row.
        stall_seconds: not looked at for this long, a session ends: when what waited came is
            not known.
        limits: bounds of what one camera can make us hold.
    """

    threads: int = 1
    tick_seconds: float = 0.1
    live_tick_seconds: float = 0.04
    receive_buffer_bytes: int = 1 << 20
    session_budget_bytes: int = 2 << 20
    piece_bytes: int = 128 << 10
    turn_seconds: float = 0.05
    fair_turn_seconds: float = 0.01
    overdraft_seconds: float = 2.0
    early_bytes: int = 4 << 20
    hot_bytes: int = 192 << 10
    kernel_buffer_bytes: int = 1 << 20
    connect_timeout_seconds: float = 5.0
    handshake_timeout_seconds: float = 10.0
    pause_seconds: float = 0.3
    silence_timeout_seconds: float = 10.0
    frame_timeout_seconds: float = 60.0
    foreign_timeout_seconds: float = 5.0
    farewell_seconds: float = 2.0
    receiver_report_seconds: float = 5.0
    garbage_bytes: int = 1 << 20
    output_bytes: int = 128 << 10
    max_redirects: int = 5
    stall_seconds: float = STALL_SECONDS
    limits: Limits = field(default_factory=lambda: Limits(gop_bytes=48 << 20))

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError("threads: at least one is needed")
        if not 0.005 <= self.live_tick_seconds <= self.tick_seconds <= 1:  # noqa: PLR2004 - below 5 ms it is polling, above 1 s timestamps are worthless
            raise ValueError("tick_seconds: 0.005 <= live_tick_seconds <= tick_seconds <= 1")
        # A packet is at most 64 KiB, an RTSP message 288 KiB; both must fit behind a remainder.
        if self.receive_buffer_bytes < 512 << 10:
            raise ValueError("receive_buffer_bytes: at least 512 KiB")
