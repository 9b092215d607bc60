"""Help in two languages, quickly; names complete in the shell."""

import os
import subprocess
import sys
from typing import Any

import pytest

from unit.cli.conftest import Vigie
from vigie.cli.commands import SECTIONS, entries, load_all

HEAVY = {"grpc", "rich", "google.protobuf", "sqlalchemy", "pydantic", "cryptography", "numpy"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *arguments],
        env=kept | {"PYTHONPATH": path, "LC_ALL": "C.UTF-8"} | environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vigie.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    found = run("-c", code)
    assert found.stderr.strip() == "[]", found.stderr
    assert all(entry.name in found.stdout for entry in entries())


@pytest.mark.parametrize(
    ("language", "expected"),
    [("fr", ("Images", "caméra", "Vigie : enregistrement")), ("en", ("Footage", "Cameras"))],
)
def test_help_is_in_the_language_of_the_reader(language: str, expected: tuple[str, ...]) -> None:
    found = run("-m", "vigie", "--help", VIGIE_LANGUAGE=language)
    assert found.returncode == 0
    assert all(words in found.stdout for words in expected), found.stdout


def leaves() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in load_all().items():
        subs = getattr(command, "commands", None)
        found += (
            [(f"{name} {sub}", each) for sub, each in subs.items()] if subs else [(name, command)]
        )
    return found


def test_every_command_says_what_it_is_for() -> None:
    for name, command in leaves():
        assert command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None) or parameter.opts == ["--etag"], (
                    name, parameter.name,
                )  # fmt: skip


def test_every_name_is_there_once_and_loads() -> None:
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))
    assert set(load_all()) == set(names)
    assert all(section.english and section.french for section in SECTIONS)


@pytest.mark.parametrize("words", ["--help", "-h"])
def test_each_group_explains_itself(words: str, vigie: Vigie) -> None:
    for name in ("camera", "evidence", "audit", "zone"):
        outcome = vigie(name, words)
        assert outcome.code == 0
        assert f"vigie {name}" in outcome.out  # its examples


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("vigie ca", "camera"),
        ("vigie camera comm", "commission"),
        ("vigie camera list --state s", "suspended"),
        ("vigie authorisation create --purpose ter", "terrorism"),
        ("vigie audit search --decision r", "refused"),
    ],
)
def test_the_shell_completes(typed: str, offered: str) -> None:
    code = "from vigie.cli.main import app; app(prog_name='vigie')"
    words = typed.split()
    found = run(
        "-c", code,
        _VIGIE_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1),
    )  # fmt: skip
    assert offered in found.stdout.split(), found
