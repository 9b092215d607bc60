import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import (
    CompactedTable,
    EmbeddedEventLog,
    Event,
    Position,
    StoredEvent,
    Unprocessable,
)
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE


def camera(number: int, key: str, value: bytes | None) -> Event:
    return Event(
        key=key,
        type="vigie.sample.v1.Sample",
        value=value,
        id=f"id-{number}",
        time_us=number,
        source="vigie/test",
    )


def parse(stored: StoredEvent) -> str:
    assert stored.event.value is not None
    try:
        return stored.event.value.decode()
    except UnicodeDecodeError as error:
        raise Unprocessable("EVENT_UNPARSABLE", str(error)) from error


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def table(event_log: EmbeddedEventLog) -> AsyncIterator[CompactedTable[str]]:
    made = CompactedTable(event_log, "cameras", parse, ManualMonotonicClock())
    yield made
    await made.stop()


async def test_it_is_whole_when_start_returns(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    await event_log.append(
        "cameras",
        [
            camera(1, "a", b"one"),
            camera(2, "b", b"two"),
            camera(3, "a", b"three"),
            camera(4, "b", None),
        ],
    )
    assert table.not_ready() == "topic cameras is still being read"
    await table.start()
    assert table.ready.is_set()
    assert dict(table.items) == {"a": "three"}
    assert table.not_ready() is None


async def test_it_follows_and_tells_changes(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    changes: list[tuple[str, str | None, str | None]] = []
    await event_log.append("cameras", [camera(1, "a", b"one")])
    take_off = table.on_change(lambda key, before, now: changes.append((key, before, now)))
    await table.start()
    await event_log.append("cameras", [camera(2, "a", b"two"), camera(3, "a", None)])
    await event_log.append("cameras", [camera(4, "unknown", None)])
    await until(lambda: len(changes) == 3)
    assert changes == [("a", None, "one"), ("a", "one", "two"), ("a", "two", None)]
    take_off()
    await event_log.append("cameras", [camera(5, "b", b"five")])
    await until(lambda: table.get("b") == "five")
    assert len(changes) == 3


async def test_an_unreadable_event_keeps_what_was_true_last_and_is_not_hidden(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    await event_log.append("cameras", [camera(1, "a", b"one"), camera(2, "a", b"\xff")])
    await table.start()
    assert table.get("a") == "one"
    assert table.unparsable["a"].startswith("EVENT_UNPARSABLE")
    assert table.not_ready() == "topic cameras: 1 keys have unreadable events"
    await event_log.append("cameras", [camera(3, "a", b"three")])
    await until(lambda: table.get("a") == "three")
    assert table.not_ready() is None


async def test_compaction_in_between_changes_nothing(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    for n in range(10):
        await event_log.append("cameras", [camera(n, f"key-{n % 2}", f"{n}".encode())])
    assert (await event_log.maintain()).superseded == 8
    await table.start()
    assert dict(table.items) == {"key-0": "8", "key-1": "9"}


async def test_a_log_that_goes_away_is_waited_for(event_log: EmbeddedEventLog) -> None:
    class Unreliable:
        """The log, whose following breaks once after each event."""

        def __init__(self) -> None:
            self.breaks = 0

        async def read(
            self,
            topic: str,
            *,
            after: Position | Sequence[Position] | None = None,
            follow: bool = False,
        ) -> AsyncIterator[StoredEvent]:
            async for stored in event_log.read(topic, after=after, follow=follow):
                yield stored
                if follow:
                    self.breaks += 1
                    raise VigieError(EVENT_LOG_UNAVAILABLE, "gone")

    log = Unreliable()
    clock = ManualMonotonicClock()
    table: CompactedTable[str] = CompactedTable(log, "cameras", parse, clock)  # type: ignore[arg-type] # only `read` is used
    await table.start()
    for n in range(3):
        await event_log.append("cameras", [camera(n, "a", f"{n}".encode())])
        await until(lambda n=n: log.breaks == n + 1)  # type: ignore[misc] # binds n now
        await until(lambda: clock.sleeper_count == 1)
        assert table.get("a") == f"{n}"
        assert table.not_ready() == "topic cameras cannot be followed: gone"
        await clock.advance(11)
        # What came before it has caught up would be read then, and break nothing.
        await until(lambda: table.not_ready() is None)
    await table.stop()


async def test_a_closed_log_is_said(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    await table.start()
    await event_log.close()
    await until(table.not_ready)
    assert table.not_ready() == "topic cameras cannot be followed: the event log is closed"


async def test_a_listener_that_breaks_is_not_hidden(
    event_log: EmbeddedEventLog, table: CompactedTable[str]
) -> None:
    def broken(key: str, before: str | None, now: str | None) -> None:
        raise LookupError(key)

    await table.start()
    table.on_change(broken)
    await event_log.append("cameras", [camera(1, "a", b"one")])
    await until(table.not_ready)
    assert "LookupError('a')" in (table.not_ready() or "")


async def test_an_older_value_that_comes_once_more_changes_nothing(
    event_log: EmbeddedEventLog,
) -> None:
    """Delivery is at least once: also long after, also while an unreadable event stands."""
    table = CompactedTable(
        event_log, "cameras", parse, ManualMonotonicClock(), overtaken=lambda now, was: now < was
    )
    changes: list[tuple[str, str | None, str | None]] = []
    table.on_change(lambda key, before, now: changes.append((key, before, now)))
    await event_log.append("cameras", [camera(1, "a", b"2"), camera(2, "a", b"1")])
    await table.start()
    assert table.get("a") == "2"
    await event_log.append(
        "cameras", [camera(3, "a", b"\xff"), camera(4, "a", b"1"), camera(5, "b", b"1")]
    )
    await until(lambda: table.get("b") == "1")
    assert table.get("a") == "2"
    assert table.not_ready() == "topic cameras: 1 keys have unreadable events"
    await event_log.append("cameras", [camera(6, "a", b"3")])
    await until(lambda: table.get("a") == "3")
    assert table.not_ready() is None
    assert changes == [("a", None, "2"), ("b", None, "1"), ("a", "2", "3")]
    await table.stop()


async def test_it_is_well_again_when_the_log_is_also_if_nothing_happens(
    event_log: EmbeddedEventLog,
) -> None:
    """States of cameras change once in weeks: readiness must not wait for that."""

    class Away:
        """The log, which can be away, and says at once when it is."""

        def __init__(self) -> None:
            self.away = asyncio.Event()

        async def read(
            self,
            topic: str,
            *,
            after: Position | Sequence[Position] | None = None,
            follow: bool = False,
        ) -> AsyncIterator[StoredEvent]:
            if self.away.is_set():
                raise VigieError(EVENT_LOG_UNAVAILABLE, "gone")
            async for stored in event_log.read(topic, after=after):
                yield stored
            if follow:
                await self.away.wait()
                raise VigieError(EVENT_LOG_UNAVAILABLE, "gone")

    log, clock = Away(), ManualMonotonicClock()
    table: CompactedTable[str] = CompactedTable(log, "cameras", parse, clock)  # type: ignore[arg-type] # only `read` is used
    await event_log.append("cameras", [camera(1, "a", b"one")])
    await table.start()
    log.away.set()
    await until(lambda: table.not_ready() is not None)
    log.away.clear()
    async with asyncio.timeout(20):
        while table.not_ready() is not None:
            await clock.advance(1)
            await asyncio.sleep(0.001)
    assert table.get("a") == "one"
    await table.stop()
