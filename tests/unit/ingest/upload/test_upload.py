"""Invariants I1 and I2: what is told is stored, what is removed was acknowledged."""

import errno
from pathlib import Path

import pytest

from ingest_support import Installation, footage, frames_of
from vigie.ingest.spool import faults as points
from vigie.ingest.spool.faults import FAULT_POINTS
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.v1 import events_pb2
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults, raise_errno
from vigie.platform.objectstore import FileState, ObjectStore, PutResult
from vigie.platform.reasons import STORE_UNAVAILABLE


def deliver(installation: Installation, groups: int, *, first: int = 0) -> None:
    film, intake = footage(), installation.intake()
    for index in range(first, groups):
        intake.group(film.parameters, film.group(index, last=index == groups - 1))
    intake.ended("CLOSED_BY_CAMERA", "", 0)


async def test_footage_goes_from_the_engine_to_store_and_log(tmp_path: Path) -> None:
    installation = await Installation(tmp_path).open()
    deliver(installation, 8)
    await installation.path.drain_writers(10)
    assert await installation.path.uploader.drain(10)

    stored = await installation.stored()
    assert [s.number for s in stored] == [0, 1, 2]
    frames: list[bytes] = []
    for segment in stored:
        info = await installation.store.stat(segment.object_key)
        assert info is not None
        assert info.sha256 == segment.sha256
        assert info.size_bytes == segment.size_bytes
        assert info.content_type.startswith("video/mp4; codecs=")
        assert info.metadata["Vigie-StartUs"] == str(segment.start_us)
        frames += frames_of(await installation.content(segment.object_key))
    assert frames == footage().frames(range(8))
    last = (await installation.events())[-1].run_ended
    assert last.segment_count == 3
    assert last.reason == events_pb2.RUN_END_REASON_OUTAGE
    end = await installation.store.stat(last.object_key)
    assert end is not None
    assert end.size_bytes == 0
    assert installation.spool_files() == []
    assert installation.tools.quota.used_bytes == 0
    await installation.close()


async def test_two_runs_that_begin_at_one_instant_are_both_stored(tmp_path: Path) -> None:
    """A clock that was set back, or two processes that had the camera at once."""
    first = await Installation(tmp_path).open()
    deliver(first, 4)
    await first.path.drain_writers(10)
    assert await first.path.uploader.drain(10)
    await first.close()

    second = await Installation(tmp_path).open()
    deliver(second, 4)
    await second.path.drain_writers(10)
    assert await second.path.uploader.drain(10)

    stored = await second.stored()
    assert [(each.start_us, each.number) for each in stored[:2]] == [
        (each.start_us, each.number) for each in stored[2:]
    ]
    assert len({each.object_key for each in stored}) == 4
    for run in sorted({each.run for each in stored}):
        frames = [
            frame
            for each in stored
            if each.run == run
            for frame in frames_of(await second.content(each.object_key))
        ]
        assert frames == footage().frames(range(4))
    ends = [event.run_ended for event in await second.events() if event.HasField("run_ended")]
    assert len({end.object_key for end in ends}) == 2
    assert {end.end_us for end in ends} == {ends[0].end_us}
    assert not second.losses.lost
    assert not list((tmp_path / "spool" / "quarantine").iterdir())
    await second.close()


class UnreliableStore:
    """The directory store behind a line that is down for the first ``failures`` puts."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.inner: ObjectStore | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def put_file(self, key: str, path: Path, **rest: object) -> PutResult:
        if self.failures:
            self.failures -= 1
            raise VigieError(STORE_UNAVAILABLE, "the line is down")
        assert self.inner is not None
        return await self.inner.put_file(key, path, **rest)  # type: ignore[arg-type]  # passed on


async def test_recording_goes_on_while_the_store_is_away(tmp_path: Path) -> None:
    store = UnreliableStore(failures=1_000_000)
    installation = await Installation(tmp_path).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = installation.directory_store
    deliver(installation, 20)
    await installation.path.drain_writers(10)

    assert await installation.events() == []
    assert len([name for name in installation.spool_files() if name.endswith(".m4v")]) == 7
    store.failures = 2
    assert await installation.path.uploader.drain(10)
    assert [s.number for s in await installation.stored()] == list(range(7))
    assert (
        installation.registry.value(
            "vigie_ingest_upload_failures_total", reason="STORE_UNAVAILABLE"
        )
        > 2
    )
    assert installation.spool_files() == []
    await installation.close()


async def test_what_is_left_at_a_stop_is_replayed_by_the_next_start(tmp_path: Path) -> None:
    store = UnreliableStore(failures=1_000_000)
    first = await Installation(tmp_path).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = first.directory_store
    deliver(first, 8)
    await first.path.drain_writers(10)
    await first.close(timeout_seconds=0.1)

    second = await Installation(tmp_path).open()
    assert await second.path.uploader.drain(10)
    assert [s.number for s in await second.stored()] == [0, 1, 2]
    assert len(await second.events()) == 4
    await second.close()


async def test_an_altered_spool_file_is_never_stored_and_its_loss_is_told(tmp_path: Path) -> None:
    store = UnreliableStore(failures=1_000_000)
    first = await Installation(tmp_path).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = first.directory_store
    deliver(first, 8)
    await first.path.drain_writers(10)
    await first.close(timeout_seconds=0.1)
    victim = min((tmp_path / "spool" / "runs").rglob("000001.m4v"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)

    second = await Installation(tmp_path).open()
    assert await second.path.uploader.drain(10)

    assert [s.number for s in await second.stored()] == [0, 2]
    assert [(record.number, record.camera) for record, _ in second.losses.lost] == [
        (1, "cam-test-01")
    ]
    assert (
        second.registry.value(
            "vigie_ingest_spool_quarantined_total", reason="STORE_CHECKSUM_MISMATCH"
        )
        == 1
    )
    assert any((tmp_path / "spool" / "quarantine").iterdir())
    await second.close()


async def test_a_file_of_another_length_than_its_record_is_not_taken_at_its_word(
    tmp_path: Path,
) -> None:
    """Whatever its state says: the digest of the record is not that of these bytes."""
    store = UnreliableStore(failures=1_000_000)
    installation = await Installation(tmp_path).open(
        store=store,  # type: ignore[arg-type]  # __getattr__
        link_sources=True,
    )
    store.inner = installation.directory_store
    deliver(installation, 3)
    await installation.path.drain_writers(10)
    [victim] = (tmp_path / "spool" / "runs").rglob("000000.m4v")
    with victim.open("ab") as media:
        media.write(b"what a broken writer has left")
    run = installation.path.uploader.backlog.run(RunDirectory(victim.parent))
    run.written[0] = FileState.of(victim.stat())
    store.failures = 0
    assert await installation.path.uploader.drain(10)

    assert await installation.stored() == []
    assert [record.number for record, _ in installation.losses.lost] == [0]
    await installation.close()


@pytest.mark.parametrize("damage", ["flip", "empty", "garbage"])
async def test_an_altered_record_is_made_anew_from_the_media(tmp_path: Path, damage: str) -> None:
    store = UnreliableStore(failures=1_000_000)
    first = await Installation(tmp_path).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = first.directory_store
    deliver(first, 8)
    await first.path.drain_writers(10)
    sums = [segment.sha256 for segment in first.told.segments]
    times = [(segment.start_us, segment.duration_us) for segment in first.told.segments]
    await first.close(timeout_seconds=0.1)
    victim = min((tmp_path / "spool" / "runs").rglob("000001.json"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes({"flip": bytes(content), "empty": b"", "garbage": b"\0\xff{}"}[damage])

    second = await Installation(tmp_path).open()
    assert await second.path.uploader.drain(10)

    stored = await second.stored()
    assert [s.sha256 for s in stored] == sums
    assert [(s.start_us, s.duration_us) for s in stored] == times
    await second.close()


@pytest.mark.parametrize(
    ("point", "visit"),
    [
        (points.SEGMENT_INDEX, 4),
        (points.SEGMENT_SYNC, 4),
        (points.SEGMENT_RECORD, 4),
        (points.RECORD_WRITE, 6),
    ],
)
async def test_a_repair_that_fails_once_does_not_make_a_segment_acknowledged(
    tmp_path: Path, point: str, visit: int
) -> None:
    """The altered record is in quarantine by then, so there is none; but there is the media."""
    store = UnreliableStore(failures=1_000_000)
    # Visits before are those of three segments, the run and its end.
    faults = StrikingFaults(point, raise_errno(errno.EIO), first=visit, known=FAULT_POINTS)
    installation = await Installation(tmp_path).open(store=store, faults=faults)  # type: ignore[arg-type]  # __getattr__
    store.inner = installation.directory_store
    deliver(installation, 8)
    await installation.path.drain_writers(10)
    assert faults.strikes == 0
    victim = min((tmp_path / "spool" / "runs").rglob("000001.json"))
    victim.write_bytes(b"{}")

    store.failures = 0
    assert await installation.path.uploader.drain(10)

    assert faults.strikes == 1
    told = installation.told.segments
    stored = await installation.stored()
    assert [(each.number, each.sha256) for each in stored] == [
        (each.number, each.sha256) for each in told
    ]
    [kept] = [
        path for path in (tmp_path / "spool" / "quarantine").iterdir() if path.suffix != ".why"
    ]
    assert kept.name.endswith("000001.json")
    assert not installation.losses.lost
    assert installation.spool_files() == []
    assert installation.tools.quota.used_bytes == 0
    await installation.close()
