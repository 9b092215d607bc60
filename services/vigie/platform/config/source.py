"""The configuration file and the environment as raw values that know where they stand."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ENVIRONMENT_PREFIX: Final = "VIGIE_"
# The name takes the blanks around it, which are stripped later: apart they would be tried in every
# division, and a line of blanks would take for ever.
_TABLE = re.compile(r"^\s*\[\[?(?P<name>[^\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*(?P<name>[A-Za-z0-9_\"'.-]+)\s*=")
_AT_LINE = re.compile(r"\(at line (?P<line>\d+), column (?P<column>\d+)\)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: ``vigie.toml:12``, ``environment VIGIE_…``, or the file.
        key: dotted key at fault; empty when the whole file is.
        message: what is wrong.
        remedy: how to mend it.
    """

    where: str
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        return f"{self.where}: {subject}{self.message}; {self.remedy}"


@dataclass(slots=True)
class RawConfig:
    """Values before they are checked.

    Attributes:
        file: the file they came from, if any.
        values: tables and keys, environment already laid over.
        lines: dotted key -> line of the file.
        variables: dotted key -> name of the environment variable that set it.
        problems: what was wrong already.
    """

    file: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: tuple[str, ...]) -> str:
        """Where a key stands; for one that is missing, where its table begins."""
        for length in range(len(path), 0, -1):
            dotted = ".".join(path[:length])
            if dotted in self.variables:
                return f"environment {self.variables[dotted]}"
            if self.file is not None and dotted in self.lines:
                return f"{self.file}:{self.lines[dotted]}"
        return str(self.file) if self.file else "configuration"


def read_file(path: Path) -> RawConfig:
    """Read a TOML file; what is wrong stands in ``problems``."""
    raw = RawConfig(file=path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "give the path of a file that exists and can be read (--config, VIGIE_CONFIG)"
        raw.problems.append(Problem(str(path), "", f"cannot be read: {error.strerror}", remedy))
        return raw
    except UnicodeDecodeError as error:
        raw.problems.append(
            Problem(str(path), "", f"is not UTF-8 at byte {error.start}", "save it as UTF-8")
        )
        return raw
    try:
        raw.values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # ValueError: TOMLDecodeError is one, and numbers too long for Python are another.
        found = _AT_LINE.search(str(error))
        where = f"{path}:{found['line']}" if found else str(path)
        message = _AT_LINE.sub("", str(error)).strip()
        raw.problems.append(
            Problem(where, "", f"is not TOML: {message}", "texts stand in quotes, tables in [ ]")
        )
        return raw
    raw.lines = key_lines(text)
    return raw


def key_lines(text: str) -> dict[str, int]:
    """Line of each table and key of a TOML document, by dotted path.

    Good for messages: keys inside multi-line arrays and strings are not looked for.
    """
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TABLE.match(line):
            table = _dotted(found["name"])
            lines.setdefault(table, number)
        elif found := _KEY.match(line):
            key = _dotted(found["name"])
            lines.setdefault(f"{table}.{key}" if table else key, number)
    return lines


def _dotted(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def environment_paths(environment: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Keys set by the environment: path -> name of the variable.

    Only names of the form ``VIGIE_SECTION__KEY`` are meant; others (``VIGIE_CONFIG``) are not.
    """
    paths: dict[tuple[str, ...], str] = {}
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        parts = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        paths[tuple(parts)] = name
    return paths


def parse_value(text: str) -> Any:
    """An environment variable as a TOML value where it is one (``5``, ``true``, ``["a"]``)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
