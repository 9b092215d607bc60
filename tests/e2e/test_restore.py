"""Backup and restore as the guide to operations says, on real servers: nothing kept is lost.

First the database is lost and put back from a copy that is older than the log; then the log is
lost and told anew from the database. Footage, holds, requests, access records are as before.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from e2e import estate
from e2e.callers import (
    Entry,
    patiently,
    recorded_from,
    segments,
    stored_until,
    timelines,
    window,
)
from e2e.commands import Outcome, run_vigie
from e2e.harness import WALL, Deployment, Installation, simulated_cameras, until
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.recording.v1 import retention_pb2, retention_pb2_grpc
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1500),
]
_SMALL: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
NAMES: Final = ("cam-gare", "cam-jaude")
_SECOND_US: Final = 1_000_000


@dataclass(slots=True)
class House:
    """The installation, and since when it records."""

    vigie: Installation
    begun_us: int = 0
    requests: list[evidence_pb.EvidenceRequest] = field(default_factory=list)

    async def command(self, *arguments: str) -> Outcome:
        return await run_vigie(
            "--json", *arguments, "--config", str(self.vigie.config_file), seconds=300
        )

    async def more_footage(self) -> int:
        """Wait for some more; returns until when all of it is stored."""
        ends = await stored_until(self.vigie, NAMES, self.begun_us, WALL.now_us() + 2 * _SECOND_US)
        return min(ends.values())

    async def ask_for_evidence(self, end_us: int) -> evidence_pb.EvidenceRequest:
        """Ask, approve, and wait for the package."""
        stub = self.vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
        asked = evidence_pb.CreateEvidenceRequestRequest(
            cameras=[f"cameras/{NAMES[0]}"],
            window=window(end_us - 3 * _SECOND_US, end_us),
            purpose="Vol de fret en réunion",
            case_reference="PV 2026/00421",
            legal_basis="Article 77-1-1 du code de procédure pénale",
        )
        request = await patiently(lambda: stub.CreateEvidenceRequest(asked))
        approver = self.vigie.stub(EvidenceServiceStub, "evidence", person="responsable")
        approval = evidence_pb.ApproveEvidenceRequestRequest(
            name=request.name, reason="vérifiée", etag=request.etag
        )
        await patiently(lambda: approver.ApproveEvidenceRequest(approval))
        named = evidence_pb.GetEvidenceRequestRequest(name=request.name)

        async def ready() -> bool:
            found = await patiently(lambda: stub.GetEvidenceRequest(named))
            assert found.state != evidence_pb.EVIDENCE_STATE_FAILED, found
            return found.state == evidence_pb.EVIDENCE_STATE_READY

        await until(ready, "the package is ready", seconds=300)
        return request

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
    async def of(cls, house: House, end_us: int) -> "Picture":
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
) -> AsyncIterator[House]:
    if deployment.store is None:
        pytest.skip(
            "another deployment: a restore of services needs --deployment other than one-process"
        )
    folder = tmp_path_factory.mktemp("restore")
    settings = {
        "s3": {"installation": '"essai"'},
        # Nothing here is about how long a busy broker takes.
        "kafka": {"delivery_timeout_seconds": "60.0"},
    }
    vigie = Installation(deployment, folder / "vigie", estate.PEOPLE, settings)
    config = ServerConfig(
        cameras=tuple(CameraConfig(id=name, footage=_SMALL) for name in NAMES),
        port_per_camera=True,
        cache_folder=footage_folder,
    )
    async with simulated_cameras(config, folder / "cameras") as simulator:
        try:
            await vigie.start()
            asked_us = WALL.now_us()
            await estate.register(vigie, simulator.urls, NAMES)
            await stored_until(vigie, NAMES, asked_us, asked_us + 5 * _SECOND_US)
            yield House(vigie, await recorded_from(vigie, NAMES, asked_us))
        finally:
            await vigie.remove()


async def _as_before(house: House, before: Picture, end_us: int, *, requests: bool) -> None:
    lacking: list[str] = []

    async def whole() -> bool:
        now = await patiently(lambda: Picture.of(house, end_us))
        lacking[:] = before.lacks(now, requests=requests)
        return not lacking

    try:
        await until(whole, "everything is as before", seconds=240)
    except TimeoutError as error:
        raise AssertionError(lacking) from error


async def _clean(house: House) -> None:
    said: list[str] = []

    async def clean() -> bool:
        report = await house.vigie.fsck(seconds=240)
        said[:] = [report.out, report.err]
        return report.code == 0

    try:
        await until(clean, "the checker is content", seconds=240)
    except TimeoutError as error:
        raise AssertionError(said) from error


async def test_a_database_from_a_copy_catches_up_with_the_log(house: House, tmp_path: Path) -> None:
    end_us = await house.more_footage()
    await house.ask_for_evidence(end_us)
    copy = tmp_path / "vigie.dump"
    # While everything runs: one consistent snapshot of all schemas.
    await house.vigie.external.postgres_tool("pg_dump", "--format", "custom", "--file", str(copy))
    await house.change("suspend")
    await house.change("resume")
    end_us = await house.more_footage()
    forgotten = await house.ask_for_evidence(end_us)
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
    assert said["holds"] == [forgotten.name.removeprefix("evidenceRequests/")]
    done = await house.command("restore", "databases", "--apply", "--reason", "essai")
    assert done.code == 7, done  # a hold is left to people
    await house.vigie.start()

    lost = before.requests.pop(forgotten.name)
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
    await _clean(house)


async def test_a_lost_log_is_told_anew_from_the_databases(house: House) -> None:
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
    await asyncio.gather(house.more_footage(), house.ask_for_evidence(end_us))
    await _clean(house)
