"""SASL/SCRAM, TLS and ACLs at a real broker: who is let in, and what the others are told."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.kafka.kafka_support import PATIENCE_SECONDS, House, event, everything, spec
from integration.kafka.sasl_broker import ADMIN, SaslBroker, certificates, sasl_broker
from vigie.platform.clock import SystemWallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Gained,
    Position,
    Quarantine,
    StoredEvent,
    Unprocessable,
)
from vigie.platform.eventlog.kafka import Identity, KafkaConfig
from vigie.platform.eventlog.kafka.installation import INSTALLATION_TOPIC

pytestmark = [pytest.mark.needs_server, pytest.mark.slow]
__all__ = ["sasl_broker"]

TOPICS = (spec("cameras", compacted=True), spec("segments"), spec("accesses"))


@dataclass
class Guarded:
    broker: SaslBroker
    prefix: str

    def config(self, user: str, **changes: object) -> KafkaConfig:
        return KafkaConfig(
            bootstrap=[self.broker.bootstrap],
            topic_prefix=self.prefix,
            replication=1,
            min_in_sync=1,
            security_protocol="SASL_SSL",
            username=user,
            password_file=self.broker.password_file(user),
            ca_file=self.broker.ca_file,
            outbox_poll_seconds=0.2,
            request_timeout_seconds=5.0,
        ).model_copy(update=changes)


@pytest.fixture(scope="module")
def guarded(sasl_broker: SaslBroker) -> Guarded:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    sasl_broker.allow(prefix)
    return Guarded(sasl_broker, prefix)


@pytest.fixture
async def admin(guarded: Guarded, tmp_path: Path) -> AsyncIterator[House]:
    house = House(guarded.config(ADMIN), tmp_path / "admin")
    await house.make(*TOPICS)
    yield house
    await house.close()


@pytest.fixture
async def registry(guarded: Guarded, admin: House, tmp_path: Path) -> AsyncIterator[House]:
    house = House(guarded.config("vigie-registry"), tmp_path / "registry")
    yield house
    await house.close()


@pytest.fixture
async def ingest(guarded: Guarded, admin: House, tmp_path: Path) -> AsyncIterator[House]:
    house = House(guarded.config("vigie-ingest"), tmp_path / "ingest")
    yield house
    await house.close()


async def test_services_do_what_is_theirs_under_the_rights_of_the_file(
    registry: House, ingest: House
) -> None:
    database = await registry.database()
    owner = await registry.log(database)
    await owner.declare(TOPICS)
    async with database.transaction() as connection:
        await owner.append("cameras", [event(1, "cam-1")], connection=connection)
    assert await owner.drain(timeout_seconds=PATIENCE_SECONDS), owner.not_ready()
    await owner.append("accesses", [event(2)])
    receiver = await ingest.log(None)
    await receiver.declare(TOPICS)
    share = await receiver.share("cameras", "ingest-cameras")
    async for change in share.changes():
        assert isinstance(change, Gained)
        assert [stored.event.id for stored in change.events] == ["id-00001"]
        break
    await share.close()
    await receiver.append("segments", [event(3, "cam-1")])


async def test_who_consumes_tells_of_what_it_could_not_process(
    guarded: Guarded, admin: House, tmp_path: Path
) -> None:
    await admin.make(QUARANTINE_TOPIC)
    house = House(guarded.config("vigie-audit"), tmp_path / "audit")
    database = await house.database()
    log = await house.log(database)
    await log.declare([QUARANTINE_TOPIC])
    quarantine = Quarantine(database, SystemWallClock(), log)
    stored = StoredEvent("accesses", Position(0, 1), event(1))
    async with database.transaction() as connection:
        await quarantine.add(connection, "audit-index", stored, Unprocessable("EVENT_UNPARSABLE"))
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS), log.not_ready()
    await house.close()
    reader = await admin.log(None, QUARANTINE_TOPIC)
    assert len(await everything(reader, QUARANTINE_TOPIC.name)) == 1


async def test_what_is_not_a_services_own_is_refused_in_one_line(
    registry: House, ingest: House
) -> None:
    receiver = await ingest.log(None)
    await receiver.declare(TOPICS)
    with pytest.raises(VigieError) as told:
        await receiver.append("cameras", [event(1)])
    assert "cannot append to cameras: this user may not use the topic (ACL)" in told.value.message
    await receiver.append("segments", [event(9)])
    with pytest.raises(VigieError, match=r"this user may not use the topic \(ACL\)"):
        await everything(receiver, "segments")
    owner = await registry.log(await registry.database())
    await owner.declare(TOPICS)
    subscription = await owner.subscribe("cameras", "recording-index")
    with pytest.raises(VigieError, match=r"this user may not use the consumer group \(ACL\)"):
        await subscription.fetch(max_events=1, timeout_seconds=20)


async def test_whose_topics_these_are_is_marked_by_the_administrator_and_read_by_services(
    registry: House, ingest: House, admin: House
) -> None:
    await admin.make(INSTALLATION_TOPIC)
    for service in (registry, ingest):
        with pytest.raises(VigieError) as told:
            await service.log(None, *TOPICS, identity=Identity("north"))
        assert told.value.reason.name == "EVENT_LOG_UNAVAILABLE", "it waits until that is done"
        for words in ("nobody has marked whose topics these are", "may not use the topic (ACL)"):
            assert words in told.value.message
    await admin.log(None, *TOPICS, identity=Identity("north"))
    for service in (registry, ingest):
        await service.log(None, *TOPICS, identity=Identity("north"))
        with pytest.raises(VigieError, match="belong to installation north, this is south"):
            await service.log(None, *TOPICS, identity=Identity("south"))


async def test_a_password_is_changed_while_its_user_is_at_work(
    guarded: Guarded, admin: House, tmp_path: Path
) -> None:
    user, changed = "vigie-ingest", "another password"
    config = guarded.config(user)
    assert config.password_file is not None
    before = config.password_file.read_text()
    house = House(config, tmp_path / "ingest")
    log = await house.log(None)
    await log.declare(TOPICS)
    await log.append("segments", [event(1)])
    try:
        guarded.broker.change_password(user, changed)
        await log.append("segments", [event(2)])  # its connections go on
        with pytest.raises(VigieError, match="the brokers refuse the name or the password"):
            await house.log(None, spec())
        config.password_file.write_text(changed)
        # The same process, without a restart: the file is read for each new connection.
        await (await house.log(None)).declare(TOPICS)
        await log.append("segments", [event(3)])
    finally:
        guarded.broker.change_password(user, before)
        config.password_file.write_text(before)
        await house.close()


async def test_wrong_passwords_and_certificates_are_told_apart_from_brokers_that_are_away(
    guarded: Guarded, tmp_path: Path
) -> None:
    where = rf"\(Kafka at {guarded.broker.bootstrap}\)"
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    house = House(guarded.config("vigie-ingest", password_file=wrong), tmp_path)
    with pytest.raises(VigieError, match=f"the brokers refuse the name or the password {where}"):
        await house.log(None, spec())
    other = tmp_path / "other"
    other.mkdir()
    ca_file, _ = certificates(other)
    house = House(guarded.config("vigie-ingest", ca_file=ca_file), tmp_path)
    with pytest.raises(VigieError, match="the broker's certificate is not trusted"):
        await house.log(None, spec())
    house = House(guarded.config("vigie-ingest", sasl_mechanism="PLAIN"), tmp_path)
    with pytest.raises(VigieError, match="the brokers do not offer this sasl_mechanism"):
        await house.log(None, spec())
    house = House(guarded.config("vigie-ingest", bootstrap=["127.0.0.1:1"]), tmp_path)
    with pytest.raises(VigieError, match=r"no broker answers \(Kafka at 127\.0\.0\.1:1\)"):
        await house.log(None, spec())
