"""Storage in the data directory of this machine, for one process."""

import asyncio

from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import NumberingMark, open_event_log
from vigie.platform.folders import make_durable_folder
from vigie.platform.objectstore import open_directory_store
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.settings import DataConfig
from vigie.storage.basis import (
    DATABASE_FILE,
    Basis,
    Storage,
    counting,
    invalid,
    mark_path,
    now_and_then,
)
from vigie.topics import TOPICS


async def embedded_database(basis: Basis, found: Storage) -> EmbeddedDatabase:
    """The SQLite file of the data directory: the database of every context in the process."""
    data = basis.config.section(DataConfig)
    database = await open_database(
        data.directory / DATABASE_FILE, faults=basis.faults, on_failure=counting(basis.metrics)
    )
    basis.closing.push_async_callback(database.close)
    found.databases = dict.fromkeys(basis.target.needs("database"), database)
    found.upkeep.append(now_and_then(basis, "database-check", database.check, 5))
    return database


async def embedded_log(basis: Basis, database: EmbeddedDatabase, found: Storage) -> None:
    """The log in that file."""
    event_log = await open_event_log(database, basis.clocks.wall, faults=basis.faults)
    basis.closing.push_async_callback(event_log.close)
    await event_log.declare(TOPICS)
    found.event_logs = dict.fromkeys(basis.target.contexts, event_log)
    found.access_log = event_log
    found.mark = await _numbering_mark(basis, database)
    found.upkeep += [
        now_and_then(basis, "numbering-mark", found.mark.note, 60),
        now_and_then(basis, "event-log-upkeep", event_log.maintain, 300),
    ]


async def _numbering_mark(basis: Basis, database: EmbeddedDatabase) -> NumberingMark:
    data = basis.config.section(DataConfig)
    if basis.config.section(S3Config).endpoint is None:
        return NumberingMark(mark_path(data.store), database, basis.clocks.wall)
    path = mark_path(data.directory)
    try:
        await asyncio.to_thread(make_durable_folder, path.parent)
    except OSError as error:
        raise invalid("data.directory", f"cannot make {path.parent}: {error.strerror}") from error
    return NumberingMark(path, database, basis.clocks.wall)


async def directory_store(basis: Basis, found: Storage) -> None:
    """The bucket as a folder."""
    store = await open_directory_store(
        basis.config.section(DataConfig).store,
        basis.clocks.wall,
        link_sources=True,
        faults=basis.faults,
    )
    basis.closing.push_async_callback(store.close)
    found.store = store
    found.upkeep += [
        now_and_then(basis, "store-check", store.check, 5, at_start=True),
        now_and_then(basis, "store-sweep", store.sweep, 86_400),
    ]
