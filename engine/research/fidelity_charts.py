"""The pictures of a fidelity report as inline SVG: dots with intervals, a reliability curve."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from engine.research.charts import nice_ticks, number
from engine.research.fidelity_score import Bin

WIDTH: Final = 960
LABEL: Final = 170
ROW: Final = 22
TOP, BOTTOM, RIGHT = 8, 26, 70
SQUARE: Final = 340
COLOURS: Final = ("c0", "c1", "c2", "c3", "c4", "c5")


class Dot(msgspec.Struct, frozen=True):
    """One value with its interval, named at the left; ``colour`` is a class of the stylesheet."""

    name: str
    value: float
    low: float
    high: float
    colour: str = "c0"


def dot_chart(dots: Sequence[Dot], label: str, decimals: int = 3, zero: bool = False) -> str:
    """A row for each dot; ``zero`` draws and includes the zero line.

    >>> dot_chart([Dot("touch", 0.74, 0.72, 0.76)], "MCC").count("<circle")
    1
    """
    if not dots:
        return ""
    low = min([one.low for one in dots] + ([0.0] if zero else []))
    high = max([one.high for one in dots] + ([0.0] if zero else []))
    if low == high:
        low, high = low - 0.01, high + 0.01
    ticks = nice_ticks(low, high, 6)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    height = TOP + ROW * len(dots) + BOTTOM

    def x(value: float) -> float:
        return LABEL + (value - low) / (high - low) * (WIDTH - LABEL - RIGHT)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        kind = "zero" if zero and tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text class="tick mid" x="{x(tick):.1f}" y="{height - 8}">{number(tick, decimals)}</text>')
    for at, one in enumerate(dots):
        y = TOP + ROW * (at + 0.5)
        title = f"{one.name}: {number(one.value, decimals)}"
        parts.append(f'<text class="tick" x="0" y="{y + 3.5:.1f}">{escape(one.name)}</text>')
        if one.high > one.low:
            path = f"M{x(one.low):.1f} {y:.1f}H{x(one.high):.1f}"
            parts.append(f'<path class="line {one.colour}" d="{path}"/>')
        dot = f'<circle class="dot {one.colour}" cx="{x(one.value):.1f}" cy="{y:.1f}" r="4">'
        parts.append(f"{dot}<title>{escape(title)}</title></circle>")
        text = number(one.value, decimals)
        parts.append(f'<text class="tick" x="{WIDTH - RIGHT + 12}" y="{y + 3.5:.1f}">{text}</text>')
    return "".join(parts) + "</svg>"


def reliability_chart(curves: Sequence[tuple[str, Sequence[Bin], str]], label: str) -> str:
    """What was said against what came, of (name, bins, colour); the diagonal is the truth, larger dots hold more.

    >>> bins = [Bin(0.0, 0.1, 90, 0.02, 0.03), Bin(0.9, 1.0, 10, 0.97, 0.96)]
    >>> reliability_chart([("fitted", bins, "c0")], "reliability").count("<circle")
    2
    """
    side = SQUARE - TOP - BOTTOM

    def x(value: float) -> float:
        return 34 + value * side

    def y(value: float) -> float:
        return TOP + (1 - value) * side

    parts = [f'<svg class="chart" viewBox="0 0 {SQUARE + 30} {SQUARE}" style="max-width:{SQUARE + 30}px" role="img"'
             f' aria-label="{escape(label)}">']  # fmt: skip
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="0" y="{y(tick) + 3.5:.1f}">{number(tick, 2)}</text>')
        parts.append(f'<text class="tick mid" x="{x(tick):.1f}" y="{SQUARE - 8}">{number(tick, 2)}</text>')
    parts.append(f'<line class="zero" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}"/>')
    for name, bins, colour in curves:
        if not bins:
            continue
        points = [(x(one.said), y(one.true)) for one in bins]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(f'<path class="line {colour}" d="{path}"/>')
        most = max(one.n for one in bins)
        for (a, b), one in zip(points, bins, strict=True):
            title = f"{name}: said {number(one.said, 3)}, came {number(one.true, 3)}, {one.n} orders"
            radius = 2.5 + 4 * (one.n / most) ** 0.5
            dot = f'<circle class="dot {colour}" cx="{a:.1f}" cy="{b:.1f}" r="{radius:.1f}">'
            parts.append(f"{dot}<title>{escape(title)}</title></circle>")
    return "".join(parts) + "</svg>"
