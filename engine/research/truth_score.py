"""Paper against real, order by order, as one row a kind of order.

Turnover cost is what trading that much costs: the fees of the real fills and, of those that took, half the spread
that stood when they arrived. Profit is judged at one price for both, the middle of the undisturbed market at the
trial's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.research.truth_market import Fate
from engine.research.truth_orders import KINDS

MAKER_FEE: Final = Decimal("0.0002")
TAKER_FEE: Final = Decimal("0.0005")
"""Of the notional: Binance USD-M futures, its lowest tier."""


class Pair(msgspec.Struct, frozen=True):
    """One order: its two fates, and what they are judged by.

    ``mark2`` is twice the judging price, ``real_mark2`` the same where the order was really placed; ``spread`` stood
    when it arrived. All in units of the instrument.
    """

    kind: str
    side: int
    wanted: int
    real: Fate
    paper: Fate
    mark2: int
    real_mark2: int
    spread: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of order. Shares are fractions of 1; errors are paper less real; ``better`` is the paper's advantage.

    ``profit_error`` is the sum of profit differences over the sum of turnover costs, ``profit_stderr`` its standard
    error as orders are drawn, ``profit_spread`` the sum of their absolute values over the same; ``own_mark_error``
    judges the real orders in the market that they disturbed.
    """

    kind: str
    orders: int
    real_filled: float
    paper_filled: float
    agree: float
    mcc: float
    size_agree: float
    time_ms_p50: float
    time_ms_p95: float
    price_ticks: float
    price_ticks_abs: float
    profit_ticks: float
    profit_error: float
    profit_stderr: float
    profit_spread: float
    own_mark_error: float


def _profit2(side: int, fate: Fate, mark2: int) -> int:
    """Twice the profit at a mark, before fees, in units of price times size."""
    return side * (mark2 * fate.size - 2 * fate.worth)


def _fees2(fate: Fate) -> Decimal:
    return sum(
        (2 * price * size * (MAKER_FEE if is_maker else TAKER_FEE) for _, price, size, is_maker in fate.fills),
        Decimal(0),
    )


def _cost2(pair: Pair) -> Decimal:
    """Twice the turnover cost of the real order."""
    return _fees2(pair.real) + sum(size * pair.spread for _, _, size, is_maker in pair.real.fills if not is_maker)


def _at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def _mcc(both: int, paper_only: int, real_only: int, none: int) -> float:
    """Correlation of two yes-or-no answers (Matthews); 1 where they are the same and do not vary.

    >>> _mcc(5, 0, 0, 5), _mcc(5, 0, 0, 0), _mcc(1, 1, 1, 1)
    (1.0, 1.0, 0.0)
    """
    product = (both + paper_only) * (both + real_only) * (none + paper_only) * (none + real_only)
    if product == 0:
        return 1.0 if paper_only == real_only == 0 else 0.0
    return float((both * none - paper_only * real_only) / product**0.5)


def score(kind: str, pairs: Sequence[Pair], tick: int) -> Row:
    """One row over some pairs; ``tick`` in price units."""
    both = [one for one in pairs if one.real.size and one.paper.size]
    paper_only = sum(bool(one.paper.size) and not one.real.size for one in pairs)
    real_only = sum(bool(one.real.size) and not one.paper.size for one in pairs)
    none = len(pairs) - len(both) - paper_only - real_only
    real_size = sum(one.real.size for one in pairs)
    late = [abs(one.paper.fills[0][0] - one.real.fills[0][0]) / 1e6 for one in both]
    better = [one.side * (one.real.worth / one.real.size - one.paper.worth / one.paper.size) / tick for one in both]
    differences = [
        _profit2(one.side, one.paper, one.mark2)
        - _profit2(one.side, one.real, one.mark2)
        - (_fees2(one.paper) - _fees2(one.real))
        for one in pairs
    ]
    own = [
        _profit2(one.side, one.paper, one.mark2)
        - _profit2(one.side, one.real, one.real_mark2)
        - (_fees2(one.paper) - _fees2(one.real))
        for one in pairs
    ]
    cost = sum((_cost2(one) for one in pairs), Decimal(0)) or Decimal(1)
    count = len(pairs) or 1
    return Row(
        kind=kind,
        orders=len(pairs),
        real_filled=(len(both) + real_only) / count,
        paper_filled=(len(both) + paper_only) / count,
        agree=(len(both) + none) / count,
        mcc=_mcc(len(both), paper_only, real_only, none),
        size_agree=1 - sum(abs(one.paper.size - one.real.size) for one in pairs) / (real_size or 1),
        time_ms_p50=_at(late, 0.5),
        time_ms_p95=_at(late, 0.95),
        price_ticks=sum(better) / (len(better) or 1),
        price_ticks_abs=sum(map(abs, better)) / (len(better) or 1),
        profit_ticks=float(sum(differences) / 2) / (real_size or 1) / tick,
        profit_error=float(sum(differences) / cost),
        profit_stderr=float(sum((one * one for one in differences), Decimal(0)).sqrt() / cost),
        profit_spread=float(sum(map(abs, differences)) / cost),
        own_mark_error=float(sum(own) / cost),
    )


def rows(pairs: Iterable[Pair], tick: int) -> list[Row]:
    """A row for each kind that occurs, and ``all``."""
    pairs = list(pairs)
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in pairs)]
    return [score(kind, [one for one in pairs if one.kind == kind], tick) for kind in kinds] + [
        score("all", pairs, tick)
    ]


def table(named: dict[str, list[Row]]) -> str:
    """The rows as text, one block a name."""
    head = (
        "kind                orders  filled: real  paper  agree    mcc   size  late ms p50    p95"
        "  price ticks   |abs|  profit/cost      ±  |abs|  own mark"
    )
    lines = []
    for name, some in named.items():
        lines += [name, head]
        for one in some:
            lines.append(
                f"{one.kind:<18} {one.orders:7d}       {one.real_filled:7.3f} {one.paper_filled:6.3f} {one.agree:6.4f}"
                f" {one.mcc:6.3f} {one.size_agree:6.3f} {one.time_ms_p50:12.2f} {one.time_ms_p95:6.1f}"
                f" {one.price_ticks:+12.3f} {one.price_ticks_abs:7.3f}"
                f"  {one.profit_error:+10.2%} {one.profit_stderr:6.2%} {one.profit_spread:6.1%}"
                f" {one.own_mark_error:+9.2%}"
            )
    return "\n".join(lines)


def plain(named: dict[str, list[Row]]) -> dict[str, Any]:
    """The rows as plain values, by name and kind."""
    return {name: {one.kind: msgspec.structs.asdict(one) for one in some} for name, some in named.items()}
