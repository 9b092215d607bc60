import asyncio
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
import sqlalchemy as sa

from unit.audit.conftest import NOON_US, Archive
from vigie.audit.freshness import Freshness
from vigie.audit.indexer import AccessIndexer
from vigie.audit.recorder import ACCESSES_TOPIC
from vigie.audit.search import AccessReader
from vigie.audit.tables import ACCESSES
from vigie.audit.v1 import audit_service_pb2 as pb
from vigie.audit.v1 import events_pb2
from vigie.common.v1 import access_pb2, types_pb2
from vigie.platform.clock import SystemMonotonicClock
from vigie.platform.eventlog import Position
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.record import Phase
from vigie.platform.metrics import MetricsRegistry

SECOND = 1_000_000


def window(start_us: int, end_us: int) -> types_pb2.TimeWindow:
    message = types_pb2.TimeWindow()
    message.start_time.FromMicroseconds(start_us)
    message.end_time.FromMicroseconds(end_us)
    return message


async def search(archive: Archive, token: str = "auditor", **criteria: Any) -> list[str]:
    """Records found, without those of the searches themselves."""
    request = pb.SearchAccessesRequest(filter=pb.AccessFilter(**criteria), page_size=500)
    response = await archive.stub(token).SearchAccesses(request)
    return [
        access.record.record
        for access in response.accesses
        if not access.record.method.endswith("SearchAccesses")
    ]


async def refused(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return ClientError.of(caught.value)


async def test_each_criterion_finds_its_records(archive: Archive) -> None:
    plain = (await archive.record()).record
    other = await archive.record(
        subject="gendarme-1",
        agency="gendarmerie",
        objects=("cameras/cam-b", "cameras/cam-c"),
        zones=("zone-b",),
        method="/vigie.recording.v1.PlaybackService/GetClip",
        kind=access_pb2.RECORD_KIND_EXPORT,
        window_us=(NOON_US + 3600 * SECOND, NOON_US + 3700 * SECOND),
        purpose="Accident 100%",
        case_reference="PV 2",
        allowed=False,
        reason="PERMISSION_DENIED",
    )
    found: dict[str, Any] = {
        "subject": "gendarme-1",
        "agency": "agencies/gendarmerie",
        "object": "cameras/cam-c",
        "zone": "zones/zone-b",
        "method": "GetClip",
        "kinds": [access_pb2.RECORD_KIND_EXPORT],
        "access_window": window(other.time_us, other.time_us + 1),
        "footage_window": window(NOON_US + 3600 * SECOND, NOON_US + 3601 * SECOND),
        "decision": events_pb2.DECISION_REFUSED,
        "decision_reason": "PERMISSION_DENIED",
        "purpose_text": "ACCIDENT 100%",
        "case_reference": "PV 2",
        "request_id": other.request_id,
    }
    for name, value in found.items():
        assert await search(archive, **{name: value}) == [other.record], name
    assert await search(archive, method=other.method, agency="gendarmerie") == [other.record]
    assert await search(archive, object="cameras/cam-b", zone="zone-b") == [other.record]
    assert await search(archive, object="cameras/cam-b", zone="zone-a") == []
    assert await search(archive, phase=events_pb2.ACCESS_PHASE_CLOSED) == []
    assert await search(archive, purpose_text="1_0%") == []
    assert await search(archive, footage_window=window(NOON_US + 60 * SECOND, NOON_US * 2)) == [
        other.record
    ]
    assert await search(archive) == [other.record, plain]


@pytest.mark.parametrize("order_by", ["", "time"])
async def test_pages_are_in_order_and_new_records_shift_nothing(
    archive: Archive, order_by: str
) -> None:
    made = [(await archive.record(objects=("cameras/x",))).record for _ in range(7)]
    await archive.record(objects=("cameras/y",))
    request = pb.SearchAccessesRequest(
        filter=pb.AccessFilter(object="cameras/x", method="Play"),
        page_size=3,
        order_by=order_by,
    )
    stub, found = archive.stub("auditor"), []
    while True:
        page = await stub.SearchAccesses(request)
        found += [access.record.record for access in page.accesses]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        if not order_by:
            await archive.record(objects=("cameras/x",))
    assert found == (made if order_by else made[::-1])


async def test_a_page_ends_where_its_bytes_do(archive: Archive) -> None:
    """Of the size that is the default; what people write is counted in characters."""
    long = "\U0001f6a8" * 2000
    made = [(await archive.record(objects=("cameras/x",), purpose=long)).record for _ in range(100)]
    request = pb.SearchAccessesRequest(filter=pb.AccessFilter(object="cameras/x", method="Play"))
    stub, found, pages = archive.stub("auditor"), [], 0
    while True:
        page = await stub.SearchAccesses(request)
        assert page.ByteSize() < 600_000
        found += [access.record.record for access in page.accesses]
        pages += 1
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == made[::-1]
    assert pages == 4


async def test_a_page_token_of_another_search_is_refused(archive: Archive) -> None:
    for _ in range(3):
        await archive.record()
    stub = archive.stub("auditor")
    page = await stub.SearchAccesses(pb.SearchAccessesRequest(page_size=1))
    other = pb.SearchAccessesRequest(
        filter=pb.AccessFilter(subject="x"), page_token=page.next_page_token
    )
    error = await refused(stub.SearchAccesses(other))
    assert (error.reason, error.violations[0].field) == ("PAGE_TOKEN_INVALID", "page_token")


async def test_reading_the_audit_is_itself_recorded(archive: Archive) -> None:
    await archive.record()
    request = pb.SearchAccessesRequest(filter=pb.AccessFilter(subject="operator-1"))
    await archive.stub("auditor").SearchAccesses(request)
    response = await archive.stub("auditor").SearchAccesses(
        pb.SearchAccessesRequest(filter=pb.AccessFilter(object="people/operator-1"))
    )
    this_search, access = response.accesses
    assert this_search.record.objects == access.record.objects
    assert access.record.subject == "auditor-1"
    assert access.record.method == "/vigie.audit.v1.AuditService/SearchAccesses"
    assert list(access.record.objects) == ["accesses/-", "people/operator-1"]
    assert access.record.kind == access_pb2.RECORD_KIND_CONSULTATION
    assert response.complete_until_time.ToMicroseconds() == archive.wall.now_us()


async def test_zones_bound_what_is_seen(archive: Archive) -> None:
    inside = await archive.record(zones=("zone-a",))
    across = await archive.record(zones=("zone-a", "zone-b"))
    nowhere = await archive.record(zones=())
    assert await search(archive, "zone-a") == [inside.record]
    stub = archive.stub("zone-a")
    got = await stub.GetAccess(pb.GetAccessRequest(name=f"accesses/{inside.record}"))
    assert got.record.record == inside.record
    messages = set()
    for hidden in (across.record, nowhere.record, "0" * 32):
        error = await refused(stub.GetAccess(pb.GetAccessRequest(name=f"accesses/{hidden}")))
        assert (error.reason, error.metadata["permission"]) == ("PERMISSION_DENIED", "audit.read")
        messages.add(error.message)
    assert len(messages) == 1
    error = await refused(
        archive.stub("auditor").GetAccess(pb.GetAccessRequest(name="accesses/" + "0" * 32))
    )
    assert error.reason == "ACCESS_NOT_FOUND"
    assert (
        await refused(archive.stub("operator").SearchAccesses(pb.SearchAccessesRequest()))
    ).reason == "PERMISSION_DENIED"


async def test_an_altered_row_is_not_given_out(archive: Archive) -> None:
    entry = await archive.record()
    await search(archive)
    async with archive.database.transaction() as connection:
        of_table = " ON audit_accesses" if connection.dialect.name == "postgresql" else ""
        await connection.exec_driver_sql(f"DROP TRIGGER audit_accesses_no_change{of_table}")
        await connection.execute(
            sa.update(ACCESSES).where(ACCESSES.c.record == entry.record).values(content=b"")
        )
    error = await refused(
        archive.stub("auditor").GetAccess(pb.GetAccessRequest(name=f"accesses/{entry.record}"))
    )
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "ACCESS_RECORD_ALTERED")


async def export(
    archive: Archive, form: pb.ExportFormat.ValueType, resume_token: str = ""
) -> list[pb.ExportAccessesResponse]:
    request = pb.ExportAccessesRequest(
        filter=pb.AccessFilter(method="Play"), format=form, resume_token=resume_token
    )
    return [chunk async for chunk in archive.stub("auditor").ExportAccesses(request)]


def content(chunks: Sequence[pb.ExportAccessesResponse]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("form", [pb.EXPORT_FORMAT_JSON_LINES, pb.EXPORT_FORMAT_CSV])
async def test_an_export_resumes_byte_for_byte(
    archive: Archive, form: pb.ExportFormat.ValueType
) -> None:
    long = "x" * 400
    entries = [archive.entry(purpose=f"=1+1 {long}") for _ in range(1100)]
    await asyncio.gather(*(archive.module.recorder.record(entry) for entry in entries))
    whole = await export(archive, form)
    assert len(whole) > 2
    assert [chunk.complete for chunk in whole] == [False] * (len(whole) - 1) + [True]
    assert all(chunk.ByteSize() < 1 << 20 for chunk in whole)
    assert sum(chunk.record_count for chunk in whole) == 1100
    # What is recorded meanwhile does not belong to the export that was begun.
    await archive.record()
    for index, chunk in enumerate(whole):
        rest = await export(archive, form, chunk.resume_token)
        assert content(whole[: index + 1]) + content(rest) == content(whole)
    text = content(whole).decode()
    if form == pb.EXPORT_FORMAT_CSV:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [row["record"] for row in rows] == [entry.record for entry in entries]
        assert rows[0]["purpose"].startswith("'=1+1")
        assert rows[0]["decision"] == "DECISION_ALLOWED"
        assert rows[0]["window_start_time"].endswith("Z")
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["record"]["record"] for line in lines] == [entry.record for entry in entries]


@pytest.mark.parametrize("kind", ["unreadable", "told twice"])
async def test_what_makes_no_row_does_not_hold_up_an_export(archive: Archive, kind: str) -> None:
    """It may be the last record of its partition for long, and nothing more comes after it."""
    await archive.record()
    (stored,) = [event async for event in archive.event_log.read(ACCESSES_TOPIC)]
    value = b"\x0b" if kind == "unreadable" else stored.event.value
    again = replace(stored.event, id="another", value=value)
    await archive.event_log.append(ACCESSES_TOPIC, [again])
    (end,) = await archive.event_log.ends(ACCESSES_TOPIC)
    freshness = Freshness(
        archive.event_log, AccessReader(archive.database),
        wall_clock=archive.wall, monotonic_clock=SystemMonotonicClock(),
    )  # fmt: skip
    async with asyncio.timeout(10):
        await freshness.require()
    async with archive.database.reading() as connection:
        newest = (await connection.execute(sa.select(sa.func.max(ACCESSES.c.log_offset)))).scalar()
    assert newest is not None
    assert newest < end.offset


async def test_of_a_record_told_twice_the_first_stands_in_one_batch_too(archive: Archive) -> None:
    await archive.record()
    (stored,) = [event async for event in archive.event_log.read(ACCESSES_TOPIC)]
    record = events_pb2.AccessRecord.FromString(stored.event.value or b"")
    record.record = archive.identifiers.text()
    told = replace(stored.event, value=record.SerializeToString())
    twice = [replace(stored, position=Position(0, offset), event=told) for offset in (700, 701)]
    indexer = AccessIndexer(archive.database, MetricsRegistry())
    await archive.database.write(partial(indexer.handle, events=twice))
    async with archive.database.reading() as connection:
        chosen = sa.select(ACCESSES.c.log_offset).where(ACCESSES.c.record == record.record)
        assert list(await connection.scalars(chosen)) == [700]


async def test_an_export_is_recorded_with_what_was_delivered(archive: Archive) -> None:
    for _ in range(3):
        await archive.record()
    chunks = await export(archive, pb.EXPORT_FORMAT_CSV)
    response = await archive.stub("auditor").SearchAccesses(
        pb.SearchAccessesRequest(filter=pb.AccessFilter(method="ExportAccesses"))
    )
    closed, opened = [access.record for access in response.accesses]
    assert (opened.phase, closed.phase) == (
        events_pb2.ACCESS_PHASE_OPENED,
        events_pb2.ACCESS_PHASE_CLOSED,
    )
    assert closed.delivered_bytes == len(content(chunks))
    assert opened.kind == access_pb2.RECORD_KIND_EXPORT


async def test_opening_and_closing_are_found_together(archive: Archive) -> None:
    opened = await archive.record()
    closed = await archive.record(request_id=opened.request_id, phase=Phase.CLOSED)
    found = await search(archive, request_id=opened.request_id)
    assert found == [closed.record, opened.record]


async def test_a_log_that_fails_lets_nothing_out(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.record()

    async def fail(*arguments: Any, **named: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(archive.event_log, "append", fail)
    stub = archive.stub("auditor")
    for call in (
        stub.SearchAccesses(pb.SearchAccessesRequest()),
        stub.ExportAccesses(pb.ExportAccessesRequest()).read(),
    ):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ACCESS_NOT_RECORDED")
