"""Try one source through an engine: what it sends, or the exact reason why nothing came."""

import asyncio
import itertools
import statistics
from dataclasses import dataclass
from typing import Final

from vigie.ingest.engine import (
    TIMESCALE,
    CodecParameters,
    ConnectionInfo,
    EndCause,
    Engine,
    FrameGroup,
    LiveFrames,
    SenderReport,
    SourceSpec,
)
from vigie.ingest.timekeeping import ticks_to_us

_GROUPS: Final = 3
_GROUPS_WITH_CLOCK: Final = 2
_CLOSING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        cause: why there is no usable video; ``None``: there is.
        detail: one line for the operator, free of credentials; may be empty.
        server: what the other side calls itself; may be empty.
        transport: see `ConnectionInfo.transport`; empty when it never played.
        has_audio: whether sound is offered (it would not be recorded).
        parameters: of the codec; ``None`` when no key frame came.
        frames_per_second: by the timestamps; ``None`` with fewer than two frames.
        key_frame_interval_seconds: ``None`` when no two key frames came.
        bitrate_bps: of the video; ``None`` with fewer than two frames.
        camera_clock_offset_us: camera minus receiver; ``None`` when the camera did not say.
    """

    cause: EndCause | None
    detail: str = ""
    server: str = ""
    transport: str = ""
    has_audio: bool = False
    parameters: CodecParameters | None = None
    frames_per_second: float | None = None
    key_frame_interval_seconds: float | None = None
    bitrate_bps: int | None = None
    camera_clock_offset_us: int | None = None


class _ProbeSink:
    """Collects until enough is known; called from the engine's thread."""

    wants_frames = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.enough = asyncio.Event()
        self.over = asyncio.Event()
        self.info: ConnectionInfo | None = None
        self.coded_with: CodecParameters | None = None
        self.groups: list[FrameGroup] = []
        self.report: SenderReport | None = None
        self.problem: tuple[EndCause, str] | None = None

    def _set(self, event: asyncio.Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    def connected(self, info: ConnectionInfo) -> None:
        self.info = info

    def parameters(self, parameters: CodecParameters) -> None:
        self.coded_with = parameters
        self.groups.clear()  # what is measured belongs to one set of parameters

    def frames(self, frames: LiveFrames) -> None:
        """Not asked for."""

    def group(self, group: FrameGroup) -> None:
        if len(self.groups) < _GROUPS:
            group.frames = ()  # only its numbers are of interest
            self.groups.append(group)
        whole = sum(known.next_ticks is not None for known in self.groups)
        if whole >= _GROUPS or (whole >= _GROUPS_WITH_CLOCK and self.report is not None):
            self._set(self.enough)

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        self.problem = (cause, detail)
        self.groups.clear()

    def sender_report(self, report: SenderReport) -> None:
        self.report = report

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        """Counted by group."""

    def ended(self, cause: EndCause, detail: str) -> None:
        if cause is not EndCause.STOPPED:
            self.problem = (cause, detail)
        self._set(self.enough)
        self._set(self.over)


async def probe(engine: Engine, source: SourceSpec, *, timeout_seconds: float) -> ProbeReport:
    """Receive for a few key-frame intervals and say what came.

    Args:
        engine: started.
        source: what to try.
        timeout_seconds: after this, what is known is reported (within two seconds more).
    """
    sink = _ProbeSink(asyncio.get_running_loop())
    session = engine.open(source, sink)
    try:
        await _wait(sink.enough, timeout_seconds)
    finally:
        session.close()
    # The group under way comes with the end; it may be all there is.
    await _wait(sink.over, _CLOSING_SECONDS)
    return _summary(sink, timeout_seconds)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return  # what is known by now is reported


def _summary(sink: _ProbeSink, timeout_seconds: float) -> ProbeReport:
    groups = [group for group in sink.groups if len(group.presentation_ticks)]
    info = sink.info or ConnectionInfo("", "")
    cause, detail = _verdict(sink, groups, timeout_seconds)
    ticks = sorted(tick for group in groups for tick in group.presentation_ticks)
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    seconds = (sum(steps) + statistics.median(steps)) / TIMESCALE if any(steps) else 0.0
    size_bytes = sum(group.size_bytes for group in groups)
    intervals = [
        group.next_ticks - min(group.presentation_ticks)
        for group in groups
        if group.next_ticks is not None
    ]
    return ProbeReport(
        cause=cause,
        detail=detail,
        server=info.server,
        transport=info.transport,
        has_audio=info.has_audio,
        parameters=sink.coded_with,
        frames_per_second=len(ticks) / seconds if seconds else None,
        key_frame_interval_seconds=statistics.median(intervals) / TIMESCALE if intervals else None,
        bitrate_bps=round(size_bytes * 8 / seconds) if seconds else None,
        camera_clock_offset_us=_clock_offset(sink.report, groups),
    )


def _verdict(
    sink: _ProbeSink, groups: list[FrameGroup], timeout_seconds: float
) -> tuple[EndCause | None, str]:
    if groups:
        return None, sink.problem[1] if sink.problem is not None else ""
    if sink.problem is not None:
        return sink.problem
    if sink.info is None:
        return EndCause.CAMERA_UNREACHABLE, f"not playing within {timeout_seconds:g} s"
    return EndCause.CAMERA_SILENT, f"it plays, but no key frame came within {timeout_seconds:g} s"


def _clock_offset(report: SenderReport | None, groups: list[FrameGroup]) -> int | None:
    """Camera minus receiver, by the least delayed frame (``docs/design/time.md``)."""
    if report is None or not groups:
        return None
    least = min(
        arrival - ticks_to_us(tick)
        for group in groups
        for arrival, tick in zip(group.arrival_us, group.presentation_ticks, strict=True)
    )
    return report.camera_us - ticks_to_us(report.ticks) - least
