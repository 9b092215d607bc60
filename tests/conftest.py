"""What all tests share: real servers by the environment, and the count of what was left out.

A test marked ``needs_server("KAFKA")`` runs when ``VIGIE_TEST_KAFKA`` says where that server is,
and is skipped otherwise. A skipped test is no passed test, so the summary counts them aloud.
"""

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from long_forms import LONG, examples

_PREFIX = "VIGIE_TEST_"
_WANTING = "wants the server"
_ABSENT = re.compile(r"no (server|program): |" + _WANTING)
_ESTATE = "tests/e2e/"
_OWN_PRODUCT = ("tests/e2e/test_interruptions.py", "tests/e2e/test_go_client.py")
_LONGEST = (
    _ESTATE,
    "tests/integration/foreign/test_foreign_server.py",
    "tests/integration/ingest_engine/test_native_engine.py",
)
"""What takes longest, whatever the number of its tests; begun last, all would wait for it."""

# How long an example takes says how busy the machine is, not whether the code is right. Everybody
# tries the same examples; chance belongs to the long form, which is run to find something.
settings.register_profile(
    "vigie",
    parent=settings.default,
    max_examples=examples(40),
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vigie")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--deployment",
        default=os.environ.get(_PREFIX + "DEPLOYMENT", "one-process"),
        help="how the end-to-end tests run the product (default: one-process)",
    )


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Every test logs plainly to a stream that stays open, whatever the one before configured.

    A logger that writes to a closed stream fails the code that logs; one that draws tracebacks
    with local variables takes minutes over those of a database.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
        cache_logger_on_first_use=False,
    )
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def footage_folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where simulated cameras keep their footage: made once, for every worker and the next run."""
    cache = getattr(pytestconfig, "cache", None)  # its plugin may be off
    return tmp_path_factory.mktemp("footage") if cache is None else cache.mkdir("simulated-footage")


class FileScheduling(LoadFileScheduling):
    """A worker takes a file whole, for its tests share what its fixtures make; or all the estate.

    The files of the end-to-end tests share a running product: taken apart, there would be one of
    it on every worker. Those that run a product of their own stand on their own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _ESTATE if file.startswith(_ESTATE) and file not in _OWN_PRODUCT else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(
        key=lambda item: next(
            (i for i, name in enumerate(_LONGEST) if item.nodeid.startswith(name)), len(_LONGEST)
        )
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """``--dist loadfile`` (``make test``)."""
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def _names_of(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("needs_server") for name in mark.args]


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in _names_of(item) if not os.environ.get(_PREFIX + name)]
    if missing:
        pytest.skip(" and ".join(f"{_WANTING} {_PREFIX}{name}" for name in missing))


@pytest.fixture
def server_addresses(request: pytest.FixtureRequest) -> dict[str, str]:
    """Server name -> value of its variable, for the servers the test is marked with."""
    return {name: os.environ[_PREFIX + name] for name in _names_of(request.node)}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _ABSENT.search(str(report.longrepr[2]))
    ]
    terminalreporter.section("tests against real servers, and with programs that are not ours")
    if not reports:
        terminalreporter.write_line("none was skipped for want of one")
        return
    terminalreporter.write_line(
        f"{len(reports)} SKIPPED for want of real servers or programs; nothing was proved about"
        " them here:",
        yellow=True,
        bold=True,
    )
    wanted = Counter(name for text in reports for name in _wanted(text))
    for name, count in sorted(wanted.items()):
        terminalreporter.write_line(f"  {name}: {count}", yellow=True)


def _wanted(reason: str) -> list[str]:
    """What a test that was skipped would have needed: variables of servers, else in words."""
    return re.findall(rf"{_PREFIX}\w+", reason) or [reason]
