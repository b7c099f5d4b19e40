"""From a feature vector to the inputs of a linear model of the next move: odd, scaled, bounded, and a few products.

A number is *odd* if it changes its sign when the sides of the market are exchanged, *even* if it does not. The next move
is odd, so only odd inputs can speak of it; an even one (spread, pace, age of the last trade) says how far an odd one is
to be believed, as a product. That needs no intercept and half the weights.

Heavy-tailed inputs enter as sign(x) ln(1 + |x| / mean |x|), all are divided by their running root mean square and
bounded. What is missing is 0: it says nothing. Nothing looks ahead: scales are those of rows already learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LEADING: Final = "imbalance_1"
"""The first input: the one that every order book is known by (Gould and Bonart, "Queue imbalance as a one-tick-ahead
price predictor in a limit order book", 2016), and the only one with a prior."""

PLAIN: Final = (
    LEADING,
    "imbalance_5",
    "size_ratio_log",
    "second_level_gap_bps",
    "imbalance_mean_1s",
    "imbalance_mean_3s",
    "count_balance_300ms",
    "count_balance_3s",
    "flow_500ms",
    "flow_2s",
    "move_sign",
    "trade_side_fading",
    "side_age_log",
)
"""Odd features that are bounded already."""

HEAVY: Final = (
    "microprice_bps",
    "ofi_1_500ms",
    "ofi_1_5s",
    "ofi_5_500ms",
    "ofi_5_5s",
    "signed_volume_300ms",
    "signed_volume_1s",
    "signed_volume_3s",
    "return_250ms_bps",
    "return_1s_bps",
    "return_5s_bps",
    "return_30s_bps",
    "move_fading_bps",
    "vwap_2s_bps",
    "vwap_10s_bps",
    "trade_gap_bps",
)
"""Odd features with heavy tails."""

POWERS: Final = (3, 7)
"""Of the leading input: the nearer a side is to its end, the likelier the move, and more than in proportion."""

MODULATED: Final = (
    LEADING,
    "size_ratio_log",
    "side_age_log",
    "ofi_1_500ms",
    "signed_volume_300ms",
    "return_1s_bps",
    "return_5s_bps",
    "return_30s_bps",
    "trade_gap_bps",
)
MODULATORS: Final = (
    ("trade_age_fading", "plain"),
    ("spread_bps", "log"),
    ("spread_change_1s_bps", "heavy"),
    ("trade_rate_log", "plain"),
    ("touch_volatility_1s", "log"),
    ("size_product_log", "plain"),
)
"""Even features, and how each is bent before it is centred: their products with each of ``MODULATED`` are inputs."""

WAYS: Final = ("plain", "log", "heavy")

SETTLED_AFTER: Final = 30  # values other than 0; before that nothing is bounded while learning a scale
REACH: Final = 5.0  # running root mean squares; how far one row can pull a scale
MEMORY: Final = 20_000.0  # rows; what is older fades
BOUND: Final = 3.0  # root mean squares of an input
EVEN_BOUND: Final = 2.5  # standard deviations of an even feature
ABSURD: Final = 1e12  # no feature is larger; keeps squares finite
_LEAST: Final = 1e-3  # of an even feature before its logarithm

# Rows of the scales' array: count, count of others than 0, mean square (odd) or mean (even), variance (even).
COUNT, MOVED, FIRST, SECOND = range(4)


@kernel
def tame(value: float) -> float:
    """A number that can be squared; 0 for what is missing."""
    if not np.isfinite(value):
        return 0.0
    return min(max(value, -ABSURD), ABSURD)


@kernel
def _follow(value: float, scales: Array, i: int) -> None:
    """Move the running mean square of an input by one value."""
    count = min(scales[COUNT, i] + 1.0, MEMORY)
    scales[COUNT, i] = count
    square = value * value
    if scales[MOVED, i] >= SETTLED_AFTER:
        square = min(square, REACH * REACH * scales[FIRST, i])
    scales[MOVED, i] += value != 0.0
    scales[FIRST, i] += (square - scales[FIRST, i]) / count


@kernel
def _centre(value: float, scales: Array, i: int) -> None:
    """Move the running mean and variance of an even feature by one value."""
    count = min(scales[COUNT, i] + 1.0, MEMORY)
    scales[COUNT, i] = count
    if count > SETTLED_AFTER and scales[SECOND, i] > 0.0:
        reach = REACH * np.sqrt(scales[SECOND, i])
        value = min(max(value, scales[FIRST, i] - reach), scales[FIRST, i] + reach)
    away = value - scales[FIRST, i]
    scales[FIRST, i] += away / count
    scales[SECOND, i] += (away * (value - scales[FIRST, i]) - scales[SECOND, i]) / count


@kernel
def _bend(value: float, mean: float) -> float:
    """Logarithmic far from 0, linear near it; ``mean`` is the usual size."""
    if mean <= 0.0:
        return 0.0
    return np.log1p(value / mean) if value > 0.0 else -np.log1p(-value / mean)


@kernel
def _even(x: Vector, even: Indices, ways: Indices, means: Array, i: int) -> float:
    value = tame(x[even[i]])
    if ways[i] == 1:
        return np.log(max(value, 0.0) + _LEAST)
    if ways[i] == 2:
        return _bend(value, means[i])
    return value


@kernel
def expand(
    x: Vector,
    odd: Indices,
    plain: int,
    even: Indices,
    ways: Indices,
    modulated: Indices,
    sizes: Array,
    even_sizes: Array,
    evens: Array,
    out: Vector,
) -> None:
    """Write the inputs before they are scaled: odd ones, powers, and products."""
    n = odd.shape[0]
    for i in range(n):
        value = tame(x[odd[i]])
        out[i] = value if i < plain else _bend(value, sizes[i])
    at = n
    leading = out[0]
    out[at] = leading**3
    out[at + 1] = leading**7
    at += 2
    for e in range(even.shape[0]):
        variance = evens[SECOND, e]
        centred = (_even(x, even, ways, even_sizes, e) - evens[FIRST, e]) / np.sqrt(variance) if variance > 0.0 else 0.0
        centred = min(max(centred, -EVEN_BOUND), EVEN_BOUND)
        for m in range(modulated.shape[0]):
            out[at] = out[modulated[m]] * centred
            at += 1


@kernel
def learn(
    x: Vector,
    odd: Indices,
    plain: int,
    even: Indices,
    ways: Indices,
    modulated: Indices,
    sizes: Array,
    even_sizes: Array,
    evens: Array,
    scales: Array,
    seen: Vector,
    out: Vector,
) -> None:
    """Move all scales by one row."""
    seen[0] = min(seen[0] + 1.0, MEMORY)
    for i in range(plain, odd.shape[0]):
        size = abs(tame(x[odd[i]]))
        if seen[0] > SETTLED_AFTER and sizes[i] > 0.0:
            size = min(size, 8.0 * sizes[i])
        sizes[i] += (size - sizes[i]) / seen[0]
    for e in range(even.shape[0]):
        if ways[e] == 2:
            size = abs(tame(x[even[e]]))
            if seen[0] > SETTLED_AFTER and even_sizes[e] > 0.0:
                size = min(size, 8.0 * even_sizes[e])
            even_sizes[e] += (size - even_sizes[e]) / seen[0]
        _centre(_even(x, even, ways, even_sizes, e), evens, e)
    expand(x, odd, plain, even, ways, modulated, sizes, even_sizes, evens, out)
    for i in range(out.shape[0]):
        _follow(out[i], scales, i)


@kernel
def scale(scales: Array, out: Vector) -> None:
    """Divide by the running root mean squares, and bound."""
    for i in range(out.shape[0]):
        square = scales[FIRST, i]
        value = out[i] / np.sqrt(square) if square > 0.0 else 0.0
        out[i] = min(max(value, -BOUND), BOUND)


def places(names: Sequence[str]) -> tuple[Indices, int]:
    """Where the kernels find what they need in a feature vector, and how many of it are odd.

    The places are those of the odd features, of the even ones, how each even one is bent, and which odd ones it
    modulates, one after the other.

    Raises:
        ModelError: features are missing; the text names them.
    """
    order = {name: at for at, name in enumerate(names)}
    odd = (*PLAIN, *HEAVY)
    if missing := [name for name in (*odd, *(name for name, _ in MODULATORS)) if name not in order]:
        raise ModelError(
            f"expected a feature set with {', '.join(missing)}: name one that has them, such as features = 'alpha'"
        )
    found = [order[name] for name in odd]
    found += [order[name] for name, _ in MODULATORS]
    found += [WAYS.index(way) for _, way in MODULATORS]
    found += [odd.index(name) for name in MODULATED]
    return np.array(found, np.int64), len(odd)


def width_of(odd: int) -> int:
    """How many inputs there are: the odd features, the powers, and the products."""
    return odd + len(POWERS) + len(MODULATED) * len(MODULATORS)
