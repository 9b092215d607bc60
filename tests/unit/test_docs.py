"""The handwritten pages: links lead somewhere, what they name exists, commands can be typed."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vigie.access.permissions import PERMISSIONS
from vigie.app import SECTIONS
from vigie.cli.commands import load_all
from vigie.cli.main import app
from vigie.faultpoints import known_points
from vigie.platform.config.fields import keys_of

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    top = [*ROOT.glob("*.md"), *(ROOT / "infra").glob("*.md"), *(ROOT / "helm").glob("*.md")]
    return sorted([*top, *(ROOT / "docs").rglob("*.md")])


def identity(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def anchors(path: Path) -> frozenset[str]:
    """Anchors as forges make them from headings: lower case, no punctuation, hyphens."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text_of(path)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
        if found[name]:
            found[f"{name}-{found[name]}"] = 0
    return frozenset(found)


def problems(path: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", text_of(path))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_relative_to(ROOT):
            yield f"{target}: leads out of the repository"
        elif not file.exists():
            yield f"{target}: there is no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: {identity(file)} has no such heading"


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert list(problems(path)) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = ROOT / "docs" / "README.md"
    assert "no-such-heading" not in anchors(page)
    assert "documentation" in anchors(page)
    assert LINK.findall("see [x](a.md#b) and ![y](c.svg)") == ["a.md#b", "c.svg"]


def named(path: Path, pattern: str) -> list[str]:
    return re.findall(rf"`({pattern})`", text_of(path))


REQUIREMENTS = ROOT / "docs" / "reference" / "requirements.md"
CODE = r"(?:services|tests|tools|protos|docs)/[\w./-]+"


@cache
def declared_tests(path: Path) -> frozenset[str]:
    tree = ast.parse(text_of(path))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_file_named_exists(path: Path) -> None:
    missing = [name for name in named(path, CODE) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_test_named_exists(path: Path) -> None:
    missing = []
    for name in named(path, r"tests/[\w./-]+\.py::\w+"):
        file, _, test = name.partition("::")
        if not (ROOT / file).exists() or test not in declared_tests(ROOT / file):
            missing.append(name)
    assert missing == []


def test_every_requirement_says_how_it_stands() -> None:
    rows = [line for line in text_of(REQUIREMENTS).splitlines() if re.match(r"\| [LNP]\d+ ", line)]
    assert len(rows) >= 35
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        state = next(cell for cell in cells if re.match(r"(met|partly|open)\b", cell))
        if state.startswith("met"):
            assert "services/" in cells[-2], row
            assert "tests/" in cells[-1], row
        if state.startswith("partly"):
            assert ":" in state, f"say what is missing: {row}"


def test_the_invariants_of_the_overview_are_enforced_and_tested_where_it_says() -> None:
    overview = text_of(ROOT / "docs" / "design" / "overview.md")
    rows = [line for line in overview.splitlines() if re.match(r"\| I\d+ \|", line)]
    assert len(rows) == 11
    for row in rows:
        *_, places, proofs = [cell.strip() for cell in row.strip("|").split("|")]
        for place in re.findall(r"`([\w./-]+)`", places):
            assert (ROOT / "services" / "vigie" / place).exists(), place
        assert re.findall(r"`tests/[\w./-]+`", proofs), row


# --- commands shown ---------------------------------------------------------------------------


SHELL = re.compile(r"^```(?:console|sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
VIGIE = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*vigie (.+)")


def commands(path: Path) -> Iterator[list[str]]:
    """Words of every `vigie` command in a block of a shell."""
    for block in SHELL.findall(text_of(path)):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if match := VIGIE.fullmatch(line.strip()):
                yield shlex.split(match[1], comments=True)


@cache
def loaded_commands() -> dict[str, Any]:
    return load_all()


def unknown(words: list[str]) -> str | None:
    """What in a command line nobody understands; `None`: nothing."""
    current: Any = typer.main.get_command(app)
    options = {name for param in current.params for name in param.opts}
    loaded = loaded_commands()
    rest = list(words)
    while rest and hasattr(current, "commands"):
        word = rest.pop(0)
        if word.startswith("-"):
            if word not in {*options, "--help"}:
                return f"{word} of {' '.join(words)}"
            continue
        current = loaded.get(word) if current.name == "vigie" else current.commands.get(word)
        if current is None:
            return f"{word} of {' '.join(words)}"
        options = {n for p in current.params for n in (*p.opts, *p.secondary_opts)}
    for word in rest:
        if word in {"|", ">", "&&"}:
            break
        if re.match(r"--?[a-z]", word) and not re.match(r"-\d", word):
            name = word.partition("=")[0]
            if name not in options and name not in {"--help", "-h"}:
                return f"{name} of {' '.join(words)}"
    return None


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_command_shown_can_be_typed(path: Path) -> None:
    wrong = [problem for words in commands(path) if (problem := unknown(words)) is not None]
    assert wrong == []


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert unknown(["timeline", "cam-a", "--from", "-5m"]) is None
    assert unknown(["timeline", "cam-a", "--since", "-5m"]) is not None
    assert unknown(["evidence", "request", "cam-a", "--case", "1"]) is None
    assert unknown(["evidence", "ask", "cam-a"]) is not None
    assert unknown(["nonsense"]) is not None


# --- metrics and configuration keys -----------------------------------------------------------


@cache
def declared_metrics() -> frozenset[str]:
    declared = re.compile(r'MetricSpec\(\s*(?:name=)?"(vigie_\w+)"')
    sources = (ROOT / "services" / "vigie").rglob("*.py")
    return frozenset(name for path in sources for name in declared.findall(text_of(path)))


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_metric_named_is_declared(path: Path) -> None:
    named_here = set(re.findall(r"`(vigie_(?!demo)\w+)", text_of(path)))
    assert named_here - declared_metrics() == set()


@pytest.mark.parametrize("path", pages(), ids=identity)
def test_every_configuration_key_named_exists(path: Path) -> None:
    known = {key.dotted for name, model in SECTIONS.items() for key in keys_of(model, (name,))}
    sections = "|".join(SECTIONS)
    named_here = set(
        re.findall(rf"`((?:{sections})\.[a-z_]+(?:\.[a-z_]+)?)(?: = [^`]*)?`", text_of(path))
    )
    # File names, permissions and fault points look alike.
    ignored = set(known_points(kafka=True, s3=True))
    ignored |= {name for name in named_here if name.endswith((".py", ".proto", ".key", ".db"))}
    assert named_here - known - ignored - {spec.name for spec in PERMISSIONS} == set()
