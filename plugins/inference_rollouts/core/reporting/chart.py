"""A rollout on one page: weight, evidence and both arms' latency over time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from inference_rollouts.core.judging.judgement import Judgement

MOST = 1000  # points of a step: more than the chart has pixels for
WIDTH, PANEL, GAP, LEFT, TOP = 760, 120, 44, 64, 54
CANARY, STABLE, ALARM, INK = "#c2410c", "#1d4ed8", "#b91c1c", "#334155"


@dataclass(frozen=True, slots=True)
class Point:
    """One observation: Unix time, canary's weight in %, evidence, p95 of both arms in s (None: nothing)."""

    time: float
    weight: int
    evidence: float
    canary: float | None
    stable: float | None

    @classmethod
    def of(cls, judgement: Judgement) -> Point:
        """That of a judgement."""
        canary, stable = judgement.recent_canary, judgement.recent_stable
        return cls(
            judgement.time,
            judgement.weight,
            judgement.evidence,
            canary.latency_p95 if canary else None,
            stable.latency_p95 if stable else None,
        )


class Points:
    """A step's points in order of time: thinned evenly beyond MOST, and always with the newest."""

    def __init__(self) -> None:
        self._kept: list[Point] = []
        self._stride = 1
        self._seen = 0
        self._newest: tuple[Point, ...] = ()

    def add(self, point: Point) -> None:
        """The next point."""
        self._newest = (point,)
        if self._seen % self._stride == 0:
            self._kept.append(point)
            self._newest = ()
        self._seen += 1
        if len(self._kept) > MOST:
            del self._kept[1::2]
            self._stride *= 2

    def __iter__(self) -> Iterator[Point]:
        return iter((*self._kept, *self._newest))


def chart(title: str, points: Sequence[Point], alarm_at: float) -> str:
    """The SVG of a rollout's observations in order of time; evidence is on a log scale, up to the alarm."""
    start = points[0].time if points else 0.0
    length = max((point.time - start for point in points), default=0.0) or 1.0

    def x(time: float) -> float:
        return LEFT + (time - start) / length * (WIDTH - LEFT - 16)

    slowest = max((p for point in points for p in (point.canary, point.stable) if p), default=1.0) * 1.15
    ceiling = max([math.log10(alarm_at), *(math.log10(max(p.evidence, 0.1)) for p in points)]) * 1.1
    panels = [
        _panel(0, "canary's weight, %", [(0, "0"), (0.5, "50"), (1, "100")]),
        _line(points, x, 0, lambda p: p.weight / 100, CANARY, steps=True),
        _panel(
            1, "evidence against the canary", [(_log(1, ceiling), "1"), (_log(alarm_at, ceiling), "alarm")]
        ),
        _rule(1, _log(alarm_at, ceiling)),
        _line(points, x, 1, lambda p: _log(p.evidence, ceiling), CANARY),
        _panel(2, "latency p95", [(0, "0"), (1 / 1.15, f"{slowest / 1.15 * 1000:.0f} ms")]),
        _line(points, x, 2, lambda p: None if p.stable is None else p.stable / slowest, STABLE),
        _line(points, x, 2, lambda p: None if p.canary is None else p.canary / slowest, CANARY),
    ]
    height = TOP + 3 * (PANEL + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>'
        f'<text x="{WIDTH - 16}" y="22" text-anchor="end"><tspan fill="{CANARY}">canary</tspan> '
        f'<tspan fill="{STABLE}">stable</tspan></text>'
        f"{''.join(panels)}"
        f'<text x="{WIDTH - 16}" y="{height - 22}" text-anchor="end">{length:.0f} s</text></svg>'
    )


def _y(panel: int, share: float) -> float:
    bottom = TOP + panel * (PANEL + GAP) + PANEL
    return bottom - min(max(share, 0.0), 1.0) * PANEL


def _log(value: float, ceiling: float) -> float:
    """Place of a value on a log scale that begins at 0.1."""
    return (math.log10(max(value, 0.1)) + 1) / (ceiling + 1)


def _panel(panel: int, title: str, ticks: Sequence[tuple[float, str]]) -> str:
    top, right = _y(panel, 1), WIDTH - 16
    marks = "".join(
        f'<line x1="{LEFT}" x2="{right}" y1="{_y(panel, at):.1f}" y2="{_y(panel, at):.1f}" stroke="#e2e8f0"/>'
        f'<text x="{LEFT - 8}" y="{_y(panel, at) + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        for at, label in ticks
    )
    return f'<text x="{LEFT}" y="{top - 8}" fill="#64748b">{escape(title)}</text>{marks}'


def _rule(panel: int, at: float) -> str:
    place = f'x1="{LEFT}" x2="{WIDTH - 16}" y1="{_y(panel, at):.1f}" y2="{_y(panel, at):.1f}"'
    return f'<line {place} stroke="{ALARM}" stroke-dasharray="4 3"/>'


def _line(
    points: Sequence[Point],
    x: Callable[[float], float],
    panel: int,
    share: Callable[[Point], float | None],
    color: str,
    *,
    steps: bool = False,
) -> str:
    """A polyline that breaks where there is no value."""
    path, before = "", None
    for point in points:
        value = share(point)
        if value is not None:
            y = _y(panel, value)
            bend = f"H{x(point.time):.1f}V{y:.1f}" if steps else f"L{x(point.time):.1f} {y:.1f}"
            path += bend if before is not None else f"M{x(point.time):.1f} {y:.1f}"
        before = value
    return (
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2" stroke-linejoin="round"/>'
        if path
        else ""
    )
