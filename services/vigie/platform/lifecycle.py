"""Starts modules in the order of their needs, stops them in the reverse order, in bounded time."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

import structlog
from pydantic import Field

from vigie.platform.clock import MonotonicClock
from vigie.platform.config.section import ConfigSection
from vigie.platform.module import Module
from vigie.platform.supervisor import Supervisor

_LEAST_STOP_SECONDS = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


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


class StartError(Exception):
    """A module did not start; those before it have been stopped again."""

    def __init__(self, module: str, cause: BaseException) -> None:
        super().__init__(f"{module} did not start: {cause}")
        self.module = module
        self.__cause__ = cause


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


class Lifecycle:
    """The life of a process.

    Args:
        modules: everything of the target.
        needs: module name -> names of modules that must run before it.
        supervisor: where modules start background tasks.
    """

    def __init__(
        self,
        modules: Sequence[Module],
        needs: Mapping[str, Sequence[str]],
        *,
        config: LifecycleConfig,
        monotonic_clock: MonotonicClock,
        supervisor: Supervisor,
    ) -> None:
        self._modules = start_order(modules, needs)
        self._config = config
        self._clock = monotonic_clock
        self._supervisor = supervisor
        self._started: list[Module] = []
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._forced = asyncio.Event()
        self._log = structlog.get_logger("vigie.lifecycle")

    # --- readiness --------------------------------------------------------------------------

    def readiness(self) -> dict[str, str | None]:
        """Module name -> why it cannot work now, or ``None``."""
        return {module.name: self._not_ready(module) for module in self._modules}

    def service_readiness(self, service: str) -> str | None:
        """Why the module that offers a service cannot work now; for `GrpcHost`."""
        for module in self._modules:
            if any(binding.name == service for binding in module.services()):
                return self._not_ready(module)
        return "no module offers this service"

    def _not_ready(self, module: Module) -> str | None:
        if self._stopping:
            return "stopping"
        if module not in self._started:
            return "not started yet"
        return module.not_ready()

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Start every module.

        Raises:
            StartError: one did not; those before it have been stopped again.
        """
        for module in self._modules:
            begun_us = self._clock.now_us()
            try:
                async with asyncio.timeout(self._config.start_seconds):
                    await module.start()
            except asyncio.CancelledError:
                await self.stop()
                raise
            # Boundary of a module: whatever it was, the others are stopped and the process ends.
            except Exception as error:
                await self.stop()
                if isinstance(error, TimeoutError):
                    error = TimeoutError(f"not ready within {self._config.start_seconds} s")
                raise StartError(module.name, error) from error
            self._started.append(module)
            took_us = self._clock.now_us() - begun_us
            self._log.info("module_started", module=module.name, took_us=took_us)

    async def stop(self) -> bool:
        """Stop what was started, last first.

        Returns:
            Whether every module finished within the time.
        """
        self._stopping = True
        deadline_us = self._clock.now_us() + round(self._config.drain_seconds * 1e6)
        finished = True
        while self._started:
            module = self._started[-1]
            left = (deadline_us - self._clock.now_us()) / 1e6
            finished &= await self._stop_one(module, max(left, _LEAST_STOP_SECONDS))
            self._started.pop()
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
        asked = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if starting.done():
            starting.result()
            return True
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
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
