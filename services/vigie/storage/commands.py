"""Storage for a command, where something of it is on other machines."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from vigie.platform.config import Config
from vigie.platform.database import Database, EmbeddedDatabase
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.eventlog import EventLog, open_event_log
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore, open_directory_store
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.supervisor import Supervisor
from vigie.settings import DataConfig
from vigie.storage.basis import SYSTEM_CLOCKS, Basis, Storage, check_choice, close
from vigie.storage.embedded import embedded_database
from vigie.storage.forms import PRODUCTION, ExternalForms
from vigie.targets import ALL, TARGETS
from vigie.topics import TOPICS


@dataclass(frozen=True, slots=True)
class ForACommand:
    """The storage of one context, open."""

    database: Database
    event_log: EventLog
    store: Any


def basis_of_a_command(config: Config, closing: AsyncExitStack) -> Basis:
    """What a command opens storage with: all that a configuration names, and no faults."""
    return Basis(
        target=TARGETS[ALL],
        config=config,
        clocks=SYSTEM_CLOCKS,
        metrics=MetricsRegistry(),
        supervisor=Supervisor(),
        faults=NO_FAULTS,
        closing=closing,
    )


@asynccontextmanager
async def open_for_a_command(
    config: Config, context: str, forms: ExternalForms = PRODUCTION
) -> AsyncIterator[ForACommand]:
    """Open what a context stands on where something of it is on other machines, without waiting.

    Raises:
        VigieError: CONFIG_INVALID, DATABASE_UNAVAILABLE, EVENT_LOG_UNAVAILABLE, TOPIC_MISMATCH,
            STORE_UNAVAILABLE, and what the services refuse to start for.
    """
    async with AsyncExitStack() as closing:
        basis = basis_of_a_command(config, closing)
        check_choice(basis.target, config)
        if config.section(DatabaseConfig).url is not None:
            database = await forms.database(basis, context)
            closing.push_async_callback(database.close)
            event_log = await _declared(basis, forms, database)
        else:
            file = await embedded_database(basis, Storage())
            database = file
            event_log = await _declared(basis, forms, file)
        closing.push_async_callback(event_log.close)
        yield ForACommand(database, event_log, await _command_store(basis, forms))


async def _declared(basis: Basis, forms: ExternalForms, database: Database) -> EventLog:
    if not basis.config.section(KafkaConfig).bootstrap:
        assert isinstance(database, EmbeddedDatabase)
        event_log: EventLog = await open_event_log(database, basis.clocks.wall)
    else:
        event_log = await forms.event_log(basis, "command", database)
    try:
        await event_log.declare(TOPICS)
    except BaseException:
        await event_log.close()
        raise
    return event_log


async def _command_store(basis: Basis, forms: ExternalForms) -> ObjectStore:
    data = basis.config.section(DataConfig)
    if basis.config.section(S3Config).endpoint is not None:
        store = await forms.store(basis)
    else:
        store = await open_directory_store(data.store, basis.clocks.wall)
    basis.closing.push_async_callback(close, store)
    await store.check()
    return store
