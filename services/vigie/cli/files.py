"""Files that commands read and write; ``-`` is standard input or output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import typer

from vigie.cli.language import tr


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Standard output for ``-``; else a new file, which must not exist yet.

    Raises:
        typer.BadParameter: it exists, or cannot be written.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        stream = path.open("xb")
    except FileExistsError as error:
        raise typer.BadParameter(f"{path}: {tr('exists already', 'existe déjà')}") from error
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    with stream:
        yield stream


def check_new(path: Path) -> None:
    """Refuse a file that exists, before footage is asked for and the look is on record.

    Raises:
        typer.BadParameter: it exists.
    """
    if str(path) != "-" and path.exists():
        raise typer.BadParameter(f"{path}: {tr('exists already', 'existe déjà')}")


def read_bytes(path: Path) -> bytes:
    """Everything in a file, or in standard input for ``-``.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
