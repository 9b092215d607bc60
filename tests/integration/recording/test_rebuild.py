"""A reindex that has left its second part to the product: who asks gets all, with its digests."""

from pathlib import Path

from sqlalchemy import select

from integration.recording.test_fsck import checked
from integration.recording.test_thread import CAMERA, END, estate, fragments, played
from recording_rig import recording_rig, serving, window
from recording_support import SECOND, T0
from vigie.recording.index import tables
from vigie.recording.reindex import Reindexer
from vigie.recording.v1 import recording_pb2 as pb
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceStub


async def test_what_is_asked_for_is_described_first(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        first, second = await estate(rig)
        before = fragments(await played(host, T0, END))
        report = await Reindexer(rig.database, rig.store).rebuild(timeline_only=True)
        assert report.pending > 0
        # The module looks for hours when it starts; here it has begun before they were left.
        await rig.module._describer.pending()
        async with rig.database.reading() as connection:
            assert (await connection.execute(select(tables.SEGMENTS))).first() is None
        found = await checked(rig)
        assert [one.invariant for one in found.findings] == ["I3"]
        assert "reindex is not finished" in found.findings[0].what
        stub = RecordingServiceStub(host.channel("all"))
        request = pb.ListSegmentsRequest(camera=f"cameras/{CAMERA}", window=window(T0, END))
        answer = await stub.ListSegments(request)
        stored = [segment for run in (first, second) for segment in run.segments]
        assert [one.sha256 for one in answer.segments] == [one.sha256 for one in stored]
        assert fragments(await played(host, T0, END)) == before
        assert (await checked(rig)).findings == []


async def test_playback_describes_what_it_shows(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig, serving(rig) as host:
        await estate(rig)
        before = fragments(await played(host, T0, END))
        await Reindexer(rig.database, rig.store).rebuild(timeline_only=True)
        await rig.module._describer.pending()
        assert fragments(await played(host, T0, END)) == before


async def test_the_product_goes_on_where_the_command_has_ended(tmp_path: Path) -> None:
    async with recording_rig(tmp_path, END + SECOND) as rig:
        await estate(rig)
        await Reindexer(rig.database, rig.store).rebuild(timeline_only=True)
    async with recording_rig(tmp_path, END + SECOND) as rig:
        for task in rig.module._tasks:
            if task.get_name() == "recording-describe":
                await task
        async with rig.database.reading() as connection:
            assert (await connection.execute(select(tables.UNDESCRIBED))).first() is None
        assert (await checked(rig)).findings == []
