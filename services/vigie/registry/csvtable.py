"""The CSV form of cameras: columns, reading with every mistake, writing."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vigie.registry import names
from vigie.registry.lifecycle import short_name
from vigie.registry.reasons import CSV_COLUMN_INVALID, CSV_INVALID
from vigie.registry.v1.cameras_pb2 import Camera, ImportMistake
from vigie.registry.v1.events_pb2 import ReceptionEngine

REQUIRED: Final = ("camera", "display_name", "zone", "stream_uri")
TEXT_FIELDS: Final = ("description", "manufacturer", "model", "serial_number")
EXPORTED: Final = (
    *REQUIRED,
    "site",
    "engine",
    "segment_seconds",
    *TEXT_FIELDS,
    "latitude",
    "longitude",
    "lifecycle",
    "commune",
)
SECRET: Final = ("username", "password")
COLUMNS: Final = (*EXPORTED, *SECRET)
IGNORED: Final = ("lifecycle", "commune")
"""Columns an export writes for people and an import passes over: they follow from other things."""
MAX_ROWS: Final = 10_000
ENGINES: Final[Mapping[str, ReceptionEngine.ValueType]] = {
    "": ReceptionEngine.RECEPTION_ENGINE_UNSPECIFIED,
    "native": ReceptionEngine.RECEPTION_ENGINE_NATIVE,
    "libav": ReceptionEngine.RECEPTION_ENGINE_LIBAV,
}
_ENGINE_NAMES: Final = {value: name for name, value in ENGINES.items()}
# Where a cell begins that a spreadsheet would run as a formula: at the beginning, and, for one that
# takes other separators than the comma (French ones take semicolons), behind each of those. It does
# not know our quotation marks then, and may take one at the beginning of its cell for its own.
_CELL: Final = r"(?:\A|(?<=[;\t\r\n]))"
_RUN: Final = r"(?=['\"]*[=+\-@\t\r])"
_FORMULA: Final = re.compile(_CELL + _RUN)
_GUARD: Final = re.compile(f"{_CELL}'{_RUN}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: number as in a spreadsheet, values without blanks around them."""

    number: int
    values: Mapping[str, str]


@dataclass(slots=True)
class Mistakes:
    """What is wrong with a table, in the order of rows and columns when asked for."""

    found: list[ImportMistake] = field(default_factory=list)

    def add(
        self, row: int, column: str, message: str, reason: str = CSV_COLUMN_INVALID.name
    ) -> None:
        """Note a mistake."""
        self.found.append(ImportMistake(row=row, column=column, reason=reason, message=message))

    def in_order(self) -> list[ImportMistake]:
        """By row, then in the order of the columns."""
        place = {name: index for index, name in enumerate(COLUMNS)}
        return sorted(self.found, key=lambda item: (item.row, place.get(item.column, len(place))))


def read_table(content: bytes, mistakes: Mistakes) -> tuple[tuple[str, ...], list[Row]]:
    """Columns and rows of a table; what is wrong with its form goes to ``mistakes``."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mistakes.add(line, "", "not UTF-8: save the table as UTF-8", CSV_INVALID.name)
        return (), []
    if "\0" in text:
        mistakes.add(0, "", "holds a NUL character: this is no text", CSV_INVALID.name)
        return (), []
    first = text.split("\n", 1)[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [(number, line) for number, line in enumerate(reader, 1) if any(line)]
    except csv.Error:
        mistakes.add(
            reader.line_num, "", "a quotation mark is never closed or misplaced", CSV_INVALID.name
        )
        return (), []
    if not lines:
        mistakes.add(0, "", "the table is empty", CSV_INVALID.name)
        return (), []
    columns = _columns(lines[0][1], mistakes)
    rows = list(_rows(columns, lines[1:], mistakes))
    if columns and not rows and not mistakes.found:
        mistakes.add(0, "", "the table has no row", CSV_INVALID.name)
    if len(rows) > MAX_ROWS:
        mistakes.add(0, "", f"more than {MAX_ROWS} rows: import in parts", CSV_INVALID.name)
        return columns, []
    return columns, rows


def _columns(header: Sequence[str], mistakes: Mistakes) -> tuple[str, ...]:
    columns = tuple(name.strip().lower() for name in header)
    before = len(mistakes.found)
    for index, name in enumerate(columns):
        if name in columns[:index]:
            mistakes.add(1, name, "this column stands twice", CSV_INVALID.name)
        elif name not in COLUMNS:
            known = ", ".join(COLUMNS)
            mistakes.add(1, name[:60], f"no column is called so; columns are {known}")
    for name in REQUIRED:
        if name not in columns:
            mistakes.add(1, name, "this column is missing", CSV_INVALID.name)
    return columns if len(mistakes.found) == before else ()


def _rows(
    columns: tuple[str, ...], lines: Iterable[tuple[int, list[str]]], mistakes: Mistakes
) -> Iterator[Row]:
    for number, line in lines:
        if not columns:
            continue
        if len(line) != len(columns):
            message = f"{len(line)} values for {len(columns)} columns"
            mistakes.add(number, "", message, CSV_INVALID.name)
            continue
        pairs = zip(columns, line, strict=True)
        # Blanks around a password may belong to it, and so may any first character.
        yield Row(
            number,
            {name: text if name in SECRET else unguarded(text.strip()) for name, text in pairs},
        )


def write_table(cameras: Iterable[Camera]) -> Iterator[bytes]:
    """Lines of the table, the names of the columns first; never credentials (I11)."""
    yield _line(EXPORTED)
    for camera in cameras:
        yield _line([_guarded(value) for value in _values(camera)])


def _values(camera: Camera) -> list[str]:
    position = camera.HasField("position")
    return [
        names.identifier(camera.name),
        camera.display_name,
        names.identifier(camera.zone),
        camera.stream_uri,
        names.identifier(camera.site),
        _ENGINE_NAMES[camera.engine],
        str(camera.segment_seconds or ""),
        camera.description,
        camera.manufacturer,
        camera.model,
        camera.serial_number,
        repr(camera.position.latitude_degrees) if position else "",
        repr(camera.position.longitude_degrees) if position else "",
        short_name(camera.lifecycle),
        names.identifier(camera.commune),
    ]


def _guarded(text: str) -> str:
    """Text that a spreadsheet shows and does not run; numbers stay numbers."""
    try:
        float(text)
    except ValueError:
        return _FORMULA.sub("'", text)
    return text


def unguarded(text: str) -> str:
    """What `_guarded` made of a text, undone."""
    return _GUARD.sub("", text)


def _line(values: Sequence[str]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(values)
    return buffer.getvalue().encode()
