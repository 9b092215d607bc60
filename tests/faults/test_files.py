"""Files that are not what they were: never shown as footage, told by fsck and by a metric."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc.aio
import pytest

from faults import mutations_footage as footage
from faults import mutations_index as strangers
from faults.estate import CAMERA, DATABASE, NOW, A, B, Estate, build, copy, names, opened
from faults.ledger import Entry, Ledger
from recording_footage import record_run
from recording_rig import PURPOSE, Rig, reason_of, recording_rig, serving, window
from recording_support import SECOND, T0
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import NumberingMark
from vigie.platform.grpc.testing import RunningHost
from vigie.platform.metrics import MetricsRegistry
from vigie.recording.fsck import Planner, repair
from vigie.recording.fsck.summary import FsckGauges, write_summary
from vigie.recording.requests import timestamp
from vigie.recording.v1 import playback_pb2, recording_pb2
from vigie.recording.v1.playback_pb2_grpc import PlaybackServiceStub
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceStub

NAME = f"cameras/{CAMERA}"
DAMAGED = "vigie_recording_damaged_objects_total"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files") / "sound"
    asyncio.run(build(folder))
    return folder


async def played(host: RunningHost, start_us: int, end_us: int) -> tuple[bytes, str]:
    """The footage of a playback, and the reason it ended with ("": at its end)."""
    request = playback_pb2.PlayRequest(
        camera=NAME,
        start_time=timestamp(start_us),
        end_time=timestamp(end_us),
        purpose=PURPOSE,
    )
    media = bytearray()
    try:
        async for message in PlaybackServiceStub(host.channel("all")).Play(request):
            media += message.fragment.data
    except grpc.aio.AioRpcError as error:
        return bytes(media), reason_of(error)
    return bytes(media), ""


async def clipped(host: RunningHost, start_us: int, end_us: int) -> str:
    """The reason a clip ended with ("": at its end)."""
    request = playback_pb2.GetClipRequest(
        camera=NAME, window=window(start_us, end_us), purpose=PURPOSE
    )
    try:
        async for _ in PlaybackServiceStub(host.channel("all")).GetClip(request):
            pass
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


def damage(rig: Rig) -> float:
    reasons = ("CHECKSUM", "CUT", "UNREADABLE", "CONTRADICTS_INDEX", "MISSING")
    return sum(rig.metrics.value(DAMAGED, reason=reason) for reason in reasons)


async def reported(estate: Estate, *, deep: bool) -> list[str]:
    """What fsck finds; the same reaches the metrics of the product."""
    async with opened(estate) as at:
        report = await at.check(deep=deep)
    write_summary(estate.folder / "fsck.json", report, NOW)
    registry = MetricsRegistry()
    await FsckGauges(estate.folder / "fsck.json", registry).refresh()
    for finding in report.findings:
        labels = {"invariant": finding.invariant, "severity": str(finding.severity)}
        assert registry.value("vigie_recording_fsck_findings", **labels) > 0
    return [finding.invariant for finding in report.findings]


DAMAGES: list[tuple[str, Callable[[Estate], None], bool]] = [
    ("a bit of a stored object flips", footage.object_flipped, True),
    ("a stored object is half written", footage.object_half, False),
    ("a stored object is removed", footage.object_gone, False),
    ("a stored object is exchanged for other footage", footage.object_exchanged, False),
]


@pytest.mark.parametrize(
    ("fault", "breaks", "deep"), DAMAGES, ids=[damage[1].__name__ for damage in DAMAGES]
)
async def test_a_damaged_object_is_never_shown(  # noqa: PLR0917 - pytest passes parameters and fixtures by name
    fault: str,
    breaks: Callable[[Estate], None],
    deep: bool,  # noqa: FBT001 - a parameter of the test
    template: Path,
    tmp_path: Path,
    ledger: Ledger,
) -> None:
    estate = copy(template, tmp_path / "estate")
    breaks(estate)
    async with recording_rig(estate.folder, NOW) as rig, serving(rig) as host:
        start_us, end_us = B.segments[0].start_us, B.segments[2].end_us
        media, reason = await played(host, start_us, end_us)
        assert reason == "FOOTAGE_DAMAGED"
        # What came before is whole; of the damaged object not a byte has left.
        assert media
        assert media in B.segments[0].data
        assert await clipped(host, B.segments[1].start_us, end_us) == "FOOTAGE_DAMAGED"
        assert damage(rig) >= 2
        # The neighbours are not touched by it.
        media, reason = await played(host, A.segments[0].start_us, A.end_us)
        assert (bool(media), reason) == (True, "")
    assert await reported(estate, deep=deep)
    seen = "FOOTAGE_DAMAGED before its first byte; fsck" + (" --deep" if deep else "")
    ledger.note(Entry("files", fault, "it is not shown, and it is told", seen, 2.0))


STRANGERS: list[tuple[str, Callable[[Estate], None]]] = [
    ("an object with a garbage name lies in the bucket", strangers.garbage_name),
    ("garbage lies in the bucket under the name of footage", strangers.garbage_content),
    ("garbage of an unknown camera lies in the bucket", strangers.unknown_camera),
    ("footage of an unknown camera lies in the bucket", strangers.footage_of_nobody),
]


@pytest.mark.parametrize(("fault", "breaks"), STRANGERS, ids=[s[1].__name__ for s in STRANGERS])
async def test_an_object_that_is_not_ours_is_never_listed(
    fault: str, breaks: Callable[[Estate], None], template: Path, tmp_path: Path, ledger: Ledger
) -> None:
    estate = copy(template, tmp_path / "estate")
    breaks(estate)
    async with recording_rig(estate.folder, NOW) as rig, serving(rig) as host:
        request = recording_pb2.ListSegmentsRequest(
            camera=NAME, window=window(T0, NOW), page_size=100
        )
        listed = await RecordingServiceStub(host.channel("all")).ListSegments(request)
        assert len(listed.segments) == len(A.segments) + len(B.segments)
        media, reason = await played(host, T0 + 50 * SECOND, T0 + 60 * SECOND)
        assert (media, reason) == (b"", "")
    assert await reported(estate, deep=False) == ["I3"]
    async with opened(estate) as at:
        plan = await Planner(at.database, at.store, at.log).plan((await at.check()).findings)

        async def record(_doing: object, _targets: object) -> None:
            """The command line puts it on record; see test_fsck_command.py."""

        await repair(at.parts(), plan, record)
        assert names(await at.check()) == []
    aside = list((estate.folder / "store" / ".vigie" / "quarantine").iterdir())
    assert aside
    promise = "never listed or shown; fsck --repair moves it to the store's quarantine"
    ledger.note(Entry("files", fault, promise, f"{len(aside)} files set aside", 0.0))


async def test_a_database_of_yesterday_catches_up_with_the_bucket(
    template: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """What was recorded after the copy is listed again, and no position is given out twice."""
    estate = copy(template, tmp_path / "estate")
    yesterday = tmp_path / "yesterday.sqlite"
    shutil.copyfile(estate.folder / DATABASE, yesterday)
    later = record_run(CAMERA, "0195" + "f" * 28, T0 + 120 * SECOND)
    async with recording_rig(estate.folder, T0 + 130 * SECOND) as rig:
        mark = _mark(estate, rig.database)
        await rig.run(later)
        await rig.settle()
        [end] = await rig.log.ends("segments")
        given_out = end.offset
        await mark.note()
        sound = await _timeline(rig)
    for suffix in ("-wal", "-shm"):
        (estate.folder / (str(DATABASE) + suffix)).unlink(missing_ok=True)
    shutil.copyfile(yesterday, estate.folder / DATABASE)

    async with opened(estate) as at:
        behind = await _mark(estate, at.database).behind()
        report = await at.check()
    assert behind["segments"] == (given_out - 3, given_out + 1)
    assert any("the index does not know" in finding.what for finding in report.findings)

    async with opened(estate) as at:
        assert "segments" in await _mark(estate, at.database).skip_ahead()
    async with opened(estate) as at:
        again = _mark(estate, at.database)
        assert await again.skip_ahead() == []
        assert again.bucket_ahead, "an interrupted catching up must be begun again"
    restored = Restored()
    async with recording_rig(estate.folder, NOW, restored=restored) as rig:
        await _until(lambda: not restored.bucket_ahead)
        assert rig.metrics.value("vigie_recording_caught_up_segments_total") == 3
        assert rig.metrics.value("vigie_recording_catch_up_pending") == 0
        assert await _timeline(rig) == sound
        await rig.outage(CAMERA, T0 + 126 * SECOND, T0 + 127 * SECOND, 3)
        [position] = await rig.log.ends("segments")
        assert position.offset > given_out
        await rig.settle()
    async with opened(estate) as at:
        report = await at.check(deep=True)
    left = {(finding.invariant, str(finding.severity)) for finding in report.findings}
    assert left == {("I1", "WARNING")}, names(report)
    assert "restored from a copy" in report.findings[0].what
    promise = (
        "the bucket's footage is indexed anew while the product runs; the log numbers on behind a "
        "hole that fsck shows"
    )
    ledger.note(Entry("files", "the database is restored from yesterday's copy", promise,
                      "3 of 3 segments listed again", 0.0))  # fmt: skip


class Restored:
    """Says that the database is an older copy until recording has caught up."""

    bucket_ahead = True

    async def caught_up(self) -> None:
        self.bucket_ahead = False


def _mark(estate: Estate, database: object) -> NumberingMark:
    path = estate.folder / "store" / ".vigie" / "numbering.json"
    return NumberingMark(path, database, ManualWallClock(NOW))  # type: ignore[arg-type] # embedded


async def _timeline(rig: Rig) -> list[object]:
    async with rig.database.reading() as connection:
        rows = await connection.exec_driver_sql("SELECT * FROM recording_spans ORDER BY 1, 2")
        return [tuple(row) for row in rows]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def _smash(file: Path, *, at: int, size: int) -> None:
    with file.open("r+b") as database:
        database.seek(at)
        database.write(b"\xa5" * size)


async def test_a_database_that_is_none_is_refused(
    template: Path, tmp_path: Path, ledger: Ledger
) -> None:
    estate = copy(template, tmp_path / "estate")
    _smash(estate.folder / DATABASE, at=0, size=4096)
    codes: list[str] = []
    with pytest.raises(VigieError) as refused:
        await open_database(estate.folder / DATABASE, on_failure=codes.append)
    assert refused.value.reason.name == "DATABASE_UNAVAILABLE"
    assert set(codes) == {"SQLITE_NOTADB"}
    promise = "the product does not start on it, and says why"
    fault = "the head of the database file is overwritten"
    ledger.note(Entry("files", fault, promise, "SQLITE_NOTADB"))


async def test_a_damaged_database_is_told_and_made_anew_from_the_bucket(
    template: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """Pages of the index are overwritten: fsck says so; nothing of them is believed."""
    estate = copy(template, tmp_path / "estate")
    pages = _pages(estate, "recording_segments")
    for page in pages:
        _smash(estate.folder / DATABASE, at=(page - 1) * 4096, size=4096)
    async with opened(estate) as at:
        report = await at.check(deep=True)
    assert not report.clean
    assert all("the database cannot be read" in finding.what for finding in report.findings)
    async with recording_rig(estate.folder, NOW) as rig, serving(rig) as host:
        media, reason = await played(host, B.segments[0].start_us, B.end_us)
        assert media == b""
        assert reason == "DATABASE_UNAVAILABLE"
    seen = f"{len(report.findings)} findings; playback answers DATABASE_UNAVAILABLE"
    promise = "fsck --deep names it, a metric counts it, and nothing of it is shown"
    ledger.note(Entry("files", "pages of the database file are overwritten", promise, seen))


async def test_an_index_of_the_database_that_lies_is_told(
    template: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """A page that is well formed and says something else: only SQLite's own check sees it."""
    estate = copy(template, tmp_path / "estate")
    (page,) = _pages(estate, "recording_segments", "recording_segments_camera_start")
    content = bytearray((estate.folder / DATABASE).read_bytes())
    start = (page - 1) * 4096
    content[start : start + 4096] = content[start : start + 4096].replace(b"cam-a", b"cam-q")
    (estate.folder / DATABASE).write_bytes(content)
    async with opened(estate) as at:
        report = await at.check(deep=True)
    assert any("the database file is damaged" in finding.what for finding in report.findings)
    fault = "an index page of the database is altered, well formed"
    promise = "fsck --deep names it"
    ledger.note(Entry("files", fault, promise, f"{len(report.findings)} findings"))


def _pages(estate: Estate, table: str, name: str = "%") -> list[int]:
    """The root pages of a table and its indexes."""
    with closing(sqlite3.connect(estate.folder / DATABASE)) as connection:
        found = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE tbl_name = ? AND name LIKE ?", (table, name)
        ).fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [page for (page,) in found]
