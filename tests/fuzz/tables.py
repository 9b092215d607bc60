"""What operators write: configuration, people, tables of cameras; and secrets that come back."""

from collections.abc import Mapping
from typing import Final

from fuzz.draw import Draw
from fuzz.files import in_memory
from fuzz.target import Target, promise
from vigie.access.people import PeopleFileError, parse_people
from vigie.app import SECTIONS
from vigie.platform import sealing
from vigie.platform.config.loader import ConfigError, load_config
from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.reasons import SEALED_SECRET_UNREADABLE, SEALING_KEY_INVALID
from vigie.platform.sealing import Sealed, Sealer, SealingKey, StreamLogin
from vigie.registry.csvimport import Table, _message
from vigie.registry.csvtable import COLUMNS, Mistakes, _guarded, read_table, unguarded

_NOW_US: Final = 1_790_000_000_000_000
_KEYS: Final = (SealingKey.of(b"\1" * 32), SealingKey.of(b"\2" * 32))


def _configuration(data: bytes) -> None:
    """A file, and after a NUL a variable of the environment on each line."""
    text, _, variables = data.partition(b"\0")
    lines = variables.decode("utf-8", "replace").replace("\0", "").split("\n")
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    with in_memory(text) as path:
        try:
            config = load_config(path, SECTIONS, environment)
        except ConfigError as error:
            promise(error.problems, "what is wrong is named")
            promise(all(problem.remedy for problem in error.problems), "and how to mend it")
            return
    promise(set(config.sections) == set(SECTIONS), "every section is there")
    for suspicion in config.suspicions:
        promise(str(suspicion), "a suspicion can be shown")


def _people(data: bytes) -> None:
    people = parse_people(data.decode("utf-8", "replace"))
    for subject, person in people.people.items():
        caller = people.caller(subject)
        promise(caller.subject == subject, "a person with rights")
        person.state(_NOW_US)


def _table(data: bytes) -> None:
    mistakes = Mistakes()
    columns, rows = read_table(data, mistakes)
    Table.of(data).zones_named()
    for row in rows:
        promise(set(row.values) == set(columns) <= set(COLUMNS), "known columns only")
        _message(row, columns, mistakes).SerializeToString()
        _check_guard(row.values)
    promise(columns or mistakes.found, "a table, or what is wrong with it")
    for mistake in mistakes.in_order():
        mistake.SerializeToString()


def _check_guard(values: Mapping[str, str]) -> None:
    for text in values.values():
        plain = text.strip()
        guarded = _guarded(plain)
        promise(unguarded(guarded) == plain, "what is exported is imported again as it was")
        is_number = plain[:1] in {"+", "-"} and guarded == plain
        promise(is_number or guarded[:1] not in {"=", "+", "-", "@"}, "no formula is exported")


def _sealed(data: bytes) -> None:
    draw = Draw(data)
    sealer = Sealer(_KEYS, lambda count: b"\3" * count)
    camera = draw.take(draw.below(16)).decode("latin-1")
    good = sealer.seal_login(StreamLogin("viewer", Secret("s3cret")), camera=camera)
    hurt = bytearray(good.ciphertext)
    step, at = draw.below(5), draw.byte() % len(hurt)
    if step == 0:
        hurt[at] ^= 1 << draw.below(8)
    elif step == 1:
        del hurt[at:]
    elif step == 2:
        hurt[at:at] = draw.take(1 + draw.below(20))
    key = draw.pick((good.key_id, _KEYS[1].key_id, draw.take(16).decode("latin-1")))
    other = camera if draw.flag() else draw.take(16).decode("latin-1")
    with in_memory(draw.rest()) as path:
        try:
            promise(sealing._read(path), "a file with keys has keys")
        except VigieError as error:
            promise(error.reason is SEALING_KEY_INVALID, "a reason")
    try:
        login = sealer.open_login(Sealed(key, bytes(hurt)), camera=other)
    except VigieError as error:
        promise(error.reason is SEALED_SECRET_UNREADABLE, "a reason")
        promise("s3cret" not in str(error), "an error shows no secret")
        same = (key, bytes(hurt), other) == (good.key_id, good.ciphertext, camera)
        promise(not same, "what is whole opens")
        return
    promise(bytes(hurt) == good.ciphertext and other == camera, "nothing altered opens")
    promise(login.username == "viewer", "what was sealed")


_TOML_WORDS: Final = (
    b"[[", b"]]", b' = "', b" = [", b" = { ", b"1979-05-27T07:32:00Z", b'"""', b"0x", b"[[[[[[[[",
    b"0001-01-01T00:00:00+23:59", b"\\u0000", b"~nobody/", b"VIGIE_INGEST__", b"_file = ",
    *(f"[{name}]\n".encode() for name in SECTIONS),
)  # fmt: skip
_PEOPLE_WORDS: Final = (
    b"[agencies.", b"[people.", b'name = "', b'agency = "', b'roles = ["', b'zones = ["*"]',
    b"from = 2026-01-01", b"until = ", b"[[people.a.assignments]]", b'role = "operator"',
    b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"revoked_tokens = [",
)  # fmt: skip
_TABLE_WORDS: Final = (
    *(name.encode() for name in COLUMNS), b";", b'"', b'""', b"\r\n", b"'=", b"native", b"nan",
    b"1e309", b"\xef\xbb\xbf", b"0000000309999999999",
)  # fmt: skip
TARGETS: Final = (
    Target("configuration", _configuration, (), False, 2048, _TOML_WORDS),
    Target("people", _people, (PeopleFileError,), False, 2048, _PEOPLE_WORDS),
    Target("table", _table, (), False, 2048, _TABLE_WORDS),
    Target("sealed", _sealed, (), False, 256, (b"vigie-sealing-key ",)),
)
