"""What the demonstration did: told on the console as it goes, and kept for machines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from vigie.cli.language import tr
from vigie.platform.clock import MonotonicClock


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    passed: bool
    detail: str


@dataclass(slots=True)
class Account:
    """Steps with their seconds, checks with their outcome, facts for machines."""

    console: Console
    clock: MonotonicClock
    steps: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, english: str, french: str) -> Iterator[None]:
        """A chapter: its title now, its seconds afterwards."""
        number = len(self.steps) + 1
        self.console.print()
        self.console.print(f"[bold cyan]{number}. {tr(english, french)}[/]")
        begun_us = self.clock.now_us()
        entry: dict[str, Any] = {"step": english, "seconds": None}
        self.steps.append(entry)
        try:
            yield
        finally:
            entry["seconds"] = round((self.clock.now_us() - begun_us) / 1e6, 3)
            self.console.print(f"   [dim]{entry['seconds']:.1f} s[/]")

    def check(self, name: str, passed: object, detail: str = "") -> None:
        """State whether something holds."""
        done = Check(name, bool(passed), detail)
        self.checks.append(done)
        mark = "[green]✓[/]" if done.passed else "[bold red]✗[/]"
        self.console.print(f"   {mark} {name}", end="")
        self.console.print(f"  [dim]{detail}[/]" if detail else "")

    def say(self, text: str) -> None:
        """One line of explanation."""
        self.console.print(f"   {text}", markup=False)

    @property
    def failed(self) -> list[Check]:
        """Checks that do not hold."""
        return [check for check in self.checks if not check.passed]

    def write(self, path: Path) -> None:
        """Keep the account as JSON."""
        document = {
            "passed": not self.failed,
            "steps": self.steps,
            "checks": [asdict(check) for check in self.checks],
            **self.facts,
        }
        path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
