"""Tables, sizes and times as people read them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.table import Table

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STEP: Final = 1000


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


def enum_word(name: str, prefix: str) -> str:
    """``CAMERA_LIFECYCLE_IN_SERVICE`` as ``in service``."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def show_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = ""
) -> None:
    """A plain table that also reads well in a log."""
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
