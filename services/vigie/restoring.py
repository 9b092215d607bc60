"""After a restore: event log and databases brought to agree, with no service running.

- The **log** is lost, the databases are there: what they know is told to the new topics
  (`refill`), and consumers begin at their beginning. Everything they do gives the same result the
  second time.
- The **databases** are older than the log: consumers catch up by themselves; what is left is what
  contexts told before and know no more (`look_back`, `bring_forward`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Final, TypeVar

import sqlalchemy as sa
from google.protobuf.message import DecodeError, Message

from vigie.audit import retelling as audit
from vigie.audit.recorder import ACCESSES_TOPIC
from vigie.evidence import retelling as evidence
from vigie.evidence.repository import HOLDS_TOPIC
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.upload.events import SEGMENTS_TOPIC
from vigie.ingest.v1.events_pb2 import SegmentEvent
from vigie.platform.clock import WallClock
from vigie.platform.config import Config
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, EventLog
from vigie.platform.eventlog.events import type_of
from vigie.platform.eventlog.kafka import outbox
from vigie.platform.eventlog.kafka.outbox import OUTBOX, Waiting
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.quarantine import set_all_aside
from vigie.platform.eventlog.tables import POSITION
from vigie.platform.reasons import CONFIG_INVALID
from vigie.platform.tally import Tally
from vigie.recording import retelling as recording
from vigie.recording.topics import DESTRUCTIONS_TOPIC
from vigie.registry import retelling as registry
from vigie.registry.journal import CAMERAS_TOPIC
from vigie.registry.v1.events_pb2 import CameraState
from vigie.schemas import SCHEMAS
from vigie.storage.commands import basis_of_a_command
from vigie.storage.forms import PRODUCTION, ExternalForms
from vigie.topics import TOPICS

M = TypeVar("M", bound=Message)
T = TypeVar("T")
_AT_ONCE: Final = 500
_MOST_WAITING: Final = 1_000_000
_TELLERS: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": (CAMERAS_TOPIC.name,),
    "evidence": (HOLDS_TOPIC,),
    "recording": (DESTRUCTIONS_TOPIC,),
}
"""Context -> topics of its outbox that are told whole from its tables: rows wait there in vain."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has to do with: every context's database, and the log without an outbox."""

    databases: Mapping[str, Database]
    event_log: EventLog
    clock: WallClock


@asynccontextmanager
async def open_restored(
    config: Config, forms: ExternalForms = PRODUCTION
) -> AsyncIterator[Restored]:
    """Open the databases of all contexts, and the log; nothing of the outboxes is published.

    Raises:
        VigieError: CONFIG_INVALID where log or databases are embedded; DATABASE_UNAVAILABLE,
            EVENT_LOG_UNAVAILABLE, TOPIC_MISMATCH, EVENT_LOG_OF_ANOTHER.
    """
    if not config.section(KafkaConfig).bootstrap or config.section(DatabaseConfig).url is None:
        raise VigieError(
            CONFIG_INVALID,
            "log and database are one file here and restored together; this is for Kafka and"
            " PostgreSQL",
            field="kafka.bootstrap",
        )
    async with AsyncExitStack() as exits:
        basis = basis_of_a_command(config, exits)
        databases: dict[str, Database] = {}
        for context in SCHEMAS:
            databases[context] = await forms.database(basis, context)
            exits.push_async_callback(databases[context].close)
        event_log = await forms.event_log(basis, "restore", None)
        exits.push_async_callback(event_log.close)
        await event_log.declare(TOPICS)
        yield Restored(databases, event_log, basis.clocks.wall)


# --- the log is lost ---


@dataclass(slots=True)
class Refilled:
    """What one topic has, and what it lacks.

    Attributes:
        topic: its own name.
        found: events that are there.
        told: events that are missing and known to the databases: told, or to be told.
    """

    topic: str
    found: int = 0
    told: int = 0


async def refill(restored: Restored, *, apply: bool) -> list[Refilled]:
    """Tell the topics what they lack, then let consumers begin at their beginning.

    May be repeated, also after it broke off: what is there is not told again, and nothing of the
    databases is changed before everything is durable in the log.

    Args:
        restored: databases as they are to be believed, topics made anew; no service runs.
        apply: do it; else only look.

    Raises:
        VigieError: DATABASE_UNAVAILABLE, EVENT_LOG_UNAVAILABLE.
    """
    clock, databases = restored.clock, restored.databases
    cameras = await registry.camera_states(databases["registry"], clock)
    holds = await evidence.hold_states(databases["evidence"], clock)
    asked = {event.key for event in holds}
    kept = await recording.holds(databases["recording"], clock)
    holds += [event for event in kept if event.key not in asked]
    outages = await recording.outages(databases["recording"], clock)
    found = [
        await _tell(restored, CAMERAS_TOPIC.name, _each(cameras), _by_state, apply=apply),
        await _tell(restored, HOLDS_TOPIC, _each(holds), _by_state, apply=apply),
        await _tell(
            restored,
            DESTRUCTIONS_TOPIC,
            recording.destructions(databases["recording"], clock),
            _by_id,
            apply=apply,
        ),
        await _tell(restored, SEGMENTS_TOPIC, _each(outages), _by_state, apply=apply),
        await _tell(
            restored, ACCESSES_TOPIC, audit.records(databases["audit"]), _by_id, apply=apply
        ),
    ]
    if apply:
        for context, database in databases.items():
            await database.write(_begin_anew(context))
    return found


def _begin_anew(context: str) -> Callable[[AsyncConnection], Awaitable[None]]:
    """Forget positions of a log that is no more, and what its outbox had for it."""

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(sa.delete(POSITION))
        # New events will stand where those in quarantine stood.
        await set_all_aside(connection)
        told = _TELLERS.get(context, ())
        await connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.topic.in_(told)))
        if context == "audit":
            # A row bears its place in the log, and is never changed: it is indexed anew.
            await audit.empty(connection)

    return work


def _by_id(event: Event) -> str:
    return event.id


def _by_state(event: Event) -> str:
    """What it says: the same word may have been told under another identifier."""
    if (camera := _message(event, CameraState)) is not None:
        return f"{event.key} {camera.revision}"
    if (hold := _message(event, HoldState)) is not None:
        return f"{event.key} {hold.HasField('release_time')}"
    footage = _message(event, SegmentEvent)
    if footage is not None and footage.HasField("outage"):
        outage = footage.outage
        return f"{outage.outage} {outage.end_us or outage.known_until_us} {outage.end_us > 0}"
    return event.id


def _message(event: Event, kind: type[M]) -> M | None:
    """The message of an event of this kind; ``None``: it is another, or cannot be read."""
    if event.type != type_of(kind) or event.value is None:
        return None
    try:
        return kind.FromString(event.value)
    except DecodeError:
        return None


async def _each(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


async def _tell(
    restored: Restored,
    topic: str,
    events: AsyncIterator[Event],
    name_of: Callable[[Event], str],
    *,
    apply: bool,
) -> Refilled:
    """Append those events that the topic does not have."""
    done = Refilled(topic)
    with closing(Tally()) as known:
        async for together in _batches(restored.event_log.read(topic)):
            await known.put({name_of(stored.event): b"" for stored in together})
            done.found += len(together)
        async for batch in _batches(events):
            there = await known.tick([name_of(event) for event in batch])
            missing = [event for event in batch if name_of(event) not in there]
            done.told += len(missing)
            if apply and missing:
                await restored.event_log.append(topic, missing)
    return done


async def _batches(items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


# --- the databases are older ---


@dataclass(slots=True)
class Behind:
    """What the log was told and the databases know no more.

    Attributes:
        cameras: camera -> revision that the registry has (``None``: it does not know it), and the
            newest that was told.
        holds: holds that were told and whose requests evidence does not know.
        published: context -> numbers of rows of its outbox that the log has, or has newer.
    """

    cameras: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    published: dict[str, list[int]] = field(default_factory=dict)


async def look_back(restored: Restored) -> Behind:
    """Find what the log knows better than the databases.

    Raises:
        VigieError: DATABASE_UNAVAILABLE, EVENT_LOG_UNAVAILABLE.
    """
    behind = Behind()
    newest = await _told_revisions(restored.event_log)
    own = await registry.revisions(restored.databases["registry"])
    for camera, revision in sorted(newest.items()):
        known = own.get(camera)
        if known is None or known < revision:
            behind.cameras[camera] = (known, revision)
    holds = await evidence.hold_states(restored.databases["evidence"], restored.clock)
    known_holds = {event.key for event in holds}
    in_force = await _told_holds(restored.event_log)
    behind.holds = sorted(in_force - known_holds)
    for context, database in restored.databases.items():
        numbers = await _published(restored.event_log, database, newest)
        if numbers:
            behind.published[context] = numbers
    return behind


async def _told_revisions(event_log: EventLog) -> dict[str, int]:
    newest: dict[str, int] = {}
    async for stored in event_log.read(CAMERAS_TOPIC.name):
        if (state := _message(stored.event, CameraState)) is not None:
            newest[state.camera] = max(state.revision, newest.get(state.camera, 0))
    return newest


async def _told_holds(event_log: EventLog) -> set[str]:
    """Holds that are in force, as far as the log says; one that cannot be read counts."""
    in_force: set[str] = set()
    async for stored in event_log.read(HOLDS_TOPIC):
        state = _message(stored.event, HoldState)
        released = state is not None and state.HasField("release_time")
        (in_force.discard if released or stored.event.value is None else in_force.add)(
            stored.event.key
        )
    return in_force


async def _published(
    event_log: EventLog, database: Database, newest: Mapping[str, int]
) -> list[int]:
    """Rows of an outbox that were published before: again, they would come after newer ones."""
    waiting = await database.read(lambda connection: outbox.waiting(connection, _MOST_WAITING))
    ids: dict[str, set[str]] = {}
    for topic in {row.topic for row in waiting}:
        asked = {row.event.id for row in waiting if row.topic == topic}
        read = event_log.read(topic)
        ids[topic] = {stored.event.id async for stored in read if stored.event.id in asked}

    def stands(row: Waiting) -> bool:
        state = _message(row.event, CameraState)
        newer = state is not None and state.revision <= newest.get(state.camera, 0)
        return newer or row.event.id in ids[row.topic]

    return [row.number for row in waiting if stands(row)]


async def bring_forward(restored: Restored, behind: Behind) -> None:
    """Let the registry's next word be the newest, and take out what the log has already.

    What the log says of a camera stays in force until somebody changes the camera in the registry:
    an older state is not told anew, it may let a camera record that was taken out of service since.
    """
    floors = {camera: newest for camera, (own, newest) in behind.cameras.items() if own is not None}
    for context, database in restored.databases.items():
        numbers = behind.published.get(context, [])

        async def work(
            connection: AsyncConnection, context: str = context, numbers: list[int] = numbers
        ) -> None:
            if context == "registry":
                await registry.raise_revisions(connection, floors)
            await outbox.forget(connection, numbers)

        await database.write(work)
