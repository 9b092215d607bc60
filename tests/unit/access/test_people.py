import asyncio

import pytest

from unit.access.conftest import NOON_US, PEOPLE, Desk
from vigie.access.people import PeopleFileError, PersonState, parse_people
from vigie.platform.clock import from_us
from vigie.platform.errors import VigieError

GOOD = '[agencies.a1]\nname = "A"\n[people.p1]\nname = "P"\nagency = "a1"\n'


async def authenticated(desk: Desk, token: str) -> str:
    try:
        return (await desk.module.authenticator.authenticate(token)).caller.subject
    except VigieError as error:
        return error.reason.name


async def rewrite(desk: Desk, text: str | None) -> None:
    """Change the file and let the follower see it."""
    if text is None:
        desk.people_file.unlink()
    else:
        desk.people_file.write_text(text, encoding="utf-8")
    before = desk.metrics.value("vigie_access_people_reloads_total", outcome="accepted")
    before += desk.metrics.value("vigie_access_people_reloads_total", outcome="refused")
    await desk.module.directory.refresh()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("people = 3", "people"),
        ("[people", "not TOML"),
        (GOOD + 'colour = "red"\n', "people.p1.colour: unknown key"),
        (GOOD + 'roles = ["operator"]\n', "people.p1.zones: say where the roles hold"),
        (GOOD + 'roles = ["king"]\nzones = ["*"]\n', "no role is called 'king'"),
        (GOOD + 'roles = ["operator"]\nzones = ["Zone A"]\n', "'Zone A' is no zone identifier"),
        (GOOD.replace('"a1"', '"a2"'), "people.p1.agency: there is no [agencies.a2]"),
        (GOOD + "from = 2026-01-01T00:00:00\n", "needs an offset"),
        (GOOD + 'from = "2026-01-01"\n', "write a date"),
        (GOOD + "from = 2026-02-01\nuntil = 2026-01-01\n", "lies before from"),
        (GOOD.replace("p1", "P1"), "identifiers are lower-case"),
        (GOOD + '[[people.p1.assignments]]\nrole = "operator"\nzones = []\n', "zones"),
    ],
)
def test_a_wrong_file_is_explained(text: str, problem: str) -> None:
    with pytest.raises(PeopleFileError) as caught:
        parse_people(text)
    assert problem in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    text = GOOD + 'roles = ["king", "queen"]\nzones = ["?"]\n'
    with pytest.raises(PeopleFileError) as caught:
        parse_people(text)
    assert len(caught.value.problems) == 3


def test_a_designation_has_a_beginning_and_an_end() -> None:
    person = parse_people(GOOD + "from = 2026-01-01\nuntil = 2026-02-01T00:00:00+01:00\n").people[
        "p1"
    ]

    def at(text: str) -> PersonState:
        from datetime import datetime

        from vigie.platform.clock import to_us

        return person.state(to_us(datetime.fromisoformat(text)))

    assert at("2025-12-31T23:59:59Z") is PersonState.NOT_YET
    assert at("2026-01-01T00:00:00Z") is PersonState.ACTIVE
    assert at("2026-01-31T22:59:59Z") is PersonState.ACTIVE
    assert at("2026-01-31T23:00:00Z") is PersonState.ENDED


async def test_a_suspension_is_in_force_after_the_next_look_at_the_file(desk: Desk) -> None:
    token = desk.module.issuer.create_token("operator-1", 600)
    identity = await desk.module.authenticator.authenticate(token)
    before = desk.module.authenticator.revision
    text = PEOPLE.replace('zones = ["zone-a"]\n', 'zones = ["zone-a"]\nsuspended = true\n', 1)
    desk.people_file.write_text(text, encoding="utf-8")
    await desk.monotonic.advance(1.0)
    # The file is read in a thread: let it finish.
    for _ in range(1000):
        if desk.module.authenticator.revision != before:
            break
        await asyncio.sleep(0.001)
    assert desk.module.authenticator.revision != before
    assert await authenticated(desk, token) == "PERSON_SUSPENDED"
    with pytest.raises(VigieError, match="PERSON_SUSPENDED"):
        await desk.module.authenticator.revalidate(identity)


@pytest.mark.parametrize("broken", ["[people", "", None])
async def test_a_broken_edit_keeps_the_last_good_people(desk: Desk, broken: str | None) -> None:
    token = desk.module.issuer.create_token("operator-1", 600)
    revision = desk.module.authenticator.revision
    await rewrite(desk, broken)
    if broken == "":
        # An empty file is a good one: it designates nobody.
        assert await authenticated(desk, token) == "PERSON_UNKNOWN"
        return
    assert await authenticated(desk, token) == "operator-1"
    assert desk.module.authenticator.revision == revision
    assert desk.metrics.value("vigie_access_people_file_good") == 0
    assert desk.metrics.value("vigie_access_people_reloads_total", outcome="refused") == 1
    await rewrite(desk, PEOPLE)
    assert desk.metrics.value("vigie_access_people_file_good") == 1
    assert desk.metrics.value("vigie_access_people", state="active") == 3


async def test_the_end_of_a_designation_needs_no_edit(desk: Desk) -> None:
    until = from_us(NOON_US + 60_000_000).isoformat()
    text = PEOPLE.replace('zones = ["zone-a"]\n', f'zones = ["zone-a"]\nuntil = {until}\n', 1)
    await rewrite(desk, text)
    token = desk.module.issuer.create_token("operator-1", 600)
    assert await authenticated(desk, token) == "operator-1"
    revision = desk.module.authenticator.revision
    desk.wall.advance(60)
    await desk.module.directory.refresh()
    assert desk.module.authenticator.revision > revision
    assert await authenticated(desk, token) == "PERSON_NOT_DESIGNATED"


async def test_a_revoked_token_is_refused(desk: Desk) -> None:
    token = desk.module.issuer.create_token("operator-1", 600)
    identity = await desk.module.authenticator.authenticate(token)
    await rewrite(desk, f'revoked_tokens = ["{identity.token_id}"]\n{PEOPLE}')
    assert await authenticated(desk, token) == "TOKEN_INVALID"
    assert await authenticated(desk, desk.module.issuer.create_token("operator-1", 9)) == (
        "operator-1"
    )


async def test_a_missing_people_file_stops_the_start(desk: Desk) -> None:
    desk.people_file.unlink()
    with pytest.raises(VigieError, match=r"people\.toml cannot be read") as caught:
        desk.module.directory.load()
    assert caught.value.field == "access.people_file"


@pytest.mark.parametrize(
    "line", ["from = 0001-01-01T00:00:00+23:59", "x = " + "[" * 5000, "x = " + "1" * 5000]
)
def test_what_python_cannot_read_is_a_problem_of_the_file(line: str) -> None:
    text = f'[agencies.pm]\nname = "P"\n[people.ab]\nname = "A"\nagency = "pm"\n{line}\n'
    with pytest.raises(PeopleFileError):
        parse_people(text)
