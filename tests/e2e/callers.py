"""What people do with footage, as small functions over the contracts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeVar

import grpc.aio

from e2e.harness import WALL, Installation, until
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, events_pb2
from vigie.common.v1 import types_pb2
from vigie.ingest.v1 import live_pb2, live_pb2_grpc
from vigie.platform.grpc.client import ClientError
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc, recording_pb2, recording_pb2_grpc

T = TypeVar("T")
PURPOSE: Final = types_pb2.Purpose(text="Essai de bout en bout", case_reference="ESSAI-1")
SPAN: Final = recording_pb2.TIMELINE_ENTRY_KIND_SPAN
GAP: Final = recording_pb2.TIMELINE_ENTRY_KIND_GAP


def window(start_us: int, end_us: int) -> types_pb2.TimeWindow:
    """A window of two instants in microseconds since the Unix epoch."""
    made = types_pb2.TimeWindow()
    made.start_time.FromMicroseconds(start_us)
    made.end_time.FromMicroseconds(end_us)
    return made


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a timeline."""

    kind: int
    start_us: int
    end_us: int
    cause: str
    run: str
    detail: str


async def timelines(
    vigie: Installation, cameras: Iterable[str], start_us: int, end_us: int | None = None
) -> dict[str, list[Entry]]:
    """Camera -> its timeline; checks that each covers the window without holes or overlaps."""
    stub = vigie.stub(recording_pb2_grpc.RecordingServiceStub, "recording", person="operateur")
    request = recording_pb2.GetTimelineRequest(
        cameras=[f"cameras/{camera}" for camera in cameras],
        window=window(start_us, end_us or WALL.now_us()),
    )
    found: dict[str, list[Entry]] = {}
    while True:
        answer = await stub.GetTimeline(request)
        for told in answer.timelines:
            entries = found.setdefault(told.camera.removeprefix("cameras/"), [])
            entries += [_entry(entry) for entry in told.entries]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    for entries in found.values():
        _assert_whole(entries, start_us, request.window.end_time.ToMicroseconds())
    return found


async def timeline(
    vigie: Installation, camera: str, start_us: int, end_us: int | None = None
) -> list[Entry]:
    """The timeline of one camera, see `timelines`."""
    return (await timelines(vigie, [camera], start_us, end_us))[camera]


def _entry(entry: recording_pb2.TimelineEntry) -> Entry:
    return Entry(
        entry.kind,
        entry.start_time.ToMicroseconds(),
        entry.end_time.ToMicroseconds(),
        types_pb2.GapCause.Name(entry.cause).removeprefix("GAP_CAUSE_"),
        entry.run,
        entry.detail,
    )


def _assert_whole(entries: list[Entry], start_us: int, end_us: int) -> None:
    assert entries[0].start_us == start_us
    assert entries[-1].end_us == end_us
    spans = [entry for entry in entries if entry.kind == SPAN]
    others = [entry for entry in entries if entry.kind != SPAN]
    for before, after in pairwise(entries):
        assert after.start_us <= before.end_us, (before, after)
    for other in others:  # two runs may overlap each other for a moment; nothing overlaps a gap
        assert not any(s.start_us < other.end_us and other.start_us < s.end_us for s in spans)


_TRY_AGAIN: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)


async def stored_until(
    vigie: Installation,
    cameras: Iterable[str],
    since_us: int,
    instant_us: int,
    *,
    seconds: float = 180,
) -> dict[str, int]:
    """Wait until footage of every camera beyond an instant is stored; camera -> its end."""
    ends: dict[str, int] = {}
    waiting = set(cameras)

    async def stored() -> bool:
        try:
            found = await timelines(vigie, sorted(waiting), since_us)
        except grpc.aio.AioRpcError as error:
            # Of services apart, one learns from the log what another has been told; and where the
            # log is broken, who asks is refused for a moment and asks again.
            if error.code() not in _TRY_AGAIN:
                raise
            return False
        for camera, entries in found.items():
            end_us = max((entry.end_us for entry in entries if entry.kind == SPAN), default=0)
            if end_us >= instant_us:
                ends[camera] = end_us
                waiting.discard(camera)
        return not waiting

    try:
        await until(stored, "footage is stored", seconds=seconds)
    except TimeoutError as error:
        raise TimeoutError(f"{error} of {sorted(waiting)}") from error
    return ends


async def recorded_from(vigie: Installation, cameras: Iterable[str], since_us: int) -> int:
    """The first instant from which footage of every camera is listed."""
    found = await timelines(vigie, cameras, since_us)
    return max(
        next(entry.start_us for entry in entries if entry.kind == SPAN)
        for entries in found.values()
    )


async def segments(
    vigie: Installation, camera: str, start_us: int, end_us: int, *, page_size: int = 7
) -> list[recording_pb2.Segment]:
    """What is stored of a camera in a window, in order of time."""
    stub = vigie.stub(recording_pb2_grpc.RecordingServiceStub, "recording", person="operateur")
    request = recording_pb2.ListSegmentsRequest(
        camera=f"cameras/{camera}", window=window(start_us, end_us), page_size=page_size
    )
    found: list[recording_pb2.Segment] = []
    while True:
        answer = await stub.ListSegments(request)
        found += answer.segments
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


@dataclass(slots=True)
class Fragment:
    """A key-frame interval as `Play` delivered it."""

    initialization: bytes
    data: bytes
    start_us: int
    duration_us: int
    show_start_us: int
    show_end_us: int


@dataclass(slots=True)
class Played:
    """Everything `Play` delivered."""

    fragments: list[Fragment] = field(default_factory=list)
    gaps: list[playback_pb2.PlayGap] = field(default_factory=list)
    end: playback_pb2.PlayEnd | None = None
    tokens: list[str] = field(default_factory=list)


async def play(
    vigie: Installation,
    camera: str,
    start_us: int,
    end_us: int,
    *,
    person: str = "operateur",
    resume_token: str = "",
) -> Played:
    """`Play` of a window to its end."""
    stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person=person)
    request = playback_pb2.PlayRequest(camera=f"cameras/{camera}", purpose=PURPOSE)
    request.start_time.FromMicroseconds(start_us)
    request.end_time.FromMicroseconds(end_us)
    request.resume_token = resume_token
    played, header, data = Played(), b"", bytearray()
    async for message in stub.Play(request):
        kind = message.WhichOneof("payload")
        if kind == "header":
            header = message.header.initialization
        elif kind == "fragment":
            part = message.fragment
            assert part.offset == len(data)
            data += part.data
            if part.last:
                assert len(data) == part.size_bytes
                played.fragments.append(_fragment(header, bytes(data), part))
                played.tokens.append(message.resume_token)
                data.clear()
        elif kind == "gap":
            played.gaps.append(message.gap)
        elif kind == "end":
            played.end = message.end
    return played


def _fragment(header: bytes, data: bytes, part: playback_pb2.PlayFragment) -> Fragment:
    return Fragment(
        header,
        data,
        part.start_time.ToMicroseconds(),
        part.duration.ToMicroseconds(),
        part.show_start_time.ToMicroseconds(),
        part.show_end_time.ToMicroseconds(),
    )


@dataclass(slots=True)
class ClipFile:
    """One file of a clip."""

    info: playback_pb2.ClipFile
    data: bytes
    sha256: str


async def clip(
    vigie: Installation, camera: str, start_us: int, end_us: int, *, person: str = "enqueteur"
) -> list[ClipFile]:
    """`GetClip` of a window: its files."""
    stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person=person)
    request = playback_pb2.GetClipRequest(
        camera=f"cameras/{camera}", window=window(start_us, end_us), purpose=PURPOSE
    )
    files: list[ClipFile] = []
    async for message in stub.GetClip(request):
        kind = message.WhichOneof("payload")
        if kind == "file":
            files.append(ClipFile(message.file, b"", ""))
        elif kind == "data":
            files[-1].data += message.data
        elif kind == "file_end":
            files[-1].sha256 = message.file_end.sha256
        elif kind == "end":
            assert message.end.file_count == len(files)
    return files


async def watch_live(
    vigie: Installation, camera: str, *, person: str = "operateur"
) -> AsyncIterator[live_pb2.WatchLiveResponse]:
    """`WatchLive` until the caller has seen enough."""
    stub = vigie.stub(live_pb2_grpc.LiveServiceStub, "ingest", person=person)
    call = stub.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{camera}", purpose=PURPOSE))
    try:
        async for message in call:
            yield message
    finally:
        call.cancel()


async def accesses(
    vigie: Installation, *, person: str = "controle", **filters: Any
) -> list[events_pb2.AccessRecord]:
    """Records of the access log, newest first."""
    stub = vigie.stub(audit_service_pb2_grpc.AuditServiceStub, "audit", person=person)
    request = audit_service_pb2.SearchAccessesRequest(
        filter=audit_service_pb2.AccessFilter(**filters), page_size=200
    )
    answer = await stub.SearchAccesses(request)
    return [access.record for access in answer.accesses]


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call until somebody answers: what is not idempotent is not repeated by the product."""

    async def answered() -> T | None:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None

    return await until(answered, "somebody answers")


async def failure_of(call: Awaitable[object] | AsyncIterator[object]) -> ClientError:
    """The error a call ends with.

    Raises:
        AssertionError: it succeeded.
    """
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall | AsyncIterator):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return ClientError.of(error)
    raise AssertionError("the call succeeded")
