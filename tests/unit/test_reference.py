"""The reference pages say what the code says, all of it, and the same each time."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "services" / "vigie"
sys.path.insert(0, str(ROOT / "tools"))

import reference  # noqa: E402 - tools/ is no package: its folder must be on the path first
import reference_contracts  # noqa: E402 - the same
import reference_markdown  # noqa: E402 - the same
import reference_tables  # noqa: E402 - the same


def sources() -> list[Path]:
    return [path for path in SOURCES.rglob("*.py") if "_pb2" not in path.name]


def test_check_names_the_pages_that_are_missing_and_those_that_differ(tmp_path: Path) -> None:
    names = sorted(reference.pages())
    missing = reference.differing(tmp_path)
    assert sorted(missing) == names
    for name, text in missing.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert reference.differing(tmp_path) == {}, "a page is not the same twice"
    (tmp_path / "errors.md").write_text("old", encoding="utf-8")
    assert list(reference.differing(tmp_path)) == ["errors.md"]


@pytest.mark.parametrize("kind", ["ReasonSpec", "MetricSpec"])
def test_everything_declared_in_the_code_is_on_a_page(kind: str) -> None:
    declared = {
        match
        for path in sources()
        for match in re.findall(
            rf'= {kind}\(\s*(?:name=)?"(\w+)"', path.read_text(encoding="utf-8")
        )
    }
    listed = {
        "ReasonSpec": {s.name for specs in reference_tables.reasons().values() for s in specs},
        "MetricSpec": {s.name for specs in reference_tables.metric_specs().values() for s in specs},
    }[kind]
    assert declared
    assert declared - listed == set(), "declared and not listed: add it to the module's tuple"


def test_a_reason_that_several_contexts_declare_has_one_status_code() -> None:
    """Contexts do not import each other, so some declare the same reason, in their own words."""
    codes: dict[str, object] = {}
    for specs in reference_tables.reasons().values():
        for spec in specs:
            assert codes.setdefault(spec.name, spec.code) == spec.code, spec.name
            assert spec.description_en
            assert spec.description_fr
            assert spec.remedy


def test_reasons_named_in_the_contracts_are_in_the_catalogue() -> None:
    listed = {spec.name for specs in reference_tables.reasons().values() for spec in specs}
    named: set[str] = set()
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        comments = re.sub(r"\n\s*//", "", path.read_text(encoding="utf-8"))
        for sentence in re.findall(r"(?:Reasons|Errors): ([^.]*)\.", comments):
            named |= set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", sentence))
    assert len(named) > 10
    assert named - listed == set()


def test_every_gap_cause_is_explained_to_people() -> None:
    names = [name for name, _ in reference_contracts.gap_cause_enum()]
    page = reference_contracts.gap_causes()
    assert all(f"| `{name}` |" in page for name in names)
    assert set(reference_contracts._ACTIONS) == set(names)


def test_every_method_stands_in_the_api_with_its_permission() -> None:
    page = reference_contracts.api()
    methods = [
        f"{service.name}.{method.name}"
        for file in reference_contracts.files()
        for service in file.proto.service
        for method in service.method
    ]
    assert len(methods) > 50
    for method in methods:
        _, found, rest = page.partition(f"#### {method}\n")
        assert found, method
        assert re.match(r"\n`[^`]+` → `[^`]+`\n\nPermission `[a-z.]+`; ", rest), method


def test_every_message_and_field_of_the_contracts_is_explained() -> None:
    for file in reference_contracts.files():
        for index, message in enumerate(file.proto.message_type):
            assert file.comment(4, index), f"{file.proto.name}: {message.name}"
            for number, item in enumerate(message.field):
                where = f"{file.proto.name}: {message.name}.{item.name}"
                assert file.comment(4, index, 2, number), where


def test_the_pages_name_nothing_of_the_machine_they_were_made_on() -> None:
    for name, make in reference.pages().items():
        text = make()
        assert str(ROOT) not in text, name
        assert str(Path.home()) not in text, name


def test_cells_keep_tables_whole() -> None:
    table = reference_markdown.table(("a", "b"), [("x | y", "two\nlines")])
    assert table == "| a | b |\n| --- | --- |\n| x \\| y | two lines |"
    assert reference_markdown.table(("a",), []) == ""
