"""Builds every section from the file and the environment, and reports all problems at once.

1. read the file
2. lay the environment over it
3. take secrets from the files that are named for them
4. build each section; turn what pydantic finds into lines that say what, where, how to mend
5. ask each section for combinations that are probably not meant
"""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from vigie.platform.config.explain import did_you_mean, explain
from vigie.platform.config.fields import (
    ConfigKey,
    is_path,
    is_secret,
    is_text,
    keys_of,
    nested_section,
)
from vigie.platform.config.secret import Secret
from vigie.platform.config.section import ConfigSection, Suspicion
from vigie.platform.config.source import (
    Problem,
    RawConfig,
    environment_paths,
    parse_value,
    read_file,
)
from vigie.platform.errors import VigieError
from vigie.platform.reasons import CONFIG_INVALID

SectionType = TypeVar("SectionType", bound=ConfigSection)
Sections = Mapping[str, type[ConfigSection]]


class ConfigError(VigieError):
    """The configuration cannot be used; ``problems`` names everything that is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(CONFIG_INVALID, "\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class LocatedSuspicion:
    """A suspicion, and where the key stands."""

    where: str
    key: str
    suspicion: Suspicion

    def __str__(self) -> str:
        suspicion = self.suspicion
        return f"{self.where}: {self.key}: {suspicion.message}; {suspicion.remedy}"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of a process.

    Attributes:
        sections: section name -> its values.
        origins: dotted key -> where it was set; keys that are absent have their default.
        suspicions: combinations that are probably not meant.
    """

    sections: Mapping[str, ConfigSection]
    origins: Mapping[str, str]
    suspicions: tuple[LocatedSuspicion, ...]

    def section(self, model: type[SectionType]) -> SectionType:
        """The section of a model.

        Raises:
            KeyError: the wiring did not ask for it.
        """
        for section in self.sections.values():
            if type(section) is model:
                return section
        raise KeyError(model.__name__)


def load_config(file: Path | None, sections: Sections, environment: Mapping[str, str]) -> Config:
    """Read and check everything.

    Args:
        file: the TOML file; ``None``: defaults and environment only.
        sections: section name -> its model, as the wiring needs them.
        environment: usually ``os.environ``.

    Raises:
        ConfigError: with every problem.
    """
    raw = read_file(file) if file is not None else RawConfig()
    if raw.problems:
        raise ConfigError(raw.problems)
    keys = _known_keys(sections)
    origins = {
        key: f"{file}:{line}" for key, line in raw.lines.items() if tuple(key.split(".")) in keys
    }
    _lay_environment(raw, keys, sections, environment)
    origins.update({key: f"environment {name}" for key, name in raw.variables.items()})
    built: dict[str, ConfigSection] = {}
    suspicions: list[LocatedSuspicion] = []
    for name in raw.values:
        if name not in sections:
            hint = did_you_mean(name, sections)
            raw.problems.append(Problem(raw.where((name,)), name, "unknown section", hint))
    for name, model in sections.items():
        section = _build(raw, name, model, suspicions)
        if section is not None:
            built[name] = section
            suspicions += _suspicions(raw, (name,), section)
    if raw.problems:
        raise ConfigError(raw.problems)
    return Config(built, origins, tuple(suspicions))


def _known_keys(sections: Sections) -> dict[tuple[str, ...], ConfigKey]:
    return {key.path: key for name, model in sections.items() for key in keys_of(model, (name,))}


def _lay_environment(
    raw: RawConfig,
    keys: Mapping[tuple[str, ...], ConfigKey],
    sections: Sections,
    environment: Mapping[str, str],
) -> None:
    for path, variable in environment_paths(environment).items():
        raw.variables[".".join(path)] = variable
        if path[0] not in sections:
            hint = did_you_mean(path[0], sections)
            raw.problems.append(Problem(raw.where(path), path[0], "unknown section", hint))
            continue
        key = keys.get(path)
        text = environment[variable]
        value: Any = text
        if key is not None and is_secret(key.info.annotation):
            value = Secret(text)
        elif key is None or not is_text(key.info.annotation):
            value = parse_value(text)
        table = raw.values
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raw.problems.append(
                    Problem(raw.where(path), part, "is a value, not a table", "unset one of them")
                )
                break
            table = inner
        else:
            table[path[-1]] = value


def _build(
    raw: RawConfig,
    name: str,
    model: type[ConfigSection],
    suspicions: list[LocatedSuspicion],
) -> ConfigSection | None:
    values = raw.values.get(name, {})
    if not isinstance(values, dict):
        problem = Problem(
            raw.where((name,)), name, "is a value, not a table", f"write [{name}] above its keys"
        )
        raw.problems.append(problem)
        return None
    before = len(raw.problems)
    prepared = _prepare(raw, (name,), model, values, suspicions)
    try:
        section = model.model_validate(prepared)
    except ValidationError as error:
        raw.problems += explain(raw, name, model, error)
        return None
    return section if len(raw.problems) == before else None


def _prepare(
    raw: RawConfig,
    path: tuple[str, ...],
    model: type[ConfigSection],
    values: dict[str, Any],
    suspicions: list[LocatedSuspicion],
) -> dict[str, Any]:
    """Values with secrets read and relative paths taken from the folder of the file."""
    prepared = dict(values)
    for name, info in model.model_fields.items():
        here = (*path, name)
        value = prepared.get(name)
        nested = nested_section(info.annotation)
        if nested is not None and isinstance(value, dict):
            prepared[name] = _prepare(raw, here, nested, value, suspicions)
        elif is_secret(info.annotation):
            _take_secret(raw, here, prepared, suspicions)
        elif is_path(info.annotation) and isinstance(value, str):
            prepared[name] = _resolve(raw, here, value)
    return prepared


def _resolve(raw: RawConfig, path: tuple[str, ...], value: str) -> Path:
    try:
        given = Path(value).expanduser()
    except (RuntimeError, ValueError):
        # "~somebody" whom this machine does not know, or cannot: an ordinary name.
        given = Path(value)
    if raw.file is None or ".".join(path) in raw.variables:
        return given
    return raw.file.parent / given


def _take_secret(
    raw: RawConfig,
    path: tuple[str, ...],
    prepared: dict[str, Any],
    suspicions: list[LocatedSuspicion],
) -> None:
    name = path[-1]
    file_path = (*path[:-1], f"{name}_file")
    dotted = ".".join(path)
    if isinstance(prepared.get(name), str):
        remedy = f"write {name}_file with the path of a file that holds it, or set the environment"
        raw.problems.append(
            Problem(raw.where(path), dotted, "a secret does not stand in this file", remedy)
        )
        prepared[name] = Secret("")  # so that the value is in no other message
    reference = prepared.pop(f"{name}_file", None)
    if reference is None or name in prepared:
        return
    file = _resolve(raw, file_path, str(reference))
    where = raw.where(file_path)
    try:
        prepared[name] = Secret(file.read_text(encoding="utf-8").strip())
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:  # not UTF-8, or a NUL in the path
        problem = f"{file} cannot be read ({error.__class__.__name__})"
        raw.problems.append(
            Problem(where, f"{dotted}_file", problem, "check the path and its rights")
        )
        prepared[name] = Secret("")
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        suspicion = Suspicion(
            f"{name}_file", f"{file} can be read by others", f"run `chmod 600 {file}`"
        )
        suspicions.append(LocatedSuspicion(where, f"{dotted}_file", suspicion))


def _suspicions(
    raw: RawConfig, path: tuple[str, ...], section: ConfigSection
) -> list[LocatedSuspicion]:
    found = [
        LocatedSuspicion(
            raw.where((*path, *item.key.split("."))), ".".join((*path, item.key)), item
        )
        for item in section.suspicions()
    ]
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, ConfigSection):
            found += _suspicions(raw, (*path, name), value)
    return found
