"""What a model is to predict: kinds of label, how a name becomes one, and the settings that they share."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

import msgspec

SECOND_NS: Final = 1_000_000_000


class LabelError(ValueError):
    """A label or setting of one that cannot be had; the text says what was expected and what was found."""


class Kind(NamedTuple):
    """A kind of label: its number in the kernels, its unit, and what follows from what it is."""

    code: int
    unit: str
    is_direction: bool  # its sign says where the mid goes, so that it can be scored as a trade
    is_early: bool  # it may be known before the horizon


KINDS: Final[dict[str, Kind]] = {
    "return": Kind(0, "bps", is_direction=True, is_early=False),
    "scaled_return": Kind(1, "volatilities of the horizon", is_direction=True, is_early=False),
    "direction": Kind(2, "-1, 0 or 1", is_direction=True, is_early=False),
    "triple_barrier": Kind(3, "-1, 0 or 1, or bps", is_direction=True, is_early=True),
    "fill_bid": Kind(4, "seconds", is_direction=False, is_early=True),
    "fill_ask": Kind(5, "seconds", is_direction=False, is_early=True),
    "volatility": Kind(6, "log of bps per square root of the horizon", is_direction=False, is_early=False),
}
"""By the name in the config.

``return``: the mid's log return over the horizon. ``scaled_return``: the same in units of the volatility before the
sample. ``direction``: its sign, 0 within the band of costs. ``triple_barrier``: which of two barriers the mid meets
first, 0 at the horizon (Lopez de Prado, Advances in Financial Machine Learning, 2018, 3.4). ``fill_bid``, ``fill_ask``:
how long until an order that joined the best bid or ask would have been traded through; the horizon where it was not.
``volatility``: the logarithm of the mid's realised volatility over the horizon.
"""


class LabelOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the kinds. The band of ``direction`` is ``band_bps`` (fees, say) plus so many half spreads.

    ``profit`` and ``stop`` are the barriers above and below the mid, in ``barrier`` units: ``volatility`` (of the
    horizon, as before the sample) or ``bps``; 0 leaves one out. ``outcome``: the barrier's ``sign`` (0 at the horizon)
    or the ``return`` at the exit in bps. ``least_volatility_bps`` of the horizon is assumed where the mid moved less.

    >>> LabelOptions(profit=-1.0).check("model m")
    Traceback (most recent call last):
    engine.learn.targets.LabelError: model m: label_options.profit: expected at least 0, found -1.0
    """

    band_bps: float = 0.0
    band_half_spreads: float = 0.0
    profit: float = 1.0
    stop: float = 1.0
    barrier: Literal["volatility", "bps"] = "volatility"
    outcome: Literal["sign", "return"] = "sign"
    volatility_half_life_ns: int = 60 * SECOND_NS
    least_volatility_bps: float = 0.05

    def check(self, where: str) -> None:
        """Raise ``LabelError`` for a setting out of its bounds."""
        for field in ("band_bps", "band_half_spreads", "profit", "stop", "volatility_half_life_ns"):
            value = getattr(self, field)
            least = int(field == "volatility_half_life_ns")
            if not least <= value < float("inf"):
                raise LabelError(f"{where}: label_options.{field}: expected at least {least}, found {value}")
        if not 0.0 < self.least_volatility_bps < float("inf"):
            raise LabelError(
                f"{where}: label_options.least_volatility_bps: expected more than 0, found {self.least_volatility_bps}"
            )


class Target(NamedTuple):
    """One label of a model: its kind and how far ahead it looks."""

    kind: str
    horizon_ns: int

    @property
    def about(self) -> Kind:
        return KINDS[self.kind]

    def __str__(self) -> str:
        unit, size = next(pair for pair in reversed(UNITS.items()) if self.horizon_ns % pair[1] == 0)
        return f"{self.kind}@{self.horizon_ns // size}{unit}"


UNITS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def target(text: str) -> Target:
    """A label by its kind and horizon, such as ``return@5s``.

    Raises:
        LabelError: no such kind, or not a horizon with a unit.

    >>> target("direction@500ms"), str(target("return@60s"))
    (Target(kind='direction', horizon_ns=500000000), 'return@1m')
    >>> target("returns@5s")
    Traceback (most recent call last):
    engine.learn.targets.LabelError: label 'returns@5s': expected one of return, scaled_return, direction, ...
    """
    kind, _, horizon = text.partition("@")
    if kind not in KINDS:
        raise LabelError(f"label {text!r}: expected one of {', '.join(KINDS)} before the @, found {kind!r}")
    match = re.fullmatch(r"(\d+)(ns|us|ms|s|m|h)", horizon)
    if match is None or int(match[1]) == 0:
        raise LabelError(f"label {text!r}: expected a horizon such as 500ms or 5s behind the @, found {horizon!r}")
    return Target(kind, int(match[1]) * UNITS[match[2]])


def targets(label: str, horizon_ns: int, labels: tuple[str, ...]) -> tuple[Target, ...]:
    """All labels of a model, the one that ``predict_one`` speaks of first.

    Raises:
        LabelError: a label that is none, a label twice, or a first one that is not ``label`` at the horizon.

    >>> targets("return", SECOND_NS, ("return@1s", "direction@5s"))[1].kind
    'direction'
    >>> targets("return", SECOND_NS, ("return@5s",))
    Traceback (most recent call last):
    engine.learn.targets.LabelError: labels: expected return@1s first, as label and horizon say, found return@5s
    """
    if label not in KINDS:
        raise LabelError(f"label: expected one of {', '.join(KINDS)}, found {label!r}")
    first = Target(label, horizon_ns)
    found = tuple(target(text) for text in labels) or (first,)
    if found[0] != first:
        raise LabelError(f"labels: expected {first} first, as label and horizon say, found {found[0]}")
    if len(set(found)) < len(found):
        raise LabelError(f"labels: expected each label once, found {', '.join(map(str, found))}")
    return found
