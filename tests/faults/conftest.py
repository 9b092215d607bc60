"""How far the fault tests go, and the chance they draw from.

``VIGIE_FAULTS=long`` runs the long forms; ``VIGIE_FAULTS_SEED=N`` repeats a draw.
"""

import os
import random
from pathlib import Path
from typing import Final

import pytest

from faults.ledger import Ledger

LONG: Final = os.environ.get("VIGIE_FAULTS") == "long"
SEED: Final = int(os.environ.get("VIGIE_FAULTS_SEED") or random.SystemRandom().randrange(1 << 31))


def pytest_report_header() -> str:
    form = "long" if LONG else "bounded"
    return f"faults: {form} form, VIGIE_FAULTS_SEED={SEED}"


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance of this test alone: the same for the same seed, whatever runs before."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(scope="session")
def simulated_footage(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where simulated cameras keep what ffmpeg has made for them."""
    cache = getattr(pytestconfig, "cache", None)  # its plugin may be off
    if cache is None:
        return tmp_path_factory.mktemp("footage")
    return Path(cache.mkdir("simulated-footage"))


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """Where this run's results are kept."""
    return Ledger()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"to draw the same again: VIGIE_FAULTS_SEED={SEED}", red=True)
