"""The course of a soak as a small picture (SVG), without a library for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

_NAMESPACE: Final = "http://www.w3.org/2000/svg"
_WIDTH: Final = 860
_LEFT: Final = 150
_ROW: Final = 96
_HEIGHT: Final = 62
_TOP: Final = 34
_MOST_POINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Curve:
    """One row of the picture."""

    name: str
    of: Callable[[Any], float]


CURVES: Final = (
    Curve("memory, PSS (MB)", lambda s: s.pss_bytes / 1e6),
    Curve("open files", lambda s: s.open_files),
    Curve("threads", lambda s: s.threads),
    Curve("tasks", lambda s: s.tasks),
    Curve("metric series", lambda s: s.series),
    Curve("segments in the spool", lambda s: s.spooled),
    Curve("live viewers", lambda s: s.viewers),
    Curve("database (MB)", lambda s: s.database_bytes / 1e6),
    Curve("segments stored", lambda s: s.segments),
)


def draw(
    samples: Sequence[Any],
    title: str,
    warm_up_seconds: float,
    curves: Sequence[Curve] = CURVES,
) -> str:
    """The picture: a row for each curve over the minutes of the soak, from zero.

    Args:
        samples: two at least, in order of time.
        title: said above it.
        warm_up_seconds: what is left out of the comparison is drawn grey.
        curves: its rows.
    """
    kept = samples[:: max(1, len(samples) // _MOST_POINTS)]
    height = _TOP + _ROW * len(curves) + 30
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {height}" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        '<g font-family="sans-serif">',
        f'<text x="8" y="20" font-size="14">{_escaped(title)}</text>',
    ]
    end = kept[-1].at_seconds
    for index, curve in enumerate(curves):
        parts += _row(curve, kept, end, _TOP + index * _ROW, warm_up_seconds)
    base = _TOP + len(curves) * _ROW
    for share in range(7):
        minutes = end / 60 * share / 6
        parts.append(
            f'<text x="{_x(minutes * 60, end):.0f}" y="{base + 8}" text-anchor="middle" '
            f'fill="#555">{minutes:.3g} min</text>'
        )
    return "\n".join((*parts, "</g></svg>", ""))


def _row(
    curve: Curve, samples: Sequence[Any], end: float, top: int, warm_up_seconds: float
) -> list[str]:
    values = [curve.of(sample) for sample in samples]
    most = max(*values, 1e-9)
    points = [
        f"{_x(sample.at_seconds, end):.1f},{top + _HEIGHT * (1 - value / most):.1f}"
        for sample, value in zip(samples, values, strict=True)
    ]
    warm = sum(sample.at_seconds < warm_up_seconds for sample in samples)
    right = _x(end, end)
    return [
        f'<text x="8" y="{top + 20}">{_escaped(curve.name)}</text>',
        f'<text x="8" y="{top + 36}" fill="#555">{min(values):.4g} to {most:.4g}</text>',
        f'<path d="M{_LEFT},{top}V{top + _HEIGHT}H{right:.0f}" fill="none" stroke="#bbb"/>',
        f'<polyline points="{" ".join(points[: warm + 1])}" fill="none" stroke="#aaa"/>',
        f'<polyline points="{" ".join(points[warm:])}" fill="none" stroke="#06c"/>',
    ]


def _x(seconds: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - 30) * seconds / end


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
