"""What opening storage asks for, and what a process gets."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vigie.platform.clock import MonotonicClock, SystemMonotonicClock, SystemWallClock, WallClock
from vigie.platform.config import Config
from vigie.platform.database import Database
from vigie.platform.database.metrics import FAILURES as DATABASE_FAILURES
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, NumberingMark
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module
from vigie.platform.objectstore import ObjectStore
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.periodic import Periodic
from vigie.platform.reasons import CONFIG_INVALID
from vigie.platform.supervisor import Supervisor
from vigie.targets import Target

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
        raise invalid(
            "kafka.bootstrap",
            "[database] url is set, and the embedded event log lives in the embedded database; "
            "give [kafka] bootstrap too, or leave url out",
        )
    if not target.one_of_many or not target.contexts:
        return
    apart = f"{target.name} as a service of its own"
    if not kafka:
        raise invalid("kafka.bootstrap", f"{apart} needs a log that all share: give bootstrap")
    if target.needs("database") and not database:
        raise invalid("database.url", f"{apart} needs PostgreSQL: give url")
    if target.needs("store") and not store:
        raise invalid("s3.endpoint", f"{apart} needs a bucket that all share: give endpoint")


def now_and_then(
    basis: Basis,
    name: str,
    work: Callable[[], Awaitable[object]],
    interval_seconds: float,
    *,
    at_start: bool = False,
) -> Periodic:
    """Work that storage asks for every so often."""
    clock = basis.clocks.monotonic
    return Periodic(name, work, clock, interval_seconds=interval_seconds, at_start=at_start)


def counting(metrics: MetricsRegistry) -> Callable[[str], None]:
    """Counts failures of a database by their code."""
    failures = metrics.counter(DATABASE_FAILURES)
    return lambda code: failures.labels(code=code).inc()


async def close(opened: object) -> None:
    """Close what can be closed."""
    closing: Callable[[], Awaitable[object]] | None = getattr(opened, "close", None)
    if closing is not None:
        await closing()


def invalid(field_name: str, message: str) -> VigieError:
    """CONFIG_INVALID of a key."""
    return VigieError(CONFIG_INVALID, message, field=field_name)
