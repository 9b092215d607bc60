"""Which cameras are connected to, when, and how every instant without footage is explained."""

from itertools import pairwise
from pathlib import Path

import pytest

from ingest_module_support import (
    CAMERA,
    HOUR_US,
    SEALER,
    Ingest,
    camera_state,
    opened,
    settled,
)
from ingest_support import START_US, eventually, footage
from vigie.common.v1 import types_pb2
from vigie.ingest.engine import EndCause
from vigie.ingest.v1 import events_pb2
from vigie.platform.config.secret import Secret
from vigie.platform.eventlog import Event
from vigie.platform.sealing import StreamLogin
from vigie.registry.v1 import events_pb2 as registry

RECORDING = events_pb2.STREAM_STATE_RECORDING
FILM = footage()


async def recording(ingest: Ingest) -> None:
    """Wait until the camera is connected, and deliver the first groups."""
    await eventually(lambda: bool(ingest.engine.current))
    ingest.engine.current[-1].play(FILM, range(2))
    keeper = ingest.module.reception.keeper(CAMERA)
    assert keeper is not None
    await eventually(lambda: keeper.status.state == RECORDING)


async def test_a_camera_in_service_is_recorded(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    ingest.engine.current[0].play(FILM, range(2, 4))
    await settled(ingest)

    status = await ingest.status()
    assert status.codec == FILM.parameters.codec_string
    assert (status.width, status.height) == (160, 120)
    assert status.frame_rate_millihertz == 25_000
    assert status.run
    stored = [e.segment_stored for e in await ingest.events() if e.HasField("segment_stored")]
    assert [s.number for s in stored] == [0]
    assert status.run_start_us == stored[0].start_us


@pytest.mark.parametrize(
    ("lifecycle", "cause"),
    [
        (registry.CAMERA_LIFECYCLE_PLANNED, types_pb2.GAP_CAUSE_NOT_IN_SERVICE),
        (registry.CAMERA_LIFECYCLE_SUSPENDED, types_pb2.GAP_CAUSE_SUSPENDED),
    ],
)
async def test_a_camera_out_of_service_is_not_even_connected_to(
    ingest: Ingest,
    lifecycle: registry.CameraLifecycle.ValueType,
    cause: types_pb2.GapCause.ValueType,
) -> None:
    await ingest.publish(camera_state(lifecycle=lifecycle))
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is not None)
    await ingest.pass_time(10)

    assert ingest.engine.sessions == []
    status = await ingest.status()
    assert status.state == events_pb2.STREAM_STATE_STOPPED
    assert status.cause == cause


async def last_told(ingest: Ingest, camera: str = CAMERA) -> events_pb2.StreamStatusEvent:
    """The newest status of a camera in the log."""
    assert await ingest.module._status_outbox.flush(10)
    events = [stored.event async for stored in ingest.log.read("stream-status")]
    value = [event.value for event in events if event.key == camera][-1]
    return events_pb2.StreamStatusEvent.FromString(value or b"")


def series_of(ingest: Ingest, camera: str) -> set[str]:
    """Names of the metrics that tell of a camera."""
    return {
        metric.name
        for metric in ingest.metrics.registry.collect()
        for sample in metric.samples
        if sample.labels.get("camera") == camera
    }


async def test_of_a_retired_camera_nothing_is_kept_but_its_footage(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    ingest.engine.current[0].end(EndCause.CLOSED_BY_CAMERA, "went away")
    await eventually(lambda: not ingest.engine.current)
    await ingest.pass_time(6)
    await recording(ingest)
    await ingest.pass_time(6)
    assert {"vigie_ingest_gaps", "vigie_ingest_last_frame_age_seconds"} <= series_of(ingest, CAMERA)

    await ingest.publish(camera_state(lifecycle=registry.CAMERA_LIFECYCLE_RETIRED, revision=2))
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is None)
    await settled(ingest)

    assert not ingest.engine.current
    assert series_of(ingest, CAMERA) == set()
    assert ingest.module.hub._channels == {}
    status = await last_told(ingest)
    assert status.state == events_pb2.STREAM_STATE_STOPPED
    assert status.cause == types_pb2.GAP_CAUSE_NOT_IN_SERVICE
    told = len([s async for s in ingest.log.read("stream-status")])
    await ingest.pass_time(12)
    assert len([s async for s in ingest.log.read("stream-status")]) == told
    assert all(outage.end_us for outage in await ingest.outages())


async def test_a_camera_retired_while_ingest_was_down_is_told_once(ingest: Ingest) -> None:
    await ingest.publish(camera_state(lifecycle=registry.CAMERA_LIFECYCLE_RETIRED))
    await ingest.told()
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is None)
    await settled(ingest)
    await ingest.pass_time(10)
    assert ingest.engine.sessions == []
    assert len([s async for s in ingest.log.read("stream-status")]) == 1
    assert (await last_told(ingest)).cause == types_pb2.GAP_CAUSE_NOT_IN_SERVICE


async def test_authorisations_begin_and_end_by_the_clock(ingest: Ingest) -> None:
    await ingest.publish(
        camera_state(valid_from_us=START_US + 10_000_000, valid_until_us=START_US + 60_000_000)
    )
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is not None)
    await ingest.pass_time(9.5)
    assert ingest.engine.sessions == []
    assert (await ingest.status()).cause == types_pb2.GAP_CAUSE_NOT_AUTHORISED

    await ingest.pass_time(1)
    await eventually(lambda: len(ingest.engine.current) == 1)
    await recording(ingest)
    await ingest.pass_time(51)
    await eventually(lambda: not ingest.engine.current)
    await settled(ingest)

    ends = [e.run_ended for e in await ingest.events() if e.HasField("run_ended")]
    assert [end.reason for end in ends] == [events_pb2.RUN_END_REASON_STOPPED]
    status = await ingest.status()
    assert status.state == events_pb2.STREAM_STATE_STOPPED
    assert status.cause == types_pb2.GAP_CAUSE_NOT_AUTHORISED
    # What follows is for the registry to explain: no outage lasts.
    assert all(outage.end_us for outage in await ingest.outages())


async def test_a_clock_set_back_before_the_authorisation_stops_the_camera(ingest: Ingest) -> None:
    await ingest.publish(camera_state(valid_from_us=START_US - 5_000_000))
    await recording(ingest)

    ingest.wall.advance(-3600)
    await ingest.monotonic.advance(1.1)
    await eventually(lambda: not ingest.engine.current)
    assert (await ingest.status()).cause == types_pb2.GAP_CAUSE_NOT_AUTHORISED


async def test_suspension_ends_the_session_at_once(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)

    await ingest.publish(camera_state(lifecycle=registry.CAMERA_LIFECYCLE_SUSPENDED, revision=2))
    await eventually(lambda: not ingest.engine.current)
    await ingest.publish(camera_state(revision=3))
    await eventually(lambda: len(ingest.engine.current) == 1)


async def test_a_new_address_means_a_new_session_and_never_two(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)

    changed = camera_state(revision=2)
    changed.stream_uri = "rtsp://192.0.2.8/other"
    await ingest.publish(changed)
    await eventually(lambda: len(ingest.engine.sessions) == 2)
    assert [session.source.uri for session in ingest.engine.current] == ["rtsp://192.0.2.8/other"]

    renamed = camera_state(revision=3, display_name="Entrance")
    renamed.stream_uri = changed.stream_uri
    await ingest.publish(renamed)
    await ingest.pass_time(2)
    assert len(ingest.engine.sessions) == 2


async def test_attempts_come_with_growing_waits(ingest: Ingest) -> None:
    ingest.engine.refuse = EndCause.CAMERA_UNREACHABLE
    await ingest.publish(camera_state())
    await eventually(lambda: len(ingest.engine.sessions) == 1)
    await ingest.pass_time(60)

    # 0.5, 1, 2, 4, 8, 16, 30 ... seconds, each shortened by up to a half.
    assert 6 <= len(ingest.engine.sessions) <= 9
    status = await ingest.status()
    assert status.state == events_pb2.STREAM_STATE_WAITING
    assert status.cause == types_pb2.GAP_CAUSE_CAMERA_UNREACHABLE
    assert status.failed_attempts == len(ingest.engine.sessions)


async def test_refused_credentials_are_not_tried_again_soon(ingest: Ingest) -> None:
    ingest.engine.refuse = EndCause.CREDENTIALS_REFUSED
    await ingest.publish(camera_state())
    await eventually(lambda: len(ingest.engine.sessions) == 1)
    await ingest.pass_time(29)
    assert len(ingest.engine.sessions) == 1
    # The half minute begins when the refusal is noticed, which may be some steps of the clock on.
    await ingest.pass_time(15)
    await eventually(lambda: len(ingest.engine.sessions) == 2)


async def test_how_soon_they_are_is_configured(tmp_path: Path) -> None:
    async with opened(tmp_path, refused_wait_seconds=3.0) as ingest:
        ingest.engine.refuse = EndCause.CREDENTIALS_REFUSED
        await ingest.publish(camera_state())
        await eventually(lambda: len(ingest.engine.sessions) == 1)
        await ingest.pass_time(2)
        assert len(ingest.engine.sessions) == 1
        await ingest.pass_time(3)
        await eventually(lambda: len(ingest.engine.sessions) == 2)


async def test_every_instant_between_runs_is_explained(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    session = ingest.engine.current[0]
    session.play(FILM, [2], last=True)
    ingest.wall.set(START_US + 3_100_000)
    ingest.engine.refuse = EndCause.CAMERA_UNREACHABLE
    session.end(EndCause.CLOSED_BY_CAMERA, "went away")
    await eventually(lambda: ingest.monotonic.sleeper_count >= 3)
    await ingest.pass_time(3)
    ingest.engine.refuse = None
    await ingest.pass_time(5)
    await eventually(lambda: bool(ingest.engine.current))
    # The second run: nine seconds after the first group.
    ingest.engine.current[0].play(FILM, [12, 13, 14], last=True)
    await settled(ingest)

    first, second = [
        e.segment_stored for e in await ingest.events() if e.HasField("segment_stored")
    ]
    between = [o for o in await ingest.outages() if o.start_us >= first.start_us]
    assert between[0].start_us == first.start_us + first.duration_us
    assert between[-1].end_us == second.start_us
    assert all(before.end_us == after.start_us for before, after in pairwise(between))
    assert [types_pb2.GapCause.Name(o.cause) for o in between] == [
        "GAP_CAUSE_CLOSED_BY_CAMERA",
        "GAP_CAUSE_CAMERA_UNREACHABLE",
    ]


async def test_lost_packets_are_a_gap_within_a_session(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    session = ingest.engine.current[0]
    session.play(FILM, [2], last=True)
    session.sink.lost(EndCause.PACKETS_LOST, "7 packets", START_US + 3_500_000)
    session.play(FILM, [4, 5, 6])
    await settled(ingest)

    first, second = [
        e.segment_stored for e in await ingest.events() if e.HasField("segment_stored")
    ]
    assert first.run != second.run
    lost = [o for o in await ingest.outages() if o.cause == types_pb2.GAP_CAUSE_PACKETS_LOST]
    assert [(o.start_us, o.end_us) for o in lost] == [
        (first.start_us + first.duration_us, second.start_us)
    ]
    assert len(ingest.engine.sessions) == 1


async def test_a_lasting_outage_is_vouched_for_again_and_again(ingest: Ingest) -> None:
    ingest.engine.refuse = EndCause.CAMERA_UNREACHABLE
    await ingest.publish(camera_state())
    await eventually(lambda: len(ingest.engine.sessions) == 1)
    await ingest.pass_time(31)
    await settled(ingest)

    (lasting,) = [outage for outage in await ingest.outages() if not outage.end_us]
    assert lasting.cause == types_pb2.GAP_CAUSE_CAMERA_UNREACHABLE
    assert lasting.known_until_us >= START_US + 25_000_000


async def test_status_is_repeated_as_a_heartbeat(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    await settled(ingest)
    before = await ingest.log.ends("stream-status")
    await ingest.pass_time(5.1)
    await settled(ingest)
    assert await ingest.log.ends("stream-status") != before


async def test_an_orderly_stop_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as ingest:
        await ingest.publish(camera_state())
        await recording(ingest)
        await ingest.module.stop(timeout_seconds=10)

        events = await ingest.events()
        stored = [e.segment_stored for e in events if e.HasField("segment_stored")]
        ended = [e.run_ended for e in events if e.HasField("run_ended")]
        assert sum(segment.sample_count for segment in stored) == 50
        assert [end.reason for end in ended] == [events_pb2.RUN_END_REASON_STOPPED]
        assert not ingest.engine.current
        assert not list((tmp_path / "data" / "spool" / "runs").rglob("*.m4v"))


async def test_credentials_are_opened_for_the_engine_and_shown_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(tmp_path) as ingest:
        sealed = SEALER.seal_login(StreamLogin("operator", Secret("tr0ub4dor")), camera=CAMERA)
        state = camera_state()
        state.credentials.key_id = sealed.key_id
        state.credentials.ciphertext = sealed.ciphertext
        await ingest.publish(state)
        await recording(ingest)
        source = ingest.engine.sessions[0].source
        assert (source.username, source.password) == ("operator", "tr0ub4dor")
        assert "tr0ub4dor" not in repr(source)
        ingest.engine.current[0].end(EndCause.CREDENTIALS_REFUSED, "401")
        await settled(ingest)
    printed = capsys.readouterr()
    assert "tr0ub4dor" not in printed.out + printed.err
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"tr0ub4dor" not in path.read_bytes(), path


async def test_credentials_of_another_camera_are_not_used(ingest: Ingest) -> None:
    sealed = SEALER.seal_login(StreamLogin("operator", Secret("x")), camera="cam-other-01")
    state = camera_state()
    state.credentials.key_id = sealed.key_id
    state.credentials.ciphertext = sealed.ciphertext
    await ingest.publish(state)
    await ingest.pass_time(2)
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is not None)
    await ingest.pass_time(2)

    assert ingest.engine.sessions == []
    assert (await ingest.status()).cause == types_pb2.GAP_CAUSE_CREDENTIALS_REFUSED


async def test_a_state_nobody_understands_keeps_the_last_good_one(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    other = camera_state(camera="cam-other-01")
    event = other.SerializeToString()
    for number, value in enumerate([b"\xff\xff\xff", event]):
        await ingest.log.append(
            "cameras", [Event(CAMERA, "x", value, f"bad-{number}", START_US, "test")]
        )
    await ingest.told()
    await ingest.pass_time(6)
    assert ingest.metrics.value("vigie_ingest_camera_states_rejected") == 1
    assert len(ingest.engine.current) == 1


async def test_segments_of_a_camera_may_have_their_own_length(ingest: Ingest) -> None:
    await ingest.publish(camera_state(segment_seconds=2))
    await recording(ingest)
    ingest.engine.current[0].play(FILM, range(2, 6))
    await settled(ingest)
    stored = [e.segment_stored for e in await ingest.events() if e.HasField("segment_stored")]
    assert [s.media_duration_ticks for s in stored] == [180_000] * 3


async def test_starts_are_staggered(tmp_path: Path) -> None:
    async with opened(tmp_path, start_distance_seconds=0.5) as ingest:
        for number in range(4):
            await ingest.publish(camera_state(camera=f"cam-many-{number:02d}"))
        for started in range(1, 5):
            await eventually(lambda started=started: len(ingest.engine.sessions) == started)
            await ingest.pass_time(0.4)
            assert len(ingest.engine.sessions) == started
            await ingest.pass_time(0.1)


async def test_hours_until_an_authorisation_cost_nothing_but_a_glance(ingest: Ingest) -> None:
    await ingest.publish(camera_state(valid_from_us=START_US + HOUR_US))
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is not None)
    assert ingest.monotonic.sleeper_count <= 4


async def test_a_camera_that_is_no_longer_known_leaves_no_status(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await recording(ingest)
    await ingest.log.append("cameras", [Event(CAMERA, "x", None, "gone", START_US, "test")])
    await ingest.told()
    await ingest.pass_time(1)
    await eventually(lambda: not ingest.engine.current)
    await eventually(lambda: ingest.module._statuses.get(CAMERA) is None)
    assert ingest.metrics.value("vigie_ingest_frames_received_total", camera=CAMERA) == 0
