"""Storage on other machines: opened by modules that wait for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import sqlalchemy as sa

from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.folders import make_durable_folder
from vigie.platform.objectstore import ObjectStore
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.reasons import DATABASE_UNAVAILABLE, EVENT_LOG_UNAVAILABLE, STORE_UNAVAILABLE
from vigie.platform.remote import Remote, RemoteEventLog, RemoteStore
from vigie.settings import DataConfig
from vigie.storage.basis import Basis, Storage, close, invalid, now_and_then
from vigie.storage.forms import LOG_NAME, ExternalForms
from vigie.targets import ACCESSES, NEEDS_OF
from vigie.topics import topics_named


async def remote_databases(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    """PostgreSQL: to each context its own database, with its own role."""
    address = basis.config.section(DatabaseConfig).address
    for context in basis.target.needs("database"):
        # It connects when it is used; nothing is asked of the server here.
        database = await forms.database(basis, context)
        found.databases[context] = database
        found.remotes.append(
            Remote(
                f"database-{context}",
                f"database of {context}: postgresql at {address}",
                _answering(database),
                check=_select_one,
                close=close,
                away=DATABASE_UNAVAILABLE,
                clock=basis.clocks.monotonic,
                supervisor=basis.supervisor,
            )
        )


def _answering(database: Database) -> Callable[[], Awaitable[Database]]:
    async def opened() -> Database:
        try:
            await _select_one(database)
        except VigieError as error:
            if error.metadata.get("code") in _HOPELESS:
                raise invalid("database", error.message) from error
            raise
        return database

    return opened


SWEEPER: Final = "recording"
"""The context that may delete, and so removes what crashes have left in the bucket."""
_HOPELESS: Final = frozenset({"28P01", "28000", "3D000"})
"""SQLSTATE of what waiting does not mend: the password, the role, the name of the database."""


async def _select_one(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(sa.select(sa.literal(1)))

    await database.read(work)


async def remote_logs(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    """Kafka: to each context the log with its own outbox, and one for accesses with none."""
    access_log = _remote_log(basis, forms, LOG_NAME, (ACCESSES,), None)
    found.remotes.append(access_log)
    found.access_log = RemoteEventLog(access_log)
    for context in basis.target.contexts:
        topics, database = NEEDS_OF[context].topics, found.databases.get(context)
        if not topics:
            continue
        remote = _remote_log(basis, forms, f"{LOG_NAME}-{context}", topics, database)
        found.remotes.append(remote)
        found.event_logs[context] = RemoteEventLog(remote)


def _remote_log(
    basis: Basis,
    forms: ExternalForms,
    name: str,
    topics: Sequence[str],
    database: Database | None,
) -> Remote[EventLog]:
    async def opened() -> EventLog:
        event_log = await forms.event_log(basis, name, database)
        try:
            await event_log.declare(topics_named(topics))
        except BaseException:
            await event_log.close()
            raise
        return event_log

    async def answers(event_log: EventLog) -> None:
        await event_log.ends(topics[0])
        if (stuck := _stuck(event_log)) is not None:
            raise VigieError(EVENT_LOG_UNAVAILABLE, stuck)

    brokers = ", ".join(basis.config.section(KafkaConfig).bootstrap)
    return Remote(
        name,
        f"event log: kafka at {brokers}",
        opened,
        check=answers,
        close=close,
        away=EVENT_LOG_UNAVAILABLE,
        clock=basis.clocks.monotonic,
        supervisor=basis.supervisor,
    )


def _stuck(event_log: EventLog) -> str | None:
    """Why events do not get out, of a log that knows: it may answer and take none."""
    stuck: Callable[[], str | None] | None = getattr(event_log, "stuck", None)
    return None if stuck is None else stuck()


def remote_store(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    """S3."""
    s3 = basis.config.section(S3Config)
    remote = _remote_store(basis, forms, f"{s3.endpoint}, bucket {s3.bucket}")
    found.remotes.append(remote)
    found.store = RemoteStore(remote)
    if SWEEPER in basis.target.contexts:
        found.upkeep.append(now_and_then(basis, "store-sweep", lambda: _swept(remote), 86_400))


async def _swept(remote: Remote[ObjectStore]) -> None:
    sweep: Callable[[], Awaitable[object]] | None = getattr(remote.get(), "sweep", None)
    if sweep is not None:
        await sweep()


def _remote_store(basis: Basis, forms: ExternalForms, where: str) -> Remote[ObjectStore]:
    async def opened() -> ObjectStore:
        store = await forms.store(basis)
        try:
            await store.check()
        except BaseException:
            await close(store)
            raise
        return store

    async def answers(store: ObjectStore) -> None:
        await store.check()

    return Remote(
        "store",
        f"object store: {where}",
        opened,
        check=answers,
        close=close,
        away=STORE_UNAVAILABLE,
        clock=basis.clocks.monotonic,
        supervisor=basis.supervisor,
        check_seconds=15.0,
    )


async def lock_target(basis: Basis) -> None:
    """One process of a target works in a data directory: spools are not shared."""
    folder = basis.config.section(DataConfig).directory / "locks" / basis.target.name
    try:
        await asyncio.to_thread(make_durable_folder, folder, 0o750)
    except OSError as error:
        raise invalid("data.directory", f"cannot make {folder}: {error.strerror}") from error
    lock = DataDirectoryLock(folder)
    lock.acquire()
    basis.closing.callback(lock.release)
