"""What the loader and the reference know of a section's fields from its annotations."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from vigie.platform.config.secret import Secret
from vigie.platform.config.section import ConfigSection

UNITS: Final = {
    "_bytes_per_second": "bytes per second",
    "_bits_per_second": "bits per second",
    "_seconds": "seconds",
    "_minutes": "minutes",
    "_hours": "hours",
    "_days": "days",
    "_months": "calendar months",
    "_milliseconds": "milliseconds",
    "_ms": "milliseconds",
    "_us": "microseconds",
    "_bytes": "bytes",
    "_mib": "mebibytes",
    "_ratio": "ratio, 0 to 1",
    "_ppm": "parts per million",
    "_percent": "percent",
}


def unit_of(name: str) -> tuple[str, str]:
    """The name without its unit, and the unit in words; ``("name", "")`` when it has none."""
    for suffix, words in UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), words
    return name, ""


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union without ``None``; the annotation itself when it is none."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(item for item in get_args(annotation) if item is not type(None))
    return (annotation,)


def nested_section(annotation: Any) -> type[ConfigSection] | None:
    """The section that stands in a field (also optional), or ``None``."""
    for item in alternatives(annotation):
        if isinstance(item, type) and issubclass(item, ConfigSection):
            return item
    return None


def is_secret(annotation: Any) -> bool:
    """Whether the field holds a `Secret`."""
    return Secret in alternatives(annotation)


def is_path(annotation: Any) -> bool:
    """Whether the field holds a path."""
    return Path in alternatives(annotation)


def is_text(annotation: Any) -> bool:
    """Whether an environment variable is taken for the field as it stands."""
    plain = {str, Path, Secret}
    return any(item in plain or get_origin(item) is Literal for item in alternatives(annotation))


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of the configuration.

    Attributes:
        path: names from the section down, e.g. ``("grpc", "tls", "key_file")``.
        info: what pydantic knows of it.
    """

    path: tuple[str, ...]
    info: FieldInfo

    @property
    def dotted(self) -> str:
        """``grpc.tls.key_file``."""
        return ".".join(self.path)

    @property
    def environment(self) -> str:
        """``VIGIE_GRPC__TLS__KEY_FILE``."""
        return environment_name(self.path)


def environment_name(path: tuple[str, ...]) -> str:
    """The variable that sets a key."""
    return "VIGIE_" + "__".join(path).upper()


def keys_of(model: type[ConfigSection], path: tuple[str, ...]) -> Iterator[ConfigKey]:
    """All keys of a section, those of nested ones after their parents."""
    for name, info in model.model_fields.items():
        yield ConfigKey((*path, name), info)
        nested = nested_section(info.annotation)
        if nested is not None:
            yield from keys_of(nested, (*path, name))
