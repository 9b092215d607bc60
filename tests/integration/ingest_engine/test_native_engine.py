"""The native engine against simulated cameras: what arrives is what was sent."""

from collections.abc import Callable

import pytest

from integration.ingest_engine.conftest import FOOTAGE, Receiver, Simulator
from integration.ingest_engine.sinks import RecordingSink
from vigie.ingest.engine import CodecParameters, EndCause, FrameGroup
from vigie.simcam.auth import Credentials
from vigie.simcam.config import CameraConfig
from vigie.simcam.faults import Fault
from vigie.simcam.marks import mark_of_sample

Simulate = Callable[..., Simulator]
Receive = Callable[..., Receiver]


def samples(group: FrameGroup) -> list[bytes]:
    assert sum(map(len, group.frames)) == group.size_bytes
    return [bytes(frame) for frame in group.frames]


def decode_numbers(groups: list[FrameGroup]) -> list[int]:
    marks = [mark_of_sample(sample) for group in groups for sample in samples(group)]
    return [-1 if mark is None else mark.decode_number for mark in marks]


def assert_as_sent(simulator: Simulator, groups: list[FrameGroup], camera: str = "cam-a") -> None:
    for group in groups:
        for sample in samples(group):
            mark = mark_of_sample(sample)
            assert mark is not None
            assert sample == simulator.server.expected(camera, mark.decode_number).sample


def assert_continuous(groups: list[FrameGroup]) -> None:
    numbers = decode_numbers(groups)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_what_is_handed_over_is_what_was_sent(
    simulate: Simulate, receive: Receive, codec: str, b_frames: int
) -> None:
    footage = FOOTAGE.model_copy(update={"codec": codec, "b_frames": b_frames})
    simulator = simulate(CameraConfig(id="cam-a", footage=footage))
    session, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 3)
    session.close()
    sink.wait_for(lambda s: s.end is not None)

    assert sink.end == (EndCause.STOPPED, "")
    assert sink.names[0] == "connected"
    assert sink.names[-1] == "ended"
    assert sink.losses == []
    assert_as_sent(simulator, sink.groups)
    assert_continuous(sink.groups)
    *whole, last = sink.groups
    assert [len(group.frames) for group in whole] == [10] * len(whole)
    assert last.next_ticks is None
    for before, after in zip(whole, sink.groups[1:], strict=True):
        assert before.next_ticks == min(after.presentation_ticks)
    parameters = sink.all("parameters")
    assert len(parameters) == 1
    assert isinstance(parameters[0], CodecParameters)
    assert (parameters[0].codec, parameters[0].width, parameters[0].height) == (codec, 192, 96)
    assert (parameters[0].reorder_depth > 0) is (b_frames > 0)


def test_arrivals_ascend_and_follow_the_capture(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate()
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 3)
    arrivals = [arrival for group in sink.groups for arrival in group.arrival_us]
    assert arrivals == sorted(arrivals)
    for group in sink.groups:
        assert len(group.arrival_us) == len(group.arrival_monotonic_us) == len(group.frames)
        for sample, arrival in zip(samples(group), group.arrival_us, strict=True):
            mark = mark_of_sample(sample)
            assert mark is not None
            # The wall clock of this machine took both; ticks are 100 ms, machines may be busy.
            assert -2_000 <= arrival - mark.capture_us <= 2_000_000


def test_live_frames_begin_with_the_group_under_way(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate()
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 1)
    sink.wants_frames = True
    sink.wait_for(lambda s: sum(frames.key_frame for frames in s.live) >= 3)
    assert sink.live[0].key_frame
    shown = []
    for frames in sink.live:
        position = 0
        for size in frames.sizes:
            mark = mark_of_sample(frames.data[position : position + size])
            assert mark is not None
            shown.append(mark.decode_number)
            position += size
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    parameters = {id(frames.parameters) for frames in sink.live}
    assert len(parameters) == 1
    sink.wants_frames = False


def test_the_camera_tells_its_clock(simulate: Simulate, receive: Receive) -> None:
    camera = CameraConfig(id="cam-a", footage=FOOTAGE, clock_offset_seconds=7.5)
    simulator = simulate(camera, sender_report_seconds=0.3)
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.all("sender_report")) >= 2 and len(s.groups) >= 2)
    report = sink.all("sender_report")[-1]
    assert abs(report.camera_us - report.arrival_us - 7_500_000) < 1_000_000  # type: ignore[attr-defined]  # a list of what was noted
    near = sink.groups[-1].presentation_ticks[0]
    assert abs(report.ticks - near) < 10 * 90_000  # type: ignore[attr-defined]  # a list of what was noted


@pytest.mark.parametrize("scheme", ["digest-md5", "digest-sha256", "basic"])
def test_credentials_are_given_and_appear_nowhere(
    simulate: Simulate, receive: Receive, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = Credentials(username="vigie", password="s3cret-lagoon", schemes=(scheme,))
    simulator = simulate(CameraConfig(id="cam-a", footage=FOOTAGE, credentials=credentials))
    receiver = receive()
    _, right = receiver.open(simulator.source(username="vigie", password="s3cret-lagoon"))
    _, wrong = receiver.open(simulator.source(username="vigie", password="0ther-lagoon"))
    _, none = receiver.open(simulator.source())
    right.wait_for(lambda s: len(s.groups) >= 1)
    for sink in (wrong, none):
        sink.wait_for(lambda s: s.end is not None)
        assert sink.end is not None
        assert sink.end[0] is EndCause.CREDENTIALS_REFUSED
        assert "lagoon" not in sink.end[1]
    assert "lagoon" not in "".join(capsys.readouterr())


def test_sound_is_offered_but_never_set_up(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate(CameraConfig(id="cam-a", footage=FOOTAGE, has_audio=True))
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 1)
    assert sink.all("connected")[0].has_audio  # type: ignore[attr-defined]  # a list of what was noted
    assert simulator.server.cameras["cam-a"].audio_setups == 0


def test_many_cameras_come_and_go_without_harm(simulate: Simulate, receive: Receive) -> None:
    cameras = [CameraConfig(id=f"cam-{number}", footage=FOOTAGE) for number in range(12)]
    simulator = simulate(*cameras)
    receiver = receive()
    opened = [receiver.open(simulator.source(camera.id)) for camera in cameras]
    for _, sink in opened:
        sink.wait_for(lambda s: len(s.groups) >= 1)
    for session, _ in opened[::2]:
        session.close()
    for _, sink in opened[1::2]:
        sink.wait_for(lambda s: len(s.groups) >= 3)
        assert sink.losses == []
        assert_continuous(sink.groups)
    receiver.engine.stop(timeout_seconds=5)
    assert all(sink.end == (EndCause.STOPPED, "") for _, sink in opened)
    assert receiver.engine.statistics()[0].sessions == 0


@pytest.mark.parametrize(
    ("fault", "causes"),
    [
        (Fault.DROP_CONNECTION, {EndCause.CLOSED_BY_CAMERA}),
        (Fault.SILENT, {EndCause.CAMERA_SILENT}),
        (Fault.SILENT_WITH_RTCP, {EndCause.CAMERA_SILENT}),
        (Fault.EXPIRE_SESSION, {EndCause.CLOSED_BY_CAMERA, EndCause.CAMERA_SILENT}),
        (Fault.CHANGE_CODEC, {EndCause.STREAM_UNSUPPORTED, EndCause.CAMERA_SILENT}),
        (Fault.NOT_FOUND, {EndCause.CLOSED_BY_CAMERA}),
        (Fault.CHANGE_PASSWORD, {EndCause.CLOSED_BY_CAMERA}),
    ],
)
def test_a_camera_that_fails_ends_with_its_cause_and_whole_frames(
    simulate: Simulate, receive: Receive, fault: Fault, causes: set[EndCause]
) -> None:
    cameras = [CameraConfig(id=name, footage=FOOTAGE) for name in ("cam-a", "cam-b")]
    simulator = simulate(*cameras)
    receiver = receive(foreign_timeout_seconds=0.5)
    _, sink = receiver.open(simulator.source())
    _, neighbour = receiver.open(simulator.source("cam-b"))
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(fault)
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] in causes
    assert_as_sent(simulator, sink.groups)
    assert_continuous(sink.groups)
    assert sink.groups[-1].next_ticks is None
    seen = len(neighbour.groups)
    neighbour.wait_for(lambda s: len(s.groups) >= seen + 2)
    assert neighbour.losses == []
    assert_continuous(neighbour.groups)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.NOT_FOUND, EndCause.CAMERA_UNREACHABLE),
        (Fault.UNAVAILABLE, EndCause.CAMERA_UNREACHABLE),
        (Fault.DEMAND_AUTHENTICATION, EndCause.CREDENTIALS_REFUSED),
        (Fault.SILENT, EndCause.CAMERA_SILENT),
    ],
)
def test_a_camera_that_cannot_be_begun_with_says_why(
    simulate: Simulate, receive: Receive, fault: Fault, cause: EndCause
) -> None:
    simulator = simulate()
    simulator.inject(fault)
    _, sink = receive(handshake_timeout_seconds=0.5).open(simulator.source())
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is cause
    assert sink.names == ["ended"] or cause is EndCause.CAMERA_SILENT


def test_a_refused_connection_is_an_unreachable_camera(
    simulate: Simulate, receive: Receive
) -> None:
    simulator = simulate(port_per_camera=True)
    source = simulator.source()
    simulator.inject(Fault.UNREACHABLE)
    _, sink = receive().open(source)
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end == (EndCause.CAMERA_UNREACHABLE, "connection refused")


@pytest.mark.parametrize(
    ("fault", "parameters", "cause"),
    [
        (Fault.LOSE_PACKETS, {"count": 1}, EndCause.PACKETS_LOST),
        (Fault.REORDER_PACKETS, {}, EndCause.PACKETS_LOST),
        (Fault.WRONG_SEQUENCE, {"count": 500}, EndCause.PACKETS_LOST),
        (Fault.TIMESTAMP_DISCONTINUITY, {"seconds": 60}, EndCause.CLOCK_JUMP),
        (Fault.CLOCK_JUMP, {"seconds": -3600}, EndCause.CLOCK_JUMP),
    ],
)
def test_a_break_is_told_and_what_follows_starts_at_a_key_frame(
    simulate: Simulate,
    receive: Receive,
    fault: Fault,
    parameters: dict[str, int],
    cause: EndCause,
) -> None:
    simulator = simulate()
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(fault, **parameters)
    sink.wait_for(lambda s: len(s.losses) >= 1)
    seen = len(sink.groups)
    sink.wait_for(lambda s: len(s.groups) >= seen + 2)
    assert [loss[0] for loss in sink.losses] == [cause]
    assert sink.end is None
    assert_as_sent(simulator, sink.groups)
    where = [name for name in sink.names if name in {"group", "lost"}].index("lost")
    assert sink.groups[where - 1].next_ticks is None
    before, after = sink.groups[:where], sink.groups[where:]
    assert_continuous(before)
    assert_continuous(after)
    first = decode_numbers(after)[0]
    assert first % 10 == 0
    assert first > decode_numbers(before)[-1]


@pytest.mark.parametrize("fault", [Fault.CHANGE_PARAMETERS, Fault.CHANGE_RESOLUTION])
def test_a_change_of_parameters_is_told_before_its_first_group(
    simulate: Simulate, receive: Receive, fault: Fault
) -> None:
    simulator = simulate()
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(fault, width=320, height=192)
    sink.wait_for(lambda s: len(s.all("parameters")) >= 2)
    seen = len(sink.groups)
    sink.wait_for(lambda s: len(s.groups) >= seen + 2)
    assert sink.losses == []
    assert_continuous(sink.groups)
    first, second = sink.all("parameters")
    assert first != second
    names = [name for name in sink.names if name in {"group", "parameters"}]
    groups_before = names.index("parameters", 1) - 1
    assert groups_before >= 2
    assert decode_numbers(sink.groups)[10 * groups_before] % 10 == 0


@pytest.mark.parametrize(
    "fault", [Fault.BURSTS, Fault.SLOW_CAMERA, Fault.STALE_NONCES, Fault.GARBAGE_BYTES]
)
def test_what_harms_no_frame_loses_none(simulate: Simulate, receive: Receive, fault: Fault) -> None:
    simulator = simulate()
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(fault, milliseconds=60)
    seen = len(sink.groups)
    sink.wait_for(lambda s: len(s.groups) >= seen + 3)
    assert sink.end is None
    assert sink.losses == []
    assert_continuous(sink.groups)


def test_a_redirect_is_followed(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate()
    simulator.inject(Fault.REDIRECT)
    _, sink = receive().open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 1 or s.end is not None)
    assert sink.end is None


def test_sessions_are_kept_alive(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate(CameraConfig(id="cam-a", footage=FOOTAGE, session_timeout_seconds=2))
    _, sink = receive(receiver_report_seconds=1000).open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 12)
    assert sink.end is None
    assert sink.losses == []


def test_receiver_reports_are_sent(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate()
    _, sink = receive(receiver_report_seconds=0.2).open(simulator.source())
    sink.wait_for(lambda s: len(s.groups) >= 4)
    assert simulator.server.cameras["cam-a"].receiver_reports >= 2


def test_a_sink_that_fails_harms_no_other(simulate: Simulate, receive: Receive) -> None:
    class FailingSink(RecordingSink):
        def group(self, group: FrameGroup) -> None:
            raise RuntimeError("a defect")

    simulator = simulate()
    receiver = receive()
    _, bad = receiver.open(simulator.source(), FailingSink())
    _, good = receiver.open(simulator.source())
    bad.wait_for(lambda s: s.end is not None)
    assert bad.end is not None
    assert bad.end[0] is EndCause.INGEST_DOWN
    seen = len(good.groups)
    good.wait_for(lambda s: len(s.groups) >= seen + 2)
    assert good.losses == []
