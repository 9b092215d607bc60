"""Files of the spool that are not what they were: quarantined or made anew, never stored as good.

Each is broken while nothing runs, then ingest starts: what is whole is stored, what is not goes to
quarantine with its reason, its loss is told, a metric counts it, and fsck names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.ledger import Entry, Ledger
from ingest_support import Installation, footage, frames_of
from recording_rig import FOREIGN_TOPICS
from vigie.platform.database import migrate
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import PutResult
from vigie.platform.reasons import STORE_UNAVAILABLE
from vigie.recording.fsck import FsckOptions, run_fsck
from vigie.recording.fsck import Installation as Checked
from vigie.recording.index.tables import MIGRATIONS

GROUPS = 8
QUARANTINED = "vigie_ingest_spool_quarantined_total"


class NoStore:
    """The store is away: everything stays in the spool."""

    def __init__(self) -> None:
        self.inner: object = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def put_file(self, _key: str, _path: Path, **_rest: object) -> PutResult:
        raise VigieError(STORE_UNAVAILABLE, "the line is down")


async def spooled(folder: Path, *, ended: bool) -> Path:
    """Key-frame groups in the spool, closed in segments of 3 s, or abandoned in an open one."""
    store = NoStore()
    installation = await Installation(folder).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = installation.directory_store
    film = footage()
    intake = installation.intake(segment_seconds=3 if ended else 300)
    for index in range(GROUPS):
        intake.group(film.parameters, film.group(index, last=ended and index == GROUPS - 1))
    if ended:
        intake.ended("CLOSED_BY_CAMERA", "", 0)
    await installation.path.drain_writers(10)
    if ended:
        await installation.close(timeout_seconds=0.1)
    else:
        await installation.crash()
    (run,) = (folder / "spool" / "runs").glob("*/*")
    return run


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def flip_digest(path: Path) -> None:
    """A bit of the fourth digest: each entry is an offset of 8 bytes and a digest of 32."""
    content = bytearray(path.read_bytes())
    content[3 * 40 + 20] ^= 1
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xa5" * 200)


@dataclass(frozen=True)
class Fault:
    """One file of the spool that is broken.

    Attributes:
        said: in plain words.
        file: which.
        breaks: how.
        ended: whether the segments were closed.
        reason: under which it goes to quarantine; empty: nothing does.
        stored: how many of the 8 key-frame intervals are stored at least, and at most.
        lost: segments whose loss is told as a gap of its own.
    """

    said: str
    file: str
    breaks: Callable[[Path], None]
    ended: bool
    reason: str
    stored: tuple[int, int]
    lost: int = 0


REFUSED = "STORE_CHECKSUM_MISMATCH"
FAULTS = [
    Fault("an open segment is cut", "000000.m4v", cut, False, "", (4, 6)),
    Fault("a bit of an open segment flips", "000000.m4v", flip, False, "MEDIA_ALTERED", (3, 5)),
    Fault("a bit of its digests flips", "000000.sums", flip_digest, False, "MEDIA_ALTERED", (3, 3)),
    Fault("the running digests are cut", "000000.sums", cut, False, "", (8, 8)),
    Fault("a bit of a closed segment flips", "000001.m4v", flip, True, REFUSED, (5, 5), 1),
    Fault("a closed segment is cut", "000001.m4v", cut, True, REFUSED, (5, 5), 1),
    Fault("a closed segment is gone", "000001.m4v", Path.unlink, True, "MEDIA_MISSING", (5, 5), 1),
    Fault("a bit of a segment's record flips", "000001.json", flip, True, "RECORD_ALTERED", (8, 8)),
    Fault("half a segment's record is there", "000001.json", cut, True, "RECORD_ALTERED", (8, 8)),
    Fault("the end of a run is garbage", "end.json", garbage, True, "RECORD_ALTERED", (8, 8)),
    Fault("the record of a run is garbage", "run.json", garbage, True, "RUN_UNREADABLE", (0, 0)),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[f.said.replace(" ", "-") for f in FAULTS])
async def test_a_broken_spool_file_is_never_stored_as_good(
    fault: Fault, tmp_path: Path, ledger: Ledger
) -> None:
    run = await spooled(tmp_path, ended=fault.ended)
    fault.breaks(run / fault.file)

    again = await Installation(tmp_path).open()
    assert await again.path.uploader.drain(60)
    frames: list[bytes] = []
    for stored in await again.stored():
        content = await again.content(stored.object_key)
        frames += frames_of(content)
    intervals = _intervals(frames)
    assert fault.stored[0] <= len(intervals) <= fault.stored[1], intervals
    assert intervals == sorted(set(intervals)), "doubled or out of order"
    assert len(again.losses.lost) == fault.lost
    if fault.reason:
        assert again.registry.value(QUARANTINED, reason=fault.reason) >= 1
    aside = [p for p in (tmp_path / "spool" / "quarantine").iterdir() if p.suffix != ".why"]
    assert bool(aside) == bool(fault.reason and fault.reason != "MEDIA_MISSING")
    named = await _named(again)
    assert len(named) == len(aside)
    await again.close()
    promise = "what is whole is stored, the rest is put away, told and never shown"
    seen = f"{len(intervals)} of {GROUPS} key-frame intervals stored; {fault.reason or 'no loss'}"
    ledger.note(
        Entry("files", f"spool: {fault.said}", promise, seen, float(GROUPS - len(intervals)))
    )


def _intervals(frames: list[bytes]) -> list[int]:
    """Which key-frame intervals of the film these are, each whole; fails for any other byte."""
    film = footage()
    groups = [film.frames(range(index, index + 1)) for index in range(GROUPS)]
    found: list[int] = []
    while frames:
        index = next(i for i, group in enumerate(groups) if frames[: len(group)] == group)
        found.append(index)
        frames = frames[len(groups[index]) :]
    return found


async def _named(installation: Installation) -> list[str]:
    """What fsck says of the spool's quarantine."""
    await migrate(installation.database, MIGRATIONS)
    await installation.log.declare([t for t in FOREIGN_TOPICS if t.name in {"cameras", "holds"}])
    checked = Checked(
        installation.database,
        installation.directory_store,
        installation.log,
        installation.wall,
        spool=installation.root / "spool",
    )
    report = await run_fsck(checked, FsckOptions(grace_us=0))
    return [f.what for f in report.findings if "the quarantine of the spool:" in f.what]
