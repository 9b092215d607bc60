"""Entries of the register of destructions are folded at the end of their time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, insert, select, update

from recording_footage import record_run
from recording_rig import Rig, recording_rig, serving, window
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.platform.eventlog.maintenance import maintain
from vigie.recording.fsck import FsckOptions, Installation, run_fsck
from vigie.recording.fsck.coverage import Piece
from vigie.recording.fsck.index import Run, told_as_lost
from vigie.recording.fsck.report import EVIDENCE
from vigie.recording.index import tables
from vigie.recording.index.spans import NOTHING
from vigie.recording.reindex import Reindexer
from vigie.recording.retention.folding import ENTRY_DAYS
from vigie.recording.timeline.intervals import Interval
from vigie.recording.v1 import retention_pb2 as pb
from vigie.recording.v1.retention_pb2_grpc import RetentionServiceStub

CAMERA = "cam-a"
DESTROYED_AT = T0 + 40 * DAY
ALL = [("DESTROYED", 0, 6 * SECOND)]


async def estate(rig: Rig, *, held: bool = False) -> None:
    """Three segments of two seconds, destroyed; the second may be held."""
    await rig.camera(CAMERA, T0 - DAY)
    await rig.run(record_run(CAMERA, RUN_A, T0))
    await rig.settle()
    if held:
        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND)
    rig.wall.set(DESTROYED_AT)
    assert (await rig.module.sweeper.sweep()).objects == (2 if held else 3)


async def fold(rig: Rig, at_us: int) -> None:
    """A round of retention, and one of the log's upkeep."""
    rig.wall.set(at_us)
    await rig.module.sweeper.sweep()
    await maintain(rig.database, at_us)


async def findings(rig: Rig) -> list[tuple[str, str]]:
    installation = Installation(
        rig.database, rig.store, rig.log, rig.wall, quarantine=rig.quarantine, numbering=rig.log
    )
    report = await run_fsck(installation, FsckOptions())
    return [(finding.what, finding.by_hand) for finding in report.findings]


async def listed(rig: Rig) -> list[tuple[str, int, int]]:
    entries = rig.module.timelines.entries(CAMERA, Interval(T0, T0 + 6 * SECOND))
    return [
        (e.cause.name if e.cause else e.kind.name, e.start_us - T0, e.end_us - T0)
        async for e in entries
    ]


async def covered(rig: Rig, table: Table) -> list[tuple[int, int, int, int]]:
    """First and last number, start and end of each row."""
    async with rig.database.reading() as connection:
        rows = await connection.execute(select(table).order_by(table.c.first_number))
        return [(r.first_number, r.last_number, r.start_us - T0, r.end_us - T0) for r in rows]


async def entries(rig: Rig) -> list[int]:
    """Numbers of the segments that have an entry."""
    table = tables.DESTRUCTIONS
    async with rig.database.reading() as connection:
        query = select(table.c.number).order_by(table.c.number)
        return list((await connection.execute(query)).scalars())


async def execute(rig: Rig, statement: Any) -> None:
    async with rig.database.transaction() as connection:
        await connection.execute(statement)


async def test_an_entry_stands_for_its_time_and_is_folded_then(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        await fold(rig, DESTROYED_AT + ENTRY_DAYS * DAY)
        assert await entries(rig) == [0, 1, 2]
        assert await findings(rig) == []
        await fold(rig, DESTROYED_AT + ENTRY_DAYS * DAY + 1)
        assert await entries(rig) == []
        assert await covered(rig, tables.FOLDED_DESTRUCTIONS) == [(0, 2, 0, 6 * SECOND)]
        assert await listed(rig) == ALL
        assert await findings(rig) == []


async def test_what_is_folded_stays_told_and_is_compared_with_what_was(tmp_path: Path) -> None:
    """The topic keeps each event far longer than the table its entry."""
    folded = tables.FOLDED_DESTRUCTIONS
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        await fold(rig, DESTROYED_AT + (ENTRY_DAYS + 1) * DAY)
        assert len([stored async for stored in rig.log.read("destructions")]) == 3
        assert await findings(rig) == []
        await execute(rig, delete(folded))
        await execute(rig, delete(tables.DESTROYED_SPANS))
        what = "a destruction was told that is not in the register"
        assert await findings(rig) == [(what, EVIDENCE)] * 3


async def test_what_is_folded_outlives_what_was_told(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        await fold(rig, DESTROYED_AT + 1201 * DAY)
        assert [stored async for stored in rig.log.read("destructions")] == []
        assert await listed(rig) == ALL
        assert await findings(rig) == []


async def test_footage_that_was_held_longer_than_that_is_accounted_for(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig, held=True)
        folded = DESTROYED_AT + (ENTRY_DAYS + 1) * DAY
        await fold(rig, folded)
        parts = [(0, 0, 0, 2 * SECOND), (2, 2, 4 * SECOND, 6 * SECOND)]
        assert await covered(rig, tables.FOLDED_DESTRUCTIONS) == parts
        assert [kind for kind, *_ in await listed(rig)] == ["DESTROYED", "SPAN", "DESTROYED"]
        assert await findings(rig) == []

        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND, released=True)
        assert (await rig.module.sweeper.sweep()).objects == 1
        assert await entries(rig) == [1]
        rig.wall.set(folded + DAY)
        assert await listed(rig) == ALL
        assert await findings(rig) == []

        await fold(rig, folded + (ENTRY_DAYS + 1) * DAY)
        assert await covered(rig, tables.FOLDED_DESTRUCTIONS) == [(0, 2, 0, 6 * SECOND)]
        assert await findings(rig) == []


async def test_a_rebuilt_index_knows_what_was_destroyed_long_ago(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig, held=True)
        folded = DESTROYED_AT + (ENTRY_DAYS + 1) * DAY
        await fold(rig, folded)
        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND, released=True)
        await rig.module.sweeper.sweep()
        before = await covered(rig, tables.DESTROYED_SPANS)
        await execute(rig, delete(tables.DESTROYED_SPANS))
        await Reindexer(rig.database, rig.store).rebuild()
        assert await covered(rig, tables.DESTROYED_SPANS) == before == [(0, 2, 0, 6 * SECOND)]
        rig.wall.set(folded + DAY)
        assert await findings(rig) == []


async def test_what_was_folded_and_altered_is_left_to_people(tmp_path: Path) -> None:
    folded = tables.FOLDED_DESTRUCTIONS
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        await fold(rig, DESTROYED_AT + 1201 * DAY)  # the topic has it no more
        await execute(rig, update(folded).values(last_number=1, end_us=T0 + 4 * SECOND))
        what = "the destroyed footage lists what no segment covers"
        assert await findings(rig) == [(what, EVIDENCE)]
        await execute(rig, update(folded).values(last_number=3, end_us=T0 + 8 * SECOND))
        what = "the destroyed footage leaves out what a segment covers"
        assert await findings(rig) == [(what, EVIDENCE)]
        await execute(rig, update(folded).values(last_number=2, end_us=T0 + 6 * SECOND))
        assert await findings(rig) == []


async def test_nothing_recent_counts_as_folded(tmp_path: Path) -> None:
    """Footage that somebody took away, and gave out as destroyed long ago."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await rig.camera(CAMERA, T0 - DAY)
        await rig.run(record_run(CAMERA, RUN_A, T0))
        await rig.settle()
        row = {
            "run": RUN_A, "first_number": 2, "last_number": 2, "camera": CAMERA,
            "start_us": T0 + 4 * SECOND, "end_us": T0 + 6 * SECOND,
        }  # fmt: skip
        await execute(rig, insert(tables.FOLDED_DESTRUCTIONS).values(row))
        await execute(rig, insert(tables.DESTROYED_SPANS).values(row))
        rig.wall.set(T0 + 600 * SECOND)
        what = "footage counts as destroyed long ago that is not so old"
        assert await findings(rig) == [(what, EVIDENCE)]


async def test_the_register_lists_what_is_folded_among_the_entries(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        await estate(rig)
        rig.wall.set(T0 + 120 * DAY)
        await rig.camera("cam-b", T0 - DAY)
        await rig.run(record_run("cam-b", RUN_B, T0))
        await rig.settle()
        await rig.module.sweeper.sweep()
        await fold(rig, DESTROYED_AT + (ENTRY_DAYS + 1) * DAY)
        stub = RetentionServiceStub(host.channel("all"))
        told, token = [], ""
        while True:
            request = pb.ListDestructionsRequest(page_size=1, page_token=token)
            page = await stub.ListDestructions(request)
            told += [(one.camera, one.number, one.last_number) for one in page.destructions]
            if not (token := page.next_page_token):
                break
        a, b = f"cameras/{CAMERA}", "cameras/cam-b"
        assert told == [(a, 0, 2), (b, 0, 0), (b, 1, 0), (b, 2, 0)]
        only = await stub.ListDestructions(pb.ListDestructionsRequest(camera=a))
        assert [one.end_time.ToMicroseconds() for one in only.destructions] == [T0 + 6 * SECOND]
        assert not only.destructions[0].HasField("destroy_time")


async def test_a_window_shows_what_it_did_before_it_was_folded(tmp_path: Path) -> None:
    """A row of several hours may begin before the window that asks for a part of it."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        await estate(rig)
        stub = RetentionServiceStub(host.channel("all"))
        asked = pb.ListDestructionsRequest(
            camera=f"cameras/{CAMERA}", window=window(T0 + 2 * SECOND, T0 + 6 * SECOND)
        )
        before = await stub.ListDestructions(asked)
        assert [one.number for one in before.destructions] == [1, 2]
        await fold(rig, DESTROYED_AT + (ENTRY_DAYS + 1) * DAY)
        after = await stub.ListDestructions(asked)
        assert [(one.number, one.last_number) for one in after.destructions] == [(0, 2)]
        asked.window.CopyFrom(window(T0 + 6 * SECOND, T0 + 9 * SECOND))
        assert not (await stub.ListDestructions(asked)).destructions


async def test_a_folded_run_without_its_destroyed_spans_is_named(tmp_path: Path) -> None:
    """The timeline would call it INGEST_DOWN."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        await fold(rig, DESTROYED_AT + (ENTRY_DAYS + 1) * DAY)
        await execute(rig, delete(tables.DESTROYED_SPANS))
        what = "the destroyed footage leaves out what a segment covers"
        assert await findings(rig) == [(what, EVIDENCE)]


def test_what_was_lost_stays_told_when_what_came_before_is_folded() -> None:
    first, second, fourth = (
        replace(NOTHING, run=RUN_A, camera=CAMERA, number=number, start_us=start, end_us=start + 10)
        for number, start in ((0, 0), (1, 10), (3, 30))
    )
    lost = [(20, 30)]
    whole = Run(RUN_A, destroyed=[first, second, fourth])
    folded = Run(RUN_A, destroyed=[fourth], folded=[Piece(0, 1, 0, 20, CAMERA)])
    assert told_as_lost(whole, 2, None, lost)
    assert told_as_lost(folded, 2, None, lost)
    assert not told_as_lost(folded, 2, None, [(21, 30)])


async def test_footage_that_a_copy_of_the_bucket_brought_back_goes_again(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await rig.camera(CAMERA, T0 - DAY)
        run = record_run(CAMERA, RUN_A, T0)
        await rig.run(run)
        await rig.settle()
        key = run.segments[1].key
        info = await rig.store.stat(key)
        assert info is not None
        data = b"".join([part async for part in rig.store.read(key)])
        rig.wall.set(DESTROYED_AT)
        await rig.module.sweeper.sweep()
        await rig.store.put_bytes(
            key, data, sha256=info.sha256, content_type=info.content_type, metadata=info.metadata
        )
        await Reindexer(rig.database, rig.store).rebuild()
        report = await rig.module.sweeper.sweep()
        assert (report.resumed, report.objects) == (1, 1)
        assert await rig.store.stat(key) is None
        rig.wall.set(DESTROYED_AT + DAY)
        assert await findings(rig) == []
