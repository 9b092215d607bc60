"""The power goes at any point of the write path: nothing that was acknowledged is lost or altered.

What the write path asks of the file system is recorded once (`disk_record`); trees that a power
cut could have left are drawn from it (`disk_cut`), and the product starts on each (`power_path`).
That this finds what it should is shown by leaving out every sync of the product in turn.
"""

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from faults.conftest import LONG, SEED
from faults.disk_cut import Cut, Keeping
from faults.disk_record import COMMIT_SITE, Commit, DiskRecorder, Mark, Operation, Record, Sync
from faults.ledger import Entry, Ledger
from faults.power_path import DATABASE, DISKS, GROUPS, Promised, judge, live, start_again

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(7200 if LONG else 600),
]
TREES: Final = 24
"""Drawn of each film in the bounded form; the long form takes all cuts in all ways."""
TRIES: Final = 1000 if LONG else 200
"""Trees in which a missing sync must show; most do in the first few."""
SOON: Final = 20
"""Operations after a sync in which its absence is likely to show."""
DRAWN: Final = [each for each in Keeping if each is not Keeping.BUT_SOME]


@dataclass(frozen=True, slots=True)
class Film:
    """A record of a life of the write path, and what was promised before it."""

    record: Record
    promised: Promised


def empty_disks(root: Path) -> Path:
    for name in DISKS:
        (root / name).mkdir(parents=True)
    return root


Films = dict[str, Film]
LIFE: Final = "life"
RETURN: Final = "return"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """Recorded once."""
    life = await film_life(tmp_path_factory)
    return {LIFE: life, RETURN: await film_return(life, tmp_path_factory)}


async def film_life(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """From an empty disk: footage recorded, stored, held, destroyed."""
    root = empty_disks(tmp_path_factory.mktemp("life"))
    with DiskRecorder(root, root / DATABASE) as recorder:
        await live(root, recorder)
    recorder.assert_complete()
    return Film(recorder.record, Promised())


async def film_return(life: Film, tmp_path_factory: pytest.TempPathFactory) -> Film:
    """The start after a power cut in the middle of a segment, before the first was stored."""
    operations = life.record.operations
    cut = next(at + 1 for at, each in enumerate(operations) if each == Mark("kept", GROUPS - 2))
    promised = Promised().after(operations[:cut])
    root = tmp_path_factory.mktemp("return")
    everything = Cut(life.record, operations[:cut], Keeping.EVERYTHING, random.Random(SEED))
    everything.build(root, DATABASE)
    with DiskRecorder(root, root / DATABASE) as recorder:
        await start_again(root, recorder, promised.wall_us)
    recorder.assert_complete()
    promised.boot = "boot-3"
    return Film(recorder.record, promised)


async def wrong_after(
    film: Film, cut: Cut, operations: Sequence[Operation], root: Path
) -> list[str]:
    """What is wrong once the product has started on a tree."""
    root.mkdir()
    cut.build(root, DATABASE)
    found = await judge(root, film.promised.after(list(operations)))
    shutil.rmtree(root)
    return found.wrong


def draws(film: Film, chance: random.Random) -> Iterator[tuple[int, Keeping]]:
    """Where to cut, and how."""
    cuts = range(len(film.record.operations) + 1)
    if LONG:
        yield from ((cut, keeping) for cut in cuts for keeping in DRAWN)
    else:
        yield from ((chance.choice(cuts), chance.choice(DRAWN)) for _ in range(TREES))


async def assert_survived(film: Film, chance: random.Random, folder: Path) -> int:
    """Draw, start, look; returns how many trees there were."""
    count = 0
    for cut, keeping in draws(film, chance):
        operations = film.record.operations[:cut]
        seed = chance.randrange(1 << 31)
        tree = Cut(film.record, operations, keeping, random.Random(seed))
        wrong = await wrong_after(film, tree, operations, folder / "tree")
        assert not wrong, (cut, keeping.name, seed, wrong)
        count += 1
    return count


async def test_the_power_goes_at_any_point(
    films: Films, chance: random.Random, tmp_path: Path, ledger: Ledger
) -> None:
    life = films[LIFE]
    count = await assert_survived(life, chance, tmp_path)
    ledger.note(
        Entry(
            "power",
            "the power is cut at any point between a camera's frames and the destruction of their"
            " footage; of what was not forced to the disk any part is there, in any order",
            "every interval that was on the disk is stored and listed once and unaltered; holds,"
            " register and package are as told; the checker has nothing to say",
            f"{count} trees drawn from {len(life.record.operations)} operations",
        )
    )


async def test_the_power_goes_again_while_it_starts(
    films: Films, chance: random.Random, tmp_path: Path, ledger: Ledger
) -> None:
    again = films[RETURN]
    count = await assert_survived(again, chance, tmp_path)
    ledger.note(
        Entry(
            "power",
            "the power is cut again while the product closes and stores what the first cut left",
            "the same, and nothing is doubled",
            f"{count} trees drawn from {len(again.record.operations)} operations",
        )
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the product that forces something to the disk.

    Attributes:
        sites: what its names in the record begin with.
        what: is forced.
        film: in which record it is looked for.
        covered: why nothing breaks without it; empty: something must.
        rare: it takes many trees until it shows, so only the long form looks for it.
    """

    sites: tuple[str, ...]
    what: str
    film: str = LIFE
    covered: str = ""
    rare: bool = False


_RUN_NAME: Final = ("sync_folder < write_record < sync_new_run",)
PLACES: Final = {
    "top-folders": Place(
        ("sync_folder < make_durable_folder",), "the folders of data, spool and store"
    ),
    "run-folder": Place(("sync_folder < sync_new_run",), "the folder of a run"),
    "run-record": Place(("write_record < sync_new_run",), "the content of run.json"),
    # Footage is promised only after the first fragment has synced the same folder; without this
    # sync, media that was begun could lie there without a record of its run.
    "run-record-name": Place(_RUN_NAME, "the name run.json", rare=True),
    "fragment": Place(("SegmentFile.append < RunRecorder.append < CameraRecorder._record (m4v)",),
                      "a fragment"),
    "sum": Place(("SegmentFile.append < RunRecorder.append < CameraRecorder._record (sums)",),
                 "the running digest behind a fragment"),
    "segment-names": Place(("sync_folder < SegmentFile.append",),
                           "the names of a new segment and its digests"),
    "segment": Place(("SegmentFile.finish",), "a closed segment"),
    "segment-record": Place(("write_record < RunRecorder._close_segment",),
                            "the content of a segment's record"),
    "segment-record-name": Place(("sync_folder < write_record < RunRecorder._close_segment",),
                                 "the name of a segment's record", rare=True),
    "end-record": Place(("write_record < RunRecorder.end",), "the content of end.json"),
    "end-record-name": Place(
        ("sync_folder < write_record < RunRecorder.end",),
        "the name end.json",
        covered="recovery tells the end again under the same identifier; it is stored once",
    ),
    "object": Place(("bring < ObjectTree.put",), "the content of an object"),
    "object-record": Place(("write_durably <",), "the content of an object's record"),
    "object-record-name": Place(("sync_folder < ObjectTree._describe",),
                                "the name of an object's record"),
    "object-name": Place(("sync_folder < ObjectTree.put",), "the name of an object"),
    "store-folders": Place(("sync_folder < DurableFolders.make",), "the folders of the store"),
    "removal": Place(("sync_folder < SegmentUpload._remove",),
                     "the removal of an acknowledged file", rare=True),
    "run-removal": Place(("sync_folder < EndUpload._remove",),
                         "the removal of a finished run", rare=True),
    "destruction": Place(("sync_folder < sync_removal",), "the removal of a destroyed object"),
    "commit": Place((COMMIT_SITE,), "a transaction of the database"),
    "repaired-segment": Place(("RunRepair._finish",), "a segment closed by recovery",
                              RETURN),
    "repaired-record": Place(("write_record < RunRepair._close_segment",),
                             "its record", RETURN),
    "repaired-record-name": Place(("sync_folder < write_record < RunRepair._close_segment",),
                                  "the name of its record", RETURN,
                                  covered="recovery closes the segment again, with the same"
                                  " record; its media goes in a folder that is synced"),
    "repaired-end": Place(("write_record < RunRepair._end",), "the end record by recovery",
                          RETURN),
    "repaired-end-name": Place(("sync_folder < write_record < RunRepair._end",),
                               "its name", RETURN, covered="as of end.json"),
}  # fmt: skip


def is_at(each: Operation, place: Place) -> bool:
    """Whether an operation is a sync of this place."""
    if isinstance(each, Commit):
        return COMMIT_SITE in place.sites
    return isinstance(each, Sync) and each.site.startswith(place.sites)


async def test_every_sync_of_the_write_path_has_a_place(films: Films) -> None:
    for film in films.values():
        for site in film.record.sites():
            places = [name for name, place in PLACES.items() if site.startswith(place.sites)]
            assert len(places) == 1, (site, places)


def chances_without(
    film: Film, place: Place, chance: random.Random
) -> Iterator[tuple[int, frozenset[int]]]:
    """Where to cut so that a missing sync shows, and what is in flight there for want of it.

    That is from the sync that is left out until another place syncs the same file or folder. In
    turn: where something has just been promised, soon after the sync, anywhere.
    """
    operations = film.record.operations
    windows: dict[int, set[int]] = {}
    soon: list[int] = []
    for at, each in enumerate(operations):
        if is_at(each, place):
            inode = each.inode if isinstance(each, Sync) else -1
            end = next(
                (
                    later
                    for later in range(at + 1, len(operations))
                    if inode_of(operations[later]) == inode and not is_at(operations[later], place)
                ),
                len(operations),
            )
            soon += range(at + 1, min(at + SOON, end) + 1)
            for cut in range(at + 1, end + 1):
                windows.setdefault(cut, set()).add(inode)
    cuts = sorted(windows)
    told = [cut for cut in cuts if isinstance(operations[cut - 1], Mark | Commit)] or cuts
    while True:
        for cut in (chance.choice(told), chance.choice(soon), chance.choice(cuts)):
            yield cut, frozenset(windows[cut])


def inode_of(each: Operation) -> int | None:
    """What an operation syncs; ``None`` when it syncs nothing."""
    return each.inode if isinstance(each, Sync) else None


def tree_without(
    film: Film, place: Place, cut: int, lost: frozenset[int], chance: random.Random
) -> Cut:
    """A tree of a product that leaves out the syncs of a place."""
    before = film.record.operations[:cut]
    if COMMIT_SITE in place.sites:
        # The last transactions are not there; everything else is.
        commits = [at for at, each in enumerate(before) if isinstance(each, Commit)]
        gone = set(commits[-chance.randint(1, 3) :])
        kept = [each for at, each in enumerate(before) if at not in gone]
        return Cut(film.record, kept, Keeping.EVERYTHING, chance)
    if chance.random() < 0.5:
        lost = frozenset([chance.choice(sorted(lost))])
    kept = [each for each in before if not is_at(each, place)]
    # Some only show together with other things that were not forced.
    keeping = Keeping.CHAOS if chance.random() < 0.3 else Keeping.BUT_SOME
    return Cut(film.record, kept, keeping, chance, lost=lost)


@pytest.mark.parametrize("name", PLACES)
async def test_a_sync_that_is_left_out_is_found(
    name: str,
    films: Films,
    chance: random.Random,
    tmp_path: Path,
    ledger: Ledger,
) -> None:
    place = PLACES[name]
    film = films[place.film]
    if not LONG and (place.covered or place.rare):
        pytest.skip(place.covered or "it shows in few trees: the long form looks for it")
    seen: list[str] = []
    count = 0
    for cut, lost in islice(chances_without(film, place, chance), TRIES):
        count += 1
        tree = tree_without(film, place, cut, lost, chance)
        seen = await wrong_after(film, tree, film.record.operations[:cut], tmp_path / "tree")
        if seen:
            break
    assert bool(seen) != bool(place.covered), (place, seen)
    if seen:
        ledger.note(
            Entry(
                "power",
                f"a sync is left out of the product on purpose: of {place.what}",
                "the tests of power cuts find what breaks",
                f"after {count} trees: {seen[0]}",
            )
        )
