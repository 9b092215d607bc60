import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from vigie.platform.clock import ManualMonotonicClock, SystemMonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.lifecycle import (
    ExitCode,
    Lifecycle,
    LifecycleConfig,
    Patience,
    StartError,
    start_order,
)
from vigie.platform.module import ServiceBinding, broken_of
from vigie.platform.reasons import CONFIG_INVALID, EVENT_LOG_UNAVAILABLE, TOPIC_MISMATCH
from vigie.platform.supervisor import Supervisor


class Part:
    """A module that writes down what happens to it."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.refuses = False
        self.drains: asyncio.Event | None = None
        self.reason: str | None = None

    def services(self) -> Sequence[ServiceBinding]:
        return (ServiceBinding(f"vigie.{self.name}.v1.Service", self, lambda *_: None),)

    def not_ready(self) -> str | None:
        return self.reason

    async def start(self) -> None:
        if self.refuses:
            raise OSError("the disk is full")
        self.story.append(f"+{self.name}")

    async def stop(self, *, timeout_seconds: float) -> None:
        if self.drains is not None:
            await self.drains.wait()
        self.story.append(f"-{self.name}")


NEEDS = {"api": ("log", "elsewhere"), "log": ("disk",)}


def life(
    parts: Sequence[Part], *, supervisor: Supervisor | None = None, drain_seconds: float = 5
) -> Lifecycle:
    return Lifecycle(
        parts,
        NEEDS,
        config=LifecycleConfig(drain_seconds=drain_seconds),
        monotonic_clock=SystemMonotonicClock(),
        supervisor=supervisor or Supervisor(),
    )


def three() -> tuple[list[str], list[Part]]:
    story: list[str] = []
    return story, [Part(name, story) for name in ("api", "log", "disk")]


async def until_ready(lifecycle: Lifecycle) -> None:
    while any(lifecycle.readiness().values()):
        await asyncio.sleep(0)


async def test_modules_start_after_what_they_need_and_stop_before_it() -> None:
    story, parts = three()
    lifecycle = life(parts)
    await lifecycle.start()
    assert await lifecycle.stop()
    assert story == ["+disk", "+log", "+api", "-api", "-log", "-disk"]


async def test_a_module_that_does_not_start_stops_the_others() -> None:
    story, parts = three()
    parts[1].refuses = True
    with pytest.raises(StartError, match="log did not start: the disk is full"):
        await life(parts).run()
    assert story == ["+disk", "-disk"]


async def test_a_circle_is_refused() -> None:
    _, parts = three()
    with pytest.raises(ValueError, match="circle: api -> log -> api"):
        start_order(parts, {"api": ("log",), "log": ("api",)})


async def test_readiness_is_that_of_the_modules() -> None:
    _, parts = three()
    lifecycle = life(parts)
    assert lifecycle.service_readiness("vigie.api.v1.Service") == "not started yet"
    await lifecycle.start()
    assert lifecycle.service_readiness("vigie.api.v1.Service") is None
    parts[0].reason = "the store does not answer"
    assert lifecycle.readiness() == {
        "disk": None,
        "log": None,
        "api": "the store does not answer",
    }
    await lifecycle.stop()
    assert lifecycle.service_readiness("vigie.log.v1.Service") == "stopping"


async def test_a_signal_drains() -> None:
    story, parts = three()
    lifecycle = life(parts)
    running = asyncio.create_task(lifecycle.run())
    await until_ready(lifecycle)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running is ExitCode.CLEAN
    assert story[3:] == ["-api", "-log", "-disk"]


async def test_a_second_signal_forces() -> None:
    _, parts = three()
    parts[0].drains = asyncio.Event()
    lifecycle = life(parts)
    running = asyncio.create_task(lifecycle.run())
    await until_ready(lifecycle)
    lifecycle.ask_to_stop()
    await asyncio.sleep(0)
    lifecycle.ask_to_stop()
    assert await asyncio.wait_for(running, 5) is ExitCode.FORCED


async def test_a_module_that_does_not_finish_does_not_hold_the_process() -> None:
    story, parts = three()
    parts[0].drains = asyncio.Event()
    lifecycle = life(parts, drain_seconds=0.01)
    running = asyncio.create_task(lifecycle.run())
    await until_ready(lifecycle)
    lifecycle.ask_to_stop()
    assert await asyncio.wait_for(running, 10) is ExitCode.UNFINISHED
    assert story[3:] == ["-log", "-disk"]


async def test_a_crashed_background_task_stops_the_process() -> None:
    story, parts = three()
    supervisor = Supervisor()
    lifecycle = life(parts, supervisor=supervisor)
    running = asyncio.create_task(lifecycle.run())
    await until_ready(lifecycle)

    async def consume() -> None:
        raise ValueError("bad row")

    supervisor.spawn("recording-index", consume())
    assert await running is ExitCode.CRASHED
    assert "recording-index" in str(supervisor.error)
    assert story[3:] == ["-api", "-log", "-disk"]


# --- processes that may be the first to come up ---------------------------------------------------


class Waiting(Part):
    """A part that needs something which is away for a while."""

    def __init__(self, name: str, story: list[str], away: int, error: Exception) -> None:
        super().__init__(name, story)
        self.away = away
        self.error = error

    async def start(self) -> None:
        if self.away:
            self.away -= 1
            raise self.error
        await super().start()


def patient(
    parts: Sequence[Part], clock: ManualMonotonicClock, supervisor: Supervisor | None = None
) -> Lifecycle:
    """`api` listens at once, and `log` waits."""
    return Lifecycle(
        parts,
        NEEDS,
        config=LifecycleConfig(drain_seconds=5),
        monotonic_clock=clock,
        supervisor=supervisor or Supervisor(),
        patience=Patience(early=("disk", "api"), waiting=("log",)),
    )


def away(message: str) -> VigieError:
    return VigieError(EVENT_LOG_UNAVAILABLE, message)


async def passing(clock: ManualMonotonicClock, task: "asyncio.Task[object]") -> None:
    """Let time pass until a task has ended."""
    while not task.done():
        await clock.advance(1)
        await asyncio.sleep(0)


async def test_what_waits_is_tried_again_and_says_for_what() -> None:
    story, (api, _, disk) = three()
    log = Waiting("log", story, 3, away("event log: kafka unreachable since 12 s"))
    clock = ManualMonotonicClock()
    lifecycle = patient([api, log, disk], clock)
    starting = asyncio.create_task(lifecycle.start())
    while lifecycle.readiness()["log"] == "not started yet":
        await asyncio.sleep(0)
    assert story == ["+disk", "+api"]
    waits = "waits: event log: kafka unreachable since 12 s"
    assert lifecycle.readiness() == {"disk": None, "api": None, "log": waits}
    assert lifecycle.waits_for("vigie.log.v1.Service") == f"log {waits}"
    assert lifecycle.waits_for("vigie.api.v1.Service") is None
    await passing(clock, starting)
    await starting
    assert lifecycle.waits_for("vigie.log.v1.Service") is None
    assert lifecycle.readiness() == {"disk": None, "api": None, "log": None}
    # It stops in the order of needs, however it started.
    assert await lifecycle.stop()
    assert story == ["+disk", "+api", "+log", "-api", "-log", "-disk"]


async def test_what_waiting_cannot_mend_ends_the_start() -> None:
    story, (api, _, disk) = three()
    refused = VigieError(TOPIC_MISMATCH, "topic cameras has 1 partition, declared 256")
    log = Waiting("log", story, 1, refused)
    with pytest.raises(StartError, match="1 partition") as caught:
        await patient([api, log, disk], ManualMonotonicClock()).run()
    assert caught.value.module == "log"
    assert story == ["+disk", "+api", "-api", "-disk"]


async def test_a_signal_ends_the_waiting() -> None:
    story, (api, _, disk) = three()
    log = Waiting("log", story, 1 << 30, away("away"))
    lifecycle = patient([api, log, disk], ManualMonotonicClock())
    running = asyncio.create_task(lifecycle.run())
    while lifecycle.readiness()["log"] == "not started yet":
        await asyncio.sleep(0)
    lifecycle.ask_to_stop()
    assert await asyncio.wait_for(running, 5) is ExitCode.CLEAN
    assert story == ["+disk", "+api", "-api", "-disk"]


async def test_a_background_task_that_fails_ends_the_waiting() -> None:
    story, (api, _, disk) = three()
    log = Waiting("log", story, 1 << 30, away("away"))
    supervisor = Supervisor()
    lifecycle = patient([api, log, disk], ManualMonotonicClock(), supervisor)

    async def refused() -> None:
        raise VigieError(CONFIG_INVALID, "the role or its password is refused")

    running = asyncio.create_task(lifecycle.run())
    while lifecycle.readiness()["log"] == "not started yet":
        await asyncio.sleep(0)
    supervisor.spawn("database-registry", refused())
    with pytest.raises(StartError, match="password is refused") as caught:
        await asyncio.wait_for(running, 5)
    assert caught.value.module == "database-registry"
    assert isinstance(caught.value.__cause__, VigieError)
    assert story[-2:] == ["-api", "-disk"]


class Losing(Waiting):
    """A part that loses a cancellation, as `asyncio.wait_for` of Python 3.11 may."""

    async def start(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise self.error from None


async def test_a_cancellation_that_is_lost_on_the_way_ends_the_waiting_all_the_same() -> None:
    story, (api, _, disk) = three()
    log = Losing("log", story, 0, away("away"))
    lifecycle = patient([api, log, disk], ManualMonotonicClock())
    running = asyncio.create_task(lifecycle.run())
    while story != ["+disk", "+api"]:
        await asyncio.sleep(0)
    lifecycle.ask_to_stop()
    assert await asyncio.wait_for(running, 5) is ExitCode.CLEAN
    assert story == ["+disk", "+api", "-api", "-disk"]


class Mended(Part):
    """A part that may come into a state which only a new start mends."""

    wrong: str | None = None

    def broken(self) -> str | None:
        return self.wrong


def test_only_what_a_restart_mends_is_broken() -> None:
    story: list[str] = []
    parts: list[Part] = [Part("log", story), Mended("api", story)]
    parts[0].reason = "the store does not answer"
    assert broken_of(parts) == {}
    assert isinstance(parts[1], Mended)
    parts[1].wrong = "streams are no longer watched over"
    assert broken_of(parts) == {"api": "streams are no longer watched over"}
