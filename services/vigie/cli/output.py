"""Tables, sizes and times as people read them."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vigie.cli.language import tr

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STEP: Final = 1000
_REPLACED: Final = "\ufffd"
_STEERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reverse the direction of writing (Unicode UAX #9, explicit formatting)."""


def local_time(stamp: Timestamp | datetime, *, milliseconds: bool = False) -> str:
    """An instant in the time zone of the reader."""
    instant = stamp if isinstance(stamp, datetime) else stamp.ToDatetime()
    if isinstance(stamp, Timestamp):
        if stamp.ByteSize() == 0:
            return "-"
        instant = datetime.fromtimestamp(stamp.seconds, tz=datetime.now().astimezone().tzinfo)
        instant = instant.replace(microsecond=stamp.nanos // 1000)
    else:
        instant = instant.astimezone()
    text = instant.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{instant.microsecond // 1000:03d}" if milliseconds else text


def size(size_bytes: float) -> str:
    """``1.5 MB``."""
    for unit in _UNITS:
        if size_bytes < _STEP or unit == _UNITS[-1]:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _STEP
    raise AssertionError


def seconds(duration_us: int) -> str:
    """``12.345 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = duration_us / 1_000_000
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole:.3f} s"
    minutes, rest = divmod(round(whole), 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def percent(part: float, whole: float, decimals: int = 2) -> str:
    """``99.99 %``, never rounded up: 100 % means that nothing is missing. ``-`` of nothing."""
    if whole <= 0:
        return "-"
    scale = 10**decimals
    return f"{math.floor(100 * scale * part / whole) / scale:.{decimals}f} %"


def enum_word(name: str, prefix: str) -> str:
    """``CAMERA_LIFECYCLE_IN_SERVICE`` as ``in service``."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def plain(text: str) -> str:
    """``text`` with what could steer a terminal replaced: others have entered it.

    Line ends stay; other control characters and those that reverse the direction of writing
    become U+FFFD.
    """
    return "".join(
        _REPLACED
        if character in _STEERING or (unicodedata.category(character) == "Cc" and character != "\n")
        else character
        for character in text
    )


def show_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = ""
) -> None:
    """A plain table that also reads well in a log; cells are shown as they are, no markup.

    The first column, which names things, is never folded; where there is nothing, that is said.
    """
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)
    if not table.row_count:
        console.print(tr("nothing found", "rien trouvé"), style="dim")


def show_fields(console: Console, title: str, fields: Iterable[tuple[str, str]]) -> None:
    """One thing: its name, then a line for each field that says something."""
    console.print(Text(plain(title), style="bold"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in fields:
        if value and value != "-":
            grid.add_row(f"  {label}", Text(plain(value)))
    console.print(grid)
