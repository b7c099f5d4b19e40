"""Small charts as inline SVG: time on x, a value on y, no script and nothing to load.

Colours are classes (``c0`` …, ``buy``, ``sell``), so that one stylesheet serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

WIDTH: Final = 960
LEFT, RIGHT, TOP, BOTTOM = 12, 84, 10, 24
COLUMNS: Final = 800
"""A line keeps at most its lowest and highest point in so many columns."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TIME_STEPS_S: Final = (
    *(1e-3, 1e-2, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800),
)


@dataclass(slots=True)
class Line:
    """One line: times in ns UTC, values, a name for the legend, a colour class."""

    name: str
    ns: Ints
    values: Floats
    colour: str = "c0"
    is_step: bool = False
    is_filled: bool = False


@dataclass(slots=True)
class Band:
    """A shaded area between two values at each time, behind the lines; each value holds until the next."""

    name: str
    ns: Ints
    low: Floats
    high: Floats
    colour: str = "c0"


@dataclass(slots=True)
class Mark:
    """One triangle on a chart: up for a buy, down for a sell; ``is_hollow`` for a maker's."""

    ns: int
    value: float
    side: Literal["buy", "sell"]
    is_hollow: bool
    label: str


@dataclass(slots=True)
class Chart:
    """A chart to be drawn over ``[start_ns, end_ns]``; ``zero`` draws and includes the zero line."""

    start_ns: int
    end_ns: int
    lines: list[Line]
    marks: list[Mark] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list, kw_only=True)
    height: int = 220
    zero: bool = False
    decimals: int | None = None
    label: str = ""

    def svg(self) -> str:
        """The chart as one ``<svg>`` element."""
        low, high = self._range()
        ticks = nice_ticks(low, high)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        view = _View(self.start_ns, max(self.end_ns, self.start_ns + 1), low, high, self.height)
        decimals = self.decimals if self.decimals is not None else _decimals(ticks)
        parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.label)}">',
            *_grid(view, ticks, decimals, self.zero),
            *(_band(view, band) for band in self.bands if len(band.ns)),
            *(_line(view, line) for line in self.lines if len(line.ns)),
            *(_mark(view, mark, 4.5 if len(self.marks) < 150 else 3.0) for mark in self.marks),
            *_end_labels(view, self.lines, decimals),
            "</svg>",
        ]
        return "".join(parts)

    def _range(self) -> tuple[float, float]:
        values = [line.values for line in self.lines if len(line.values)]
        values += [edge for band in self.bands for edge in (band.low, band.high) if len(edge)]
        everything = [float(np.nanmin(one)) for one in values] + [float(np.nanmax(one)) for one in values]
        everything += [mark.value for mark in self.marks] + ([0.0] if self.zero or not values else [])
        low, high = min(everything), max(everything)
        if low == high:
            pad = abs(low) * 1e-4 or 1.0
            return low - pad, high + pad
        return low, high


@dataclass(slots=True)
class _View:
    start_ns: int
    end_ns: int
    low: float
    high: float
    height: int

    def x(self, ns: float) -> float:
        return LEFT + (ns - self.start_ns) / (self.end_ns - self.start_ns) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (self.height - TOP - BOTTOM)


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values inside or just around a range.

    >>> nice_ticks(0.0, 9.3)
    [0.0, 2.5, 5.0, 7.5, 10.0]
    >>> nice_ticks(-0.2, 0.2)
    [-0.2, -0.1, 0.0, 0.1, 0.2]
    """
    raw = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(at * step, 12) + 0.0 for at in range(first, last + 1)]


def time_ticks(start_ns: int, end_ns: int, count: int = 7) -> list[tuple[int, str]]:
    """Round times of a range with their UTC text.

    >>> time_ticks(1_700_000_000_000_000_000, 1_700_000_021_000_000_000)[:2]
    [(1700000000000000000, '22:13:20'), (1700000005000000000, '22:13:25')]
    """
    span_s = (end_ns - start_ns) / 1e9
    step_s = next((step for step in TIME_STEPS_S if span_s / step <= count), TIME_STEPS_S[-1])
    step_ns = round(step_s * 1e9)
    pattern = "%H:%M:%S" if step_s < 60 else "%H:%M" if step_s < 86400 else "%d %b"
    ticks = []
    for at in range(-(-start_ns // step_ns) * step_ns, end_ns + 1, step_ns):
        text = datetime.fromtimestamp(at / 1e9, UTC).strftime(pattern)
        ticks.append((at, text + f".{at % 10**9 // 10**6:03d}" if step_s < 1 else text))
    return ticks


def thinned(ns: Ints, values: Floats, columns: int = COLUMNS) -> tuple[Ints, Floats]:
    """The lowest and the highest point of each of so many equal spans of time, in the order of time.

    >>> at = np.arange(10_000)
    >>> few, _ = thinned(at, np.sin(at / 300), 100)
    >>> len(few) <= 202
    True
    """
    if len(ns) <= 2 * columns:
        return ns, values
    column = ((ns - ns[0]) * columns // (int(ns[-1] - ns[0]) + 1)).astype(np.int64)
    order = np.lexsort((values, column))
    starts = np.flatnonzero(np.diff(column[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    kept = np.unique(np.concatenate((order[starts], order[ends], [0, len(ns) - 1])))
    return ns[kept], values[kept]


def number(value: float, decimals: int) -> str:
    r"""A number with thin groups of thousands and a real minus sign.

    >>> number(-12345.678, 2)
    '−12\u202f345.68'
    """
    text = f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "\u2212")
    return text.replace("\u2212", "") if not any(digit in text for digit in "123456789") else text


def _decimals(ticks: Sequence[float]) -> int:
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return places + int(round(step * 10.0**places, 6) % 1 != 0)


def _grid(view: _View, ticks: Sequence[float], decimals: int, zero: bool) -> list[str]:
    parts = []
    right = WIDTH - RIGHT
    for tick in ticks:
        y = view.y(tick)
        kind = "zero" if zero and tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{right + 8}" y="{y + 3.5:.1f}">{number(tick, decimals)}</text>')
    for at, text in time_ticks(view.start_ns, view.end_ns):
        x = view.x(at)
        if LEFT + 16 <= x <= right - 16:
            parts.append(f'<text class="tick mid" x="{x:.1f}" y="{view.height - 6}">{text}</text>')
    return parts


def _line(view: _View, line: Line) -> str:
    ns, values = thinned(line.ns, line.values)
    points = [(view.x(at), view.y(value)) for at, value in zip(ns.tolist(), values.tolist(), strict=True)]
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for x, y in points[1:]:
        path.append(f"H{x:.1f}V{y:.1f}" if line.is_step else f"L{x:.1f} {y:.1f}")
    drawn = "".join(path)
    stroke = f'<path class="line {line.colour}" d="{drawn}"/>'
    if not line.is_filled:
        return stroke
    base = view.y(min(max(0.0, view.low), view.high))
    area = f"{drawn}L{points[-1][0]:.1f} {base:.1f}L{points[0][0]:.1f} {base:.1f}Z"
    return f'<path class="area {line.colour}" d="{area}"/>{stroke}'


def _band(view: _View, band: Band) -> str:
    def steps(ns: Ints, values: Floats) -> list[tuple[float, float]]:
        kept, edge = thinned(ns, values)
        points = [(view.x(at), view.y(value)) for at, value in zip(kept.tolist(), edge.tolist(), strict=True)]
        return [points[0], *(one for (_, y), (x, then) in pairwise(points) for one in ((x, y), (x, then)))]

    outline = [*steps(band.ns, band.high), *reversed(steps(band.ns, band.low))]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in outline)
    return f'<path class="band {band.colour}" d="M{path}Z"><title>{escape(band.name)}</title></path>'


def _mark(view: _View, mark: Mark, size: float) -> str:
    x, y = view.x(mark.ns), view.y(mark.value)
    up = 1 if mark.side == "buy" else -1
    y += up * (size + 2)
    points = f"{x - size:.1f},{y + up * size:.1f} {x + size:.1f},{y + up * size:.1f} {x:.1f},{y - up * size:.1f}"
    hollow = " hollow" if mark.is_hollow else ""
    return f'<polygon class="{mark.side}{hollow}" points="{points}"><title>{escape(mark.label)}</title></polygon>'


def _end_labels(view: _View, lines: Sequence[Line], decimals: int) -> list[str]:
    """A dot at the end of each line, so that the eye finds where it stands now."""
    parts = []
    for line in lines:
        if len(line.ns):
            x, y = view.x(float(line.ns[-1])), view.y(float(line.values[-1]))
            title = f"{line.name} {number(float(line.values[-1]), decimals)}"
            dot = f'<circle class="dot {line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            parts.append(f"{dot}<title>{escape(title)}</title></circle>")
    return parts
