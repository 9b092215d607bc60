"""Disks that are full, read-only, failing, slow, gone and back: nothing acknowledged is lost.

Three products run side by side; of each, disks are broken one after the other: the spool's, the
store's, the database's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e import estate
from e2e.callers import failure_of, play, timelines
from e2e.harness import WALL, until
from faults.conftest import LONG
from faults.disks import (
    DATABASE_STEPS,
    SPOOL_STEPS,
    STORE_STEPS,
    Disk,
    FaultFile,
    may_mount,
    own_disk,
    slow_database,
)
from faults.endurance import KEY_INTERVAL_US, Account, Broken, recording, simulator_of
from faults.ledger import Entry, Ledger
from vigie.simcam.client import SimCamProcess

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

CAMERAS: Final = ("cam-h264", "cam-h265-b")
HELD_SECONDS: Final = 2.0
AFTERWARDS_US: Final = 2_000_000
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Endured:
    """One fault, from before it to after the recovery.

    Attributes:
        accounts: camera -> what became of its footage.
        seconds: how long the fault lasted.
        recovery_seconds: until everything was recorded and stored again.
    """

    accounts: dict[str, Account]
    seconds: float
    recovery_seconds: float

    @property
    def missing_seconds(self) -> float:
        return max(account.missing_seconds for account in self.accounts.values())

    @property
    def causes(self) -> set[str]:
        return {cause for account in self.accounts.values() for cause in account.causes}


async def endure(
    broken: Broken,
    fault: contextlib.AbstractContextManager[None],
    during: Callable[[Broken], Awaitable[None]],
) -> Endured:
    """Break, look, mend; wait until all is well; account for every second."""
    start_us = WALL.now_us() - 2 * KEY_INTERVAL_US
    with fault:
        await during(broken)
        await asyncio.sleep(HELD_SECONDS)  # it lasts
    mended_us = WALL.now_us()
    end_us = await broken.stored_to(mended_us + AFTERWARDS_US)
    well_us = WALL.now_us()
    accounts = await broken.account(max(start_us, broken.begun_us), end_us)
    return Endured(accounts, (mended_us - start_us) / 1e6 - 2, (well_us - mended_us) / 1e6)


# --- what must be so while it lasts ---------------------------------------------------------------


async def spool_refuses(broken: Broken) -> None:
    """Said aloud; what is stored can be looked at, and live viewers see every camera."""

    async def told() -> bool:
        return "ingest" in await broken.not_ready()

    await until(told, "the product says that it does not record")
    await _serves(broken)

    async def counted() -> bool:
        return await broken.metric("vigie_ingest_gaps_total") >= len(CAMERAS)

    await until(counted, "the gap of every camera is counted")


async def spool_is_full(broken: Broken) -> None:
    """The same, and the metrics say which disk it is."""
    await spool_refuses(broken)
    if not may_mount():
        return  # by fault points the disk has room, it only refuses

    async def measured() -> bool:
        return (
            await broken.metric("vigie_ingest_spool_fill_ratio") == 1
            and await broken.metric("vigie_ingest_spool_warning_info", level="full") == 1
        )

    await until(measured, "the metrics say that the spool is full")


async def store_refuses(broken: Broken) -> None:
    """Uploads fail, and say so; recording goes on into the spool; what is stored plays."""
    await _store_trouble(broken)
    await _serves(broken)


async def store_is_away(broken: Broken) -> None:
    """Nothing can be played, and it is not called damaged; no footage is taken for gone."""
    await _store_trouble(broken)
    camera = CAMERAS[0]
    error = await failure_of(play(broken.vigie, camera, broken.begun_us, WALL.now_us()))
    assert error.reason == "STORE_UNAVAILABLE", error
    assert await timelines(broken.vigie, CAMERAS, broken.begun_us)
    assert not await broken.metric("vigie_ingest_spool_quarantined_total")


async def database_refuses(broken: Broken) -> None:
    """No access without its record, not even to a timeline; recording goes on."""
    camera = CAMERAS[0]

    async def refused() -> bool:
        with contextlib.suppress(AssertionError):
            error = await failure_of(play(broken.vigie, camera, broken.begun_us, WALL.now_us()))
            return error.reason in {"ACCESS_NOT_RECORDED", "DATABASE_UNAVAILABLE"}
        return False

    await until(refused, "access is refused because it cannot be recorded")

    async def told() -> bool:
        return "database-check" in await broken.not_ready()

    await until(told, "the product says that its database refuses")
    await _spool_grows(broken)
    assert await broken.metric("vigie_grpc_access_record_failures_total")


async def nothing_but_time(broken: Broken) -> None:
    """A slow disk: everything goes on, only later."""
    await _serves(broken)


async def _store_trouble(broken: Broken) -> None:
    await _spool_grows(broken)

    async def said() -> bool:
        return bool(
            await broken.metric("vigie_ingest_upload_failures_total", reason="STORE_UNAVAILABLE")
        )

    await until(said, "failed uploads are counted")

    async def told() -> bool:
        return "store-check" in await broken.not_ready()

    await until(told, "the product says that its store is away")


async def _spool_grows(broken: Broken) -> None:
    waiting = len(broken.vigie.spooled())

    async def grown() -> bool:
        return len(broken.vigie.spooled()) >= waiting + 2 * len(CAMERAS)

    await until(grown, "recording goes on into the spool")


async def _serves(broken: Broken) -> None:
    """Timeline, playback of what is stored, live."""
    for camera, entries in (await timelines(broken.vigie, CAMERAS, broken.begun_us)).items():
        span = entries[0]
        played = await play(broken.vigie, camera, broken.begun_us, span.end_us)
        assert played.fragments, camera


# --- the faults -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A fault of a disk and what must come of it."""

    story: str
    disk: str
    fault: Callable[[Disk], contextlib.AbstractContextManager[None]]
    during: Callable[[Broken], Awaitable[None]]
    causes: frozenset[str]
    told: str
    promise: str
    long: bool = False


_REFUSED = "new footage is a gap with its cause, footage of before is there frame by frame"
_CARRIED = "recording goes on into the spool; not a frame is missing"
CASES: Final = {
    "spool-full": Case(
        "A", "spool", Disk.full, spool_is_full, frozenset({"SPOOL_FULL"}),
        "the disk of the spool is full", _REFUSED,
    ),
    "spool-gone": Case(
        "A", "spool", Disk.gone, spool_refuses, frozenset({"STORE_REFUSED"}),
        "the disk of the spool is not mounted for a while",
        f"{_REFUSED}; nothing is written below the mount point",
    ),
    "spool-read-only": Case(
        "A", "spool", Disk.read_only, spool_refuses, frozenset({"STORE_REFUSED"}),
        "the disk of the spool turns read-only", _REFUSED, long=True,
    ),
    "spool-failing": Case(
        "A", "spool", Disk.failing, spool_refuses, frozenset({"STORE_REFUSED"}),
        "the disk of the spool answers with I/O errors", _REFUSED, long=True,
    ),
    "store-full": Case(
        "B", "store", Disk.full, store_refuses, frozenset(),
        "the disk of the store is full", _CARRIED,
    ),
    "store-gone": Case(
        "C", "store", Disk.gone, store_is_away, frozenset(),
        "the store is away: its disk is not mounted",
        f"{_CARRIED}; playback answers STORE_UNAVAILABLE, nothing counts as destroyed",
    ),
    "store-read-only": Case(
        "B", "store", Disk.read_only, store_refuses, frozenset(),
        "the disk of the store turns read-only", _CARRIED, long=True,
    ),
    "store-slow": Case(
        "B", "store", lambda disk: disk.slow(0.5, ("store.put.*",)), nothing_but_time, frozenset(),
        "the disk of the store is slow: 2.5 s more for each object", _CARRIED,
    ),
    "database-full": Case(
        "C", "database", Disk.full, database_refuses, frozenset(),
        "the disk of the database is full",
        f"{_CARRIED}; no access is served that cannot be recorded",
    ),
    "database-read-only": Case(
        "C", "database", lambda disk: disk.faults.on(disk.steps, "erofs"), database_refuses,
        frozenset(), "the disk of the database turns read-only",
        f"{_CARRIED}; no access is served that cannot be recorded", long=True,
    ),
    "database-slow": Case(
        "B", "database", slow_database, nothing_but_time, frozenset(),
        "the database is slow: two thirds of the time it takes no transaction", _CARRIED,
    ),
}  # fmt: skip
TOLD: Final = [name for name, case in CASES.items() if LONG or not case.long]
"""What this form of the tests goes through."""


@dataclass(frozen=True, slots=True)
class Story:
    """What came of the faults of one product, and what the checker said at the end."""

    endured: dict[str, Endured | BaseException]
    checked: int
    report: str
    errors: float


async def _live_through(disks: dict[str, Disk], broken: Broken, names: list[str]) -> Story:
    endured: dict[str, Endured | BaseException] = {}
    for name in names:
        case = CASES[name]
        try:
            endured[name] = await endure(broken, case.fault(disks[case.disk]), case.during)
        except Exception as error:  # noqa: BLE001 - told by the test of this fault
            endured[name] = error

    async def ready() -> bool:
        return not await broken.not_ready()

    await until(ready, "the product says that it is ready", seconds=60)

    async def stored() -> bool:
        return await broken.metric("vigie_ingest_spool_waiting_segments") <= len(CAMERAS)

    await until(stored, "what waited in the spool is stored", seconds=60)
    errors = await broken.metric("vigie_consumer_quarantined_events_total")
    errors += await broken.metric("vigie_ingest_spool_quarantined_total")
    codes = await broken.vigie.stop(seconds=120)
    assert set(codes.values()) == {0}, broken.vigie.log_tail()
    outcome = await broken.vigie.fsck(seconds=180)
    return Story(endured, outcome.code, outcome.out + outcome.err, errors)


async def _story(simulator: SimCamProcess, folder: Path, which: str) -> Story:
    names = [name for name in TOLD if CASES[name].story == which]
    faults = FaultFile(folder / "faults")
    settings = {
        "debug": {"fault_points": "true", "fault_file": f'"{faults.path}"'},
        "ingest": {"spool_reserve_bytes": str(MIB)},
    }
    folder.mkdir()
    with contextlib.ExitStack() as disks:

        def disk(part: str, steps: tuple[str, ...]) -> Disk:
            return disks.enter_context(own_disk(folder / part, steps, faults, size_bytes=64 * MIB))

        parts = {"database": disk("data", DATABASE_STEPS)}
        parts |= {"spool": disk("data/spool", SPOOL_STEPS), "store": disk("store", STORE_STEPS)}
        async with recording(simulator, folder, CAMERAS, settings) as broken:
            return await _live_through(parts, broken, names)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stories(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path
) -> AsyncIterator[dict[str, Story | BaseException]]:
    """All faults, a product's one after the other, the three products side by side."""
    folder = tmp_path_factory.mktemp("disks")
    cameras = tuple(estate.HEALTHY[camera] for camera in CAMERAS)
    which = ("A", "B", "C")
    async with simulator_of(cameras, folder / "cameras", simulated_footage) as simulator:
        told = await asyncio.gather(
            *(_story(simulator, folder / each, each) for each in which), return_exceptions=True
        )
    yield dict(zip(which, told, strict=True))


def _of(stories: dict[str, Story | BaseException], which: str) -> Story:
    story = stories[which]
    if isinstance(story, BaseException):
        raise story
    return story


@pytest.mark.timeout(600 if LONG else 240)
@pytest.mark.parametrize("name", TOLD)
async def test_a_broken_disk_loses_nothing_that_was_acknowledged(
    name: str, stories: dict[str, Story | BaseException], ledger: Ledger
) -> None:
    case = CASES[name]
    endured = _of(stories, case.story).endured[name]
    if isinstance(endured, BaseException):
        raise endured
    assert endured.causes == case.causes, endured.accounts
    how = "own file system" if may_mount() and case.fault in {Disk.full, Disk.read_only} else ""
    frames = sum(account.frames for account in endured.accounts.values())
    ledger.note(
        Entry(
            "disk",
            case.told,
            case.promise,
            seen=f"{frames} frames of {len(CAMERAS)} cameras proved around {endured.seconds:.0f} s"
            f" of fault{f' ({how})' if how else ''}",
            missing_seconds=endured.missing_seconds,
            recovery_seconds=endured.recovery_seconds,
        )
    )


@pytest.mark.parametrize("which", ["A", "B", "C"])
async def test_the_checker_finds_nothing_afterwards(
    which: str, stories: dict[str, Story | BaseException]
) -> None:
    story = _of(stories, which)
    assert story.checked == 0, story.report
    assert story.errors == 0
