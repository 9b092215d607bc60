import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from vigie.platform.clock import SystemMonotonicClock
from vigie.platform.lifecycle import (
    ExitCode,
    Lifecycle,
    LifecycleConfig,
    StartError,
    start_order,
)
from vigie.platform.module import ServiceBinding
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
