"""Parts on other machines: waited for, watched, and told about."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import (
    CONFIG_INVALID,
    DATABASE_UNAVAILABLE,
    EVENT_LOG_UNAVAILABLE,
)
from vigie.platform.remote import CHECK_SECONDS, Remote, RemoteEventLog, RemoteStore
from vigie.platform.supervisor import Supervisor

WHAT = "event log: kafka at 127.0.0.1:9092"


class Elsewhere:
    """What is opened; each step can be made to fail."""

    def __init__(self) -> None:
        self.opening: VigieError | None = None
        self.checking: Exception | None = None
        self.opened = self.closed = 0

    async def open(self) -> "Elsewhere":
        if self.opening is not None:
            raise self.opening
        self.opened += 1
        return self

    async def check(self, _: object) -> None:
        if self.checking is not None:
            raise self.checking

    async def close(self, _: object) -> None:
        self.closed += 1


class Rig:
    def __init__(self, check_seconds: float = CHECK_SECONDS) -> None:
        self.there, self.clock, self.supervisor = Elsewhere(), ManualMonotonicClock(), Supervisor()
        self.remote: Remote[Any] = Remote(
            "event-log",
            WHAT,
            self.there.open,
            check=self.there.check,
            close=self.there.close,
            away=EVENT_LOG_UNAVAILABLE,
            clock=self.clock,
            supervisor=self.supervisor,
            check_seconds=check_seconds,
        )

    async def until(self, wanted: Any) -> None:
        while not wanted():
            await self.clock.advance(1)
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.remote.stop(timeout_seconds=1)


async def test_it_waits_as_long_as_it_takes_and_says_since_when(rig: Rig) -> None:
    rig.there.opening = VigieError(EVENT_LOG_UNAVAILABLE, "no broker answers")
    await rig.remote.start()
    assert rig.remote.not_ready() == f"{WHAT} is being opened"
    await rig.until(lambda: rig.clock.now_us() >= 12_000_000 and "since" in _said(rig))
    seconds = rig.clock.now_us() // 1_000_000
    assert _said(rig) == f"{WHAT} unreachable since {seconds} s: no broker answers"
    with pytest.raises(VigieError, match="unreachable since") as caught:
        rig.remote.get()
    assert caught.value.reason is EVENT_LOG_UNAVAILABLE
    rig.there.opening = None
    await rig.until(lambda: rig.remote.not_ready() is None)
    assert await rig.remote.opened() is rig.there
    assert rig.supervisor.error is None


async def test_what_it_needs_itself_may_be_away(rig: Rig) -> None:
    rig.there.opening = VigieError(DATABASE_UNAVAILABLE, "the database does not answer")
    await rig.remote.start()
    await rig.until(lambda: "since" in _said(rig))
    assert "kafka at 127.0.0.1:9092 waits since" in _said(rig)


async def test_what_waiting_cannot_mend_ends_the_process(rig: Rig) -> None:
    rig.there.opening = VigieError(CONFIG_INVALID, "there is no such bucket")
    await rig.remote.start()
    crash = await rig.supervisor.crashed()
    assert crash.name == "event-log"
    assert crash.__cause__ is rig.there.opening
    assert _said(rig) == f"{WHAT}: there is no such bucket"
    with pytest.raises(VigieError, match="no such bucket"):
        await rig.remote.opened()


async def test_it_is_watched_once_it_is_open(rig: Rig) -> None:
    await rig.remote.start()
    await rig.remote.opened()
    rig.there.checking = VigieError(EVENT_LOG_UNAVAILABLE, "no broker answers")
    await rig.until(lambda: rig.remote.not_ready() is not None)
    assert _said(rig).startswith(f"{WHAT} unreachable since 0 s")
    # It stays usable: whoever asks learns from the thing itself.
    assert rig.remote.get() is rig.there
    rig.there.checking = OSError("reset")
    await rig.until(lambda: "OSError: reset" in _said(rig))
    rig.there.checking = None
    await rig.until(lambda: rig.remote.not_ready() is None)


async def test_what_is_away_is_looked_at_more_often() -> None:
    rig = Rig(check_seconds=15.0)
    await rig.remote.start()
    await rig.remote.opened()
    rig.there.checking = VigieError(EVENT_LOG_UNAVAILABLE, "no broker answers")
    await rig.until(lambda: rig.remote.not_ready() is not None)
    assert rig.clock.now_us() >= 15_000_000
    rig.there.checking, back_us = None, rig.clock.now_us()
    await rig.until(lambda: rig.remote.not_ready() is None)
    assert rig.clock.now_us() - back_us <= 3_000_000
    await rig.remote.stop(timeout_seconds=1)


async def test_it_is_closed_when_it_stops(rig: Rig) -> None:
    await rig.remote.start()
    await rig.remote.opened()
    await rig.remote.stop(timeout_seconds=1)
    assert rig.there.closed == 1
    with pytest.raises(VigieError, match="is closed") as caught:
        rig.remote.get()
    assert caught.value.reason.name == "STOPPING"


def _said(rig: Rig) -> str:
    return rig.remote.not_ready() or ""


async def test_stand_ins_cover_their_ports() -> None:
    """Every method of a port is there, and says UNAVAILABLE before the real thing is open."""
    rig = Rig()
    for port, stand_in in (
        (EventLog, RemoteEventLog(rig.remote)),
        (ObjectStore, RemoteStore(rig.remote)),
    ):
        names = [name for name in vars(port) if not name.startswith("_")]
        assert len(names) > 5
        for name in names:
            assert callable(getattr(stand_in, name)), name
    with pytest.raises(VigieError):
        RemoteStore(rig.remote).read("key")
    with pytest.raises(VigieError):
        await RemoteEventLog(rig.remote).ends("cameras")
