"""Events become an index, the index a timeline, the timeline footage: over real gRPC."""

import hashlib
import io
from itertools import pairwise
from pathlib import Path

import av
import grpc.aio
import pytest

from recording_footage import FPS, RecordedRun, numbers_in, read_number, record_run
from recording_rig import PURPOSE, Rig, reason_of, recording_rig, serving, window
from recording_support import RUN_A, RUN_B, SECOND, T0
from vigie.common.v1.types_pb2 import GapCause
from vigie.platform.grpc.testing import RunningHost
from vigie.recording.requests import timestamp
from vigie.recording.v1 import playback_pb2 as play_pb
from vigie.recording.v1 import recording_pb2 as pb
from vigie.recording.v1.playback_pb2_grpc import PlaybackServiceStub
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceStub

CAMERA = "cam-a"
FRAME_US = SECOND // FPS
GAP_START = T0 + 6 * SECOND
GAP_END = T0 + 10 * SECOND
END = GAP_END + 6 * SECOND


async def estate(rig: Rig, *, b_frames: int = 0, ppm: int = 0) -> tuple[RecordedRun, RecordedRun]:
    """Six seconds of footage, a gap of four with a cause, six seconds more."""
    await rig.camera(CAMERA, T0)
    first = record_run(CAMERA, RUN_A, T0, ppm=ppm, b_frames=b_frames)
    second = record_run(CAMERA, RUN_B, GAP_END, ppm=ppm, b_frames=b_frames)
    await rig.run(first)
    cause = GapCause.GAP_CAUSE_CLOSED_BY_CAMERA
    await rig.outage(CAMERA, first.end_us, GAP_END, cause)
    await rig.run(second)
    await rig.settle()
    return first, second


async def played(
    host: RunningHost, start_us: int, end_us: int | None = None, token: str = ""
) -> list[play_pb.PlayResponse]:
    request = play_pb.PlayRequest(
        camera=f"cameras/{CAMERA}",
        start_time=timestamp(start_us),
        purpose=PURPOSE,
        resume_token=token,
    )
    if end_us is not None:
        request.end_time.CopyFrom(timestamp(end_us))
    stub = PlaybackServiceStub(host.channel("all"))
    return [message async for message in stub.Play(request)]


def fragments(messages: list[play_pb.PlayResponse]) -> list[tuple[int, int, bytes]]:
    """(show start, show end, bytes) of every whole fragment."""
    found: list[tuple[int, int, bytes]] = []
    data = b""
    for message in messages:
        if message.HasField("fragment"):
            part = message.fragment
            assert part.offset == len(data)
            data += part.data
            assert part.last == (len(data) == part.size_bytes)
            if part.last:
                shown = (part.show_start_time, part.show_end_time)
                found.append((*(t.ToMicroseconds() for t in shown), data))
                data = b""
    return found


def headers(messages: list[play_pb.PlayResponse]) -> list[play_pb.PlayHeader]:
    return [m.header for m in messages if m.HasField("header")]


async def test_the_timeline_lists_what_was_stored_and_why_not(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        stub = RecordingServiceStub(host.channel("zone1"))
        request = pb.GetTimelineRequest(
            cameras=[f"cameras/{CAMERA}"], window=window(T0 - SECOND, END + 2 * SECOND)
        )
        answer = await stub.GetTimeline(request)
        told = [
            (
                pb.TimelineEntryKind.Name(e.kind)[20:],
                e.start_time.ToMicroseconds() - T0,
                e.end_time.ToMicroseconds() - T0,
                GapCause.Name(e.cause)[10:] if e.cause else e.run[:6],
            )
            for e in answer.timelines[0].entries
        ]
        assert told == [
            ("GAP", -SECOND, 0, "NOT_IN_SERVICE"),
            ("SPAN", 0, 6 * SECOND, RUN_A[:6]),
            ("GAP", 6 * SECOND, 10 * SECOND, "CLOSED_BY_CAMERA"),
            ("SPAN", 10 * SECOND, 16 * SECOND, RUN_B[:6]),
            ("GAP", 16 * SECOND, 17 * SECOND, "INGEST_DOWN"),
            ("FUTURE", 17 * SECOND, 18 * SECOND, ""),
        ]
        totals = await stub.GetCompleteness(
            pb.GetCompletenessRequest(window=window(T0, END), zones=["zones/zone-1"])
        )
        assert totals.cameras[0].expected.ToSeconds() == 16
        assert totals.cameras[0].stored.ToSeconds() == 12
        assert totals.zones[0].name == "zones/zone-1"
        assert totals.zones[0].missing[0].duration.ToSeconds() == 4


async def test_segments_are_listed_in_pages(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        first, second = await estate(rig)
        stub = RecordingServiceStub(host.channel("all"))
        request = pb.ListSegmentsRequest(
            camera=f"cameras/{CAMERA}", window=window(T0, END), page_size=4
        )
        page = await stub.ListSegments(request)
        request.page_token = page.next_page_token
        rest = await stub.ListSegments(request)
        assert not rest.next_page_token
        keys = [s.object_key for s in (*page.segments, *rest.segments)]
        assert keys == [s.key for s in (*first.segments, *second.segments)]
        assert page.segments[0].sha256 == first.segments[0].sha256
        assert page.segments[0].camera_clock_offset.ToMicroseconds() == -1500
        request.window.CopyFrom(window(T0, END - 1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSegments(request)
        assert reason_of(refused.value) == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("b_frames", [0, 2])
async def test_playback_shows_every_frame_once_and_tells_the_gap(
    tmp_path: Path, b_frames: int
) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig, b_frames=b_frames)
        messages = await played(host, T0)
        kinds = [m.WhichOneof("payload") for m in messages if not m.HasField("fragment")]
        assert kinds == ["header", "gap", "header", "gap", "end"]
        assert messages[-1].end.reason == play_pb.PLAY_END_REASON_WINDOW_END
        shown = fragments(messages)
        assert [start for start, _, _ in shown[:6]] == [T0 + n * SECOND for n in range(6)]
        assert all(a[1] == b[0] for a, b in pairwise(shown[:6]))
        for run, part in zip(headers(messages), (shown[:6], shown[6:]), strict=True):
            assert numbers_in(run.initialization + b"".join(d for _, _, d in part)) == [*range(150)]
        closing = host.recorder.entries[-1]
        assert closing.delivered_bytes == messages[-1].end.size_bytes


async def test_playback_begins_and_ends_at_any_instant(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        start, end = T0 + 2_340_001, T0 + 4_500_000
        shown = fragments(await played(host, start, end))
        assert (shown[0][0], shown[-1][1]) == (start, end)
        assert [s[0] for s in shown[1:]] == [T0 + 3 * SECOND, T0 + 4 * SECOND]


async def test_a_playback_resumes_after_any_message(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        messages = await played(host, T0 + 500_000)
        whole = [data for _, _, data in fragments(messages)]
        tokens = [(i, m.resume_token) for i, m in enumerate(messages) if m.resume_token]
        assert len(tokens) > 10
        for position, token in tokens:
            before = fragments(messages[: position + 1])
            after = fragments(await played(host, T0, token=token))
            assert [d for _, _, d in (*before, *after)] == whole


async def test_a_token_of_another_camera_is_refused(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        await rig.camera("cam-b", T0)
        await rig.settle()
        token = (await played(host, T0))[0].resume_token
        request = play_pb.PlayRequest(camera="cameras/cam-b", purpose=PURPOSE, resume_token=token)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            _ = [m async for m in PlaybackServiceStub(host.channel("all")).Play(request)]
        assert reason_of(refused.value) == "RESUME_TOKEN_INVALID"


async def clip(
    host: RunningHost, start_us: int, end_us: int
) -> tuple[list[bytes], play_pb.ClipEnd]:
    request = play_pb.GetClipRequest(
        camera=f"cameras/{CAMERA}", window=window(start_us, end_us), purpose=PURPOSE
    )
    files: list[bytes] = []
    end = play_pb.ClipEnd()
    async for message in PlaybackServiceStub(host.channel("all")).GetClip(request):
        if message.HasField("file"):
            files.append(b"")
            announced = message.file.size_bytes
        elif message.HasField("file_end"):
            assert len(files[-1]) == announced
            assert message.file_end.sha256 == hashlib.sha256(files[-1]).hexdigest()
        elif message.HasField("end"):
            end = message.end
        else:
            files[-1] += message.data
    assert end.size_bytes == sum(map(len, files))
    assert end.sha256 == hashlib.sha256(b"".join(files)).hexdigest()
    return files, end


@pytest.mark.parametrize("b_frames", [0, 2])
async def test_a_clip_is_one_file_with_exactly_the_frames_of_its_window(
    tmp_path: Path, b_frames: int
) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig, b_frames=b_frames)
        files, end = await clip(host, T0 + 2_200_000, GAP_END + 1_200_000)
        assert len(files) == 1
        lasts = (GAP_END + 1_200_000 - T0 - 2_200_000) * 9 // 100
        assert numbers_in(files[0], duration_ticks=lasts) == [*range(55, 150), *range(30)]
        assert [g.cause for g in end.gaps] == [GapCause.GAP_CAUSE_CLOSED_BY_CAMERA]
        with av.open(io.BytesIO(files[0])) as container:
            times = [f.time for f in container.decode(video=0) if f.pts >= 0]
        after_gap = times[95]
        assert after_gap is not None
        assert abs(after_gap - 7.8) < 0.001, "the gap lasts as long as it lasted"


async def test_a_clip_over_a_change_of_parameters_misses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await rig.camera(CAMERA, T0)
        first = record_run(CAMERA, RUN_A, T0)
        second = record_run(CAMERA, RUN_B, first.end_us, level="4.1")
        await rig.run(first)
        await rig.run(second)
        await rig.settle()
        files, _ = await clip(host, T0 + 5 * SECOND, T0 + 7 * SECOND)
        shown = [number for file in files for number in numbers_in(file)]
        assert shown == [*range(125, 150), *range(25)]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("frame", [0, 1, 24, 25, 49, 74, 149])
async def test_a_snapshot_is_the_frame_on_display(
    tmp_path: Path, b_frames: int, frame: int
) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig, b_frames=b_frames, ppm=300)
        exact = T0 + frame * FRAME_US * 1_000_300 // SECOND
        for instant in (exact + 2, exact + FRAME_US - 2):
            request = play_pb.GetSnapshotRequest(
                camera=f"cameras/{CAMERA}", time=timestamp(instant), purpose=PURPOSE
            )
            still = await PlaybackServiceStub(host.channel("all")).GetSnapshot(request)
            with av.open(io.BytesIO(still.image)) as container:
                luma = next(container.decode(video=0)).to_ndarray(format="gray")
            assert read_number(luma) == frame
            assert abs(still.frame_time.ToMicroseconds() - exact) <= 1


async def test_a_snapshot_can_be_small_and_knows_of_gaps(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        stub = PlaybackServiceStub(host.channel("all"))
        request = play_pb.GetSnapshotRequest(
            camera=f"cameras/{CAMERA}", time=timestamp(T0), max_width=96, purpose=PURPOSE
        )
        still = await stub.GetSnapshot(request)
        assert (still.width, still.height) == (96, 32)
        request.time.CopyFrom(timestamp(GAP_START + SECOND))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetSnapshot(request)
        assert reason_of(refused.value) == "NO_FOOTAGE"
        assert "CLOSED_BY_CAMERA" in (refused.value.details() or "")
