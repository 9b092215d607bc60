"""Named points of a write path at which tests make things go wrong.

Code that must survive a fault calls ``faults.reach("store.put.renamed")`` between its steps. In
production that is a call which does nothing (`NO_FAULTS`). Each module declares its names in a
tuple, so that a test can break every step in turn and none is forgotten.
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

ENVIRONMENT_VARIABLE: Final = "VIGIE_FAULT"


class FaultPoints(Protocol):
    """Something that may strike when a named point is reached."""

    def reach(self, name: str) -> None:
        """Say that the step called ``name`` is about to begin; may raise or never return."""
        ...


class _NoFaults:
    def reach(self, name: str) -> None:
        """Do nothing."""


NO_FAULTS: Final[FaultPoints] = _NoFaults()


class CountingFaults:
    """Counts how often each point was reached; never strikes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reached: dict[str, int] = {}

    def reach(self, name: str) -> None:
        """See `FaultPoints.reach`."""
        with self._lock:
            self.reached[name] = self.reached.get(name, 0) + 1


class StrikingFaults:
    """Strikes at one point, from its ``first``-th visit on, ``times`` times. Thread-safe.

    Args:
        name: the point to strike at.
        action: what happens there: raises, or ends the process.
        first: which visit strikes first, counted from 1.
        times: how many visits strike; ``None``: every one from ``first`` on.
        known: declared names; a name that is not among them is refused (a typo would make a
            test pass that tests nothing).
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], None],
        *,
        first: int = 1,
        times: int | None = 1,
        known: Collection[str] | None = None,
    ) -> None:
        if known is not None and name not in known:
            raise ValueError(f"no fault point is called {name!r}; there are: {sorted(known)}")
        if first < 1:
            raise ValueError("visits are counted from 1")
        self._name = name
        self._action = action
        self._first = first
        self._times = times
        self._lock = threading.Lock()
        self.visits = 0
        self.strikes = 0

    def reach(self, name: str) -> None:
        """See `FaultPoints.reach`."""
        if name != self._name:
            return
        with self._lock:
            self.visits += 1
            spent = self._times is not None and self.strikes >= self._times
            if self.visits < self._first or spent:
                return
            self.strikes += 1
        self._action()


def raise_errno(code: int) -> Callable[[], None]:
    """An action that raises ``OSError(code)``, e.g. ``errno.ENOSPC``."""

    def action() -> None:
        raise OSError(code, f"{os.strerror(code)} (injected)")

    return action


def delay(seconds: float) -> Callable[[], None]:
    """An action that takes ``seconds``: a disk that is slow. It blocks its thread, as that does."""

    def action() -> None:
        time.sleep(seconds)

    return action


def kill_this_process() -> None:
    """SIGKILL to this very process: no handler, no ``finally``, no flush runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def exit_at_once() -> None:
    """Leave by ``_exit``: no ``finally`` runs (as a kill), but the status says who did it."""
    os._exit(99)


ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": kill_this_process,
    "exit": exit_at_once,
    "enospc": raise_errno(errno.ENOSPC),
    "eio": raise_errno(errno.EIO),
    "erofs": raise_errno(errno.EROFS),
    "eacces": raise_errno(errno.EACCES),
}


_DELAY: Final = "delay="


def parse_action(text: str) -> Callable[[], None]:
    """One of `ACTIONS` by name, or ``delay=SECONDS``.

    Raises:
        ValueError: there is no such action.
    """
    if text.startswith(_DELAY):
        return delay(float(text.removeprefix(_DELAY)))
    if text not in ACTIONS:
        raise ValueError(f"no action {text!r}; there are delay=SECONDS, {', '.join(ACTIONS)}")
    return ACTIONS[text]


class SwitchedFaults:
    """Strikes as a file says at the moment, so that a fault of a running process can end.

    Each line is ``name:action`` and strikes at every visit for as long as it stands there; a name
    may end in ``*``. Without the file nothing strikes. Thread-safe. It looks at the file at every
    visit: for tests only.

    Args:
        file: whoever writes it replaces it whole.
        known: declared names; others are refused.
    """

    def __init__(self, file: Path, *, known: Collection[str]) -> None:
        self._file = file
        self._known = known
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._lines: tuple[tuple[str, Callable[[], None]], ...] = ()

    def reach(self, name: str) -> None:
        """See `FaultPoints.reach`.

        Raises:
            ValueError: the file names what there is not.
        """
        for pattern, action in self._in_force():
            if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                action()

    def _in_force(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        with self._lock:
            try:
                state = self._file.stat()
            except FileNotFoundError:
                self._seen, self._lines = None, ()
                return ()
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                lines = self._file.read_text(encoding="utf-8").split()
                self._lines = tuple(self._parse(line) for line in lines)
                self._seen = seen
            return self._lines

    def _parse(self, line: str) -> tuple[str, Callable[[], None]]:
        pattern, _, action = line.rpartition(":")
        start = pattern.removesuffix("*")
        if not any(
            name == pattern or (start != pattern and name.startswith(start)) for name in self._known
        ):
            raise ValueError(f"no fault point is called {pattern!r}")
        return pattern, parse_action(action)


def parse_fault(text: str, *, known: Collection[str] | None = None) -> StrikingFaults:
    """Read ``name:action[@visit]``, e.g. ``store.put.renamed:kill@3``.

    ``@3`` strikes once, at the third visit; ``@3+`` from the third visit on, every time;
    without it, once at the first.

    Raises:
        ValueError: the text has another form, or names an unknown point or action.
    """
    name, colon, rest = text.rpartition(":")
    action_name, _, visit = rest.partition("@")
    if not colon or not name:
        raise ValueError(f"a fault is written name:action[@visit]: {text!r}")
    action = parse_action(action_name)
    endless = visit.endswith("+")
    digits = visit.removesuffix("+") or "1"
    if not digits.isdecimal():
        raise ValueError(f"the visit of a fault is a number from 1: {text!r}")
    return StrikingFaults(
        name,
        action,
        first=int(digits),
        times=None if endless else 1,
        known=known,
    )


def faults_from_environment(
    environment: Mapping[str, str],
    *,
    enabled: bool,
    known: Collection[str] | None = None,
) -> FaultPoints:
    """The fault that ``VIGIE_FAULT`` asks for, and only when the configuration allows faults.

    Raises:
        ValueError: the variable is set and faults are enabled, but it does not parse.
    """
    text = environment.get(ENVIRONMENT_VARIABLE, "")
    if not enabled or not text:
        return NO_FAULTS
    return parse_fault(text, known=known)
