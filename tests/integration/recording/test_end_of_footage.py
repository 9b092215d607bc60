"""Holds keep footage, retention ends it; both survive interruption at every step."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from recording_footage import RecordedRun, record_run
from recording_rig import Rig, recording_rig, serving
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults
from vigie.recording.index import tables
from vigie.recording.keys import segment_key
from vigie.recording.reindex import Reindexer
from vigie.recording.retention.sweeper import FAULT_POINTS
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.v1 import retention_pb2 as pb
from vigie.recording.v1.retention_pb2_grpc import HoldServiceStub, RetentionServiceStub

CAMERA = "cam-a"
# T0 is 1 March 2026: a month later, in UTC and, by one hour of summer time, in Paris.
EXPIRY = T0 + 31 * DAY - 3600 * SECOND


async def estate(rig: Rig, *, retention_days: int = 0) -> RecordedRun:
    await rig.camera(CAMERA, T0 - DAY, retention_days=retention_days)
    run = record_run(CAMERA, RUN_A, T0)
    await rig.run(run)
    await rig.settle()
    return run


async def listed(rig: Rig, start_us: int, end_us: int) -> list[tuple[str, int, int]]:
    entries = rig.module.timelines.entries(CAMERA, Interval(start_us, end_us))
    return [
        (e.cause.name if e.cause else e.kind.name, e.start_us - T0, e.end_us - T0)
        async for e in entries
    ]


async def keys_in_store(rig: Rig) -> set[str]:
    return {info.key async for info in rig.store.list("footage/")}


async def dicts_of(rig: Rig, table: Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in await rows_of(rig, table)]


async def rows_of(rig: Rig, table: object) -> list[tuple[object, ...]]:
    async with rig.database.reading() as connection:
        rows = await connection.execute(select(table))  # type: ignore[call-overload]
        return sorted(tuple(row) for row in rows)


async def test_footage_is_destroyed_by_the_round_before_its_time_ends(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        run = await estate(rig)
        hour = 3600 * SECOND
        rig.wall.set(EXPIRY - hour - 1)
        assert (await rig.module.sweeper.sweep()).objects == 0
        rig.wall.set(EXPIRY - hour + 6 * SECOND)
        report = await rig.module.sweeper.sweep()
        assert (report.objects, report.run_ends) == (3, 1)
        assert report.size_bytes == sum(len(s.data) for s in run.segments)
        assert await keys_in_store(rig) == set()
        assert not any((tmp_path / "store" / "footage").rglob("*.m4v"))
        assert await listed(rig, T0, T0 + 6 * SECOND) == [("DESTROYED", 0, 6 * SECOND)]


async def test_nothing_counts_as_destroyed_while_the_store_is_away(tmp_path: Path) -> None:
    """Its disk is not mounted when the time of footage ends: it is destroyed when it is back."""
    store, aside = tmp_path / "store", tmp_path / "aside"
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig)
        rig.wall.set(EXPIRY)
        store.rename(aside)
        store.mkdir()
        report = await rig.module.sweeper.sweep()
        assert report.objects == 0
        assert report.failures["STORE_UNAVAILABLE"] >= 3
        store.rmdir()
        aside.rename(store)
        assert len(await keys_in_store(rig)) == 4
        report = await rig.module.sweeper.sweep()
        assert (report.objects, report.run_ends) == (3, 1)
        assert await keys_in_store(rig) == set()


async def test_a_shorter_authorisation_ends_footage_earlier(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        await estate(rig, retention_days=7)
        stub = RetentionServiceStub(host.channel("all"))
        preview = await stub.PreviewRetention(pb.PreviewRetentionRequest())
        assert preview.forecasts[0].object_count == 0
        assert preview.forecasts[0].next_expiry_time.ToMicroseconds() == T0 + 7 * DAY
        rig.wall.set(T0 + 7 * DAY)
        preview = await stub.PreviewRetention(pb.PreviewRetentionRequest())
        assert preview.forecasts[0].object_count == 1
        await rig.module.sweeper.sweep()
        page = await stub.ListDestructions(pb.ListDestructionsRequest(page_size=2))
        rest = await stub.ListDestructions(
            pb.ListDestructionsRequest(page_size=2, page_token=page.next_page_token)
        )
        entries = [*page.destructions, *rest.destructions]
        assert [entry.number for entry in entries] == [0, 1, 2]
        assert {entry.basis for entry in entries} == {f"authorisations/{CAMERA}"}
        assert all(entry.HasField("destroy_time") for entry in entries)


async def test_a_hold_keeps_its_window_and_lets_the_rest_go(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        run = await estate(rig)
        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND)
        hold = await HoldServiceStub(host.channel("all")).GetHold(
            pb.GetHoldRequest(name="holds/h1")
        )
        assert hold.state == pb.HOLD_APPLICATION_APPLIED
        assert (hold.object_count, hold.held_object_count) == (1, 1)
        with pytest.raises(VigieError, match="OBJECT_HELD"):
            await rig.store.delete(run.segments[1].key)
        rig.wall.set(T0 + 40 * DAY)
        assert (await rig.module.sweeper.sweep()).objects == 2
        assert await listed(rig, T0, T0 + 6 * SECOND) == [
            ("DESTROYED", 0, 2 * SECOND),
            ("SPAN", 2 * SECOND, 4 * SECOND),
            ("DESTROYED", 4 * SECOND, 6 * SECOND),
        ]
        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND, released=True)
        assert (await rig.module.sweeper.sweep()).objects == 1
        assert await keys_in_store(rig) == set()


async def test_segments_that_come_later_into_the_window_are_held_too(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await rig.camera(CAMERA, T0 - DAY)
        run = record_run(CAMERA, RUN_A, T0)
        await rig.segment(run.segments[0])
        await rig.hold("h1", CAMERA, T0, T0 + DAY)
        await rig.segment(run.segments[1])
        await rig.settle()
        await rig.module.keeper.work()
        for segment in run.segments[:2]:
            info = await rig.store.stat(segment.key)
            assert info is not None
            assert info.holds == {"h1"}


async def test_a_hold_is_known_to_retention_before_the_store_has_it(tmp_path: Path) -> None:
    """The index is enough: even if the store could not be reached for the hold yet."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        run = await estate(rig)
        await rig.module.keeper.stop()
        await rig.hold("h1", CAMERA, T0, T0 + DAY)
        for segment in run.segments:
            await rig.store.release_hold(segment.key, "h1")
        rig.wall.set(T0 + 40 * DAY)
        assert (await rig.module.sweeper.sweep()).objects == 0


async def test_what_the_store_holds_for_an_unknown_reason_is_listed_again(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        run = await estate(rig)
        await rig.store.place_hold(run.segments[1].key, "by-hand")
        rig.wall.set(T0 + 40 * DAY)
        report = await rig.module.sweeper.sweep()
        assert report.failures == {"OBJECT_HELD": 1}
        assert ("SPAN", 2 * SECOND, 4 * SECOND) in await listed(rig, T0, T0 + 6 * SECOND)
        await rig.store.release_hold(run.segments[1].key, "by-hand")
        assert (await rig.module.sweeper.sweep()).objects == 1
        assert await listed(rig, T0, T0 + 6 * SECOND) == [("DESTROYED", 0, 6 * SECOND)]


class CrashError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_an_interrupted_destruction_is_finished(tmp_path: Path, point: str) -> None:
    def crash() -> None:
        raise CrashError

    faults = StrikingFaults(point, crash, known=FAULT_POINTS)
    async with recording_rig(tmp_path, T0 + 60 * SECOND, faults=faults) as rig:
        await estate(rig)
        rig.wall.set(T0 + 40 * DAY)
        with pytest.raises(CrashError):
            await rig.module.sweeper.sweep()
        # Whatever is listed now can be read now.
        for kind, start, _ in await listed(rig, T0, T0 + 6 * SECOND):
            if kind == Kind.SPAN.name:
                keys = {k for (k, *_) in await rows_of(rig, tables.SEGMENTS)}
                assert keys <= {*await keys_in_store(rig)}, start
    async with recording_rig(tmp_path, T0 + 40 * DAY) as rig:
        await rig.module.sweeper.sweep()
        assert await keys_in_store(rig) == set()
        assert await rows_of(rig, tables.SEGMENTS) == []
        assert await listed(rig, T0, T0 + 6 * SECOND) == [("DESTROYED", 0, 6 * SECOND)]
        told = [e async for e in rig.log.read("destructions")]
        assert len(told) == 3


async def test_a_replayed_event_does_not_bring_destroyed_footage_back(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        run = await estate(rig)
        rig.wall.set(T0 + 40 * DAY)
        await rig.module.sweeper.sweep()
        await rig.tell("segments", CAMERA, run.segments[0].event())
        await rig.settle()
        assert await rows_of(rig, tables.SEGMENTS) == []


async def test_a_waiting_getter_of_a_hold_is_answered_when_it_is_applied(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        await estate(rig)
        request = pb.GetHoldRequest(name="holds/h1")
        request.wait.FromSeconds(20)
        answer = asyncio.ensure_future(HoldServiceStub(host.channel("zone1")).GetHold(request))
        await asyncio.sleep(0)
        await rig.hold("h1", CAMERA, T0, T0 + DAY)
        hold = await answer
        assert hold.state == pb.HOLD_APPLICATION_APPLIED
        assert hold.legal_reference == "REQ 12"
        listed_holds = await HoldServiceStub(host.channel("zone2")).ListHolds(pb.ListHoldsRequest())
        assert not listed_holds.holds, "a hold of another zone is not shown"


async def test_the_index_is_rebuilt_from_the_bucket_row_for_row(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        await estate(rig, retention_days=7)
        await rig.hold("h1", CAMERA, T0 + 2 * SECOND, T0 + 3 * SECOND)
        second = record_run(CAMERA, RUN_B, T0 + 8 * DAY, ppm=-120, b_frames=2)
        await rig.run(second)
        other = record_run("cam-b", "0195" + "c" * 28, T0 + 8 * DAY + 5)
        for segment in reversed(other.segments):
            await rig.segment(segment)
        await rig.settle()
        rig.wall.set(T0 + 9 * DAY)
        await rig.module.sweeper.sweep()
        kept = (*tables.INDEX_TABLES, tables.HOLD_OBJECTS, tables.DESTRUCTIONS)
        before = {table.name: await rows_of(rig, table) for table in kept}
        assert len(before["recording_segments"]) == 7
        assert len(before["recording_destroyed_spans"]) == 2
        for table in (*tables.INDEX_TABLES, tables.HOLD_OBJECTS):
            async with rig.database.transaction() as connection:
                await connection.execute(table.delete())
        report = await Reindexer(rig.database, rig.store).rebuild()
        assert (report.segments, report.parsed, report.refused) == (7, 0, {})
        assert {table.name: await rows_of(rig, table) for table in kept} == before


async def test_objects_without_attributes_are_understood_from_their_content(
    tmp_path: Path,
) -> None:
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        run = record_run(CAMERA, RUN_A, T0)
        for segment in run.segments:
            await rig.store.put_bytes(
                segment.key,
                segment.data,
                sha256=segment.sha256,
                content_type="video/mp4",
                metadata={},
            )
        await rig.store.put_bytes(
            "footage/readme.txt",
            b"x",
            sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
            content_type="text/plain",
            metadata={},
        )
        report = await Reindexer(rig.database, rig.store).rebuild()
        assert (report.segments, report.parsed) == (3, 3)
        assert set(report.refused) == {"footage/readme.txt"}
        spans = await rows_of(rig, tables.SPANS)
        assert [(row[1], row[2], row[4], row[5]) for row in spans] == [(0, 2, T0, run.end_us)]


async def test_runs_at_one_instant_are_told_apart_by_their_keys_alone(tmp_path: Path) -> None:
    """Attributes were lost in a copy; the older run has keys that do not name it."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig:
        runs = [record_run(CAMERA, run, T0) for run in (RUN_A, RUN_B)]
        older = record_run(CAMERA, "f" * 32, T0 + 20 * SECOND)
        for segment in older.segments:
            segment.key = segment_key("footage", CAMERA, "", segment.start_us, segment.number)
        for run in (*runs, older):
            for segment in run.segments:
                await rig.store.put_bytes(
                    segment.key,
                    segment.data,
                    sha256=segment.sha256,
                    content_type="video/mp4",
                    metadata={},
                )
        for run in runs:
            empty = hashlib.sha256(b"").hexdigest()
            await rig.store.put_bytes(
                run.end_key, b"", sha256=empty, content_type="video/mp4", metadata={}
            )

        report = await Reindexer(rig.database, rig.store).rebuild()

        assert (report.segments, report.parsed, report.refused) == (9, 9, {})
        found = {
            (row["run"], row["number"]): (row["start_us"], row["sha256"])
            for row in await dicts_of(rig, tables.SEGMENTS)
        }
        for run in runs:
            for segment in run.segments:
                told = found.pop((run.run, segment.number))
                assert told == (segment.start_us, segment.sha256)
        assert len({run for run, _ in found}) == 1, "the older run is one run"
        assert sorted(found.values()) == sorted((s.start_us, s.sha256) for s in older.segments)
        ends = {
            row["run"]: (row["end_us"], row["segment_count"])
            for row in await dicts_of(rig, tables.RUN_ENDS)
        }
        assert ends == {run.run: (run.end_us, len(run.segments)) for run in runs}
