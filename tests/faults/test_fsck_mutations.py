"""Every invariant is broken by hand in every way; each is found, named, and mended where safe."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from databases import EMBEDDED, KINDS, on_the_server
from faults import mutations_footage, mutations_index, mutations_record, mutations_told
from faults.conftest import LONG
from faults.estate import DATABASE, Estate, Opened, build, copy, names, opened
from faults.ledger import Entry, Ledger
from faults.mutation import Mutation
from faults.places import ServerPlace
from servers_postgres import postgres_database, postgres_server
from vigie.recording.fsck import Doing, Plan, Planner, Report, repair

__all__ = ["postgres_database", "postgres_server"]
MUTATIONS: list[Mutation] = [
    *mutations_footage.MUTATIONS,
    *mutations_index.MUTATIONS,
    *mutations_told.MUTATIONS,
    *mutations_record.MUTATIONS,
]


def one_of_each(mutations: Sequence[Mutation]) -> list[Mutation]:
    """The first of every invariant: each has a database of its own, which takes seconds to copy."""
    return list({m.invariant: m for m in reversed(mutations)}.values())[::-1]


# The rules are the same on both: on PostgreSQL the long form does all, the bounded one a part.
CASES = [
    pytest.param(kind, mutation, id=f"{kind}-{mutation.name}")
    for kind in KINDS
    for mutation in (MUTATIONS if LONG or kind == EMBEDDED else one_of_each(MUTATIONS))
]


@pytest.fixture(scope="module", params=KINDS)
def template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Estate]:
    """The installation before it is broken: on SQLite, and on PostgreSQL where there is one."""
    folder = tmp_path_factory.mktemp("estate") / "sound"
    if request.param == EMBEDDED:
        asyncio.run(build(folder))
        yield Estate(folder)
        return
    database = request.getfixturevalue("postgres_database")
    with on_the_server(database) as schema_of:
        asyncio.run(build(folder))
        place = ServerPlace(database, schema_of(folder / DATABASE))
    yield Estate(folder, place)


@pytest.fixture(scope="module")
def sound(template: Estate) -> dict[str, list[Any]]:
    """The index before it is broken."""
    return template.rows()


@pytest.fixture
def estate(template: Estate, tmp_path: Path) -> Iterator[Estate]:
    """A copy that may be broken."""
    made = copy(template.folder, tmp_path / "estate", template.elsewhere)
    yield made
    made.place.gone()


async def test_the_installation_is_found_sound_before_it_is_broken(estate: Estate) -> None:
    async with opened(estate) as at:
        assert names(await at.check(deep=True)) == []


def test_every_invariant_is_broken_in_every_way() -> None:
    """The list itself: no invariant and no way of breaking is left out where it can exist."""
    ways = {(m.invariant, m.way) for m in MUTATIONS}
    for invariant in range(1, 11):
        assert {way for number, way in ways if number == f"I{invariant}"} >= REQUIRED[invariant]
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


EVERY = {"missing", "extra", "altered", "reordered", "half"}
REQUIRED = {
    1: EVERY,
    2: EVERY,
    3: EVERY,
    4: EVERY - {"reordered"},  # holds have no order
    5: EVERY - {"half"},  # a record is one row of one transaction
    6: EVERY,
    7: EVERY,
    8: EVERY - {"reordered"},  # the order of bytes within an object is their digest
    9: {"extra"},  # what outlives its time is too much; there is no other way
    10: EVERY,
}


@pytest.mark.parametrize(("template", "mutation"), CASES, indirect=["template"])
async def test_what_is_broken_is_found_and_mended(
    mutation: Mutation, estate: Estate, sound: dict[str, list[Any]], ledger: Ledger
) -> None:
    mutation.breaks(estate)
    async with opened(estate, mutation.now_us) as at:
        report = await at.check(deep=mutation.deep)
        _is_named(mutation, report)
        whole, contents = estate.fingerprint(), estate.contents()
        plan = await Planner(at.database, at.store, at.log).plan(report.findings)
        assert estate.fingerprint() == whole, "planning changed something"
        await _repair(at, plan)
        assert contents <= estate.contents(), "a repair destroyed footage or evidence"
        if mutation.retention:
            await at.retention()
        after = await at.check(deep=mutation.deep)
        if not mutation.left:
            assert plan.steps
            assert names(after) == []
    if not mutation.left:
        assert estate.rows() == sound
        seen = ", ".join(sorted(step.doing.name for step in plan.steps))
    else:
        assert {why for _, why in plan.left} >= {mutation.left}, plan.left
        _is_named(mutation, after)
        seen = f"left to people: {mutation.left}"
    named = ", ".join(sorted({finding.invariant for finding in report.findings}))
    promise = "fsck names it" + ("" if mutation.left else "; --repair mends it, on record")
    fault = f"{mutation.invariant} {mutation.way}: {mutation.name}"
    if estate.elsewhere is not None:
        fault += " (PostgreSQL)"
    ledger.note(Entry("fsck", fault, promise, f"{named}; {seen}"))


def _is_named(mutation: Mutation, report: Report) -> None:
    for invariant, words in mutation.named:
        found = [f for f in report.findings if f.invariant == invariant and words in f.what]
        assert found, (invariant, words, names(report))
        assert all(finding.where and finding.remedy for finding in found)
        assert all((finding.mend is None) == bool(finding.by_hand) for finding in found)


async def _repair(at: Opened, plan: Plan) -> None:
    """Do a plan; every step is on record before it is done."""
    recorded: set[tuple[Doing, str]] = set()

    async def record(doing: Doing, targets: Sequence[str]) -> None:
        recorded.update((doing, target) for target in targets)

    done = await repair(at.parts(), plan, record)
    assert done.failed == []
    assert done.done == plan.steps
    assert recorded == {(step.doing, step.target) for step in plan.steps}
