"""The load-bearing walls: who may import whom (docs/design/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "services" / "vigie"
CONTEXTS = {"registry", "access", "ingest", "recording", "evidence", "audit"}
TOP = {
    "cli",
    "demo",
    "__main__",
    "app",
    "calling",
    "contracts",
    "faultpoints",
    "gateway",
    "restoring",
    "schemas",
    "serve",
    "settings",
    "storage",
    "surroundings",
    "targets",
    "topics",
    "wiring",
}


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if "_pb2" not in path.name]


def imported(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and dotted parts below ``vigie`` of every import of ours, late ones included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("vigie", *package)[: len(package) + 2 - node.level]
            names = [".".join([*base, node.module or "", alias.name]) for alias in node.names]
        for name in names:
            parts = [part for part in name.split(".") if part]
            if parts and parts[0] == "vigie" and len(parts) > 1:
                yield node.lineno, parts[1:]


def room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def allowed(here: str, target: list[str]) -> bool:
    there = target[0]
    is_contract = len(target) > 1 and target[1] == "v1"
    if here == there:
        return True
    if here in TOP:
        return True
    if there == "common":
        return here not in {"media", "simcam"}
    if here in CONTEXTS:
        return there in {"media", "platform"} or (there in CONTEXTS and is_contract)
    if here == "simcam":
        return there == "media"
    return False  # platform and media know nobody, generated code is not looked at


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here == "common":
        pytest.skip("generated")
    wrong = [
        f"line {line}: vigie.{'.'.join(target)}"
        for line, target in imported(path)
        if not allowed(here, target)
    ]
    assert not wrong, f"{path.relative_to(ROOT)} reaches through a wall: {wrong}"


def test_simcam_shares_nothing_with_the_receive_path() -> None:
    """A camera that packs with the code that unpacks would hide the mistakes of both."""
    for path in (ROOT / "simcam").rglob("*.py"):
        for _, target in imported(path):
            assert target[:2] not in (["media", "depacketize"], ["media", "rtp"]), path


def test_the_wall_test_sees_a_breach(tmp_path: Path) -> None:
    assert not allowed("recording", ["ingest", "spool"])
    assert allowed("recording", ["ingest", "v1", "events_pb2"])
    assert not allowed("platform", ["registry", "v1", "events_pb2"])
    assert not allowed("media", ["platform", "clock"])
    source = ROOT / "recording" / "x.py"
    tree = "from vigie.ingest import spool\nimport vigie.app\n"
    probe = tmp_path / "x.py"
    probe.write_text(tree, encoding="utf-8")
    found = [
        target
        for node in ast.walk(ast.parse(tree))
        for target in ([alias.name for alias in getattr(node, "names", [])])
    ]
    assert found == ["spool", "vigie.app"]
    assert room(source) == "recording"
