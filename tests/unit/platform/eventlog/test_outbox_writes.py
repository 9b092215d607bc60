"""What an append of many events asks of the database."""

from types import SimpleNamespace
from typing import Any, cast

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event
from vigie.platform.eventlog.kafka import outbox

CAMERAS = 10_000


class Server:
    """A transaction on PostgreSQL that notes its statements."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self) -> None:
        self.statements: list[tuple[str, Any]] = []

    async def execute(self, statement: Any, parameters: Any = None) -> None:
        self.statements.append((str(statement), parameters))


async def test_an_append_of_many_keys_is_one_statement_without_locks() -> None:
    """The lock table of a server is shared by all its sessions, and has some 6,400 entries."""
    server = Server()
    events = [
        Event(key=f"cam-{number}", type="t", value=b"", id=str(number), time_us=0, source="s")
        for number in range(CAMERAS)
    ]
    await outbox.put(cast("AsyncConnection", server), "cameras", events, 7)
    ((statement, rows),) = server.statements
    assert statement.startswith("INSERT INTO outbox_event")
    assert [row["key"] for row in rows] == [event.key for event in events]
