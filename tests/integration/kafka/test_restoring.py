"""After a restore: a new log is told what the databases know; an old registry numbers on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from integration.postgresql.conftest import installation
from servers_kafka import kafka_bootstrap, kafka_config
from servers_postgres import PostgresServer, postgres_server
from vigie.audit.indexer import AccessIndexer
from vigie.audit.recorder import ACCESSES_TOPIC, EventLogAccessRecorder
from vigie.audit.tables import ACCESSES
from vigie.common.v1 import access_pb2
from vigie.evidence.model import EvidenceRequest, Person, State
from vigie.evidence.repository import HOLDS_TOPIC, EvidenceRepository, Step
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.clock import ManualWallClock, SystemMonotonicClock
from vigie.platform.database.postgresql.database import open_postgresql
from vigie.platform.eventlog.kafka import KafkaConfig, open_kafka_event_log
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.outbox import OUTBOX
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.eventlog.tables import POSITION
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.recording.index.tables import DESTRUCTIONS, OUTAGES
from vigie.recording.v1.events_pb2 import DestructionEvent
from vigie.registry.journal import CAMERAS_TOPIC, CameraJournal
from vigie.registry.model import CameraRecord, Change
from vigie.registry.v1.events_pb2 import CameraState
from vigie.restoring import Restored, bring_forward, look_back, refill
from vigie.schemas import SCHEMAS
from vigie.topics import TOPICS

__all__ = ["kafka_bootstrap", "kafka_config", "postgres_server"]

pytestmark = pytest.mark.timeout(600)
NOW_US = 1_800_000_000_000_000
CLOCK = ManualWallClock(NOW_US)


@dataclass
class House:
    """Databases of all contexts, with one of everything in them, and a log with empty topics."""

    restored: Restored
    records: list[str]

    async def told(self, topic: str) -> list[bytes]:
        return [stored.event.value or b"" async for stored in self.restored.event_log.read(topic)]


class _Silent:
    """An event log to contexts whose outbox is not looked at: it was in the log that is lost."""

    async def append(self, topic: str, events: object, *, connection: object = None) -> None:
        del topic, events, connection


@pytest.fixture
async def house(
    kafka_config: KafkaConfig, postgres_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[House]:
    admin = TopicAdmin(KafkaClients(kafka_config))
    await admin.apply(TOPICS, await admin.differences(TOPICS))
    async with AsyncExitStack() as closing:
        made = closing.enter_context(installation(postgres_server, tmp_path))
        await made.administration.apply(SCHEMAS)
        databases = {}
        for context in SCHEMAS:
            databases[context] = await open_postgresql(
                made.config, context, wall_clock=CLOCK, monotonic_clock=SystemMonotonicClock()
            )
            closing.push_async_callback(databases[context].close)
        log = await open_kafka_event_log(kafka_config, None, CLOCK, SystemMonotonicClock())
        closing.push_async_callback(log.close)
        await log.declare(TOPICS)
        found = House(Restored(databases, log, CLOCK), [])
        await _cameras(found)
        await _footage(found)
        await _requests(found)
        yield found


async def _cameras(house: House) -> None:
    journal = CameraJournal(_Silent(), IdentifierSource(CLOCK))
    for camera in ("cam-a", "cam-b"):
        record = CameraRecord(
            camera=camera, display_name=camera, zone="zone-a", site="", commune="63113",
            lifecycle=2, stream_uri=f"rtsp://127.0.0.1/{camera}", revision=6, effective_us=NOW_US,
        )  # fmt: skip
        change = Change(action="CREATED", reason="", actor="test", recorded_us=NOW_US)
        await house.restored.databases["registry"].write(
            lambda own, record=record, change=change: journal.write(own, record, change)
        )


async def _footage(house: House) -> None:
    destroyed = {
        "object_key": "footage/cam-a/1", "camera": "cam-a", "run": "run-1", "number": 1,
        "start_us": 5, "end_us": 9, "sha256": "ab", "reason": 1, "basis": "one calendar month",
        "decided_us": NOW_US, "destroyed_us": NOW_US,
    }  # fmt: skip
    piece = {
        "outage": "outage-1", "piece_us": 10, "camera": "cam-a", "start_us": 10, "end_us": 20,
        "cause": 1, "detail": "", "open": 0,
    }  # fmt: skip
    later = piece | {"piece_us": 20, "start_us": 20, "end_us": 30}
    position = {"topic": "segments", "group": "recording-index", "partition": 3, "offset": 9000}
    async with house.restored.databases["recording"].transaction() as connection:
        await connection.execute(sa.insert(DESTRUCTIONS), destroyed)
        await connection.execute(sa.insert(OUTAGES), [piece, later])
        await connection.execute(sa.insert(POSITION), position)


async def _requests(house: House) -> None:
    repository = EvidenceRepository(
        house.restored.databases["evidence"], _Silent(), CLOCK, IdentifierSource(CLOCK)
    )
    person = Person("enqueteur", "Unité de recherches", "gendarmerie")
    for request in ("request-1", "request-2"):
        asked = EvidenceRequest(
            request=request, cameras=("cam-a",), zones=("zone-a",), start_us=1, end_us=100,
            purpose="Vol", case_reference="PV 1", legal_basis="Article 77-1-1",
            state=State.REQUESTED, requester=person, create_us=NOW_US, update_us=NOW_US,
        )  # fmt: skip
        await repository.create(asked, client_request_id="", client_request_digest="")
    await repository.advance("request-2", Step("REFUSED", person, "", {}, State.REFUSED))


async def _accesses(house: House) -> None:
    """Records that stand in the log and in the searchable table, at the same places."""
    log, database = house.restored.event_log, house.restored.databases["audit"]
    recorder = EventLogAccessRecorder(
        log,
        wall_clock=CLOCK,
        monotonic_clock=SystemMonotonicClock(),
        metrics=MetricsRegistry(),
    )
    identifiers = IdentifierSource(CLOCK)
    for number in range(3):
        entry = AccessEntry(
            record=identifiers.text(), request_id=identifiers.text(), phase=Phase.OPENED,
            time_us=NOW_US + number, subject=f"person-{number % 2}", peer="local",
            method="/vigie.Test/Look", kind=access_pb2.RECORD_KIND_CONSULTATION,
            permission="footage.read", allowed=True,
        )  # fmt: skip
        house.records.append(entry.record)
        await recorder.record(entry)
    events = [stored async for stored in log.read(ACCESSES_TOPIC)]
    indexer = AccessIndexer(database, MetricsRegistry())
    await database.write(lambda connection: indexer.handle(connection, events))


async def test_a_new_log_is_told_everything_once(house: House, kafka_config: KafkaConfig) -> None:
    await _accesses(house)
    records = sorted(await house.told(ACCESSES_TOPIC))
    # The log is lost: in its place stands one with the same topics under another name.
    config = kafka_config.model_copy(update={"topic_prefix": f"{kafka_config.topic_prefix}new."})
    admin = TopicAdmin(KafkaClients(config))
    await admin.apply(TOPICS, await admin.differences(TOPICS))
    log = await open_kafka_event_log(config, None, CLOCK, SystemMonotonicClock())
    await log.declare(TOPICS)
    databases = house.restored.databases
    anew = House(Restored(databases, log, CLOCK), house.records)
    looked = {each.topic: each.told for each in await refill(anew.restored, apply=False)}
    assert looked == {"cameras": 2, "holds": 2, "destructions": 1, "segments": 1, "accesses": 3}
    assert not await anew.told(ACCESSES_TOPIC)

    await refill(anew.restored, apply=True)
    assert sorted(await anew.told(ACCESSES_TOPIC)) == records
    states = [CameraState.FromString(value) for value in await anew.told(CAMERAS_TOPIC.name)]
    assert {(state.camera, state.revision) for state in states} == {("cam-a", 7), ("cam-b", 7)}
    holds = [HoldState.FromString(value) for value in await anew.told(HOLDS_TOPIC)]
    released = {hold.hold: hold.HasField("release_time") for hold in holds}
    assert released == {"request-1": False, "request-2": True}
    (destroyed,) = map(DestructionEvent.FromString, await anew.told("destructions"))
    assert (destroyed.object_key, destroyed.sha256) == ("footage/cam-a/1", "ab")
    for context in ("recording", "audit"):
        async with databases[context].reading() as connection:
            assert not (await connection.execute(sa.select(POSITION))).all()
            assert not (await connection.execute(sa.select(OUTBOX))).all()
    async with databases["audit"].reading() as connection:
        assert not (await connection.execute(sa.select(ACCESSES.c.record))).all()
    again = await refill(anew.restored, apply=True)
    assert [each.told for each in again] == [0, 0, 0, 0, 0]
    await log.close()


async def test_an_older_registry_numbers_on_behind_the_log(house: House) -> None:
    databases = house.restored.databases
    await refill(house.restored, apply=True)

    async def set_back(connection: object) -> None:
        await connection.execute(sa.text("UPDATE registry_camera SET revision = 4"))
        await connection.execute(sa.text("DELETE FROM registry_camera WHERE camera = 'cam-b'"))

    await databases["registry"].write(set_back)
    behind = await look_back(house.restored)
    assert behind.cameras == {"cam-a": (4, 7), "cam-b": (None, 7)}
    assert not behind.holds
    await bring_forward(house.restored, behind)
    assert (await look_back(house.restored)).cameras == {"cam-b": (None, 7)}
