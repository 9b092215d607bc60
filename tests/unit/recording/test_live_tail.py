"""The end of a timeline, while a camera is received."""

import json
from pathlib import Path

import pytest
from sqlalchemy import insert

from recording_support import DAY, HOUR, RUN_A, RUN_B, SECOND, T0, opened_index, segment
from vigie.platform.clock import ManualWallClock
from vigie.recording.index import tables, writer
from vigie.recording.model import Lifecycle, LiveState
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader

pytestmark = pytest.mark.usefixtures("database_kind")


async def test_footage_ahead_of_now_does_not_hide_what_is_on_its_way(tmp_path: Path) -> None:
    """A clock was an hour ahead for a moment, and is right again."""
    async with opened_index(tmp_path) as database:
        async with database.transaction() as connection:
            await connection.execute(
                insert(tables.CAMERA_STATES).values(
                    camera="cam-a", revision=1, effective_us=T0 - DAY, zone="zone-a",
                    lifecycle=int(Lifecycle.IN_SERVICE),
                    authorisations=json.dumps([["arrete", T0 - DAY, T0 + DAY, 30]]),
                )
            )  # fmt: skip
            await writer.put_segment(connection, segment(0, run=RUN_A, start_us=T0))
            ahead = segment(0, run=RUN_B, start_us=T0 + HOUR)
            await writer.put_segment(connection, ahead)
        now_us = T0 + 40 * SECOND
        live = LiveState(now_us - SECOND, recording=True)
        read = TimelineReader(database, ManualWallClock(now_us), lambda _: live)
        told = [
            (entry.kind, entry.start_us - T0, entry.end_us - T0)
            async for entry in read.entries("cam-a", Interval(T0, ahead.end_us))
        ]
        assert told == [
            (Kind.SPAN, 0, 30 * SECOND),
            (Kind.PENDING, 30 * SECOND, 40 * SECOND),
            (Kind.FUTURE, 40 * SECOND, HOUR),
            (Kind.SPAN, HOUR, HOUR + 30 * SECOND),
        ]
        # What is stored reaches as far as it does: it can be played.
        assert await read.last_stored_us("cam-a") == ahead.end_us
