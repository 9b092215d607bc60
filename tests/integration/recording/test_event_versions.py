"""What the readers of each context do with events of other versions.

Kept events (`tests/contract/kept_events.py`) are taken. What a later version may say that this one
does not know is never skipped silently: an unknown kind of event, an unknown cause of an outage and
an unknown lifecycle wait in quarantine, bytes unchanged, for a program that knows them (a table in
memory keeps the state before, and says so); other unknown values are kept as the numbers they are.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from contract.kept_events import Example, Kept, examples, kept
from contract.later_events import FUTURE_VALUE, from_the_broker, future_class
from recording_rig import Rig, recording_rig
from recording_support import SECOND
from vigie.audit.export import csv_line, json_line
from vigie.audit.indexer import AccessIndexer
from vigie.audit.tables import ACCESSES
from vigie.audit.tables import MIGRATIONS as AUDIT_MIGRATIONS
from vigie.audit.v1 import events_pb2 as audit
from vigie.evidence.module import _parse_camera
from vigie.evidence.v1 import events_pb2 as evidence
from vigie.ingest.services.watching import parse_status as parse_stream
from vigie.ingest.supervisor.cameras import parse_camera
from vigie.ingest.supervisor.demand import demand
from vigie.ingest.supervisor.plan import reception_plan
from vigie.ingest.v1.events_pb2 import SegmentEvent
from vigie.platform.database import migrate
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import StoredEvent, Unprocessable, parse_event
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.objectstore import ObjectInfo
from vigie.recording.attributes import end_attributes, run_end_from_object, run_end_from_row
from vigie.recording.fsck import FsckOptions, Installation, run_fsck
from vigie.recording.fsck.register import said_by
from vigie.recording.index.handlers import IndexHandlers, parse_status
from vigie.recording.index.tables import CAMERA_STATES, HOLDS, OUTAGES, RUN_ENDS, SEGMENTS
from vigie.recording.v1.events_pb2 import DestructionEvent
from vigie.registry.v1 import events_pb2 as registry

NOW_US = 1_772_366_400_000_000 + 3600 * SECOND
KEPT = kept()
Work = Callable[[AsyncConnection, Sequence[StoredEvent]], Awaitable[None]]


def named(one: Kept) -> str:
    return f"{one.example}.{one.generation}"


def of(name: str) -> Example:
    return next(one for one in examples() if one.name == f"vigie.{name}")


def newest(name: str) -> Kept:
    return [one for one in KEPT if one.example == f"vigie.{name}"][-1]


def changed(name: str, change: Callable[[Any], None]) -> StoredEvent:
    """The kept event as a later version would write it after ``change``."""
    one = newest(name)
    later = future_class(type(of(name).message)).FromString(one.value)
    change(later)
    return from_the_broker(one, later.SerializeToString())


async def handled(rig: Rig, stored: StoredEvent) -> None:
    """Give an event to the context's handler, as its consumer does."""
    index = IndexHandlers(rig.database, rig.wall, rig.module._metrics, lambda: None)
    handlers: dict[str, Work] = {
        "cameras": index.cameras,
        "segments": index.segments,
        "holds": index.holds,
        "accesses": AccessIndexer(rig.database, rig.metrics).handle,
    }

    async def work(connection: AsyncConnection) -> None:
        await handlers[stored.topic](connection, [stored])

    if stored.topic == "accesses":
        await migrate(rig.database, AUDIT_MIGRATIONS)
    await rig.database.write(work)


async def row(rig: Rig, table: Any) -> Any:
    async with rig.database.reading() as connection:
        return (await connection.execute(select(table))).one()


# --- kept events are taken ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [one for one in KEPT if one.topic in {"cameras", "segments", "holds", "accesses"}],
    ids=named,
)
async def test_consumers_take_every_kept_generation(one: Kept, tmp_path: Path) -> None:
    tables = {
        "cameras": CAMERA_STATES,
        "holds": HOLDS,
        "accesses": ACCESSES,
        "segment_stored": SEGMENTS,
        "run_ended": RUN_ENDS,
        "outage": OUTAGES,
    }
    async with recording_rig(tmp_path, NOW_US) as rig:
        await handled(rig, from_the_broker(one))
        case = one.example.rpartition(".")[2]
        found = await row(rig, tables.get(case, tables.get(one.topic)))
        if one.topic == "accesses":
            assert found.content == one.value
        elif case == "outage":
            assert found.detail == one.fields["outage"]["detail"]
        elif one.topic == "holds":
            assert (found.released_us is not None) == ("release_time" in one.fields)
        else:
            assert found.camera == one.fields["camera"]


def test_the_checker_takes_every_kept_destruction() -> None:
    [*found] = [one for one in KEPT if one.topic == "destructions"]
    assert found
    for one in found:
        what = said_by(parse_event(from_the_broker(one), DestructionEvent))
        assert (what[0], what[5]) == (one.fields["camera"], one.fields["sha256"])


def test_tables_in_memory_take_every_kept_generation() -> None:
    readers: dict[str, Sequence[Callable[[StoredEvent], object]]] = {
        "cameras": (parse_camera, _parse_camera),
        "stream-status": (parse_stream, parse_status),
    }
    read = 0
    for one in KEPT:
        for reader in readers.get(one.topic, ()):
            assert reader(from_the_broker(one)) is not None
            read += 1
    assert read >= 4
    state = parse_camera(from_the_broker(newest("registry.v1.CameraState")))
    assert demand(state, NOW_US).is_wanted
    assert reception_plan(state).engine == "libav"
    live = parse_status(from_the_broker(newest("ingest.v1.StreamStatusEvent")))
    assert live.recording


# --- what a later version says is never skipped silently -----------------------------------------


def _unknown_case(event: Any) -> None:
    event.future_what = "a kind of event of a later version"


def _unknown_cause(event: Any) -> None:
    event.outage.cause = FUTURE_VALUE


def _unknown_lifecycle(event: Any) -> None:
    event.lifecycle = FUTURE_VALUE


@pytest.mark.parametrize(
    ("name", "group", "change"),
    [
        ("ingest.v1.SegmentEvent.outage", "recording-index", _unknown_case),
        ("ingest.v1.SegmentEvent.outage", "recording-index", _unknown_cause),
        ("registry.v1.CameraState", "recording-cameras", _unknown_lifecycle),
    ],
)
async def test_what_cannot_be_understood_waits_whole_in_quarantine(
    name: str, group: str, change: Callable[[Any], None], tmp_path: Path
) -> None:
    stored = changed(name, change)
    following = newest("ingest.v1.SegmentEvent.segment_stored")
    async with recording_rig(tmp_path, NOW_US) as rig:
        await rig.log.append(stored.topic, [stored.event])
        await rig.log.append("segments", [from_the_broker(following).event])
        await rig.settle()
        [waiting] = await rig.quarantine.list()
        assert (waiting.group, waiting.reason) == (group, "EVENT_VALUE_UNKNOWN")
        assert waiting.stored.event == stored.event, "bytes and headers as they were"
        found = await row(rig, SEGMENTS)
        assert found.camera == "cam-kept", "what follows goes on"


async def test_an_event_that_says_nothing_at_all_is_told_apart(tmp_path: Path) -> None:
    """No newer program would read it either."""
    one = newest("ingest.v1.SegmentEvent.outage")
    empty = SegmentEvent(camera="cam-kept", instance="ingest-6").SerializeToString()
    async with recording_rig(tmp_path, NOW_US) as rig:
        with pytest.raises(Unprocessable, match="EVENT_IMPOSSIBLE"):
            await handled(rig, from_the_broker(one, empty))


async def test_what_waits_is_taken_by_the_program_that_knows_it(tmp_path: Path) -> None:
    """Replayed, its bytes are what that program is given; this one keeps them in quarantine."""
    stored = changed("ingest.v1.SegmentEvent.outage", _unknown_case)
    async with recording_rig(tmp_path, NOW_US) as rig:
        await rig.log.append("segments", [stored.event])
        await rig.settle()
        [waiting] = await rig.quarantine.list()
        later = future_class(SegmentEvent).FromString(waiting.stored.event.value or b"")
        assert later.WhichOneof("what") == "future_what"


async def test_the_checker_tells_of_an_event_that_says_nothing_known(tmp_path: Path) -> None:
    stored = changed("ingest.v1.SegmentEvent.outage", _unknown_case)
    async with recording_rig(tmp_path, NOW_US) as rig:
        await rig.log.append("segments", [stored.event])
        await rig.settle()
        rig.wall.set(NOW_US + 3600 * SECOND)
        report = await run_fsck(
            Installation(
                rig.database,
                rig.store,
                rig.log,
                rig.wall,
                quarantine=rig.quarantine,
                spool=None,
                numbering=rig.log,
            ),
            FsckOptions(),
        )
        said = [one.what for one in report.findings]
        assert "an event says nothing that this version knows" in said


async def test_ingest_keeps_the_last_good_state_of_a_camera_and_says_so(tmp_path: Path) -> None:
    """To stop a camera, or to record it, on a lifecycle that is not known would be a guess."""
    later = changed("registry.v1.CameraState", _unknown_lifecycle)
    with pytest.raises(Unprocessable, match=f"EVENT_VALUE_UNKNOWN: lifecycle {FUTURE_VALUE}"):
        parse_camera(later)
    async with recording_rig(tmp_path, NOW_US) as rig:
        good = from_the_broker(newest("registry.v1.CameraState")).event
        await rig.log.append("cameras", [good])
        await rig.log.append("cameras", [replace(later.event, id="later")])
        table = CompactedTable(rig.log, "cameras", parse_camera, rig.monotonic)
        await table.start()
        kept_state = table.get("cam-kept")
        assert kept_state is not None
        assert kept_state.lifecycle == registry.CAMERA_LIFECYCLE_IN_SERVICE
        assert table.not_ready() == "topic cameras: 1 keys have unreadable events"
        await table.stop()


def test_an_unknown_engine_leaves_the_choice_to_the_product() -> None:
    """A camera is not lost for it: the address says which engine can receive it."""

    def change(event: Any) -> None:
        event.engine = FUTURE_VALUE

    state = parse_camera(changed("registry.v1.CameraState", change))
    assert demand(state, NOW_US).is_wanted
    assert reception_plan(state).engine == "native"


async def test_an_unknown_end_of_a_run_is_kept_as_its_number(tmp_path: Path) -> None:
    """The footage is there whatever ended it; the number goes into the bucket and comes back."""

    def change(event: Any) -> None:
        event.run_ended.reason = FUTURE_VALUE

    async with recording_rig(tmp_path, NOW_US) as rig:
        await handled(rig, changed("ingest.v1.SegmentEvent.run_ended", change))
        end = run_end_from_row(await row(rig, RUN_ENDS))
        assert end.reason == FUTURE_VALUE
        attributes = end_attributes(end)
        assert attributes["Vigie-EndReason"] == str(FUTURE_VALUE)
        info = ObjectInfo(
            key=end.object_key,
            size_bytes=0,
            sha256="0" * 64,
            content_type="application/octet-stream",
            metadata=attributes,
            stored_at_us=NOW_US,
            holds=frozenset(),
            retain_until_us=None,
        )
        assert run_end_from_object(info) == end


def test_unknown_states_of_a_stream_are_not_taken_for_recording() -> None:
    def change(event: Any) -> None:
        event.state = FUTURE_VALUE
        event.cause = FUTURE_VALUE

    stored = changed("ingest.v1.StreamStatusEvent", change)
    live = parse_status(stored)
    assert not live.recording
    assert live.cause is None, "the outage event names it"
    assert live.detail == "nothing for three seconds"
    # Clients are given the numbers as they are.
    status = parse_stream(stored)
    assert (status.state, status.cause) == (FUTURE_VALUE, FUTURE_VALUE)


async def test_access_records_are_kept_to_the_byte_whatever_they_say(tmp_path: Path) -> None:
    def change(event: Any) -> None:
        event.future_field = "of a later version"
        for name in ("phase", "kind", "decision"):
            setattr(event, name, FUTURE_VALUE)

    stored = changed("audit.v1.AccessRecord", change)
    async with recording_rig(tmp_path, NOW_US) as rig:
        await handled(rig, stored)
        found = await row(rig, ACCESSES)
        assert found.content == stored.event.value
        assert (found.phase, found.kind, found.decision) == (FUTURE_VALUE,) * 3
        record = audit.AccessRecord.FromString(found.content)
        assert f'"decision":{FUTURE_VALUE}'.encode() in json_line(found, record)
        assert str(FUTURE_VALUE).encode() in csv_line(found, record).split(b",")


async def test_a_hold_of_a_later_version_holds_what_is_known_of_it(tmp_path: Path) -> None:
    """What is not understood of a hold never makes it hold less."""

    def change(event: Any) -> None:
        event.future_field = "of a later version"

    stored = changed("evidence.v1.HoldState.in_force", change)
    async with recording_rig(tmp_path, NOW_US) as rig:
        await handled(rig, stored)
        found = await row(rig, HOLDS)
        state = evidence.HoldState.FromString(stored.event.value or b"")
        assert (found.start_us, found.end_us) == (state.start_us, state.end_us)
        assert found.released_us is None


def test_an_unknown_reason_of_a_destruction_stays_what_it_is() -> None:
    def change(event: Any) -> None:
        event.reason = FUTURE_VALUE

    stored = changed("recording.v1.DestructionEvent", change)
    assert said_by(parse_event(stored, DestructionEvent))[6] == FUTURE_VALUE
