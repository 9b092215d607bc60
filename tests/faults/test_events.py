"""Events that cannot be processed: put away aloud, never skipped; the rest of the log goes on.

For every consumer: bytes that are no message, a message of another kind, one that says something
impossible, and a handler that fails on a good one. What is put away keeps its bytes and its
reason, is counted by a metric that a restart does not forget, is named by fsck, and takes effect
when it is replayed, without undoing what was told after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.ledger import Entry, Ledger
from ingest_module_support import CAMERA as RECEIVED
from ingest_module_support import Ingest, camera_state
from recording_footage import RecordedRun, record_run
from recording_rig import Rig, recording_rig
from recording_support import RUN_A, SECOND, T0
from vigie.audit.module import AuditModule
from vigie.audit.search import GROUP as AUDIT_GROUP
from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.common.v1.types_pb2 import GapCause
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import SystemMonotonicClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event
from vigie.platform.eventlog.consumer import Consumer
from vigie.platform.paging import Tokens
from vigie.recording.fsck import FsckOptions, Installation, run_fsck
from vigie.recording.holdkeeper import holds_not_indexed
from vigie.recording.index import holdings, writer
from vigie.recording.module import CAMERAS_GROUP, HOLDS_GROUP, SEGMENTS_GROUP
from vigie.registry.v1 import events_pb2 as registry_pb2

CAMERA = "cam-a"
NOW = T0 + 600 * SECOND
STANDING = "vigie_consumer_quarantine_events"
COUNTED = "vigie_consumer_quarantined_events_total"
SEGMENT, STATE = ingest_pb2.SegmentEvent, registry_pb2.CameraState
TYPES = {
    "segments": SEGMENT.DESCRIPTOR.full_name,
    "cameras": STATE.DESCRIPTOR.full_name,
    "holds": HoldState.DESCRIPTOR.full_name,
}
GROUPS = {"segments": SEGMENTS_GROUP, "cameras": CAMERAS_GROUP, "holds": HOLDS_GROUP}
IMPOSSIBLE = {
    "segments": SEGMENT(
        camera=CAMERA, segment_stored=ingest_pb2.SegmentStored(object_key="x")
    ).SerializeToString(),
    "cameras": STATE(camera=CAMERA, revision=3).SerializeToString(),
    "holds": HoldState(hold=CAMERA, cameras=["c"], start_us=2, end_us=1).SerializeToString(),
}
WRONG_KEY = {
    "segments": SEGMENT(camera="cam-z").SerializeToString(),
    "cameras": STATE(camera="cam-z", revision=3).SerializeToString(),
    "holds": HoldState(hold="hold-z", cameras=["c"], start_us=1, end_us=2).SerializeToString(),
}


@dataclass(frozen=True)
class Bad:
    """A bad event of a topic.

    Attributes:
        said: in plain words.
        reason: under which it is put away.
        kind: its type; None: that of the topic.
        value: its bytes by topic.
    """

    said: str
    reason: str
    kind: str | None
    value: dict[str, bytes]


SAME = dict.fromkeys(TYPES, b"\xff\xff\xff")
BAD = [
    Bad("bytes that are no message", "EVENT_UNPARSABLE", None, SAME),
    Bad("a message of an unknown kind", "EVENT_TYPE_UNKNOWN", "vigie.future.v9.Thing", SAME),
    Bad("a message that says something impossible", "EVENT_IMPOSSIBLE", None, IMPOSSIBLE),
    Bad("a message under another's key", "WRONG_KEY", None, WRONG_KEY),
]


async def settled(rig: Rig) -> None:
    """Until the consumers have nothing to do; their back-off is moved along."""
    for topic, group in GROUPS.items():
        subscription = await rig.log.subscribe(topic, group)
        await until(rig, lambda lag=subscription.lag: _nothing(lag))
        await subscription.close()


async def _nothing(lag: Callable[[], Awaitable[int]]) -> bool:
    return await lag() == 0


async def until(rig: Rig, holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await holds():
            await rig.monotonic.advance(1)
            await asyncio.sleep(0.01)


async def append(rig: Rig, topic: str, what: tuple[str, str, bytes], name: str) -> None:
    """Append (key, type, bytes)."""
    event = Event(*what, name, rig.wall.now_us(), "test")
    await rig.log.append(topic, [event])


async def estate(rig: Rig) -> RecordedRun:
    await rig.camera(CAMERA, T0)
    run = record_run(CAMERA, RUN_A, T0)
    rig.wall.set(T0 + 60 * SECOND)
    return run


async def found(rig: Rig) -> list[str]:
    installation = Installation(
        rig.database, rig.store, rig.log, rig.wall, quarantine=rig.quarantine
    )
    rig.wall.set(NOW)
    report = await run_fsck(installation, FsckOptions())
    return [f"{finding.invariant} {finding.what}" for finding in report.findings]


@pytest.mark.parametrize("bad", BAD, ids=[bad.reason for bad in BAD])
@pytest.mark.parametrize("topic", sorted(TYPES))
async def test_a_bad_event_is_put_away_and_the_rest_goes_on(
    topic: str, bad: Bad, tmp_path: Path, ledger: Ledger
) -> None:
    group, value = GROUPS[topic], bad.value[topic]
    kind = bad.kind or TYPES[topic]
    async with recording_rig(tmp_path, T0) as rig:
        run = await estate(rig)
        await append(rig, topic, (CAMERA, kind, value), "bad")
        await rig.run(run)
        await rig.camera(CAMERA, T0 + SECOND, revision=2, zone="zone-2")
        await _hold(rig, "hold-1")
        await settled(rig)
        (item,) = await rig.quarantine.list()
        assert (item.group, item.reason) == (group, bad.reason)
        assert (item.stored.event.value, item.stored.event.id) == (value, "bad")
        assert rig.metrics.value(COUNTED, topic=topic, group=group, reason=bad.reason) == 1
        await until(rig, lambda: _stands(rig, topic, group, 1))
        # What came after it took effect, of the same camera too.
        assert await _counts(rig) == (3, 2, 1)
        assert any("stands in quarantine" in what for what in await found(rig))
    promise = "put away with its bytes, counted, named by fsck; later events take effect"
    ledger.note(Entry("events", f"{group}: {bad.said}", promise, bad.reason, 0.0))


@pytest.mark.parametrize("topic", sorted(TYPES))
async def test_the_alert_is_not_forgotten_by_a_restart(
    topic: str, tmp_path: Path, ledger: Ledger
) -> None:
    """And a replay that fails again leaves all as it was; what is discarded is gone."""
    group = GROUPS[topic]
    async with recording_rig(tmp_path, T0) as rig:
        await append(rig, topic, (CAMERA, TYPES[topic], b"\xff\xff\xff"), "bad")
        await settled(rig)
    async with recording_rig(tmp_path, NOW) as rig:
        await _anything(rig, topic)
        await until(rig, lambda: _stands(rig, topic, group, 1))
        (item,) = await rig.quarantine.list()
        assert not await rig.module.consumers[group].replay(item.number)
        assert (await rig.quarantine.get(item.number)).reason == "EVENT_UNPARSABLE"
        await rig.quarantine.discard(item.number)
        await rig.monotonic.advance(60)
        await _anything(rig, topic)
        await until(rig, lambda: _stands(rig, topic, group, 0))
    promise = "the alert stands again at once; it ends when the event is discarded"
    fault = f"{group}: the product restarts with an event in quarantine"
    ledger.note(Entry("events", fault, promise, "", 0.0))


async def _anything(rig: Rig, topic: str) -> None:
    """Something for the consumer of a topic to do, so that nobody waits for its idle time."""
    rig.wall.advance(1)
    if topic == "segments":
        at_us = rig.wall.now_us()
        await rig.outage(CAMERA, at_us, at_us + 1, GapCause.GAP_CAUSE_CAMERA_SILENT)
    elif topic == "cameras":
        await rig.camera(CAMERA, rig.wall.now_us(), revision=rig.wall.now_us())
    else:
        await _hold(rig, f"hold-{rig.wall.now_us()}")


async def _hold(rig: Rig, hold: str, *, released: bool = False) -> None:
    state = HoldState(hold=hold, cameras=[CAMERA], start_us=T0, end_us=T0 + 3 * SECOND)
    state.place_time.FromMicroseconds(T0 + 60 * SECOND)
    if released:
        state.release_time.FromMicroseconds(T0 + 90 * SECOND)
    await rig.tell("holds", hold, state)


async def _counts(rig: Rig) -> tuple[int, int, int]:
    """Rows of segments, of states of cameras, of holds."""
    async with rig.database.reading() as connection:
        numbers = [
            (await connection.exec_driver_sql(f"SELECT count(*) FROM recording_{table}")).scalar()
            for table in ("segments", "camera_states", "holds")
        ]
    return (int(numbers[0] or 0), int(numbers[1] or 0), int(numbers[2] or 0))


async def _stands(rig: Rig, topic: str, group: str, count: int) -> bool:
    return rig.metrics.value(STANDING, topic=topic, group=group) == count


DEFECTS = [
    ("segments", writer, "apply_segment_events"),
    ("cameras", writer, "put_camera_state"),
    ("holds", holdings, "put_hold"),
]


@pytest.mark.parametrize(("topic", "where", "name"), DEFECTS, ids=[d[0] for d in DEFECTS])
async def test_a_handler_that_fails_stops_nothing_and_its_event_is_replayed(  # noqa: PLR0917 - pytest passes parameters and fixtures by name
    topic: str,
    where: object,
    name: str,
    tmp_path: Path,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = getattr(where, name)
    attempts = 0

    async def fails_on_the_first(
        connection: AsyncConnection, event: object, *more: object
    ) -> object:
        nonlocal attempts
        if any(map(_is_victim, event if isinstance(event, list) else [event])):
            attempts += 1
            raise RuntimeError("a defect")
        return await sound(connection, event, *more)

    async with recording_rig(tmp_path, T0) as rig:
        run = await estate(rig)
        await settled(rig)
        monkeypatch.setattr(where, name, fails_on_the_first)
        await rig.run(run)
        await rig.camera(CAMERA, T0 + SECOND, revision=2, zone="zone-2")
        await rig.camera(CAMERA, T0 + 2 * SECOND, revision=3, zone="zone-3")
        await _hold(rig, "hold-1")
        await _hold(rig, "hold-2")
        await settled(rig)
        (item,) = await rig.quarantine.list()
        assert (item.group, item.reason) == (GROUPS[topic], "HANDLER_FAILED")
        assert "a defect" in item.detail
        assert attempts > 4, "tried only so often"
        if topic == "holds":
            # A hold that waits counts: retention does not run.
            assert await holds_not_indexed(rig.log, rig.database) == ["hold-1"]
        assert await found(rig)
        monkeypatch.setattr(where, name, sound)
        assert await rig.module.consumers[GROUPS[topic]].replay(item.number)
        await rig.module.keeper.work()
        assert await rig.quarantine.count() == 0
        await until(rig, lambda: _stands(rig, topic, GROUPS[topic], 0))
        assert await _counts(rig) == (3, 3, 2)
        assert await found(rig) == []
    promise = "tried five times, put away, replayed when mended; then fsck finds nothing"
    fault = f"{GROUPS[topic]}: the handler fails on a good event"
    ledger.note(Entry("events", fault, promise, f"{attempts} attempts", 0.0))


def _is_victim(event: object) -> bool:
    if isinstance(event, ingest_pb2.SegmentEvent):
        return event.segment_stored.number == 1
    if isinstance(event, registry_pb2.CameraState):
        return event.revision == 2
    assert isinstance(event, HoldState)
    return event.hold == "hold-1"


async def test_a_replay_does_not_undo_what_was_told_since(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold was released, an outage closed, while their first words stood in quarantine."""
    sound_hold, sound_segment = holdings.put_hold, writer.apply_segment_events

    async def no_placing(connection: AsyncConnection, state: HoldState) -> None:
        if not state.HasField("release_time"):
            raise RuntimeError("a defect")
        await sound_hold(connection, state)

    async def no_opening(
        connection: AsyncConnection, events: Sequence[ingest_pb2.SegmentEvent]
    ) -> object:
        if any(event.HasField("outage") and not event.outage.end_us for event in events):
            raise RuntimeError("a defect")
        return await sound_segment(connection, events)

    async with recording_rig(tmp_path, T0) as rig:
        run = await estate(rig)
        await rig.run(run)
        await settled(rig)
        monkeypatch.setattr(holdings, "put_hold", no_placing)
        monkeypatch.setattr(writer, "apply_segment_events", no_opening)
        silent = GapCause.GAP_CAUSE_CAMERA_SILENT
        start_us = T0 + 10 * SECOND
        await rig.outage(CAMERA, start_us, 0, silent, known_us=start_us + SECOND)
        await rig.outage(CAMERA, start_us, start_us + 9 * SECOND, silent)
        await _hold(rig, "hold-1")
        await _hold(rig, "hold-1", released=True)
        await settled(rig)
        waiting = await rig.quarantine.list()
        assert {item.group for item in waiting} == {HOLDS_GROUP, SEGMENTS_GROUP}
        monkeypatch.setattr(holdings, "put_hold", sound_hold)
        monkeypatch.setattr(writer, "apply_segment_events", sound_segment)
        for item in waiting:
            assert await rig.module.consumers[item.group].replay(item.number)
        async with rig.database.reading() as connection:
            outages = await connection.exec_driver_sql("SELECT end_us, open FROM recording_outages")
            assert [tuple(row) for row in outages] == [(start_us + 9 * SECOND, 0)]
            holds = await connection.exec_driver_sql("SELECT released_us FROM recording_holds")
            assert [row.released_us for row in holds] == [T0 + 90 * SECOND]
        assert await found(rig) == []
    fault = "an event is replayed after newer ones of its key"
    ledger.note(Entry("events", fault, "the newer word stands", "a hold stays released", 0.0))


async def test_an_access_record_that_cannot_be_indexed_stays_in_the_log(
    tmp_path: Path, ledger: Ledger
) -> None:
    async with recording_rig(tmp_path, NOW) as rig:
        audit = AuditModule(
            database=rig.database,
            event_log=rig.log,
            quarantine=rig.quarantine,
            wall_clock=rig.wall,
            monotonic_clock=SystemMonotonicClock(),
            metrics=rig.metrics,
            tokens=Tokens(b"key"),
            observer=rig.observer,
        )
        await audit.start()
        kind = audit_pb2.AccessRecord.DESCRIPTOR.full_name
        nobody = audit_pb2.AccessRecord().SerializeToString()
        for number, (type_, value) in enumerate(
            [(kind, b"\xff\xff"), ("vigie.future.v9.Thing", b""), (kind, nobody)]
        ):
            await append(rig, "accesses", ("anne", type_, value), f"bad-{number}")
        good = audit_pb2.AccessRecord(record="good", request_id="r", subject="anne")
        good.time.FromMicroseconds(NOW)
        await append(rig, "accesses", ("anne", kind, good.SerializeToString()), "good")
        await _until_drained(audit.consumer)
        items = await rig.quarantine.list(group=AUDIT_GROUP)
        assert [item.reason for item in items] == [
            "EVENT_UNPARSABLE", "EVENT_TYPE_UNKNOWN", "ACCESS_RECORD_INCOMPLETE",
        ]  # fmt: skip
        await until(rig, lambda: _stands(rig, "accesses", AUDIT_GROUP, 3))
        async with rig.database.reading() as connection:
            rows = await connection.exec_driver_sql("SELECT record FROM audit_accesses")
            assert [row.record for row in rows] == ["good"]
        assert sum(what.startswith("I5 an event stands") for what in await found(rig)) == 3
        await audit.stop(timeout_seconds=10)
    promise = (
        "put away, counted, named by fsck; the record stays in the log; later ones are indexed"
    )
    fault = "audit-index: records that cannot be read, unknown, or incomplete"
    ledger.note(Entry("events", fault, promise, "3 put away, 1 indexed", 0.0))


async def _until_drained(consumer: Consumer) -> None:
    assert await consumer.drain(timeout_seconds=60)


@pytest.mark.parametrize("kind", ["garbage", "another kind", "another camera"])
async def test_ingest_keeps_the_last_good_state_of_a_camera(
    kind: str, tmp_path: Path, ledger: Ledger
) -> None:
    """The table of cameras: recording goes on by what was true last, and says so aloud."""
    ingest = Ingest(tmp_path)
    await ingest.open()
    await ingest.module.start()
    good = camera_state()
    await ingest.publish(good)
    await ingest.pass_time(2)
    await _until(lambda: len(ingest.engine.current) == 1)
    value, type_ = {
        "garbage": (b"\xff\xff\xff", STATE.DESCRIPTOR.full_name),
        "another kind": (good.SerializeToString(), "vigie.future.v9.CameraState"),
        "another camera": (
            camera_state(camera="cam-other-01").SerializeToString(), STATE.DESCRIPTOR.full_name,
        ),
    }[kind]  # fmt: skip
    event = Event(RECEIVED, type_, value, "bad", ingest.wall.now_us(), "test")
    await ingest.log.append("cameras", [event])
    await ingest.told()
    await ingest.pass_time(6)
    assert ingest.metrics.value("vigie_ingest_camera_states_rejected") == 1
    assert len(ingest.engine.current) == 1
    assert "unreadable events" in (ingest.module.not_ready() or "")
    await ingest.publish(good)
    await ingest.pass_time(6)
    assert ingest.metrics.value("vigie_ingest_camera_states_rejected") == 0
    assert len(ingest.engine.current) == 1
    await ingest.close()
    fault = f"ingest, table of cameras: the newest state is {kind}"
    promise = "the last good state stays in force; a metric and readiness say so"
    ledger.note(Entry("events", fault, promise, "recording went on", 0.0))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
