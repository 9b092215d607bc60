"""Small line charts (SVG) of how a cost grows, without a library for it."""

from collections.abc import Mapping, Sequence
from typing import Final

_NAMESPACE: Final = "http://www.w3.org/2000/svg"
_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 110, 34, 40
_COLOURS: Final = ("#06c", "#c40", "#080", "#808", "#666")
Points = Sequence[tuple[float, float]]


def draw(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """One chart from zero: ``lines`` maps a name to its (x, y) points in order of x."""
    most_x = max(x for points in lines.values() for x, _ in points)
    most_y = max(y for points in lines.values() for _, y in points) * 1.1
    middle, bottom, right = (_LEFT + _WIDTH - _RIGHT) // 2, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="11">',
        f'<g font-family="sans-serif"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<path d="M{_LEFT},{_TOP}V{bottom}H{right}" fill="none" stroke="#999"/>',
        _text(8, 18, title),
        _text(middle, _HEIGHT - 8, across, "middle"),
        _text(8, _TOP - 4, up),
    ]
    for share in (0.25, 0.5, 0.75, 1.0):
        value = most_y * share / 1.1
        y = _y(value, most_y)
        parts.append(f'<path d="M{_LEFT},{y:.0f}H{right}" stroke="#eee"/>')
        parts.append(_text(_LEFT - 4, y + 4, f"{value:.3g}", "end"))
    marks = sorted({x for points in lines.values() for x, _ in points})
    parts += [_text(_x(x, most_x), bottom + 14, f"{x:g}", "middle") for x in marks]
    for (name, points), colour in zip(lines.items(), _COLOURS, strict=False):
        path = " ".join(f"{_x(x, most_x):.1f},{_y(y, most_y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts.append(_text(right + 4, _y(points[-1][1], most_y) + 4, name))
    return "\n".join((*parts, "</g></svg>", ""))


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _x(value: float, most: float) -> float:
    return _LEFT + (_WIDTH - _RIGHT - _LEFT) * value / most


def _y(value: float, most: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / most
