"""The outbox: events that stand in a context's own database until the brokers have them.

An append within a transaction writes a row; state and event commit together. `Relay` publishes
the rows in order.

The events of one key keep their order because numbers and commits have one order. On PostgreSQL
that is not so by itself: a number is given out before its transaction commits, and a row may become
visible after one with a higher number. But whoever writes has the turn of the schema until its
transaction has ended (`Database`: one writer at a time, in all processes of a context; an event is
appended in such a transaction only, see `Database.on_commit`). So rows become visible in the order
of their numbers, whichever of several relays reads them. No lock of our own is taken: with one for
each key, an order over ten thousand cameras would take as many entries of the lock table that all
sessions of the server share, and as many round trips within everybody's turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.migrations import MigrationSet
from vigie.platform.database.statements import in_chunks
from vigie.platform.eventlog.port import Event
from vigie.platform.eventlog.rows import event_columns, event_from_columns

OUTBOX_MIGRATIONS: Final = MigrationSet("outbox", Path(__file__).parent / "migrations")
OUTBOX_METADATA: Final = sa.MetaData()

# SQLite increments only an INTEGER PRIMARY KEY.
_SERIAL: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")

OUTBOX: Final = sa.Table(
    "outbox_event",
    OUTBOX_METADATA,
    sa.Column("number", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("type", sa.String, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("headers", sa.Text, nullable=True),
    sa.Column("appended_us", sa.BigInteger, nullable=False),
)

RELAY: Final = sa.Table(
    "outbox_relay",
    OUTBOX_METADATA,
    # One row: whose turn it is.
    sa.Column("single", sa.Integer, primary_key=True, autoincrement=False),
    # Names this database to the brokers, which let only the newest producer of a name in.
    sa.Column("outbox", sa.String, nullable=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
)

_INSERT: Final = sa.insert(OUTBOX)
_WAITING: Final = (
    sa.select(OUTBOX).order_by(OUTBOX.c.number).limit(sa.bindparam("most", type_=sa.Integer))
)
_STANDING: Final = sa.select(sa.func.count(), sa.func.min(OUTBOX.c.appended_us)).select_from(OUTBOX)
_PUBLISHED: Final = sa.delete(OUTBOX).where(
    OUTBOX.c.number.in_(sa.bindparam("numbers", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event in the outbox: its number, its topic (own name), itself."""

    number: int
    topic: str
    event: Event


async def put(
    connection: AsyncConnection, topic: str, events: Sequence[Event], now_us: int
) -> None:
    """Write events into the outbox, in the caller's transaction, which has the writers' turn."""
    rows = [event_columns(event) | {"topic": topic, "appended_us": now_us} for event in events]
    # One statement for all: the driver sends the rows without waiting for each.
    await connection.execute(_INSERT, rows)


async def waiting(connection: AsyncConnection, most: int) -> list[Waiting]:
    """The oldest events of the outbox, in order."""
    rows = await connection.execute(_WAITING, {"most": most})
    return [
        Waiting(row["number"], row["topic"], event_from_columns(row)) for row in rows.mappings()
    ]


async def forget(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Take events out that the brokers have acknowledged."""
    for chunk in in_chunks(numbers):
        await connection.execute(_PUBLISHED, {"numbers": chunk})


async def standing(connection: AsyncConnection) -> tuple[int, int | None]:
    """How many events wait, and when the oldest was put there (microseconds since the epoch)."""
    count, oldest_us = (await connection.execute(_STANDING)).one()
    return int(count), oldest_us


_TURN: Final = sa.select(RELAY.c.outbox, RELAY.c.owner, RELAY.c.beat)
_BEAT: Final = (
    sa.update(RELAY).where(RELAY.c.owner == sa.bindparam("me")).values(beat=RELAY.c.beat + 1)
)
_TAKE: Final = (
    sa.update(RELAY)
    .where(RELAY.c.owner == sa.bindparam("before"), RELAY.c.beat == sa.bindparam("seen"))
    .values(owner=sa.bindparam("me"), beat=RELAY.c.beat + 1)
)
_LEAVE: Final = sa.update(RELAY).where(RELAY.c.owner == sa.bindparam("me")).values(owner="")


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is to publish: the owner (empty: nobody) and how often it has said so."""

    outbox: str
    owner: str
    beat: int


async def turn(connection: AsyncConnection) -> Turn:
    """Whose turn it is now."""
    row = (await connection.execute(_TURN)).one()
    return Turn(row.outbox, row.owner, row.beat)


async def beat(connection: AsyncConnection, me: str) -> bool:
    """Say that ``me`` is alive; false when it is not its turn (any more)."""
    return (await connection.execute(_BEAT, {"me": me})).rowcount == 1


async def take(connection: AsyncConnection, me: str, seen: Turn) -> bool:
    """Take the turn over, if nothing has changed since it was ``seen``."""
    names = {"me": me, "before": seen.owner, "seen": seen.beat}
    return (await connection.execute(_TAKE, names)).rowcount == 1


async def leave(connection: AsyncConnection, me: str) -> None:
    """Give the turn back."""
    await connection.execute(_LEAVE, {"me": me})
