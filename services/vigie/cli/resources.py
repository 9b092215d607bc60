"""What the commands on resources share: pages, partial updates, words for enumerations."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from vigie.cli.language import tr
from vigie.cli.output import enum_word, show_table
from vigie.cli.session import Session
from vigie.registry.v1 import zones_pb2

MessageType = TypeVar("MessageType", bound=Message)
_PAGE: int = 500


def pages(session: Session, method: Any, request: Any, field: str, limit: int = 0) -> Iterator[Any]:
    """The entries of every page, as they are needed; at most ``limit`` unless that is 0.

    Args:
        session: whose connection is used.
        method: a List or Search method of a stub.
        request: its request; ``page_size`` and ``page_token`` are set here.
        field: the repeated field of the answer.
        limit: how many are wanted.
    """
    request.page_size = min(limit, _PAGE) if limit else _PAGE

    def every() -> Iterator[Any]:
        while True:
            answer = session.call(method, request)
            yield from getattr(answer, field)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    yield from islice(every(), limit) if limit else every()


def show_list(
    session: Session,
    items: Iterator[Any],
    columns: Sequence[str],
    row: Callable[[Any], Sequence[str]],
) -> None:
    """A table, or a line of JSON for each item as it comes."""
    if session.as_json:
        for item in items:
            session.show_json(item)
        return
    rows = [row(item) for item in items]
    if rows:
        show_table(session.console, columns, rows)
    else:
        session.errors.print(tr("nothing found", "rien trouvé"), style="dim")


def fill(message: Message, values: dict[str, Any]) -> FieldMask:
    """Put the values that were given into ``message``; the mask names them.

    A value of ``None`` was not given. Messages are copied, sequences replace what was there.
    """
    mask = FieldMask()
    for name, value in values.items():
        if value is None:
            continue
        mask.paths.append(name)
        if isinstance(value, Message):
            getattr(message, name).CopyFrom(value)
        elif isinstance(value, list | tuple):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return mask


def fill_changes(message: Message, values: dict[str, Any]) -> FieldMask:
    """As `fill`, for an update, which must change something.

    Raises:
        typer.BadParameter: no value was given.
    """
    mask = fill(message, values)
    if not mask.paths:
        raise typer.BadParameter(
            tr("nothing to change: give at least one option (see --help)",
               "rien à modifier : donner au moins une option (voir --help)")
        )  # fmt: skip
    return mask


def words_of(enumeration: Any, prefix: str) -> list[str]:
    """The values of a protobuf enumeration as they are typed: ``in-service``."""
    return [
        enum_word(name, prefix).replace(" ", "-")
        for name, number in enumeration.items()
        if number != 0
    ]


def enum_of(enumeration: Any, prefix: str, text: str) -> Any:
    """The value a word stands for.

    Raises:
        typer.BadParameter: it stands for none; the words that do are named.
    """
    name = prefix + text.strip().upper().replace("-", "_").replace(" ", "_")
    if name in enumeration.keys() and enumeration.Value(name) != 0:  # noqa: SIM118 - no mapping
        return enumeration.Value(name)
    words = words_of(enumeration, prefix)
    close = difflib.get_close_matches(text, words, n=1)
    hint = tr(f"did you mean {close[0]}? ", f"vouliez-vous dire {close[0]} ? ") if close else ""
    known = tr("known are", "valeurs connues :")
    raise typer.BadParameter(f"{text!r}: {hint}{known} {', '.join(words)}")


def completing(enumeration: Any, prefix: str) -> Callable[[str], list[str]]:
    """Completes the words of an enumeration in the shell."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words_of(enumeration, prefix) if word.startswith(incomplete)]

    return complete


def position_of(text: str | None) -> zones_pb2.GeoPoint | None:
    """``45.79,3.11`` as a point; ``None`` stays ``None``.

    Raises:
        typer.BadParameter: it is not two numbers.
    """
    if text is None:
        return None
    latitude, _, longitude = text.partition(",")
    try:
        return zones_pb2.GeoPoint(
            latitude_degrees=float(latitude), longitude_degrees=float(longitude)
        )
    except ValueError:
        raise typer.BadParameter(
            tr(f"{text!r} is no position: write 45.79,3.11",
               f"{text!r} n'est pas une position : écrire 45.79,3.11")
        ) from None  # fmt: skip


def position_text(message: Any) -> str:
    """``45.790000, 3.110000`` of a message with a field ``position``."""
    if not message.HasField("position"):
        return ""
    point = message.position
    return f"{point.latitude_degrees:.6f}, {point.longitude_degrees:.6f}"
