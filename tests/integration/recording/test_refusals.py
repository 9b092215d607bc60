"""What is refused, with its reason and field; who may see what; what a zombie does."""

from itertools import pairwise
from pathlib import Path

import grpc.aio
import pytest

from recording_footage import RecordedRun, numbers_in, record_run
from recording_rig import PURPOSE, Rig, reason_of, recording_rig, serving, window
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.common.v1.types_pb2 import Purpose
from vigie.recording.requests import timestamp
from vigie.recording.v1 import playback_pb2 as play_pb
from vigie.recording.v1 import recording_pb2 as pb
from vigie.recording.v1.playback_pb2_grpc import PlaybackServiceStub
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceStub

CAMERA = "cam-a"
NAME = f"cameras/{CAMERA}"
NOW = T0 + 60 * SECOND


async def estate(rig: Rig) -> RecordedRun:
    await rig.camera(CAMERA, T0 - DAY)
    run = record_run(CAMERA, RUN_A, T0)
    await rig.run(run)
    await rig.settle()
    return run


TIMELINES = [
    (pb.GetTimelineRequest(cameras=["cam-a"], window=window(T0, NOW)), "CAMERA_NAME_INVALID"),
    (pb.GetTimelineRequest(cameras=[NAME, NAME], window=window(T0, NOW)), "TOO_MANY_CAMERAS"),
    (
        pb.GetTimelineRequest(cameras=[f"cameras/c{n}" for n in range(65)], window=window(T0, NOW)),
        "TOO_MANY_CAMERAS",
    ),
    (pb.GetTimelineRequest(cameras=[NAME], window=window(T0, T0 + 32 * DAY)), "WINDOW_TOO_LONG"),
    (
        pb.GetTimelineRequest(cameras=["cameras/nowhere"], window=window(T0, NOW)),
        "CAMERA_NOT_FOUND",
    ),
    (
        pb.GetTimelineRequest(cameras=[NAME], window=window(T0, NOW), page_token="x"),
        "PAGE_TOKEN_INVALID",
    ),
]


@pytest.mark.parametrize(("request_", "reason"), TIMELINES)
async def test_a_wrong_request_for_a_timeline_names_its_reason(
    tmp_path: Path, request_: pb.GetTimelineRequest, reason: str
) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await RecordingServiceStub(host.channel("all")).GetTimeline(request_)
        assert reason_of(refused.value) == reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (play_pb.PlayRequest(camera=NAME, start_time=timestamp(T0)), "PURPOSE_REQUIRED"),
        (
            play_pb.PlayRequest(
                camera=NAME, start_time=timestamp(T0), purpose=Purpose(text="  x ")
            ),
            "PURPOSE_REQUIRED",
        ),
        (
            play_pb.PlayRequest(camera=NAME, start_time=timestamp(NOW + 1), purpose=PURPOSE),
            "WINDOW_IN_FUTURE",
        ),
        (play_pb.PlayRequest(camera=NAME, purpose=PURPOSE), "WINDOW_REVERSED"),
        (
            play_pb.PlayRequest(
                camera=NAME, start_time=timestamp(T0 + 2), end_time=timestamp(T0), purpose=PURPOSE
            ),
            "WINDOW_REVERSED",
        ),
    ],
)
async def test_a_wrong_request_for_playback_is_refused_and_recorded(
    tmp_path: Path, request_: play_pb.PlayRequest, reason: str
) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            _ = [m async for m in PlaybackServiceStub(host.channel("all")).Play(request_)]
        assert reason_of(refused.value) == reason
        assert host.recorder.entries[-1].reason == reason


@pytest.mark.parametrize("camera", [NAME, "cameras/nowhere"])
async def test_another_zone_learns_nothing_not_even_whether_a_camera_exists(
    tmp_path: Path, camera: str
) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        request = play_pb.PlayRequest(camera=camera, start_time=timestamp(T0), purpose=PURPOSE)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            _ = [m async for m in PlaybackServiceStub(host.channel("zone2")).Play(request)]
        assert reason_of(refused.value) == "PERMISSION_DENIED"
        assert "footage.play" in (refused.value.details() or "")
        totals = await RecordingServiceStub(host.channel("zone2")).GetCompleteness(
            pb.GetCompletenessRequest(window=window(T0, NOW))
        )
        assert not totals.cameras


async def test_footage_of_a_moved_camera_stays_with_the_zone_it_was_recorded_in(
    tmp_path: Path,
) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        await rig.camera(CAMERA, T0 + 30 * SECOND, revision=2, zone="zone-2")
        await rig.settle()
        request = pb.GetTimelineRequest(cameras=[NAME], window=window(T0, T0 + 10 * SECOND))
        await RecordingServiceStub(host.channel("zone1")).GetTimeline(request)
        with pytest.raises(grpc.aio.AioRpcError):
            await RecordingServiceStub(host.channel("zone2")).GetTimeline(request)


async def test_evidence_is_told_where_a_camera_stood_and_nobody_else(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        await rig.camera(CAMERA, T0 + 30 * SECOND, revision=2, zone="zone-2")
        await rig.camera(CAMERA, T0 + 40 * SECOND, revision=3, zone="zone-1")
        await rig.settle()

        async def zones(caller: str, start_us: int, end_us: int) -> list[list[str]]:
            request = pb.GetCameraZonesRequest(
                cameras=[NAME, "cameras/nowhere"], window=window(start_us, end_us)
            )
            answer = await RecordingServiceStub(host.channel(caller)).GetCameraZones(request)
            assert [each.camera for each in answer.cameras] == [NAME, "cameras/nowhere"]
            return [list(each.zones) for each in answer.cameras]

        assert await zones("evidence", T0, T0 + 10 * SECOND) == [["zones/zone-1"], []]
        assert await zones("evidence", T0 + 30 * SECOND, T0 + 35 * SECOND) == [["zones/zone-2"], []]
        moved = ["zones/zone-1", "zones/zone-2", "zones/zone-1"]
        assert await zones("evidence", T0, NOW) == [moved, []]
        before_it_was_known = T0 - 30 * DAY
        assert await zones("evidence", before_it_was_known, before_it_was_known + SECOND) == [
            ["zones/zone-1"],
            [],
        ]
        for caller, reason in (("all", "METHOD_INTERNAL"), ("audit", "SERVICE_NOT_PERMITTED")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await zones(caller, T0, NOW)
            assert reason_of(refused.value) == reason


async def test_a_play_and_its_purpose_are_on_record_before_and_after(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        run = await estate(rig)
        request = play_pb.PlayRequest(
            camera=NAME,
            start_time=timestamp(T0),
            end_time=timestamp(run.end_us),
            purpose=PURPOSE,
        )
        _ = [m async for m in PlaybackServiceStub(host.channel("zone1")).Play(request)]
        opened, closed = host.recorder.entries[-2:]
        assert (opened.objects, opened.zones) == ((NAME,), ("zone-1",))
        assert opened.purpose == PURPOSE.text
        assert opened.case_reference == PURPOSE.case_reference
        assert opened.window_us == (T0, run.end_us)
        assert closed.delivered_until_us == run.end_us


async def test_two_runs_at_once_are_shown_once(tmp_path: Path) -> None:
    """A process that was thought dead recorded on: nothing is doubled, nothing is lost."""
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await rig.camera(CAMERA, T0 - DAY)
        first = record_run(CAMERA, RUN_A, T0)
        zombie = record_run(CAMERA, RUN_B, T0 + 4_500_000)
        await rig.run(first)
        await rig.run(zombie)
        await rig.settle()
        stub = PlaybackServiceStub(host.channel("all"))
        request = play_pb.PlayRequest(camera=NAME, start_time=timestamp(T0), purpose=PURPOSE)
        shown = [
            (m.fragment.show_start_time.ToMicroseconds(), m.fragment.show_end_time.ToMicroseconds())
            async for m in stub.Play(request)
            if m.HasField("fragment") and m.fragment.last
        ]
        assert shown[0][0] == T0
        assert all(a[1] == b[0] for a, b in pairwise(shown))
        assert shown[-1][1] == zombie.end_us
        clip_request = play_pb.GetClipRequest(
            camera=NAME, window=window(T0 + 5 * SECOND, T0 + 7 * SECOND), purpose=PURPOSE
        )
        files: list[bytes] = []
        async for message in stub.GetClip(clip_request):
            if message.HasField("file"):
                files.append(b"")
            elif message.HasField("data"):
                files[-1] += message.data
        assert [numbers_in(file) for file in files] == [[*range(125, 150)], [*range(37, 63)]]


async def test_footage_that_vanished_is_refused_not_skipped(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        run = await estate(rig)
        (tmp_path / "store" / run.segments[1].key).unlink()
        request = play_pb.PlayRequest(camera=NAME, start_time=timestamp(T0), purpose=PURPOSE)
        messages: list[play_pb.PlayResponse] = []

        async def play() -> None:
            async for message in PlaybackServiceStub(host.channel("all")).Play(request):
                messages.append(message)  # noqa: PERF401 - what came before the failure counts

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await play()
        assert reason_of(refused.value) == "FOOTAGE_DAMAGED"
        assert [m.WhichOneof("payload") for m in messages] == ["header", "fragment", "fragment"]


async def test_a_truncated_object_is_refused(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        run = await estate(rig)
        path = tmp_path / "store" / run.segments[0].key
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-200])
        request = play_pb.GetSnapshotRequest(camera=NAME, time=timestamp(T0), purpose=PURPOSE)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await PlaybackServiceStub(host.channel("all")).GetSnapshot(request)
        assert reason_of(refused.value) in {"FOOTAGE_DAMAGED", "STORE_CHECKSUM_MISMATCH"}


async def test_a_long_timeline_comes_in_pages_that_join_exactly(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, NOW) as rig, serving(rig) as host:
        await estate(rig)
        await rig.camera("cam-b", T0 + SECOND)
        for n in range(20):
            start = T0 + (10 + 2 * n) * SECOND
            await rig.outage(CAMERA, start, start + SECOND, 3)
        await rig.settle()
        servicer = rig.module.services()[0].servicer
        stub = RecordingServiceStub(host.channel("all"))
        request = pb.GetTimelineRequest(cameras=[NAME, "cameras/cam-b"], window=window(T0, NOW))
        whole = await stub.GetTimeline(request)
        servicer._entry_budget = 7
        entries: dict[str, list[pb.TimelineEntry]] = {NAME: [], "cameras/cam-b": []}
        pages = 0
        while True:
            page = await stub.GetTimeline(request)
            pages += 1
            for timeline in page.timelines:
                entries[timeline.camera] += timeline.entries
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert pages > 5
        for timeline in whole.timelines:
            assert [*timeline.entries] == entries[timeline.camera]
