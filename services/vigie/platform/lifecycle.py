"""Starts modules in the order of their needs, stops them in the reverse order, in bounded time.

A process of its own among others starts in another way: it listens at once, and its contexts wait
for what they need, as long as it takes (`Patience`). They stop in the same order all the same.
"""

import asyncio
import contextlib
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import grpc
import structlog
from pydantic import Field

from vigie.platform.clock import MonotonicClock
from vigie.platform.config.section import ConfigSection
from vigie.platform.errors import VigieError
from vigie.platform.module import Module
from vigie.platform.supervisor import Supervisor, heed_cancellation

_LEAST_STOP_SECONDS = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_NOT_STARTED: Final = "not started yet"


class LifecycleConfig(ConfigSection):
    """Section ``[lifecycle]``: how a process starts and stops."""

    start_seconds: float = Field(
        default=60.0, gt=0, description="Longest time one module may take to start."
    )
    drain_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Longest time from SIGTERM to the end: open segments are closed and uploaded, "
        "streams ended, records closed. Kubernetes must wait longer than this.",
    )


class ExitCode(IntEnum):
    """How a process ended."""

    CLEAN = 0
    CRASHED = 1
    FORCED = 8
    UNFINISHED = 9
    MISCONFIGURED = 10


class StartError(Exception):
    """A module did not start; those before it have been stopped again."""

    def __init__(self, module: str, cause: BaseException) -> None:
        super().__init__(f"{module} did not start: {cause}")
        self.module = module
        self.__cause__ = cause


@dataclass(frozen=True, slots=True)
class Patience:
    """How a process starts that may be the first to come up.

    Attributes:
        early: names of modules that start before all others, in the usual order.
        waiting: names of modules that start next, side by side; each is tried again for as long
            as what it needs is merely away (UNAVAILABLE).
    """

    early: Collection[str] = ()
    waiting: Collection[str] = ()


IMPATIENT: Final = Patience()


def start_order(modules: Sequence[Module], needs: Mapping[str, Sequence[str]]) -> list[Module]:
    """``modules`` so that each comes after those it needs; otherwise in the order given.

    Needs that are not part of the target are ignored: another process has them.

    Raises:
        ValueError: modules need each other in a circle, or two have one name.
    """
    by_name = {module.name: module for module in modules}
    if len(by_name) != len(modules):
        raise ValueError("two modules have the same name")
    ordered: list[Module] = []
    placed: set[str] = set()

    def place(name: str, way: tuple[str, ...]) -> None:
        if name in placed:
            return
        if name in way:
            raise ValueError(f"modules need each other in a circle: {' -> '.join((*way, name))}")
        for need in needs.get(name, ()):
            if need in by_name:
                place(need, (*way, name))
        placed.add(name)
        ordered.append(by_name[name])

    for module in modules:
        place(module.name, ())
    return ordered


def _away(error: BaseException | None) -> bool:
    """Whether waiting may help: what was asked is not there now, and nothing is wrong with it."""
    if isinstance(error, VigieError):
        return error.reason.code is grpc.StatusCode.UNAVAILABLE
    return isinstance(error, TimeoutError)


class Lifecycle:
    """The life of a process.

    Args:
        modules: everything of the target.
        needs: module name -> names of modules that must run before it.
        supervisor: where modules start background tasks.
        patience: who starts before its turn, and who waits.
    """

    def __init__(
        self,
        modules: Sequence[Module],
        needs: Mapping[str, Sequence[str]],
        *,
        config: LifecycleConfig,
        monotonic_clock: MonotonicClock,
        supervisor: Supervisor,
        patience: Patience = IMPATIENT,
    ) -> None:
        self._modules = start_order(modules, needs)
        self._patience = patience
        self._waits_for: dict[str, str] = {}
        self._config = config
        self._clock = monotonic_clock
        self._supervisor = supervisor
        self._started: set[str] = set()
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._forced = asyncio.Event()
        self._log = structlog.get_logger("vigie.lifecycle")

    @property
    def modules(self) -> Sequence[Module]:
        """Every module, in the order of needs."""
        return tuple(self._modules)

    # --- readiness --------------------------------------------------------------------------

    def readiness(self) -> dict[str, str | None]:
        """Module name -> why it cannot work now, or ``None``."""
        return {module.name: self._not_ready(module) for module in self._modules}

    def service_readiness(self, service: str) -> str | None:
        """Why the module that offers a service cannot work now; for `GrpcHost`."""
        module = self._module_of(service)
        return "no module offers this service" if module is None else self._not_ready(module)

    def waits_for(self, service: str) -> str | None:
        """Why the module that offers a service has not started; ``None`` once it has."""
        module = self._module_of(service)
        if module is None or module.name in self._started:
            return None
        return f"{module.name} {self._not_started(module)}"

    def _module_of(self, service: str) -> Module | None:
        for module in self._modules:
            if any(binding.name == service for binding in module.services()):
                return module
        return None

    def _not_ready(self, module: Module) -> str | None:
        if self._stopping:
            return "stopping"
        if module.name not in self._started:
            return self._not_started(module)
        return module.not_ready()

    def _not_started(self, module: Module) -> str:
        waits_for = self._waits_for.get(module.name)
        return _NOT_STARTED if waits_for is None else f"waits: {waits_for}"

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Start every module.

        Raises:
            StartError: one did not; those before it have been stopped again.
        """
        early = [module for module in self._modules if module.name in self._patience.early]
        waiting = [module for module in self._modules if module.name in self._patience.waiting]
        rest = [module for module in self._modules if module not in early + waiting]
        try:
            for module in early:
                await self._start_one(module)
            await self._start_waiting(waiting)
            for module in rest:
                await self._start_one(module)
        except BaseException:
            await self.stop()
            raise

    async def _start_waiting(self, modules: Sequence[Module]) -> None:
        tasks = [asyncio.create_task(self._start_patiently(module)) for module in modules]
        try:
            for done in asyncio.as_completed(tasks):
                await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_patiently(self, module: Module) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._start_one(module)
            except StartError as error:
                if not _away(error.__cause__):
                    raise
                why = str(getattr(error.__cause__, "message", error.__cause__))
                if self._waits_for.get(module.name) is None:
                    self._log.warning("module_waits", module=module.name, waits_for=why)
                self._waits_for[module.name] = why
            else:
                self._waits_for.pop(module.name, None)
                return
            heed_cancellation()
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _start_one(self, module: Module) -> None:
        begun_us = self._clock.now_us()
        try:
            async with asyncio.timeout(self._config.start_seconds):
                await module.start()
        # Boundary of a module: whatever it was, the others are stopped and the process ends.
        except Exception as error:
            if isinstance(error, TimeoutError):
                error = TimeoutError(f"not ready within {self._config.start_seconds} s")
            raise StartError(module.name, error) from error
        self._started.add(module.name)
        took_us = self._clock.now_us() - begun_us
        self._log.info("module_started", module=module.name, took_us=took_us)

    async def stop(self) -> bool:
        """Stop what was started, in the reverse order of needs.

        Returns:
            Whether every module finished within the time.
        """
        self._stopping = True
        deadline_us = self._clock.now_us() + round(self._config.drain_seconds * 1e6)
        finished = True
        for module in reversed(self._modules):
            if module.name not in self._started:
                continue
            left = (deadline_us - self._clock.now_us()) / 1e6
            finished &= await self._stop_one(module, max(left, _LEAST_STOP_SECONDS))
            self._started.discard(module.name)
        return finished

    async def _stop_one(self, module: Module, timeout_seconds: float) -> bool:
        try:
            async with asyncio.timeout(timeout_seconds + _LEAST_STOP_SECONDS):
                await module.stop(timeout_seconds=timeout_seconds)
        except TimeoutError:
            self._log.error("module_did_not_stop_in_time", module=module.name)
            return False
        except Exception:  # noqa: BLE001 - boundary of a module: the others must be stopped too
            self._log.exception("module_failed_to_stop", module=module.name)
            return False
        self._log.info("module_stopped", module=module.name)
        return True

    # --- the whole life ---------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """As a signal does: first drain, the second time stop at once."""
        if self._stop_asked.is_set():
            self._forced.set()
        self._stop_asked.set()

    async def run(self) -> ExitCode:
        """Start, work until a signal or a crash, stop.

        Raises:
            StartError: a module did not start.
        """
        with self._signals():
            starting = asyncio.create_task(self.start())
            if not await self._unless_stopped(starting):
                return ExitCode.FORCED if self._forced.is_set() else ExitCode.CLEAN
            self._log.info("ready", modules=[module.name for module in self._modules])
            crashed = asyncio.create_task(self._supervisor.crashed())
            asked = asyncio.create_task(self._stop_asked.wait())
            await asyncio.wait({crashed, asked}, return_when=asyncio.FIRST_COMPLETED)
            for task in (crashed, asked):
                task.cancel()
            return await self._drain()

    async def _unless_stopped(self, starting: "asyncio.Task[None]") -> bool:
        """Whether it started; false when it was told to stop meanwhile.

        Raises:
            StartError: a module did not start, or a background task ended the process.
        """
        asked = asyncio.create_task(self._stop_asked.wait())
        crashed = asyncio.create_task(self._supervisor.crashed())
        await asyncio.wait({starting, asked, crashed}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, crashed):
            task.cancel()
        if starting.done():
            starting.result()
            return True
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        error = self._supervisor.error
        if error is not None and not self._stop_asked.is_set():
            raise StartError(error.name, error.__cause__ or error)
        return False

    async def _drain(self) -> ExitCode:
        error = self._supervisor.error
        if error is not None:
            self._log.error("stopping_after_crash", error=str(error))
        else:
            self._log.info("draining", drain_seconds=self._config.drain_seconds)
        stopping = asyncio.create_task(self.stop())
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait({stopping, forced}, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not stopping.done():
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            self._log.warning("stopped_by_force")
            return ExitCode.FORCED
        if error is not None:
            return ExitCode.CRASHED
        return ExitCode.CLEAN if stopping.result() else ExitCode.UNFINISHED

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.ask_to_stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
