"""ImportCameras: all rows or none, and every mistake at once."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.registry import camerastore, csvtable, lifecycle
from vigie.registry.camerabook import CameraBook
from vigie.registry.csvtable import Mistakes, Row
from vigie.registry.model import CameraRecord
from vigie.registry.reasons import (
    CAMERA_EXISTS,
    CAMERA_RETIRED,
    MOVE_INVALID,
    SITE_IN_OTHER_ZONE,
    SITE_NOT_FOUND,
    ZONE_NOT_FOUND,
)
from vigie.registry.streamuri import shown
from vigie.registry.tables import sites, zones
from vigie.registry.v1.cameras_pb2 import Camera, ImportMode, StreamCredentials
from vigie.registry.v1.zones_pb2 import GeoPoint

_CAMERA_ID: Final = re.compile(r"[a-z][a-z0-9-]{2,62}")
_ZONE_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")
# After so many rows other work gets its turn: the event loop may also be receiving video.
_ROWS_A_TURN: Final = 100
_LIMITS: Final = {
    "display_name": 120,
    "description": 1000,
    "manufacturer": 100,
    "model": 100,
    "serial_number": 100,
}
_SEGMENT_SECONDS: Final = (2, 300)
_MAX_DIGITS: Final = 9  # int() of endless digits is slow, and of many does not fit the contract
_DEGREES: Final = {"latitude": 90.0, "longitude": 180.0}
_COLUMN_OF_FIELD: Final = {
    "camera.display_name": "display_name",
    "camera.stream_uri": "stream_uri",
    "camera.credentials": "password",
    "camera.credentials.username": "username",
    "camera.credentials.password": "password",
}
_FIELD_OF_COLUMN: Final = {
    "latitude": "position",
    "longitude": "position",
    "username": "credentials",
    "password": "credentials",
}


@dataclass(slots=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        created: cameras to enter, in the order of the rows.
        updated: cameras to change, in the order of the rows.
        unchanged_count: rows that say what is there already.
        mistakes: everything that is wrong; nothing may be written unless it is empty.
    """

    created: list[CameraRecord] = field(default_factory=list)
    updated: list[CameraRecord] = field(default_factory=list)
    unchanged_count: int = 0
    mistakes: Mistakes = field(default_factory=Mistakes)


@dataclass(frozen=True, slots=True)
class _Estate:
    """What the rows are held against."""

    commune_of_zone: Mapping[str, str]
    zone_of_site: Mapping[str, str]
    cameras: Mapping[str, CameraRecord]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read, before it is held against the register.

    Attributes:
        columns: names of the columns, in their order.
        rows: the rows that have a form.
        mistakes: what is wrong with the form.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    mistakes: Mistakes

    @classmethod
    def of(cls, content: bytes) -> "Table":
        """Read a table."""
        mistakes = Mistakes()
        columns, rows = csvtable.read_table(content, mistakes)
        return cls(columns, rows, mistakes)

    def zones_named(self) -> list[str]:
        """The zones it names, sorted: the caller must hold the permission in each."""
        named = {row.values["zone"] for row in self.rows}
        return sorted(zone for zone in named if _ZONE_ID.fullmatch(zone))


class CsvImporter:
    """Turns a table into a plan.

    Args:
        book: the rules of cameras.
    """

    def __init__(self, book: CameraBook) -> None:
        self._book = book

    async def plan(
        self, connection: AsyncConnection, table: Table, mode: ImportMode.ValueType
    ) -> ImportPlan:
        """Hold a table against the register; writes nothing."""
        plan = ImportPlan(mistakes=Mistakes(list(table.mistakes.found)))
        estate = await _load(connection, table.rows)
        may_update = mode == ImportMode.IMPORT_MODE_CREATE_OR_UPDATE
        seen: dict[str, int] = {}
        for index, row in enumerate(table.rows):
            if index % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)
            identifier = row.values["camera"]
            if identifier and identifier in seen:
                plan.mistakes.add(row.number, "camera", f"stands in row {seen[identifier]} already")
                continue
            seen[identifier] = row.number
            self._take(row, table.columns, estate, plan, may_update=may_update)
        return plan

    def _take(
        self,
        row: Row,
        columns: tuple[str, ...],
        estate: _Estate,
        plan: ImportPlan,
        *,
        may_update: bool,
    ) -> None:
        """Add one row to the plan, or its mistakes."""
        before_count = len(plan.mistakes.found)
        identifier = row.values["camera"]
        if not _CAMERA_ID.fullmatch(identifier):
            plan.mistakes.add(
                row.number,
                "camera",
                "3 to 63 characters: a small letter, then small letters, digits and hyphens",
            )
        known = estate.cameras.get(identifier)
        _check_place(row, estate, plan.mistakes)
        if known is not None:
            _check_known(row, known, columns, plan.mistakes, may_update=may_update)
        message = _message(row, columns, plan.mistakes)
        if known is not None and row.values["zone"] != known.zone:
            # What it is there must not show in what is found wrong: the caller may not know.
            known = None
        start = known or _blank(row, estate)
        fields = _fields(columns) if known else _fields(csvtable.COLUMNS)
        if known and message.stream_uri == shown(known.stream_uri):
            # As an export writes it; what it hides stays, too.
            fields = tuple(name for name in fields if name != "stream_uri")
        try:
            after = self._book.apply(start, message, fields, whole=True)
        except VigieError as error:
            column = _COLUMN_OF_FIELD.get(error.field or "", "")
            plan.mistakes.add(row.number, column, error.message, error.reason.name)
            return
        if len(plan.mistakes.found) > before_count:
            return
        if known is None:
            plan.created.append(after)
        elif after == known:
            plan.unchanged_count += 1
        elif known.lifecycle == lifecycle.RETIRED:
            plan.mistakes.add(row.number, "camera", "is retired", CAMERA_RETIRED.name)
        else:
            plan.updated.append(after)


async def _load(connection: AsyncConnection, rows: list[Row]) -> _Estate:
    zone_rows = await connection.execute(select(zones.c.zone, zones.c.commune))
    site_rows = await connection.execute(select(sites.c.site, sites.c.zone))
    known = await camerastore.get_many(connection, [row.values["camera"] for row in rows])
    return _Estate(
        {row.zone: row.commune for row in zone_rows},
        {row.site: row.zone for row in site_rows},
        known,
    )


def _blank(row: Row, estate: _Estate) -> CameraRecord:
    zone = row.values["zone"]
    return CameraRecord(
        camera=row.values["camera"],
        display_name="",
        zone=zone,
        site=row.values.get("site", ""),
        commune=estate.commune_of_zone.get(zone, ""),
        lifecycle=lifecycle.PLANNED,
        stream_uri="",
    )


def _check_place(row: Row, estate: _Estate, mistakes: Mistakes) -> None:
    zone, site = row.values["zone"], row.values.get("site", "")
    if zone not in estate.commune_of_zone:
        what = f"there is no zone {zone[:63]!r}" if zone else "a camera stands in a zone"
        mistakes.add(row.number, "zone", what, ZONE_NOT_FOUND.name)
    if not site:
        return
    if site not in estate.zone_of_site:
        mistakes.add(row.number, "site", f"there is no site {site[:63]!r}", SITE_NOT_FOUND.name)
    elif estate.zone_of_site[site] != zone:
        what = f"site {site} does not lie in zone {zone[:63]}"
        mistakes.add(row.number, "site", what, SITE_IN_OTHER_ZONE.name)


def _check_known(
    row: Row, known: CameraRecord, columns: tuple[str, ...], mistakes: Mistakes, *, may_update: bool
) -> None:
    if not may_update:
        mistakes.add(row.number, "camera", "is registered already", CAMERA_EXISTS.name)
        return
    moved = "an import moves no camera: use MoveCamera"
    if row.values["zone"] != known.zone:
        # Where it does stand is not told: that zone may be none of the caller's.
        mistakes.add(row.number, "zone", f"stands in another zone; {moved}", MOVE_INVALID.name)
    elif "site" in columns and row.values["site"] != known.site:
        place = known.site or "no site"
        mistakes.add(row.number, "site", f"stands at {place}; {moved}", MOVE_INVALID.name)


def _fields(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of a camera that these columns speak of."""
    skipped = {"camera", "zone", "site", *csvtable.IGNORED}
    return tuple(
        dict.fromkeys(_FIELD_OF_COLUMN.get(name, name) for name in columns if name not in skipped)
    )


def _message(row: Row, columns: tuple[str, ...], mistakes: Mistakes) -> Camera:
    """The camera a row describes; values of a wrong form are left out and noted."""
    values = row.values
    message = Camera(stream_uri=values["stream_uri"])
    for name, limit in _LIMITS.items():
        text = values.get(name, "")
        if len(text) > limit:
            mistakes.add(row.number, name, f"{len(text)} characters; at most {limit}")
        setattr(message, name, text[:limit])
    engine = values.get("engine", "").lower()
    if engine not in csvtable.ENGINES:
        known = ", ".join(repr(name) for name in csvtable.ENGINES)
        mistakes.add(row.number, "engine", f"no such engine; there are {known}")
    message.engine = csvtable.ENGINES.get(engine, csvtable.ENGINES[""])
    message.segment_seconds = _segment_seconds(row, mistakes)
    if "latitude" in columns or "longitude" in columns:
        _take_position(row, message, mistakes)
    _take_credentials(row, message, mistakes)
    return message


def _segment_seconds(row: Row, mistakes: Mistakes) -> int:
    text = row.values.get("segment_seconds", "")
    if not text:
        return 0
    low, high = _SEGMENT_SECONDS
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        seconds = int(text)
        if seconds == 0 or low <= seconds <= high:
            return seconds
    mistakes.add(row.number, "segment_seconds", f"empty, or a number from {low} to {high}")
    return 0


def _take_position(row: Row, message: Camera, mistakes: Mistakes) -> None:
    values: dict[str, float] = {}
    given = {name: row.values.get(name, "") for name in _DEGREES}
    if not any(given.values()):
        return
    for name, limit in _DEGREES.items():
        try:
            values[name] = float(given[name])
        except ValueError:
            mistakes.add(row.number, name, "not a number of degrees (with a point, e.g. 45.7797)")
            continue
        if not -limit <= values[name] <= limit:
            mistakes.add(row.number, name, f"from {-limit:g} to {limit:g} degrees")
    if len(values) == len(_DEGREES):
        message.position.CopyFrom(
            GeoPoint(latitude_degrees=values["latitude"], longitude_degrees=values["longitude"])
        )


def _take_credentials(row: Row, message: Camera, mistakes: Mistakes) -> None:
    username, password = row.values.get("username", "").strip(), row.values.get("password", "")
    if username:
        message.credentials.CopyFrom(StreamCredentials(username=username, password=password))
    elif password:
        mistakes.add(row.number, "username", "a password without a user name")
