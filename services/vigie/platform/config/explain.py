"""Turns what pydantic finds into lines that say what is wrong, where, and how to mend it."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError

from vigie.platform.config.fields import is_secret, nested_section, unit_of
from vigie.platform.config.section import ConfigSection
from vigie.platform.config.source import Problem, RawConfig

_QUANTITY = re.compile(r"^\s*(?P<number>[0-9]+(?:[.,][0-9]+)?)\s*(?P<unit>[A-Za-z/%]+)\s*$")
_NUMBER_ERRORS: Final = ("int_", "float_", "finite_")
_MAX_SHOWN = 60
_SYMBOLS: Final = {
    "s": "seconds",
    "sec": "seconds",
    "seconds": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "days": "days",
    "b": "bytes",
    "bytes": "bytes",
    "mib": "mebibytes",
    "%": "percent",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    stem, unit = unit_of(name)
    same = [other for other in names if unit and unit_of(other)[0] == stem]
    if same:
        return f"the key is {same[0]!r}, in {unit_of(same[0])[1]}: convert the value"
    return f"known are: {', '.join(names)}" if names else "remove it"


def explain(
    raw: RawConfig, section: str, model: type[ConfigSection], error: ValidationError
) -> list[Problem]:
    """One problem for each thing pydantic found in a section."""
    return [_one(raw, section, model, item) for item in error.errors(include_url=False)]


def _one(raw: RawConfig, section: str, model: type[ConfigSection], item: Any) -> Problem:
    location = tuple(str(part) for part in item["loc"])
    path = (section, *location)
    where, key = raw.where(path), ".".join(path)
    owner = _owner(model, location)
    kind = item["type"]
    if kind == "extra_forbidden":
        known = _key_names(owner) if owner else ()
        remedy = did_you_mean(location[-1], known)
        stem, unit = unit_of(location[-1])
        other = [name for name in known if unit_of(name)[0] == stem]
        if unit and other:
            remedy = f"the key is {other[0]!r}, in {unit_of(other[0])[1]}: convert the value"
        return Problem(where, key, "unknown key", remedy)
    if kind == "missing":
        return Problem(where, key, "is required and not given", f"write {location[-1]} = …")
    if kind == "value_error":
        message = str(item["msg"]).removeprefix("Value error, ")
        head, _, tail = message.partition("; ")
        return Problem(where, key, head, tail or "change the value")
    return Problem(where, key, *_bad_value(item, location))


def _bad_value(item: Any, location: tuple[str, ...]) -> tuple[str, str]:
    value = item["input"]
    quantity = _QUANTITY.match(value) if isinstance(value, str) else None
    if quantity and str(item["type"]).startswith(_NUMBER_ERRORS):
        unit = unit_of(location[-1])[1]
        number = quantity["number"].replace(",", ".")
        if not unit:
            return f"{value!r} carries a unit", f"the key takes a plain number: write {number}"
        if _SYMBOLS.get(quantity["unit"].lower()) == unit:
            return f"{value!r} carries a unit", f"the key is in {unit} already: write {number}"
        return f"{value!r} carries a unit", f"the key is in {unit}: convert, write a plain number"
    shown = repr(value)
    if len(shown) > _MAX_SHOWN:
        shown = shown[:_MAX_SHOWN] + "…"
    message = str(item["msg"])
    return f"{shown} is not accepted", message[:1].lower() + message[1:]


def _owner(model: type[ConfigSection], location: tuple[str, ...]) -> type[ConfigSection] | None:
    """The (nested) section that the last part of a location belongs to."""
    owner: type[ConfigSection] | None = model
    for part in location[:-1]:
        if owner is None or part not in owner.model_fields:
            return None
        owner = nested_section(owner.model_fields[part].annotation)
    return owner


def _key_names(model: type[ConfigSection]) -> list[str]:
    """Names as they stand in the file: a secret is written as its file."""
    return [
        f"{name}_file" if is_secret(info.annotation) else name
        for name, info in model.model_fields.items()
    ]
