"""A clean installation is found clean; every invariant that is broken by hand is named."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from recording_footage import RecordedRun, record_run
from recording_rig import Rig, recording_rig
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.common.v1.types_pb2 import GapCause
from vigie.platform.eventlog import TopicSpec
from vigie.recording.config import RecordingConfig
from vigie.recording.fsck import FsckOptions, Installation, Report, run_fsck
from vigie.recording.index import tables
from vigie.recording.keys import segment_key

CAMERA = "cam-a"
NOW = T0 + 600 * SECOND


async def estate(rig: Rig) -> tuple[RecordedRun, RecordedRun]:
    await rig.camera(CAMERA, T0)
    first = record_run(CAMERA, RUN_A, T0)
    second = record_run(CAMERA, RUN_B, T0 + 10 * SECOND)
    rig.wall.set(T0 + 60 * SECOND)
    await rig.run(first)
    cause = GapCause.GAP_CAUSE_CAMERA_SILENT
    await rig.outage(CAMERA, first.end_us, T0 + 10 * SECOND, cause)
    await rig.run(second)
    await rig.hold("hold-1", CAMERA, T0, T0 + 3 * SECOND)
    rig.wall.set(NOW)
    return first, second


async def checked(rig: Rig, *, deep: bool = False, spool: Path | None = None) -> Report:
    installation = Installation(
        rig.database,
        rig.store,
        rig.log,
        rig.wall,
        quarantine=rig.quarantine,
        spool=spool,
        numbering=rig.log,
    )
    return await run_fsck(installation, FsckOptions(deep=deep))


async def test_an_outage_that_was_told_anew_just_now_is_left_alone(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        first, _ = await estate(rig)
        # Ends earlier than an old word said, for another reason: told within the grace.
        cause = GapCause.GAP_CAUSE_CREDENTIALS_REFUSED
        await rig.outage(CAMERA, first.end_us, T0 + 9 * SECOND, cause)
        assert (await checked(rig)).findings == []
        rig.wall.set(NOW + 600 * SECOND)
        assert (await checked(rig)).findings == []


async def test_an_older_word_about_an_outage_that_comes_again_is_left_alone(tmp_path: Path) -> None:
    """It vouched for more than the end that was told then; the index does not take it again."""
    async with recording_rig(tmp_path, T0) as rig:
        first, _ = await estate(rig)
        cause, beyond_us = GapCause.GAP_CAUSE_CAMERA_SILENT, T0 + 11 * SECOND
        await rig.outage(CAMERA, first.end_us, 0, cause, known_us=beyond_us)
        rig.wall.set(NOW + 600 * SECOND)
        assert (await checked(rig)).findings == []


@pytest.mark.parametrize("deep", [False, True])
async def test_a_sound_installation_is_found_sound(
    tmp_path: Path,
    deep: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        await estate(rig)
        report = await checked(rig, deep=deep)
        assert report.findings == []
        assert report.clean
        assert len(report.checked) > 10


async def test_runs_at_one_instant_and_older_keys_are_sound(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        await estate(rig)
        rig.wall.set(T0 + 60 * SECOND)
        await rig.run(record_run(CAMERA, "0195" + "c" * 28, T0))
        older = record_run(CAMERA, "0195" + "d" * 28, T0 + 30 * SECOND)
        for segment in older.segments:
            segment.key = segment_key("footage", CAMERA, "", segment.start_us, segment.number)
        await rig.run(older)
        await rig.settle()
        rig.wall.set(NOW)
        assert (await checked(rig, deep=True)).findings == []
        assert len({row.object_key for row in await rows(rig)}) == 12

        renamed = tables.SEGMENTS.c.object_key == older.segments[0].key
        await execute(rig, update(tables.SEGMENTS).where(renamed).values(run="0195" + "e" * 28))
        assert {finding.invariant for finding in (await checked(rig)).findings} >= {"I3"}


async def rows(rig: Rig) -> list[Any]:
    async with rig.database.reading() as connection:
        return list((await connection.execute(select(tables.SEGMENTS))).all())


async def test_nothing_young_is_reported(tmp_path: Path) -> None:
    """While recording goes on, object, event and row exist one after the other."""
    async with recording_rig(tmp_path, T0) as rig:
        await estate(rig)
        young = record_run(CAMERA, "0195" + "c" * 28, NOW - 10 * SECOND).segments[0]
        await young.store(rig.store)
        rig.wall.set(NOW - 10 * SECOND)
        await rig.hold("hold-2", CAMERA, T0, T0 + 3 * SECOND)
        rig.wall.set(NOW)
        assert (await checked(rig)).findings == []


def where_key(key: str) -> object:
    return tables.SEGMENTS.c.object_key == key


async def execute(rig: Rig, statement: object) -> None:
    async with rig.database.transaction() as connection:
        result = await connection.execute(statement)  # type: ignore[call-overload]
        assert result.rowcount > 0


Break = Callable[[Rig, RecordedRun, RecordedRun, Path], Awaitable[None]]


async def object_removed(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    (folder / "store" / b.segments[1].key).unlink()


async def object_flipped(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    path = folder / "store" / b.segments[1].key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


async def object_cut(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    path = folder / "store" / b.segments[1].key
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])


async def row_removed(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, delete(tables.SEGMENTS).where(where_key(b.segments[1].key)))


async def row_shifted(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    change = update(tables.SEGMENTS).where(where_key(b.segments[1].key))
    await execute(rig, change.values(start_us=b.segments[1].start_us + 1))


async def row_moved_to_another_camera(
    rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path
) -> None:
    change = update(tables.SEGMENTS).where(where_key(b.segments[1].key))
    await execute(rig, change.values(camera="cam-b"))


async def foreign_footage(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    rig.wall.set(T0 + 60 * SECOND)
    await record_run(CAMERA, "0195" + "d" * 28, T0 + 30 * SECOND).segments[0].store(rig.store)
    rig.wall.set(NOW)


async def register_without_event(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    values = {
        "object_key": segment_key("footage", CAMERA, "e" * 32, T0 - DAY, 0),
        "camera": CAMERA,
        "run": "e" * 32,
        "number": 0,
        "start_us": T0 - DAY,
        "end_us": T0 - DAY + SECOND,
        "sha256": "e" * 64,
        "reason": 1,
        "basis": "",
        "decided_us": T0,
        "destroyed_us": T0,
    }
    await execute(rig, insert(tables.DESTRUCTIONS).values(**values))


async def hold_taken_off_by_hand(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await rig.store.release_hold(a.segments[0].key, "hold-1")


async def hold_forgotten(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, delete(tables.HOLDS))


async def access_not_opened(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await rig.log.declare([TopicSpec("accesses", compacted=False, partitions=1, why="test")])
    rig.wall.set(T0)
    record = audit_pb2.AccessRecord(request_id="r1", phase=audit_pb2.ACCESS_PHASE_CLOSED)
    await rig.tell("accesses", "somebody", record)
    rig.wall.set(NOW)


async def span_removed(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, delete(tables.SPANS).where(tables.SPANS.c.run == RUN_B))


async def span_longer(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    change = update(tables.SPANS).where(tables.SPANS.c.run == RUN_B)
    await execute(rig, change.values(last_number=5, end_us=b.end_us + SECOND))


async def span_of_nothing(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    values = {"run": "f" * 32, "first_number": 0, "last_number": 0, "camera": CAMERA}
    times = {"start_us": T0 + 100 * SECOND, "end_us": T0 + 101 * SECOND}
    await execute(rig, insert(tables.SPANS).values(**values, **times))


async def outage_removed(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, delete(tables.OUTAGES))


async def outage_of_another_cause(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, update(tables.OUTAGES).values(cause=1))


async def camera_state_altered(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    await execute(rig, update(tables.CAMERA_STATES).values(authorisations="[]"))


async def media_time_altered(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    change = update(tables.SEGMENTS).where(where_key(b.segments[1].key))
    await execute(rig, change.values(media_start_ticks=1))


async def segment_never_told(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    run = record_run(CAMERA, "0195" + "f" * 28, T0 + 30 * SECOND)
    rig.wall.set(T0 + 60 * SECOND)
    await rig.segment(run.segments[0])
    await rig.segment(run.segments[2])
    await rig.settle()
    rig.wall.set(NOW)


async def time_gone_by(rig: Rig, a: RecordedRun, b: RecordedRun, folder: Path) -> None:
    rig.wall.set(T0 + 32 * DAY)


BREAKS: list[tuple[Break, set[str], bool]] = [
    (object_removed, {"I1", "I3"}, False),
    (object_flipped, {"I8"}, True),
    (object_cut, {"I10", "I8", "I1"}, True),
    (row_removed, {"I3", "I6", "I10", "I2"}, False),
    (row_shifted, {"I7", "I3", "I6", "I10"}, False),
    (row_moved_to_another_camera, {"I3", "I6", "I7", "I10"}, False),
    (foreign_footage, {"I3"}, False),
    (register_without_event, {"I3"}, False),
    (hold_taken_off_by_hand, {"I4"}, False),
    (hold_forgotten, {"I4"}, False),
    (access_not_opened, {"I5"}, False),
    (span_removed, {"I6"}, False),
    (span_longer, {"I10"}, False),
    (span_of_nothing, {"I10"}, False),
    (outage_removed, {"I6"}, False),
    (outage_of_another_cause, {"I6"}, False),
    (camera_state_altered, {"I6"}, False),
    (media_time_altered, {"I7", "I3"}, False),
    (segment_never_told, {"I2"}, False),
    (time_gone_by, {"I9"}, False),
]


@pytest.mark.parametrize(
    ("broken", "invariants", "deep"), BREAKS, ids=[item[0].__name__ for item in BREAKS]
)
async def test_what_is_broken_by_hand_is_found_and_named(
    tmp_path: Path,
    broken: Break,
    invariants: set[str],
    deep: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        first, second = await estate(rig)
        await broken(rig, first, second, tmp_path)
        report = await checked(rig, deep=deep)
        errors = {f.invariant for f in report.findings if f.severity == "ERROR"}
        assert errors, report.findings
        assert errors <= invariants, report.findings
        assert all(finding.where and finding.remedy for finding in report.findings)


async def test_a_file_left_in_the_spool_is_a_warning(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        await estate(rig)
        left = tmp_path / "spool" / "runs" / CAMERA / RUN_A / "000000.m4v"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"x")
        os.utime(left, (T0 / SECOND, T0 / SECOND))
        report = await checked(rig, spool=tmp_path / "spool")
        assert report.clean
        assert [f.invariant for f in report.findings] == ["I2"]


async def test_events_in_quarantine_are_named(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0) as rig:
        first, _ = await estate(rig)
        other = record_run(CAMERA, RUN_A, T0 + 100 * SECOND).segments[0]
        await rig.segment(other)
        await rig.settle()
        report = await checked(rig)
        assert any("SEGMENT_CONFLICT" in f.what for f in report.findings)
        del first


async def test_after_retention_the_installation_is_sound(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0, config=RecordingConfig(retention_enabled=False)) as rig:
        await estate(rig)
        rig.wall.set(T0 + 32 * DAY)
        await rig.module.sweeper.sweep()
        rig.wall.advance(600)
        report = await checked(rig, deep=True)
        assert report.findings == []
