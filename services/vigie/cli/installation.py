"""The installation on this machine: its configuration and, with nobody else at work, its data."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import typer
from rich.console import Console

from vigie.cli.exits import Exit, exit_of
from vigie.cli.language import tr
from vigie.platform.clock import SystemWallClock
from vigie.platform.config import Config, ConfigError, load_config
from vigie.platform.database import (
    Database,
    DatabaseConfig,
    EmbeddedDatabase,
    open_database,
    schema_state,
)
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EmbeddedEventLog, EventLog, NumberingMark, open_event_log
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS, LOG_MIGRATIONS
from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.platform.reasons import CONFIG_INVALID

if TYPE_CHECKING:
    from vigie.recording.fsck.mending import MendableStore

DATABASE_FILE: Final = "vigie.db"
RECORDING: Final = "recording"


@contextmanager
def telling() -> Iterator[None]:
    """Turn a failure of the domain into a message and an exit code; logs go beside the answer."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
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
        errors.print(f"  {meaning}", markup=False, soft_wrap=True)
        errors.print(f"  → {error.reason.remedy}", markup=False, soft_wrap=True)
        wrong = error.reason is CONFIG_INVALID  # found late, and as wrong as what is found at once
        raise typer.Exit(Exit.USAGE if wrong else exit_of(error.reason.code)) from error


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
    from vigie.settings import DataConfig

    directory = config.section(DataConfig).directory
    if not directory.is_dir():
        raise typer.BadParameter(
            tr(f"{directory} is no data directory: give --data or --config",
               f"{directory} n'est pas un répertoire de données : donner --data ou --config")
        )  # fmt: skip
    return directory


@dataclass(frozen=True, slots=True)
class Opened:
    """The storage of an installation, as one context of it sees it.

    Attributes:
        config: the configuration it was found by.
        directory: the data directory.
        database: of the context; the embedded one is that of all.
        event_log: topics, with the outbox of that database.
        store: the bucket.
        clock: of this machine.
        mark: how far the numbering of the embedded log had come; ``None`` with another log.
        numbering: tells of holes in the embedded log; ``None`` with another.
    """

    config: Config
    directory: Path
    database: Database
    event_log: EventLog
    store: "MendableStore"
    clock: SystemWallClock
    mark: NumberingMark | None
    numbering: EmbeddedEventLog | None


@asynccontextmanager
async def opened(config: Config, context: str = RECORDING) -> AsyncIterator[Opened]:
    """Open everything to change something.

    Embedded storage is opened for this process alone, tables brought up to date; what is on other
    machines is used beside the services.

    Raises:
        VigieError: DATA_DIRECTORY_IN_USE when the product runs on it; see `open_database`.
        typer.BadParameter: there is no data directory.
    """
    from vigie.app import TOPICS
    from vigie.settings import DataConfig
    from vigie.storage import mark_path, stands_alone

    directory, clock = data_directory(config), SystemWallClock()
    if not stands_alone(config):
        async with _elsewhere(config, context, directory) as found:
            yield found
        return
    async with AsyncExitStack() as closing:
        database = await open_database(directory / DATABASE_FILE)
        closing.push_async_callback(database.close)
        event_log = await open_event_log(database, clock)
        closing.push_async_callback(event_log.close)
        await event_log.declare(TOPICS)
        root = config.section(DataConfig).store
        store = await open_directory_store(root, clock)
        closing.push_async_callback(store.close)
        mark = NumberingMark(mark_path(root), database, clock)
        await mark.skip_ahead()
        closing.push_async_callback(mark.note)
        yield Opened(config, directory, database, event_log, store, clock, mark, event_log)


@asynccontextmanager
async def looked_at(
    config: Config, context: str = RECORDING, *, own_tables: bool = False
) -> AsyncIterator[Opened]:
    """Open everything to read it, also while the product runs: no lock is taken.

    ``own_tables``: what the context itself keeps is read, not only what the platform keeps for it.

    Readers of SQLite in WAL mode see a snapshot and never wait, nor make a writer wait; what is
    in the store is never changed once it is there.

    Raises:
        VigieError: DATABASE_UNAVAILABLE, STORE_UNAVAILABLE.
        typer.BadParameter: there is no data directory with a database.
    """
    from vigie.settings import DataConfig
    from vigie.storage import mark_path, stands_alone

    directory, clock = data_directory(config), SystemWallClock()
    async with AsyncExitStack() as closing:
        if config.section(DatabaseConfig).url is None:
            database = _embedded_database(directory)
            closing.push_async_callback(database.close)
            await _of_this_version(database, config, {context} if own_tables else set())
        if not stands_alone(config):
            yield await closing.enter_async_context(_elsewhere(config, context, directory))
            return
        event_log = EmbeddedEventLog(database, clock)
        closing.push_async_callback(event_log.close)
        root = config.section(DataConfig).store
        store = DirectoryObjectStore(root, clock)
        closing.push_async_callback(store.close)
        mark = NumberingMark(mark_path(root), database, clock)
        yield Opened(config, directory, database, event_log, store, clock, mark, event_log)


@asynccontextmanager
async def _elsewhere(config: Config, context: str, directory: Path) -> AsyncIterator[Opened]:
    """What is on other machines, beside the services; what is not there fails at once."""
    from vigie.storage import open_for_a_command

    async with open_for_a_command(config, context) as found:
        yield Opened(
            config, directory, found.database, found.event_log, found.store,
            SystemWallClock(), None, None,
        )  # fmt: skip


def _embedded_database(directory: Path) -> EmbeddedDatabase:
    file = directory / DATABASE_FILE
    if not file.is_file():
        raise typer.BadParameter(
            tr(f"{directory} holds no {DATABASE_FILE}", f"{directory} n'a pas de {DATABASE_FILE}")
        )
    return EmbeddedDatabase(file)


async def _of_this_version(
    database: EmbeddedDatabase, config: Config, contexts: AbstractSet[str]
) -> None:
    """Refuse data that only a start of the product brings up to date: looking changes nothing."""
    from vigie.schemas import SCHEMAS

    needed = {CONSUMER_MIGRATIONS.context, *contexts}
    if not config.section(KafkaConfig).bootstrap:
        needed.add(LOG_MIGRATIONS.context)
    chains = {chain.context: chain for every in SCHEMAS.values() for chain in every}
    for chain in (LOG_MIGRATIONS, *chains.values()):
        state = await schema_state(database, chain)
        if state.before is None and chain.context not in needed:
            continue  # a context that was never started on these data
        if (state.before or "") < (state.after or ""):
            raise typer.BadParameter(
                tr("these data are of an older version: start the product on them once",
                   "ces données sont d'une version antérieure : démarrer une fois le produit "
                   "dessus")
            )  # fmt: skip
        if state.before != state.after:
            raise typer.BadParameter(
                tr("these data are of a newer version: use the program of that version",
                   "ces données sont d'une version plus récente : utiliser le programme de cette "
                   "version")
            )  # fmt: skip
