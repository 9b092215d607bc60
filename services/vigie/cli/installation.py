"""The installation on this machine: its configuration and, with nobody else at work, its data."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from vigie.cli.exits import Exit, exit_of
from vigie.cli.language import tr
from vigie.platform.config import Config, ConfigError, load_config
from vigie.platform.errors import VigieError


@contextmanager
def telling() -> Iterator[None]:
    """Turn a failure of the domain into a message and an exit code."""
    errors = Console(stderr=True, highlight=False)
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            errors.print(str(problem), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(Exit.USAGE) from error
    except VigieError as error:
        errors.print(f"[bold red]{error.reason.name}[/]", end=" ")
        errors.print(error.message, markup=False, soft_wrap=True)
        meaning = tr(error.reason.description_en, error.reason.description_fr)
        errors.print(f"  {meaning}", markup=False)
        errors.print(f"  → {error.reason.remedy}", markup=False)
        raise typer.Exit(exit_of(error.reason.code)) from error


def read_config(config_file: Path | None, data: Path | None = None) -> Config:
    """The configuration of the product, the data directory replaced when one is given.

    Raises:
        ConfigError: with everything that is wrong.
    """
    from vigie.app import SECTIONS

    config = load_config(config_file, SECTIONS, os.environ)
    if data is None:
        return config
    section = config.sections["data"].model_copy(update={"directory": data})
    return replace(config, sections={**config.sections, "data": section})


def data_directory(config: Config) -> Path:
    """The data directory, which must be there: a command that looks at data makes none.

    Raises:
        typer.BadParameter: there is none.
    """
    from vigie.app import DataConfig

    directory = config.section(DataConfig).directory
    if not directory.is_dir():
        raise typer.BadParameter(
            tr(f"{directory} is no data directory: give --data or --config",
               f"{directory} n'est pas un répertoire de données : donner --data ou --config")
        )  # fmt: skip
    return directory


@dataclass(frozen=True, slots=True)
class Opened:
    """Storage of an installation at rest; see `vigie.app.Storage`."""

    config: Config
    directory: Path
    database: Any
    event_log: Any
    store: Any


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Opened]:
    """Open database, event log and store for this process alone.

    Raises:
        VigieError: DATA_DIRECTORY_IN_USE when the product runs on them; see `open_database`.
        typer.BadParameter: there is no data directory.
    """
    from vigie.app import TOPICS, DataConfig
    from vigie.platform.clock import SystemWallClock
    from vigie.platform.database import open_database
    from vigie.platform.eventlog import open_event_log
    from vigie.platform.objectstore.directory import open_directory_store

    directory = data_directory(config)
    clock = SystemWallClock()
    database = await open_database(directory / "vigie.db")
    try:
        event_log = await open_event_log(database, clock)
        try:
            await event_log.declare(TOPICS)
            store = await open_directory_store(config.section(DataConfig).store, clock)
            try:
                yield Opened(config, directory, database, event_log, store)
            finally:
                await store.close()
        finally:
            await event_log.close()
    finally:
        await database.close()
