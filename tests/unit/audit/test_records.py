import hashlib
from dataclasses import fields

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from unit.audit.conftest import NOON_US, Archive
from vigie.audit.metrics import METRICS
from vigie.audit.recorder import ACCESSES_TOPIC, record_of
from vigie.audit.tables import ACCESSES, METADATA, MIGRATIONS
from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.database import schema_differences
from vigie.platform.eventlog import Event
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.metrics import naming_faults


async def indexed(archive: Archive, count: int) -> None:
    """Wait until so many rows are in the table."""
    clock = archive.module.recorder._monotonic_clock
    while True:
        async with archive.database.reading() as connection:
            statement = sa.select(sa.func.count()).select_from(ACCESSES)
            if (await connection.execute(statement)).scalar() == count:
                return
        await clock.sleep(0.005)


async def test_the_schema_is_the_one_declared(archive: Archive) -> None:
    assert await schema_differences(archive.database, MIGRATIONS, METADATA) == []


def test_metrics_are_named_regularly() -> None:
    assert naming_faults(METRICS) == []


async def test_a_record_is_in_the_log_when_recording_returns(archive: Archive) -> None:
    entry = await archive.record()
    (stored,) = [item async for item in archive.event_log.read(ACCESSES_TOPIC)]
    assert (stored.event.key, stored.event.id) == ("operator-1", entry.record)
    assert stored.event.type == "vigie.audit.v1.AccessRecord"
    record = pb.AccessRecord.FromString(stored.event.value or b"")
    assert record == record_of(entry)
    assert record.time.ToMicroseconds() == entry.time_us


async def test_every_fact_of_an_entry_is_in_its_record(archive: Archive) -> None:
    full = archive.entry(
        phase=Phase.CLOSED,
        display_name="Opérateur",
        roles=("supervisor", "operator"),
        reason="RIGHTS_CHANGED",
        delivered_bytes=1,
        delivered_messages=2,
        end_status="OK",
        delivered_until_us=3,
        suppressed_attempts=4,
    )
    record = record_of(full)
    assert {descriptor.name for descriptor, _ in record.ListFields()} == {
        descriptor.name for descriptor in pb.AccessRecord.DESCRIPTOR.fields
    }
    assert len(fields(AccessEntry)) == len(pb.AccessRecord.DESCRIPTOR.fields) - 1  # the window
    assert list(record.roles) == ["operator", "supervisor"]


async def test_rows_keep_the_exact_bytes_digest_and_position(archive: Archive) -> None:
    entry = await archive.record()
    await indexed(archive, 1)
    (stored,) = [item async for item in archive.event_log.read(ACCESSES_TOPIC)]
    async with archive.database.reading() as connection:
        row = (await connection.execute(sa.select(ACCESSES))).mappings().one()
    assert row["content"] == stored.event.value
    assert row["sha256"] == hashlib.sha256(stored.event.value or b"").hexdigest()
    assert (row["log_partition"], row["log_offset"]) == (
        stored.position.partition,
        stored.position.offset,
    )
    assert row["record"] == entry.record


async def test_recording_twice_is_one_record(archive: Archive) -> None:
    entry = archive.entry()
    await archive.module.recorder.record(entry)
    await archive.module.recorder.record(entry)
    await archive.record()
    await indexed(archive, 2)


async def test_the_database_refuses_to_change_a_record(archive: Archive) -> None:
    await archive.record()
    await indexed(archive, 1)
    with pytest.raises(IntegrityError, match="never changed"):
        async with archive.database.transaction() as connection:
            await connection.execute(sa.update(ACCESSES).values(subject="nobody"))


async def test_what_is_no_record_goes_to_quarantine_and_the_rest_goes_on(
    archive: Archive,
) -> None:
    broken = Event(
        key="x",
        type="vigie.audit.v1.AccessRecord",
        value=b"\xff\xff",
        id="broken-1",
        time_us=NOON_US,
        source="test",
    )
    empty = Event(
        key="x",
        type="vigie.audit.v1.AccessRecord",
        value=b"",
        id="broken-2",
        time_us=NOON_US,
        source="test",
    )
    await archive.event_log.append(ACCESSES_TOPIC, [broken, empty])
    await archive.record()
    await indexed(archive, 1)
    assert archive.module.not_ready() is None


async def test_accesses_are_removed_at_the_end_of_their_time(archive: Archive) -> None:
    for _ in range(3):
        await archive.record()
    await indexed(archive, 3)
    archive.wall.advance(1096 * 24 * 3600 - 1)
    retention = archive.module._retention
    assert await retention.remove_expired() == 1
    archive.wall.advance(10)
    assert await retention.remove_expired() == 2
    async with archive.database.reading() as connection:
        for table in METADATA.sorted_tables:
            rows = await connection.execute(sa.select(sa.func.count()).select_from(table))
            assert rows.scalar() == 0
