"""From a feature vector to the inputs of a linear model of the next move: odd, scaled, bounded, and a few products.

A number is *odd* if it changes its sign when the sides of the market are exchanged, *even* if it does not. The next
move is odd, so only odd inputs can speak of it; an even one (spread, pace, age of the last trade) says how far an odd
one is to be believed, as a product. That needs no intercept and half the weights.

Heavy-tailed inputs enter as sign(x) ln(1 + |x| / mean |x|), all are divided by their running root mean square and
bounded. What is missing is 0: it says nothing. Nothing looks ahead: scales are those of rows already learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError

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
_BY_LOG, _BY_SIZE = 1, 2

SETTLED_AFTER: Final = 30  # rows, or values other than 0: before that nothing is bounded while learning a scale
REACH: Final = 5.0  # running deviations; how far one row can pull a scale
RARE: Final = 0.2  # of rows: where fewer are not 0, the reach is that of those
SIZE_REACH: Final = 8.0  # running means; how far one row can pull the usual size of a heavy-tailed feature
MEMORY: Final = 20_000.0  # rows; what is older fades
BOUND: Final = 3.0  # root mean squares of an input
EVEN_BOUND: Final = 2.5  # standard deviations of an even feature
ABSURD: Final = 1e12  # a feature of this size or more says as little as nan
_LEAST: Final = 1e-3  # of an even feature before its logarithm

_N_PLAIN: Final = len(PLAIN)
_N_ODD: Final = len(PLAIN) + len(HEAVY)
_N_EVEN: Final = len(MODULATORS)
INPUTS: Final = _N_ODD + len(POWERS) + len(MODULATED) * len(MODULATORS)
"""How many inputs there are: the odd features, the powers, and the products."""

COLUMNS: Final = _N_ODD + _N_EVEN
"""How many features are read."""

_BENDS: Final = tuple(WAYS.index(way) for _, way in MODULATORS)
_MODULATED: Final = tuple((*PLAIN, *HEAVY).index(name) for name in MODULATED)

# Where the scales keep: rows learned; usual sizes of odd and even features; means and variances of even ones; of each
# input how often it was not 0, and its mean square.
_SEEN: Final = 0
_SIZES: Final = 1
_EVEN_SIZES: Final = _SIZES + _N_ODD
_MEANS: Final = _EVEN_SIZES + _N_EVEN
_VARIANCES: Final = _MEANS + _N_EVEN
_MOVED: Final = _VARIANCES + _N_EVEN
_SQUARES: Final = _MOVED + INPUTS
SCALES: Final = _SQUARES + INPUTS
"""How many numbers the scales take; all are 0 at first."""


@inlined
def tame(value: float) -> float:
    """A number that can be squared; 0 for what is missing or absurd."""
    return value if abs(value) < ABSURD else 0.0


@inlined
def _bend(value: float, mean: float) -> float:
    """Logarithmic far from 0, linear near it; ``mean`` is the usual size."""
    if mean <= 0.0:
        return 0.0
    return math.log1p(value / mean) if value > 0.0 else -math.log1p(-value / mean)


@inlined
def _even(x: Vector, columns: Indices, scales: Vector, e: int) -> float:
    """An even feature, bent."""
    value = tame(x[columns[_N_ODD + e]])
    if _BENDS[e] == _BY_LOG:
        return math.log(max(value, 0.0) + _LEAST)
    if _BENDS[e] == _BY_SIZE:
        return _bend(value, scales[_EVEN_SIZES + e])
    return value


@kernel
def expand(x: Vector, columns: Indices, scales: Vector, out: Vector) -> None:
    """Write the inputs of a feature vector before they are scaled: odd ones, powers, and products."""
    for i in range(_N_ODD):
        value = tame(x[columns[i]])
        out[i] = value if i < _N_PLAIN else _bend(value, scales[_SIZES + i])
    at = _N_ODD
    leading = out[0]
    for power in POWERS:
        out[at] = leading**power
        at += 1
    for e in range(_N_EVEN):
        centred = 0.0
        variance = scales[_VARIANCES + e]
        if variance > 0.0:
            centred = (_even(x, columns, scales, e) - scales[_MEANS + e]) / math.sqrt(variance)
            centred = min(max(centred, -EVEN_BOUND), EVEN_BOUND)
        for m in _MODULATED:
            out[at] = out[m] * centred
            at += 1


@inlined
def _enlarge(value: float, scales: Vector, at: int, seen: float) -> None:
    """Move the usual size of a feature by one value."""
    size, usual = abs(value), scales[at]
    if seen > SETTLED_AFTER and usual > 0.0:
        size = min(size, SIZE_REACH * usual)
    scales[at] = usual + (size - usual) / seen


@inlined
def _centre(value: float, scales: Vector, e: int, seen: float) -> None:
    """Move the running mean and variance of an even feature by one value."""
    mean, variance = scales[_MEANS + e], scales[_VARIANCES + e]
    if seen > SETTLED_AFTER and variance > 0.0:
        reach = REACH * math.sqrt(variance)
        value = min(max(value, mean - reach), mean + reach)
    moved = mean + (value - mean) / seen
    scales[_MEANS + e] = moved
    scales[_VARIANCES + e] = variance + ((value - mean) * (value - moved) - variance) / seen


@kernel
def learn(x: Vector, columns: Indices, scales: Vector, out: Vector) -> None:
    """Move all scales by one row, and write its inputs, scaled by them."""
    seen = min(scales[_SEEN] + 1.0, MEMORY)
    scales[_SEEN] = seen
    for i in range(_N_PLAIN, _N_ODD):
        _enlarge(tame(x[columns[i]]), scales, _SIZES + i, seen)
    for e in range(_N_EVEN):
        if _BENDS[e] == _BY_SIZE:
            _enlarge(tame(x[columns[_N_ODD + e]]), scales, _EVEN_SIZES + e, seen)
        _centre(_even(x, columns, scales, e), scales, e, seen)
    expand(x, columns, scales, out)
    moved, squares = scales[_MOVED:_SQUARES], scales[_SQUARES:SCALES]
    fades = 1.0 if seen < MEMORY else 1.0 - 1.0 / MEMORY  # so that moved / seen is the share of rows that are not 0
    for i in range(INPUTS):
        square = out[i] * out[i]
        # Many inputs are 0 mostly: the bound grows where few are not, or it would press the scale down to 0, and it
        # waits until some have been.
        if moved[i] >= SETTLED_AFTER:
            square = min(square, REACH * REACH * squares[i] * max(1.0, RARE * seen / moved[i]))
        moved[i] = moved[i] * fades + (out[i] != 0.0)
        squares[i] += (square - squares[i]) / seen
    scale(scales, out)


@kernel
def scale(scales: Vector, out: Vector) -> None:
    """Divide inputs by their running root mean squares, and bound them."""
    squares = scales[_SQUARES:SCALES]
    for i in range(INPUTS):
        value = out[i] / math.sqrt(squares[i]) if squares[i] > 0.0 else 0.0
        out[i] = min(max(value, -BOUND), BOUND)


def columns_of(names: Sequence[str]) -> Indices:
    """Where the features that are read stand in a vector with these names: the odd ones, then the even ones.

    Raises:
        ModelError: features are missing; the text names them.

    >>> columns_of(["imbalance_1"])
    Traceback (most recent call last):
    engine.learn.contract.ModelError: expected a feature set with imbalance_5, ...: name one that has them, such as ...
    """
    order = {name: at for at, name in enumerate(names)}
    wanted = (*PLAIN, *HEAVY, *(name for name, _ in MODULATORS))
    if missing := [name for name in wanted if name not in order]:
        raise ModelError(
            f"expected a feature set with {', '.join(missing)}: name one that has them, such as features = 'alpha'"
        )
    return np.array([order[name] for name in wanted], np.int64)
