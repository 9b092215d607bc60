"""Dashboards ask for metrics that exist, by labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / "infra" / "compose" / "grafana" / "dashboards"
FROM_SCRAPING: Final = {"job", "instance", "service_name"}
PARTS: Final = ("_bucket", "_sum", "_count")


def declared() -> dict[str, tuple[str, set[str]]]:
    """Metric -> kind and labels, as the reference page tells them (it is made from the code)."""
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(vigie_\w+)` \| (\w+) \| (.*?) \|", text, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def expressions() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_about_what_exists(expression: str) -> None:
    metrics = declared()
    found = re.findall(r"\bvigie_\w+", expression)
    assert found or expression.startswith("up")
    labels = set(FROM_SCRAPING)
    for name in found:
        base = next((name.removesuffix(p) for p in PARTS if name.endswith(p)), name)
        is_part = base != name and base in metrics
        kind, own = metrics[base if is_part else name]
        assert (kind == "histogram") == is_part, f"{name} is a {kind}"
        assert (kind == "counter") == bool(
            re.search(rf"(rate|increase)\({name}\b", expression)
        ) or (kind == "histogram"), f"{name} is a {kind}"
        labels |= own | ({"le"} if kind == "histogram" else set())
    used = {
        label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")
    }
    used |= set(re.findall(r"(\w+)!?=~?\"", expression))
    assert used <= labels


def test_panels_do_not_lie_on_each_other() -> None:
    for file in FOLDER.glob("*.json"):
        board = json.loads(file.read_text("utf-8"))
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            taken |= cells
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert {
            panel["datasource"]["uid"] for panel in board["panels"] if "datasource" in panel
        } == {"prometheus"}
