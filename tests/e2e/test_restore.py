"""Backup and restore as the guide to operations says, on real servers: nothing kept is lost.

First the database is lost and put back from a copy that is older than the log; then the log is
lost and told anew from the database. Footage, holds, requests, access records are as before.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from e2e.callers import (
    Entry,
    patiently,
    segments,
    stored_until,
    timelines,
)
from e2e.commands import Outcome, run_vigie
from e2e.harness import WALL, Deployment, until
from e2e.house import SECOND_US, House, ask_for_evidence, at_work, evidence_ready, found_clean
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.recording.v1 import retention_pb2, retention_pb2_grpc
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1500),
]
NAMES: Final = ("cam-gare", "cam-jaude")


class RestoredHouse(House):
    """See `House`; what the tests do with it."""

    async def command(self, *arguments: str) -> Outcome:
        return await run_vigie(
            "--json", *arguments, "--config", str(self.vigie.config_file), seconds=300
        )

    async def more_footage(self) -> int:
        """Wait for some more; returns until when all of it is stored."""
        ends = await stored_until(self.vigie, NAMES, self.begun_us, WALL.now_us() + 2 * SECOND_US)
        return min(ends.values())

    async def packed(self, end_us: int) -> str:
        """Ask, approve, and wait for the package; the name of the request."""
        name = await ask_for_evidence(self.vigie, NAMES[0], end_us)
        await evidence_ready(self.vigie, name)
        return name

    async def change(self, action: str) -> None:
        """Suspend or resume the second camera: a revision each."""
        stub = self.vigie.stub(
            cameras_pb2_grpc.CameraServiceStub, "registry", person="administration"
        )
        name = f"cameras/{NAMES[1]}"
        if action == "suspend":
            suspend = cameras_pb2.SuspendCameraRequest(name=name, reason="essai")
            await patiently(lambda: stub.SuspendCamera(suspend))
        else:
            resume = cameras_pb2.ResumeCameraRequest(name=name, reason="essai")
            await patiently(lambda: stub.ResumeCamera(resume))

    async def recording(self) -> set[str]:
        """Cameras that are recorded now."""
        stub = self.vigie.stub(streams_pb2_grpc.StreamServiceStub, "ingest", person="operateur")
        answer = await stub.ListStreams(streams_pb2.ListStreamsRequest(page_size=100))
        state = ingest_pb2.STREAM_STATE_RECORDING
        return {each.name.split("/")[1] for each in answer.streams if each.state == state}

    async def records(self) -> dict[str, str]:
        """Every access record -> SHA-256 of its bytes."""
        stub = self.vigie.stub(audit_service_pb2_grpc.AuditServiceStub, "audit", person="controle")
        request = audit_service_pb2.SearchAccessesRequest(page_size=500, order_by="time")
        found: dict[str, str] = {}
        while True:
            answer = await stub.SearchAccesses(request)
            found |= {each.record.record: each.record_sha256 for each in answer.accesses}
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token


@dataclass(frozen=True, slots=True)
class Picture:
    """What people see of an installation that must be as it was."""

    footage: dict[str, list[Entry]]
    digests: dict[str, str]
    holds: dict[str, tuple[int, bool]]
    requests: dict[str, Any]
    records: dict[str, str]

    @classmethod
    async def of(cls, house: RestoredHouse, end_us: int) -> "Picture":
        vigie, begun_us = house.vigie, house.begun_us
        footage = await timelines(vigie, NAMES, begun_us, end_us)
        listed = [each for name in NAMES for each in await segments(vigie, name, begun_us, end_us)]
        holds = vigie.stub(retention_pb2_grpc.HoldServiceStub, "recording", person="administration")
        held = await holds.ListHolds(retention_pb2.ListHoldsRequest(page_size=100))
        asked = vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
        requests = await asked.ListEvidenceRequests(
            evidence_pb.ListEvidenceRequestsRequest(page_size=100)
        )
        return cls(
            footage,
            {each.object_key: each.sha256 for each in listed},
            {each.name: (each.object_count, each.HasField("release_time")) for each in held.holds},
            {each.name: each for each in requests.evidence_requests},
            await house.records(),
        )

    def lacks(self, now: "Picture", *, requests: bool = True) -> list[str]:
        """What is not there any more as it was."""
        parts = ["digests", "holds", "records", *(["requests"] if requests else [])]
        missing = [
            f"{part}: {key}"
            for part in parts
            for key, value in getattr(self, part).items()
            if getattr(now, part).get(key) != value
        ]
        if self.footage != now.footage:
            missing.append(f"footage: {self.footage} is now {now.footage}")
        return missing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, footage_folder: Path
) -> AsyncIterator[RestoredHouse]:
    if deployment.store is None:
        pytest.skip(
            "another deployment: a restore of services needs --deployment other than one-process"
        )
    folder = tmp_path_factory.mktemp("restore")
    settings = {"s3": {"installation": '"essai"'}}
    async with at_work(
        deployment, NAMES, folder, footage_folder, settings, stored_us=5 * SECOND_US
    ) as made:
        yield RestoredHouse(made.vigie, made.begun_us)


async def _as_before(house: RestoredHouse, before: Picture, end_us: int, *, requests: bool) -> None:
    lacking: list[str] = []

    async def whole() -> bool:
        now = await patiently(lambda: Picture.of(house, end_us))
        lacking[:] = before.lacks(now, requests=requests)
        return not lacking

    try:
        await until(whole, "everything is as before", seconds=240)
    except TimeoutError as error:
        raise AssertionError(lacking) from error


async def test_a_database_from_a_copy_catches_up_with_the_log(
    house: RestoredHouse, tmp_path: Path
) -> None:
    end_us = await house.more_footage()
    await house.packed(end_us)
    copy = tmp_path / "vigie.dump"
    # While everything runs: one consistent snapshot of all schemas.
    await house.vigie.external.postgres_tool("pg_dump", "--format", "custom", "--file", str(copy))
    await house.change("suspend")
    await house.change("resume")
    end_us = await house.more_footage()
    forgotten = await house.packed(end_us)
    before = await patiently(lambda: Picture.of(house, end_us))
    assert len(before.requests) == 2
    assert set((await house.vigie.stop()).values()) == {0}
    await house.vigie.external.new_database()
    await house.vigie.external.postgres_tool("pg_restore", "--exit-on-error", str(copy))

    looked = await house.command("restore", "databases")
    assert looked.code == 7, looked
    said = json.loads(looked.out)
    (behind,) = said["cameras"]
    assert behind["camera"] == NAMES[1]
    assert behind["log_revision"] == behind["registry_revision"] + 2
    assert said["holds"] == [forgotten.removeprefix("evidenceRequests/")]
    done = await house.command("restore", "databases", "--apply", "--reason", "essai")
    assert done.code == 7, done  # a hold is left to people
    await house.vigie.start()

    lost = before.requests.pop(forgotten)
    assert lost is not None
    await _as_before(house, before, end_us, requests=True)
    # What the registry says next is the newest word, although the copy was two revisions behind.
    await house.change("suspend")

    async def stopped() -> bool:
        return await patiently(house.recording) == {NAMES[0]}

    await until(stopped, "the suspended camera is not recorded any more")
    await house.change("resume")

    async def both() -> bool:
        return await patiently(house.recording) == set(NAMES)

    await until(both, "both are recorded again")
    await house.more_footage()
    await found_clean(house.vigie)


async def test_a_lost_log_is_told_anew_from_the_databases(house: RestoredHouse) -> None:
    end_us = await house.more_footage()
    before = await patiently(lambda: Picture.of(house, end_us))
    assert before.requests
    assert set((await house.vigie.stop()).values()) == {0}
    await house.vigie.external.lose_topics()

    async def made_anew() -> bool:
        return (await house.command("topics", "apply")).code == 0

    await until(made_anew, "the topics are made anew")
    looked = await house.command("restore", "log")
    assert looked.code == 7, looked
    missing = {each["topic"]: each["missing"] for each in map(json.loads, looked.out.splitlines())}
    assert missing["cameras"] == len(NAMES)
    assert missing["holds"] == len(before.holds)
    assert missing["accesses"] >= len(before.records)
    done = await house.command("restore", "log", "--apply", "--reason", "essai")
    assert done.code == 0, done
    again = await house.command("restore", "log")
    assert again.code == 0, again
    indexed = await house.command("recording", "reindex", "--reason", "essai")
    assert indexed.code == 0, indexed
    await house.vigie.start()
    await _as_before(house, before, end_us, requests=True)
    await asyncio.gather(house.more_footage(), house.packed(end_us))
    await found_clean(house.vigie)
