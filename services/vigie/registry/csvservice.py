"""ImportCameras and ExportCameras as operations."""

from collections.abc import Iterator, Sequence
from typing import Final

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call, ZoneSet
from vigie.platform.grpc.failure import FieldViolation, RequestInvalidError
from vigie.platform.reasons import ETAG_MISMATCH
from vigie.registry import csvtable, names
from vigie.registry.csvimport import CsvImporter, ImportPlan, Table
from vigie.registry.desk import Desk
from vigie.registry.reasons import CSV_INVALID
from vigie.registry.selection import Selection
from vigie.registry.v1.cameras_pb2 import (
    Camera,
    ImportCamerasRequest,
    ImportCamerasResponse,
    ImportMistake,
)

_MAX_MISTAKES: Final = 2000
# Details of an error travel in trailing metadata, of which 8 KiB pass everywhere.
_MAX_VIOLATIONS: Final = 20
# An access record is one event and a row for each object: no more cameras than this are named in
# it, and then how many more there are. The histories of the cameras name the person in any case.
_MAX_OBJECTS: Final = 2000
_CHUNK_BYTES: Final = 60_000


class CsvDesk:
    """Imports and exports cameras."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._importer = CsvImporter(desk.book)

    async def import_cameras(
        self, call: Call, request: ImportCamerasRequest
    ) -> ImportCamerasResponse:
        """Look at a table, or take it over as a whole.

        Raises:
            VigieError: PERMISSION_DENIED for one of the zones; CSV_INVALID, ETAG_MISMATCH,
                REQUEST_ID_REUSED.
        """
        table = Table.of(request.csv)
        # Seen before the caller is admitted, because the access record names what is to change;
        # he is told nothing of it before.
        async with self._desk.database.reading() as connection:
            plan = await self._importer.plan(connection, table, request.mode)
        changing = [] if request.dry_run else _changing(plan)
        await call.admit(objects=_on_record(changing), zones=table.zones_named())
        if request.dry_run:
            return _answer(plan, dry_run=True)
        recorded = frozenset(changing)

        async def work(connection: AsyncConnection) -> ImportCamerasResponse:
            plan = await self._importer.plan(connection, table, request.mode)
            _refuse(plan.mistakes.in_order())
            if not recorded.issuperset(_changing(plan)):
                raise VigieError(
                    ETAG_MISMATCH, "cameras of the table were changed meanwhile: import it again"
                )
            for action, records in (("imported", plan.created), ("updated", plan.updated)):
                change = self._desk.book.change(action, call.caller.subject)
                await self._desk.journal.write_all(connection, records, change)
            return _answer(plan, dry_run=False)

        return await self._desk.repeats.once(call, request, ImportCamerasResponse, work)

    async def export(self, filter_text: str, zones: ZoneSet) -> list[Camera]:
        """Cameras to write: those that the filter selects in ``zones``."""
        selection = Selection(filter_text, zones)
        async with self._desk.database.reading() as connection:
            records = await selection.all(connection, self._desk.wall_clock.now_us())
            return await self._desk.book.read_all(connection, records)


def chunks(cameras: list[Camera]) -> Iterator[bytes]:
    """The table in pieces below 64 KiB."""
    gathered = bytearray()
    for line in csvtable.write_table(cameras):
        if gathered and len(gathered) + len(line) > _CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
        gathered += line
    yield bytes(gathered)


def _changing(plan: ImportPlan) -> list[str]:
    """Identifiers of the cameras that a plan enters or changes."""
    return [record.camera for record in (*plan.created, *plan.updated)]


def _on_record(changing: Sequence[str]) -> list[str]:
    """The objects of an import in its access record.

    Whoever looks for what was done to a camera finds it; `cameras/-` alone says that nothing was
    to change, as in a dry run.
    """
    objects = ["cameras/-", *map(names.camera_name, changing[:_MAX_OBJECTS])]
    if len(changing) > _MAX_OBJECTS:
        objects.append(f"cameras/-+{len(changing) - _MAX_OBJECTS}")
    return objects


def _answer(plan: ImportPlan, *, dry_run: bool) -> ImportCamerasResponse:
    mistakes = plan.mistakes.in_order()
    return ImportCamerasResponse(
        dry_run=dry_run,
        created_cameras=[names.camera_name(record.camera) for record in plan.created],
        updated_cameras=[names.camera_name(record.camera) for record in plan.updated],
        unchanged_count=plan.unchanged_count,
        mistakes=mistakes[:_MAX_MISTAKES],
        mistake_count=len(mistakes),
    )


def _refuse(mistakes: list[ImportMistake]) -> None:
    if not mistakes:
        return
    violations = [
        FieldViolation(f"csv.rows[{item.row}].{item.column}".rstrip("."), item.message)
        for item in mistakes[:_MAX_VIOLATIONS]
    ]
    error = RequestInvalidError(CSV_INVALID, violations)
    error.metadata["mistake_count"] = str(len(mistakes))
    raise error
