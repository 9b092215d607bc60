"""Recording, playback, evidence and the checker on objects that are no files here."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

import recording_rig
from integration.recording.test_fsck import checked
from integration.recording.test_fsck import estate as estate_under_hold
from integration.recording.test_thread import END, estate, fragments, played
from integration.s3.rig import Rig
from recording_rig import serving
from recording_support import SECOND, T0
from vigie.evidence.ports import SegmentFacts
from vigie.evidence.sources import SourceReader
from vigie.recording.catchup import catch_up
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.reindex import Reindexer


@pytest.fixture
def on_s3(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig of recording opens its store in the bucket."""

    async def open_store(root: Path, clock: Any) -> Any:
        return await rig.open()  # the footage is of another time than the store

    monkeypatch.setattr(recording_rig, "open_directory_store", open_store)


async def test_what_was_stored_is_played_byte_for_byte(on_s3: None, tmp_path: Path) -> None:
    async with recording_rig.recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        first, second = await estate(rig)
        shown = fragments(await played(host, T0, END))
        stored = b"".join(segment.data for run in (first, second) for segment in run.segments)
        assert shown
        assert all(data in stored for _, _, data in shown)
        assert await rig.store.local_path(first.segments[0].key) is None


async def test_evidence_reads_its_sources(on_s3: None, tmp_path: Path) -> None:
    async with recording_rig.recording_rig(tmp_path, END + SECOND) as rig:
        first, _ = await estate(rig)
        segment = first.segments[0]
        facts = SegmentFacts(
            object_key=segment.key,
            run=segment.run,
            number=segment.number,
            start_us=segment.start_us,
            end_us=segment.end_us,
            media_start_ticks=segment.media_start,
            media_duration_ticks=segment.media_duration,
            size_bytes=len(segment.data),
            sha256=segment.sha256,
            header_sha256=segment.header_sha256,
            codec=segment.codec,
            width=0,
            height=0,
            camera_clock_offset_us=None,
        )
        reader = SourceReader(rig.store, asyncio.get_running_loop())

        def read() -> tuple[int, bytes]:
            with reader.fetch(facts) as content:
                whole = b"".join(bytes(chunk) for chunk in content.chunks(0, facts.size_bytes))
            return len(reader.index(facts).fragments), whole

        fragment_count, whole = await asyncio.to_thread(read)
        assert fragment_count == 2
        assert hashlib.sha256(whole).hexdigest() == segment.sha256


async def test_the_checker_the_index_and_holds(on_s3: None, tmp_path: Path) -> None:
    async with recording_rig.recording_rig(tmp_path, T0) as rig:
        first, second = await estate_under_hold(rig)
        report = await checked(rig, deep=True)
        assert report.findings == []
        held = [one.key async for one in rig.store.list("footage/") if "hold-1" in one.holds]
        assert held == [segment.key for segment in first.segments[:2]]
        rebuilt = await Reindexer(rig.database, rig.store).rebuild()
        count = len(first.segments) + len(second.segments)
        assert (rebuilt.segments, rebuilt.run_ends, rebuilt.refused) == (count, 2, {})
        assert rebuilt.parsed == 0
        assert (await checked(rig)).findings == []
        again = await catch_up(rig.database, rig.store, RecordingMetrics(rig.metrics))
        assert (again.segments, again.run_ends, again.refused) == (0, 0, 0)
        await rig.hold("hold-1", "cam-a", T0, T0 + 3 * SECOND, released=True)
        assert not [one.key async for one in rig.store.list("footage/") if one.holds]
