"""What the processes stand on, chosen by the configuration: databases, event logs, the store.

| section | unset | set |
| --- | --- | --- |
| `[database] url` | the SQLite file of the data directory | PostgreSQL: a schema a context |
| `[kafka] bootstrap` | the log in that SQLite file | Apache Kafka |
| `[s3] endpoint` | a directory | a bucket |

Embedded forms are open when this returns. The others are opened by modules of their own, which
start first and wait for as long as it takes; their clients are imported only then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import sqlalchemy as sa

from vigie.platform.clock import MonotonicClock, SystemMonotonicClock, SystemWallClock, WallClock
from vigie.platform.config import Config
from vigie.platform.database import Database, EmbeddedDatabase, open_database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.database.metrics import FAILURES as DATABASE_FAILURES
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, NumberingMark, open_event_log
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import make_durable_folder
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module
from vigie.platform.objectstore import ObjectStore, open_directory_store
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.periodic import Periodic
from vigie.platform.reasons import (
    CONFIG_INVALID,
    DATABASE_UNAVAILABLE,
    EVENT_LOG_UNAVAILABLE,
    STORE_UNAVAILABLE,
)
from vigie.platform.remote import Remote, RemoteEventLog, RemoteStore
from vigie.platform.supervisor import Supervisor
from vigie.settings import DataConfig
from vigie.targets import ACCESSES, NEEDS_OF, Target
from vigie.topics import TOPICS, topics_named

DATABASE_FILE: Final = "vigie.db"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks of a process; tests pass their own."""

    wall: WallClock
    monotonic: MonotonicClock


SYSTEM_CLOCKS: Final = Clocks(SystemWallClock(), SystemMonotonicClock())


def mark_path(store: Path) -> Path:
    """Where the numbering of the embedded log is marked: beside the bucket.

    A database that is put back from a copy then meets a mark of today: the bucket is never put
    back to an earlier day.
    """
    return store / ".vigie" / "numbering.json"


@dataclass(frozen=True, slots=True)
class Basis:
    """What opening asks for.

    Attributes:
        target: what the process runs.
        config: the configuration.
        clocks: of the process.
        metrics: where failures are counted.
        supervisor: ends the process when waiting cannot help.
        faults: where tests strike.
        closing: what is open is closed from here.
    """

    target: Target
    config: Config
    clocks: Clocks
    metrics: MetricsRegistry
    supervisor: Supervisor
    faults: FaultPoints
    closing: AsyncExitStack


@dataclass(slots=True)
class Storage:
    """What a process stands on.

    Attributes:
        databases: context -> its own database; contexts that keep nothing are absent.
        event_logs: context -> the log, with the outbox of its database.
        access_log: where the host makes accesses durable; needs no database.
        store: the bucket; ``None``: nobody needs it.
        mark: of the embedded log; ``None`` with another.
        remotes: what opens the parts on other machines.
        upkeep: what embedded parts ask for now and then.
    """

    databases: dict[str, Database] = field(default_factory=dict)
    event_logs: dict[str, EventLog] = field(default_factory=dict)
    access_log: EventLog | None = None
    store: ObjectStore | None = None
    mark: NumberingMark | None = None
    remotes: list[Module] = field(default_factory=list)
    upkeep: list[Module] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether something of it is on another machine."""
        return bool(self.remotes)


class ExternalForms(Protocol):
    """Opens what is not embedded; every method raises UNAVAILABLE while it is merely away."""

    async def database(self, basis: Basis, context: str) -> Database:
        """The database of a context."""
        ...

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        """The log, with its outbox in ``database``; ``name`` tells its clients apart."""
        ...

    async def store(self, basis: Basis) -> ObjectStore:
        """The bucket."""
        ...


class ProductionForms:
    """PostgreSQL, Apache Kafka, S3; their clients are loaded when they are first asked for."""

    async def database(self, basis: Basis, context: str) -> Database:
        """See `ExternalForms.database`."""
        from vigie.platform.database.postgresql.database import open_postgresql

        return await open_postgresql(
            basis.config.section(DatabaseConfig),
            context,
            on_failure=_counting(basis.metrics),
            faults=basis.faults,
            wall_clock=basis.clocks.wall,
            monotonic_clock=basis.clocks.monotonic,
        )

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        """See `ExternalForms.event_log`."""
        from vigie.platform.eventlog.kafka import open_kafka_event_log

        return await open_kafka_event_log(
            basis.config.section(KafkaConfig),
            database,
            basis.clocks.wall,
            basis.clocks.monotonic,
            metrics=basis.metrics,
            client_name=f"vigie-{basis.target.name}-{name}",
            faults=basis.faults,
        )

    async def store(self, basis: Basis) -> ObjectStore:
        """See `ExternalForms.store`."""
        from vigie.platform.objectstore.s3.store import open_s3_store

        workspace = basis.config.section(DataConfig).directory / "store-work"
        return await open_s3_store(
            basis.config.section(S3Config),
            basis.clocks.wall,
            workspace=workspace,
            registry=basis.metrics,
            monotonic_clock=basis.clocks.monotonic,
            faults=basis.faults,
        )


PRODUCTION: Final = ProductionForms()


def stands_alone(config: Config) -> bool:
    """Whether everything is embedded: nothing is on another machine."""
    return not (
        config.section(KafkaConfig).bootstrap
        or config.section(DatabaseConfig).url
        or config.section(S3Config).endpoint
    )


def check_choice(target: Target, config: Config) -> None:
    """Refuse what cannot work: services apart that would not share what they must.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    kafka = bool(config.section(KafkaConfig).bootstrap)
    database = config.section(DatabaseConfig).url is not None
    store = config.section(S3Config).endpoint is not None
    if database and not kafka:
        raise _invalid(
            "kafka.bootstrap",
            "[database] url is set, and the embedded event log lives in the embedded database; "
            "give [kafka] bootstrap too, or leave url out",
        )
    if not target.one_of_many or not target.contexts:
        return
    apart = f"{target.name} as a service of its own"
    if not kafka:
        raise _invalid("kafka.bootstrap", f"{apart} needs a log that all share: give bootstrap")
    if target.needs("database") and not database:
        raise _invalid("database.url", f"{apart} needs PostgreSQL: give url")
    if target.needs("store") and not store:
        raise _invalid("s3.endpoint", f"{apart} needs a bucket that all share: give endpoint")


async def open_storage(basis: Basis, forms: ExternalForms = PRODUCTION) -> Storage:
    """Open what the target needs, or begin to.

    Raises:
        VigieError: CONFIG_INVALID; of embedded parts: DATA_DIRECTORY_IN_USE,
            DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE, STORE_UNAVAILABLE, TOPIC_MISMATCH.
    """
    check_choice(basis.target, basis.config)
    found = Storage()
    if not basis.target.contexts:
        return found
    kafka = bool(basis.config.section(KafkaConfig).bootstrap)
    if basis.config.section(DatabaseConfig).url is not None:
        await _lock(basis)
        await _remote_databases(basis, forms, found)
        await _remote_logs(basis, forms, found)
    else:
        database = await _embedded_database(basis, found)
        if kafka:
            await _remote_logs(basis, forms, found)
        else:
            await _embedded_log(basis, database, found)
    if basis.target.needs("store"):
        await _open_store(basis, forms, found)
    if found.mark is not None:
        # Before anything is appended: no position is given out a second time.
        await found.mark.skip_ahead()
        basis.closing.push_async_callback(found.mark.note)
    return found


# --- embedded -------------------------------------------------------------------------------------


async def _embedded_database(basis: Basis, found: Storage) -> EmbeddedDatabase:
    data = basis.config.section(DataConfig)
    database = await open_database(
        data.directory / DATABASE_FILE, faults=basis.faults, on_failure=_counting(basis.metrics)
    )
    basis.closing.push_async_callback(database.close)
    found.databases = dict.fromkeys(basis.target.needs("database"), database)
    found.upkeep.append(_now_and_then(basis, "database-check", database.check, 5))
    return database


async def _embedded_log(basis: Basis, database: EmbeddedDatabase, found: Storage) -> None:
    event_log = await open_event_log(database, basis.clocks.wall, faults=basis.faults)
    basis.closing.push_async_callback(event_log.close)
    await event_log.declare(TOPICS)
    found.event_logs = dict.fromkeys(basis.target.contexts, event_log)
    found.access_log = event_log
    found.mark = await _numbering_mark(basis, database)
    found.upkeep += [
        _now_and_then(basis, "numbering-mark", found.mark.note, 60),
        _now_and_then(basis, "event-log-upkeep", event_log.maintain, 300),
    ]


async def _numbering_mark(basis: Basis, database: EmbeddedDatabase) -> NumberingMark:
    data = basis.config.section(DataConfig)
    if basis.config.section(S3Config).endpoint is None:
        return NumberingMark(mark_path(data.store), database, basis.clocks.wall)
    path = mark_path(data.directory)
    try:
        await asyncio.to_thread(make_durable_folder, path.parent)
    except OSError as error:
        raise _invalid("data.directory", f"cannot make {path.parent}: {error.strerror}") from error
    return NumberingMark(path, database, basis.clocks.wall)


async def _open_store(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    s3 = basis.config.section(S3Config)
    if s3.endpoint is not None:
        remote = _remote_store(basis, forms, f"{s3.endpoint}, bucket {s3.bucket}")
        found.remotes.append(remote)
        found.store = RemoteStore(remote)
        return
    store = await open_directory_store(
        basis.config.section(DataConfig).store,
        basis.clocks.wall,
        link_sources=True,
        faults=basis.faults,
    )
    basis.closing.push_async_callback(store.close)
    found.store = store
    found.upkeep += [
        _now_and_then(basis, "store-check", store.check, 5, at_start=True),
        _now_and_then(basis, "store-sweep", store.sweep, 86_400),
    ]


def _now_and_then(
    basis: Basis,
    name: str,
    work: Callable[[], Awaitable[object]],
    interval_seconds: float,
    *,
    at_start: bool = False,
) -> Periodic:
    clock = basis.clocks.monotonic
    return Periodic(name, work, clock, interval_seconds=interval_seconds, at_start=at_start)


# --- on other machines ----------------------------------------------------------------------------


async def _remote_databases(basis: Basis, forms: ExternalForms, found: Storage) -> None:
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
                close=_close,
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
                raise _invalid("database", error.message) from error
            raise
        return database

    return opened


_HOPELESS: Final = frozenset({"28P01", "28000", "3D000"})
"""SQLSTATE of what waiting does not mend: the password, the role, the name of the database."""


async def _select_one(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(sa.select(sa.literal(1)))

    await database.read(work)


async def _remote_logs(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    access_log = _remote_log(basis, forms, "event-log", (ACCESSES,), None)
    found.remotes.append(access_log)
    found.access_log = RemoteEventLog(access_log)
    for context in basis.target.contexts:
        topics, database = NEEDS_OF[context].topics, found.databases.get(context)
        if not topics:
            continue
        remote = _remote_log(basis, forms, f"event-log-{context}", topics, database)
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

    brokers = ", ".join(basis.config.section(KafkaConfig).bootstrap)
    return Remote(
        name,
        f"event log: kafka at {brokers}",
        opened,
        check=answers,
        close=_close,
        away=EVENT_LOG_UNAVAILABLE,
        clock=basis.clocks.monotonic,
        supervisor=basis.supervisor,
    )


def _remote_store(basis: Basis, forms: ExternalForms, where: str) -> Remote[ObjectStore]:
    async def opened() -> ObjectStore:
        store = await forms.store(basis)
        try:
            await store.check()
        except BaseException:
            await _close(store)
            raise
        return store

    async def answers(store: ObjectStore) -> None:
        await store.check()

    return Remote(
        "store",
        f"object store: {where}",
        opened,
        check=answers,
        close=_close,
        away=STORE_UNAVAILABLE,
        clock=basis.clocks.monotonic,
        supervisor=basis.supervisor,
        check_seconds=15.0,
    )


async def _close(opened: object) -> None:
    close: Callable[[], Awaitable[object]] | None = getattr(opened, "close", None)
    if close is not None:
        await close()


async def _lock(basis: Basis) -> None:
    """One process of a target works in a data directory: spools are not shared."""
    folder = basis.config.section(DataConfig).directory / "locks" / basis.target.name
    try:
        await asyncio.to_thread(make_durable_folder, folder, 0o750)
    except OSError as error:
        raise _invalid("data.directory", f"cannot make {folder}: {error.strerror}") from error
    lock = DataDirectoryLock(folder)
    lock.acquire()
    basis.closing.callback(lock.release)


def _counting(metrics: MetricsRegistry) -> Callable[[str], None]:
    failures = metrics.counter(DATABASE_FAILURES)
    return lambda code: failures.labels(code=code).inc()


def _invalid(field_name: str, message: str) -> VigieError:
    return VigieError(CONFIG_INVALID, message, field=field_name)
