"""AuditService: search and export of the access log; each call is itself on record."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from vigie.audit.export import csv_header, csv_line, json_line
from vigie.audit.freshness import Freshness
from vigie.audit.reasons import ACCESS_NOT_FOUND, ACCESS_RECORD_ALTERED
from vigie.audit.search import AccessReader, StoredAccess, bounds_us
from vigie.audit.v1 import audit_service_pb2 as pb
from vigie.audit.v1 import events_pb2
from vigie.audit.v1.audit_service_pb2_grpc import AuditServiceServicer
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call, current_call
from vigie.platform.paging import Cursor, Tokens, fitting, page_size_of, query_of

MAX_CHUNK_BYTES: Final = 512 << 10
_EXPORT_ROWS: Final = 500


class AuditServicer(AuditServiceServicer):
    """See `protos/vigie/audit/v1/audit_service.proto`."""

    def __init__(self, reader: AccessReader, freshness: Freshness, tokens: Tokens) -> None:
        self._reader = reader
        self._freshness = freshness
        self._tokens = tokens

    async def SearchAccesses(
        self, request: pb.SearchAccessesRequest, context: Any
    ) -> pb.SearchAccessesResponse:
        """See the contract."""
        del context
        call = current_call()
        query, subject = query_of(request), call.caller.subject
        cursor = self._tokens.open_page(request.page_token, query, subject=subject)
        await _admit_reading(call, request.filter)
        complete_until_us = await self._freshness.catch_up()
        size = page_size_of(request.page_size, default=100, most=500)
        rows = await self._reader.page(
            request.filter,
            call.zones_allowed(),
            ascending=request.order_by in {"time", "time asc"},
            after=(int(cursor["t"]), str(cursor["r"])) if cursor else None,
            limit=size + 1,
        )
        accesses = fitting([access_of(row) for row in rows[:size]])
        response = pb.SearchAccessesResponse(accesses=accesses)
        response.complete_until_time.FromMicroseconds(complete_until_us)
        if len(rows) > len(accesses):
            last = rows[len(accesses) - 1]
            place = {"t": last.time_us, "r": last.record}
            response.next_page_token = self._tokens.seal(place, query, subject=subject)
        return response

    async def GetAccess(self, request: pb.GetAccessRequest, context: Any) -> pb.Access:
        """See the contract."""
        del context
        call = current_call()
        row = await self._reader.get(request.name.removeprefix("accesses/"))
        zones = list(_parsed(row).zones) if row is not None else []
        # What has no zone, or does not exist, is for those who may read everywhere.
        await call.admit(objects=[request.name], zones=zones or None)
        if row is None:
            raise VigieError(ACCESS_NOT_FOUND, "there is no such record", field="name")
        return access_of(row)

    async def ExportAccesses(
        self, request: pb.ExportAccessesRequest, context: Any
    ) -> AsyncIterator[pb.ExportAccessesResponse]:
        """See the contract."""
        del context
        call = current_call()
        query = query_of(request, without=("resume_token",))
        subject = call.caller.subject
        cursor = self._tokens.open_resume(request.resume_token, query, subject=subject)
        await _admit_reading(call, request.filter)
        if cursor is None:
            await self._freshness.require()
            cursor = {"at": None, "ends": await self._reader.ends()}
        complete = False
        while not complete:
            rows, complete = await self._export_rows(request.filter, call, cursor)
            data, taken = _chunk(rows, request.format, first=cursor["at"] is None)
            complete = complete and taken == len(rows)
            at = cursor["at"] or [-1, -1]
            if taken:
                at = [rows[taken - 1].log_partition, rows[taken - 1].log_offset]
            cursor = {"at": at, "ends": cursor["ends"]}
            yield pb.ExportAccessesResponse(
                data=data,
                record_count=taken,
                resume_token=self._tokens.seal(cursor, query, subject=subject),
                complete=complete,
            )
            call.delivered(size_bytes=len(data))

    async def _export_rows(
        self, criteria: pb.AccessFilter, call: Call, cursor: Cursor
    ) -> tuple[Sequence[StoredAccess], bool]:
        at = cursor["at"]
        rows = await self._reader.in_log_order(
            criteria,
            call.zones_allowed(),
            after=(int(at[0]), int(at[1])) if at else None,
            ends=[(int(number), int(last)) for number, last in cursor["ends"]],
            limit=_EXPORT_ROWS,
        )
        return rows, len(rows) < _EXPORT_ROWS


async def _admit_reading(call: Call, criteria: pb.AccessFilter) -> None:
    """Record whose accesses, and to what, are looked at."""
    objects = ["accesses/-"]
    if criteria.subject:
        objects.append(f"people/{criteria.subject}")
    if criteria.object:
        objects.append(criteria.object)
    window = bounds_us(criteria.footage_window) if criteria.HasField("footage_window") else None
    await call.admit(objects=objects, window_us=window, case_reference=criteria.case_reference)


def _chunk(
    rows: Sequence[StoredAccess], form: pb.ExportFormat.ValueType, *, first: bool
) -> tuple[bytes, int]:
    """Lines of as many rows as fit, and their number."""
    as_csv = form == pb.EXPORT_FORMAT_CSV
    data = bytearray(csv_header() if as_csv and first else b"")
    for taken, row in enumerate(rows):
        record = _parsed(row)
        line = csv_line(row, record) if as_csv else json_line(row, record)
        if taken and len(data) + len(line) > MAX_CHUNK_BYTES:
            return bytes(data), taken
        data += line
    return bytes(data), len(rows)


def _parsed(row: StoredAccess) -> events_pb2.AccessRecord:
    """The record of a row, once its digest is compared."""
    if hashlib.sha256(row.content).hexdigest() != row.sha256:
        raise VigieError(
            ACCESS_RECORD_ALTERED,
            "the record does not have the digest it was stored with",
            record=row.record,
        )
    return events_pb2.AccessRecord.FromString(row.content)


def access_of(row: StoredAccess) -> pb.Access:
    """A row as the contract gives it out.

    Raises:
        VigieError: ACCESS_RECORD_ALTERED.
    """
    return pb.Access(
        name=f"accesses/{row.record}",
        record=_parsed(row),
        record_bytes=row.content,
        record_sha256=row.sha256,
        log_partition=row.log_partition,
        log_offset=row.log_offset,
    )
