"""The configuration as people read it: the reference page, and what is in force now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from vigie.platform.config.fields import (
    ConfigKey,
    alternatives,
    is_secret,
    keys_of,
    nested_section,
    unit_of,
)
from vigie.platform.config.loader import Config, Sections
from vigie.platform.config.secret import SHOWN, Secret
from vigie.platform.config.section import ConfigSection

_HEADER = (
    "| key | type | unit | default | environment | meaning |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)


def reference(sections: Sections) -> str:
    """The Markdown page of all keys, section by section."""
    parts: list[str] = []
    for name, model in sections.items():
        summary = (model.__doc__ or "").strip().splitlines()[0]
        rows = [_row(key) for key in keys_of(model, (name,)) if not _is_table(key)]
        parts.append(f"## `[{name}]`\n\n{summary}\n\n{_HEADER}{''.join(rows)}")
    return "\n".join(parts)


def render(config: Config) -> str:
    """What is in force, as TOML, each key with where it was set; secrets are not shown."""
    lines: list[str] = []
    for name, section in config.sections.items():
        _render_section(config.origins, (name,), section, lines)
    return "\n".join(lines).rstrip() + "\n"


def _is_table(key: ConfigKey) -> bool:
    return nested_section(key.info.annotation) is not None


def _row(key: ConfigKey) -> str:
    dotted, environment, default = key.dotted, key.environment, _default(key)
    if is_secret(key.info.annotation):
        dotted = f"{dotted}_file"
    cells = (
        f"`{dotted}`",
        _type_name(key.info.annotation),
        unit_of(key.path[-1])[1],
        default,
        f"`{environment}`",
        (key.info.description or "").replace("|", "\\|"),
    )
    return "| " + " | ".join(cells) + " |\n"


def _default(key: ConfigKey) -> str:
    if key.info.is_required():
        return "**required**"
    value = key.info.get_default(call_default_factory=False)
    if value is None or value is PydanticUndefined:
        return ""
    return f"`{_toml(value)}`"


def _type_name(annotation: Any) -> str:
    names: list[str] = []
    for each in alternatives(annotation):
        item = each.__origin__ if hasattr(each, "__metadata__") else each  # what is annotated
        if item is Secret:
            names.append("secret")
        elif isinstance(item, type) and not getattr(item, "__args__", ()):
            names.append({"str": "text", "Path": "path"}.get(item.__name__, item.__name__))
        else:
            names.append(_generic_name(item))
    return " or ".join(names)


def _generic_name(item: Any) -> str:
    arguments = [argument for argument in getattr(item, "__args__", ()) if argument is not ...]
    if getattr(item, "__origin__", None) in (tuple, list, frozenset, set):
        return (
            f"list of {' or '.join(_type_name(argument) for argument in dict.fromkeys(arguments))}"
        )
    if getattr(item, "__origin__", None) is dict:
        return f"table of {_type_name(arguments[-1])}"
    return " \\| ".join(f"`{argument}`" for argument in arguments)


def _toml(value: object) -> str:
    if isinstance(value, Secret):
        return SHOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    text = value.as_posix() if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=False)


def _render_section(
    origins: Mapping[str, str], path: tuple[str, ...], section: ConfigSection, lines: list[str]
) -> None:
    lines.append(f"[{'.'.join(path)}]")
    nested: list[tuple[str, ConfigSection]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        dotted = ".".join((*path, name))
        if isinstance(value, ConfigSection):
            nested.append((name, value))
        elif value is None:
            lines.append(f"# {name} is not set")
        else:
            origin = origins.get(dotted) or origins.get(f"{dotted}_file") or "default"
            lines.append(f"{name} = {_toml(value)}  # {origin}")
    lines.append("")
    for name, inner in nested:
        _render_section(origins, (*path, name), inner, lines)
