"""Requests and their custody, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from databases import database_kind, open_any_database
from servers_postgres import postgres_database, postgres_server
from unit.evidence.conftest import ASKER, CAMERA, DECIDER, NOW_US
from vigie.evidence.model import EvidenceRequest, State
from vigie.evidence.repository import (
    HOLDS_TOPIC,
    PRODUCT,
    REQUESTS_TOPIC,
    TOPICS,
    EvidenceRepository,
    Step,
)
from vigie.evidence.tables import METADATA, MIGRATIONS
from vigie.evidence.v1 import events_pb2
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, migrate, schema_differences
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EmbeddedEventLog, open_event_log
from vigie.platform.identifiers import IdentifierSource

__all__ = ["database_kind", "postgres_database", "postgres_server"]


@dataclass
class Requests:
    repository: EvidenceRepository
    clock: ManualWallClock
    database: EmbeddedDatabase
    log: EmbeddedEventLog

    async def holds(self) -> list[events_pb2.HoldState]:
        return [
            events_pb2.HoldState.FromString(stored.event.value or b"")
            async for stored in self.log.read(HOLDS_TOPIC)
        ]


@pytest.fixture
async def requests(tmp_path: Path, database_kind: str) -> AsyncIterator[Requests]:
    clock = ManualWallClock(NOW_US)
    database = await open_any_database(tmp_path / "vigie.db")
    log = await open_event_log(database, clock)
    await log.declare(TOPICS)
    await migrate(database, MIGRATIONS)
    repository = EvidenceRepository(database, log, clock, IdentifierSource(clock))
    yield Requests(repository, clock, database, log)
    await log.close()
    await database.close()


def request(name: str = "r1", **changes: object) -> EvidenceRequest:
    values = {
        "request": name,
        "cameras": (CAMERA,),
        "zones": ("zone-1",),
        "start_us": NOW_US - 60_000_000,
        "end_us": NOW_US,
        "purpose": "Vol à l'étalage",
        "case_reference": "PV 1",
        "legal_basis": "CPP 60-1",
        "state": State.REQUESTED,
        "requester": ASKER,
        "create_us": NOW_US,
        "update_us": NOW_US,
    }
    return EvidenceRequest(**(values | changes))  # type: ignore[arg-type] - by name


async def created(requests: Requests, name: str = "r1", client: str = "") -> EvidenceRequest:
    return await requests.repository.create(
        request(name), client_request_id=client, client_request_digest="d"
    )


APPROVED = Step("APPROVED", DECIDER, "lawful", {"decider": DECIDER}, State.APPROVED)
REFUSED = Step("REFUSED", DECIDER, "no", {"decider": DECIDER}, State.REFUSED)


async def test_the_schema_is_the_declared_one(requests: Requests) -> None:
    assert await schema_differences(requests.database, MIGRATIONS, METADATA) == []


async def test_a_request_is_kept_with_its_hold_and_its_custody(requests: Requests) -> None:
    made = await created(requests)
    assert await requests.repository.get("r1") == made
    steps = await requests.repository.custody("r1")
    assert [step.action for step in steps] == ["REQUESTED", "HOLD_PLACED"]
    (hold,) = await requests.holds()
    assert (hold.hold, list(hold.cameras), hold.HasField("release_time")) == ("r1", [CAMERA], False)
    await requests.repository.advance("r1", REFUSED)
    assert [each.HasField("release_time") for each in await requests.holds()] == [False, True]
    counts = await requests.repository.counts()
    assert (counts[State.REFUSED], counts[State.REQUESTED]) == (1, 0)


async def test_a_repeated_request_is_the_first_one(requests: Requests) -> None:
    first = await created(requests, "r1", "c1")
    assert await created(requests, "r2", "c1") == first
    with pytest.raises(VigieError, match="EVIDENCE_REQUEST_ID_REUSED"):
        await requests.repository.create(
            request("r3"), client_request_id="c1", client_request_digest="other"
        )
    assert len(await requests.holds()) == 1


async def test_of_two_decisions_at_once_one_holds(requests: Requests) -> None:
    """What a step reads is still so when it writes, whoever else decides meanwhile."""
    for number in range(5):
        await created(requests, f"r{number}")
        outcomes = await asyncio.gather(
            requests.repository.advance(f"r{number}", APPROVED),
            requests.repository.advance(f"r{number}", REFUSED),
            return_exceptions=True,
        )
        wrong = [each for each in outcomes if isinstance(each, VigieError)]
        assert [each.reason.name for each in wrong] == ["EVIDENCE_STATE_WRONG"]
        steps = await requests.repository.custody(f"r{number}")
        assert len(steps) == 3


async def test_custody_is_in_order_though_clocks_are_not(requests: Requests) -> None:
    """The next step is written by a process whose clock is 5 ms behind, and by one set back."""
    await created(requests)
    await requests.repository.advance("r1", APPROVED)
    requests.clock.set(NOW_US - 5_000)
    await requests.repository.advance("r1", Step("HELD", PRODUCT, "", {}, State.BUILDING))
    requests.clock.set(NOW_US - 3_600_000_000)
    await requests.repository.note("r1", ASKER, "DOWNLOADED", "from byte 0")
    requests.clock.set(NOW_US + 7)
    await requests.repository.advance("r1", Step("BUILT", PRODUCT, "", {}, State.VERIFYING))
    steps = await requests.repository.custody("r1")
    assert [step.time_us - NOW_US for step in steps] == [0, 0, 0, 0, 0, 7]
    told = [
        events_pb2.EvidenceRequestEvent.FromString(stored.event.value or b"").time.ToMicroseconds()
        async for stored in requests.log.read(REQUESTS_TOPIC)
    ]
    assert told == [step.time_us for step in steps]


async def test_of_a_long_custody_beginning_and_end_are_told(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is kept; an answer says how many steps it leaves out."""
    monkeypatch.setattr("vigie.evidence.repository.STEPS_TOLD", 3)
    await created(requests)
    for number in range(2, 6):
        assert await requests.repository.custody_told("r1") == (
            await requests.repository.custody("r1")
        )
        await requests.repository.note("r1", ASKER, "DOWNLOADED", f"from byte {number}")
    assert len(await requests.repository.custody_told("r1")) == 6
    for number in range(6, 10):
        await requests.repository.note("r1", ASKER, "DOWNLOADED", f"from byte {number}")
    whole, told = [await each("r1") for each in (
        requests.repository.custody, requests.repository.custody_told
    )]  # fmt: skip
    assert len(whole) == 10
    assert (told[:3], told[4:]) == (whole[:3], whole[7:])
    assert (told[3].action, told[3].detail.split()[0]) == ("STEPS_LEFT_OUT", "4")


async def test_lists_are_newest_first_and_chosen(requests: Requests) -> None:
    for number in range(6):
        await created(requests, f"r{number}")
    await requests.repository.advance("r3", APPROVED)
    listed = await requests.repository.list(limit=3)
    assert [each.request for each in listed] == ["r5", "r4", "r3"]
    listed = await requests.repository.list(limit=9, before="r4", states=[State.REQUESTED])
    assert [each.request for each in listed] == ["r2", "r1", "r0"]
    assert await requests.repository.list(limit=9, case_reference="other") == []


async def test_every_request_is_listed_however_many_there_are(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vigie.evidence.repository.PAGE", 2)
    for number in range(6):
        await created(requests, f"r{number}")
    await requests.repository.advance("r3", APPROVED)
    listed = await requests.repository.every()
    assert [each.request for each in listed] == ["r5", "r4", "r3", "r2", "r1", "r0"]
    listed = await requests.repository.every([State.REQUESTED])
    assert [each.request for each in listed] == ["r5", "r4", "r2", "r1", "r0"]
    assert await requests.repository.every([State.READY]) == []


async def test_what_people_write_is_kept_whatever_it_is(requests: Requests) -> None:
    odd = "a\0b\u202e'; DROP TABLE evidence_request; --"
    await requests.repository.create(
        request(purpose=odd, case_reference="PV 1"), client_request_id="", client_request_digest=""
    )
    found = await requests.repository.get("r1")
    assert found is not None
    assert found.purpose == odd
    (asked, _) = await requests.repository.custody("r1")
    assert asked.detail.replace("\ufffd", "\0") == odd
