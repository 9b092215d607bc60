"""Events change the index once; spans grow, join and split in place."""

import random
from pathlib import Path

import pytest
from sqlalchemy import select, update

from recording_support import (
    DAY,
    HOUR,
    RUN_A,
    RUN_B,
    SECOND,
    T0,
    opened_index,
    segment,
)
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.database import EmbeddedDatabase, schema_differences
from vigie.recording.index import days, reader, spans, tables, writer
from vigie.recording.index.convert import EventInvalidError, camera_state_values, check_segment
from vigie.recording.model import PIECE_LIMIT_US, CameraState, Cause, Lifecycle, Segment
from vigie.recording.timeline.intervals import Interval

pytestmark = pytest.mark.usefixtures("database_kind")


async def rows(database: EmbeddedDatabase, table: object) -> list[tuple[object, ...]]:
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(select(table))]  # type: ignore[call-overload]


async def put(database: EmbeddedDatabase, *segments: Segment) -> None:
    async with database.transaction() as connection:
        for item in segments:
            await writer.put_segment(connection, item)


async def span_shape(database: EmbeddedDatabase) -> list[tuple[int, int, int, int]]:
    async with database.reading() as connection:
        query = select(tables.SPANS).order_by(tables.SPANS.c.start_us, tables.SPANS.c.run)
        return [
            (r.first_number, r.last_number, r.start_us - T0, r.end_us - T0)
            for r in await connection.execute(query)
        ]


async def test_the_migrated_schema_is_the_declared_one(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        assert await schema_differences(database, tables.MIGRATIONS, tables.METADATA) == []


async def test_segments_in_any_order_and_repeated_make_one_span(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        numbers = [*range(12), *range(12)]
        random.Random(7).shuffle(numbers)
        for number in numbers:
            await put(database, segment(number))
        assert await span_shape(database) == [(0, 11, 0, 360 * SECOND)]
        assert len(await rows(database, tables.SEGMENTS)) == 12


async def test_a_missing_segment_leaves_two_spans(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        await put(database, segment(0), segment(2))
        assert [shape[:2] for shape in await span_shape(database)] == [(0, 0), (2, 2)]
        await put(database, segment(1))
        assert [shape[:2] for shape in await span_shape(database)] == [(0, 2)]


async def test_a_run_of_a_day_stays_in_rows_of_bounded_length(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        await put(database, *(segment(n, duration_us=300 * SECOND) for n in range(288)))
        shapes = await span_shape(database)
        assert len(shapes) == 4
        assert all(end - start <= PIECE_LIMIT_US for _, _, start, end in shapes)
        assert shapes[-1][3] == DAY


@pytest.mark.parametrize("removed", [[0], [4], [2], [0, 1], [1, 3], [0, 1, 2, 3, 4]])
async def test_removal_trims_and_splits_spans(tmp_path: Path, removed: list[int]) -> None:
    async with opened_index(tmp_path) as database:
        segments = [segment(n) for n in range(5)]
        await put(database, *segments)
        async with database.transaction() as connection:
            for number in removed:
                await spans.remove_segment(connection, tables.SPANS, segments[number])
        covered = {n for a, b, _, _ in await span_shape(database) for n in range(a, b + 1)}
        assert covered == set(range(5)) - set(removed)
        for first, last, start, end in await span_shape(database):
            assert (start, end) == (first * 30 * SECOND, (last + 1) * 30 * SECOND)


async def test_another_object_in_the_same_place_is_refused(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        await put(database, segment(0))
        with pytest.raises(writer.ConflictingSegmentError):
            await put(database, segment(0, sha256="e" * 64))


def outage(
    start: int, end: int, known: int, cause: Cause = Cause.CAMERA_SILENT
) -> ingest_pb2.Outage:
    return ingest_pb2.Outage(
        outage="o1", start_us=start, end_us=end, known_until_us=known, cause=int(cause)
    )


async def apply_outage(database: EmbeddedDatabase, value: ingest_pb2.Outage) -> None:
    event = ingest_pb2.SegmentEvent(camera="cam-a", outage=value)
    async with database.transaction() as connection:
        await writer.apply_segment_events(connection, [event])


async def read_outages(
    database: EmbeddedDatabase, start: int, end: int
) -> list[tuple[int, int, bool]]:
    async with database.reading() as connection:
        facts, until = await reader.read_facts(
            connection, "cam-a", Interval(start, end), tail_us=None
        )
    assert until == end
    return [(o.start_us - T0, o.end_us - T0, o.open) for o in facts.outages]


async def test_a_state_is_acted_upon_when_it_was_told_if_that_is_known(tmp_path: Path) -> None:
    told: list[int | None] = [T0, T0 + 5 * HOUR, None, T0 + 8 * HOUR]
    async with opened_index(tmp_path) as database:
        async with database.transaction() as connection:
            for number, told_us in enumerate(told):
                state = CameraState(
                    camera="cam-a",
                    revision=number + 1,
                    effective_us=T0 + number * 3 * HOUR,
                    lifecycle=Lifecycle.IN_SERVICE,
                    zone="zone-1",
                    told_us=told_us,
                )
                values = camera_state_values(state)
                await connection.execute(tables.CAMERA_STATES.insert().values(**values))
        async with database.reading() as connection:
            for start, first in ((0, 0), (4, 0), (5, 1), (10, 3)):
                window = Interval(T0 + start * HOUR, T0 + 12 * HOUR)
                facts, _ = await reader.read_facts(connection, "cam-a", window, tail_us=None)
                assert [(d.since_us - T0) // HOUR for d in facts.demands] == [0, 5, 6, 9][first:]


async def test_an_outage_is_stretched_closed_and_found_from_anywhere_in_it(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        for hours in (0, 1, 5, 8, 13):
            await apply_outage(database, outage(T0, 0, T0 + hours * HOUR))
        pieces = await read_outages(database, T0, T0 + DAY)
        assert pieces == [
            (0, 6 * HOUR, False),
            (6 * HOUR, 12 * HOUR, False),
            (12 * HOUR, 13 * HOUR, True),
        ]
        assert await read_outages(database, T0 + 7 * HOUR, T0 + 8 * HOUR) == pieces[1:2]
        await apply_outage(database, outage(T0, T0 + 7 * HOUR, 0))
        closed = [(0, 6 * HOUR, False), (6 * HOUR, 7 * HOUR, False)]
        assert await read_outages(database, T0, T0 + DAY) == closed
        before = await rows(database, tables.OUTAGES)
        await apply_outage(database, outage(T0, T0 + 7 * HOUR, 0))
        assert await rows(database, tables.OUTAGES) == before


async def test_the_time_that_a_clock_left_out_ends_where_it_was_back(tmp_path: Path) -> None:
    """Seen from any window; what is interrupted after that is not the clock's fault."""
    async with opened_index(tmp_path) as database:
        before = segment(0, run=RUN_A, start_us=T0 - 30 * SECOND)
        await put(database, before)
        await apply_outage(database, outage(T0, T0 + 8 * HOUR, 0, Cause.CLOCK_JUMP))
        left_out = [(0, 6 * HOUR, False), (6 * HOUR, 8 * HOUR, False)]
        assert await read_outages(database, T0, T0 + DAY) == left_out
        back = segment(0, run=RUN_B, start_us=T0 + 5 * SECOND)
        await put(database, back)
        ended = [(0, 5 * SECOND, False), (6 * HOUR, 6 * HOUR, False)]
        assert await read_outages(database, T0, T0 + DAY) == ended
        assert await read_outages(database, T0 + HOUR, T0 + 2 * HOUR) == ended[:1]
        assert await read_outages(database, T0 + 7 * HOUR, T0 + DAY) == ended[1:]
        await apply_outage(database, outage(T0, T0 + 8 * HOUR, 0, Cause.CAMERA_SILENT))
        assert await read_outages(database, T0, T0 + DAY) == left_out, "of other causes nothing"


@pytest.mark.parametrize(
    "value",
    [
        outage(T0, T0 - 1, 0),
        ingest_pb2.Outage(outage="o", start_us=T0, end_us=T0 + 1, cause=0),
        ingest_pb2.Outage(outage="o", end_us=T0 + 1, cause=3),
    ],
)
async def test_an_impossible_outage_is_refused(tmp_path: Path, value: ingest_pb2.Outage) -> None:
    async with opened_index(tmp_path) as database:
        with pytest.raises(EventInvalidError):
            await apply_outage(database, value)


async def test_a_window_with_more_rows_than_fit_is_read_in_exact_steps(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        starts = [T0 + n * 40 * SECOND for n in range(50)]
        await put(database, *(segment(0, run=f"{s:032x}", start_us=s) for s in starts))
        window = Interval(T0, T0 + HOUR)
        async with database.reading() as connection:
            facts, until = await reader.read_facts(
                connection, "cam-a", window, row_limit=7, tail_us=None
            )
            assert until == T0 + 7 * 40 * SECOND
            assert len(facts.spans) == 7
            seen = list(facts.spans)
            while until < window.end_us:
                step = Interval(until, window.end_us)
                facts, until = await reader.read_facts(
                    connection, "cam-a", step, row_limit=7, tail_us=None
                )
                seen += facts.spans
        assert [s.start_us for s in seen] == starts


async def test_a_batch_is_what_its_segments_are_one_by_one(tmp_path: Path) -> None:
    """Many runs, any order, repeats, holes: one call writes the rows that many calls write."""
    rng = random.Random(11)
    runs = [f"{number:032x}" for number in range(7)]
    told = [
        segment(number, run=run, camera=f"cam-{run[-1]}")
        for run in runs
        for number in range(40)
        if rng.random() < 0.8
    ]
    told += rng.choices(told, k=60)
    rng.shuffle(told)
    async with opened_index(tmp_path / "one") as single, opened_index(tmp_path / "all") as batched:
        await put(single, *told)
        for start in range(0, len(told), 45):
            async with batched.transaction() as connection:
                new = await writer.put_segments(connection, told[start : start + 45])
                assert len({one.segment.object_key for one in new}) == len(new)
        for table in (tables.SEGMENTS, tables.SPANS):
            assert set(await rows(single, table)) == set(await rows(batched, table))


@pytest.mark.parametrize("together", [True, False])
async def test_two_objects_never_share_a_place_of_a_run(
    tmp_path: Path,
    together: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Also where the second lies in another day of the index, or the first is being destroyed."""
    first, far = segment(0), segment(0, start_us=T0 + 3 * DAY)
    async with opened_index(tmp_path) as database:
        if together:
            async with database.transaction() as connection:
                with pytest.raises(writer.ConflictingSegmentError):
                    await writer.put_segments(connection, [first, far])
            return
        await put(database, first)
        with pytest.raises(writer.ConflictingSegmentError):
            await put(database, far)
        async with database.transaction() as connection:
            await connection.execute(update(tables.SEGMENTS).values(destroying_us=T0))
            await spans.remove_segment(connection, tables.SPANS, first)
            await spans.add_segment(connection, tables.DESTROYED_SPANS, first)
        with pytest.raises(writer.ConflictingSegmentError):
            await put(database, far)
        assert len(await rows(database, tables.SEGMENTS)) == 1


@pytest.mark.parametrize("start_us", [0, -1, days.LAST_INSTANT_US, 1 << 62])
async def test_a_time_outside_of_the_calendar_is_refused(tmp_path: Path, start_us: int) -> None:
    with pytest.raises(EventInvalidError, match="start_us"):
        check_segment(segment(0, start_us=start_us))
    async with opened_index(tmp_path) as database:
        await put(database, segment(0, start_us=1), segment(1, start_us=days.LAST_INSTANT_US - 1))
        assert len(await rows(database, tables.SEGMENTS)) == 2


async def test_overlapping_runs_are_both_indexed(tmp_path: Path) -> None:
    async with opened_index(tmp_path) as database:
        await put(database, segment(0, run=RUN_A), segment(0, run=RUN_B, start_us=T0 + SECOND))
        async with database.reading() as connection:
            found = await reader.segments_in(connection, "cam-a", Interval(T0, T0 + DAY), limit=9)
            assert [s.run for s in found] == [RUN_A, RUN_B]
            page = await reader.segments_in(
                connection,
                "cam-a",
                Interval(T0, T0 + DAY),
                limit=9,
                after=(found[0].start_us, found[0].object_key),
            )
            assert page == found[1:]
