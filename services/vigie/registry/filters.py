r"""The filter language of camera lists: a subset of AIP-160.

    filter  = [ term { [ "AND" ] term } ]
    term    = field ( "=" | "!=" ) value | value
    value   = word | '"' { any character, \" and \\ escaped } '"'

A bare value is searched for in the identifier, the name and the description. A message of
FILTER_INVALID names the position (counted from 1) and what could stand there.
"""

import re
from dataclasses import dataclass
from typing import Final

from vigie.platform.errors import VigieError
from vigie.registry.reasons import FILTER_INVALID

MAX_TERMS: Final = 20
FIELDS: Final = ("lifecycle", "zone", "site", "commune", "authorisation_state")
LIFECYCLES: Final = ("PLANNED", "IN_SERVICE", "SUSPENDED", "RETIRED")
AUTHORISATION_STATES: Final = ("NOT_AUTHORISED", "AUTHORISED", "EXPIRING")
_CHOICES: Final = {"lifecycle": LIFECYCLES, "authorisation_state": AUTHORISATION_STATES}
_PREFIXES: Final = {
    "lifecycle": "CAMERA_LIFECYCLE_",
    "authorisation_state": "CAMERA_AUTHORISATION_STATE_",
    "zone": "zones/",
    "site": "sites/",
    "commune": "communes/",
}
_TOKEN: Final = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\["\\])*") | (?P<operator>!=|=)
    | (?P<word>[^\s"=!()<>:,]+) )""",
    re.VERBOSE,
)
_UNSUPPORTED: Final = {
    "OR": "OR is not supported: ask once for each",
    "NOT": "NOT is not supported: write `field != value`",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition.

    Attributes:
        field: one of `FIELDS`, or empty: search for the value as text.
        value: what to compare with, without prefix; text is case-folded.
        negated: true for ``!=``.
    """

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_filter(text: str) -> tuple[Term, ...]:
    """The terms of a filter; all of them must hold. Empty: every camera.

    Raises:
        VigieError: FILTER_INVALID.
    """
    tokens = _tokens(text)
    terms: list[Term] = []
    index = 0
    while index < len(tokens):
        if _is_and(tokens[index]):
            if not terms or index + 1 == len(tokens) or _is_and(tokens[index + 1]):
                raise _invalid(tokens[index].position, "AND stands between two terms")
            index += 1
        term, index = _term(tokens, index)
        terms.append(term)
        if len(terms) > MAX_TERMS:
            raise _invalid(tokens[index - 1].position, f"more than {MAX_TERMS} terms")
    return tuple(terms)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            what = "this quotation mark is never closed"
            if text[start] != '"':
                what = f"{text[start]!r} means nothing here; quote text that holds it"
            raise _invalid(start + 1, what)
        kind = match.lastgroup or ""
        content = match.group(kind)
        start = match.start(kind) + 1
        if kind == "quoted":
            content = re.sub(r"\\(.)", r"\1", content[1:-1])
        elif kind == "word" and content in _UNSUPPORTED:
            raise _invalid(start, _UNSUPPORTED[content])
        tokens.append(_Token(kind, content, start))
        position = match.end()
    return tokens


def _is_and(token: _Token) -> bool:
    return token.kind == "word" and token.text == "AND"


def _term(tokens: list[_Token], index: int) -> tuple[Term, int]:
    first = tokens[index]
    if first.kind == "operator":
        raise _invalid(first.position, f"{first.text!r} needs a field before it")
    if index + 1 == len(tokens) or tokens[index + 1].kind != "operator":
        if not first.text.strip():
            raise _invalid(first.position, "there is no text to search for")
        return Term("", first.text.casefold()), index + 1
    if first.kind != "word" or first.text not in FIELDS:
        raise _invalid(
            first.position, f"{first.text!r} is no field; fields are {', '.join(FIELDS)}"
        )
    operator = tokens[index + 1]
    if index + 2 == len(tokens) or tokens[index + 2].kind == "operator":
        raise _invalid(operator.position, f"{operator.text!r} needs a value after it")
    value = _value(first.text, tokens[index + 2])
    return Term(first.text, value, negated=operator.text == "!="), index + 3


def _value(field: str, token: _Token) -> str:
    value = token.text.removeprefix(_PREFIXES[field])
    choices = _CHOICES.get(field)
    if choices is not None and value not in choices:
        raise _invalid(
            token.position, f"{token.text!r} is no {field}; there are {', '.join(choices)}"
        )
    return value


def _invalid(position: int, what: str) -> VigieError:
    return VigieError(
        FILTER_INVALID, f"at character {position}: {what}", field="filter", position=str(position)
    )
