"""How true paper fills are: predictions against the known fates of the real orders whose queue places they held.

*Filled* means any quantity in time: until the real order was cancelled, or up to ``grace_ns`` after its true full fill
(a ghost ahead of an order that traded waits on). Every figure is of yes or no, but for the volume and the edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from engine.core.book import ASK_COUNT, BID_COUNT, TOP_FIELDS, Int64s, set_level
from engine.core.jit import kernel
from engine.research.fill_files import FillFileError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

GRACE_NS: Final = 1_000_000_000
MARKOUT_NS: Final = 1_000_000_000
BLOCKS: Final = 60
"""Equal spans of time that are drawn together: orders of one moment share their fate."""
DRAWS: Final = 1000
SEED: Final = 7
BINS: Final = 10
NEVER: Final = 2**62

BUCKETS: Final[Mapping[str, tuple[int, int]]] = {
    "all": (-(10**9), 10**9),
    "improving": (-(10**9), -1),
    "at best": (0, 0),
    "1 tick": (1, 1),
    "2-5 ticks": (2, 5),
}
"""Distance to the own best price before the order came, in ticks; a negative one improved it."""

GRADES: Final = ("certain", "likely", "ambiguous")


class Score(msgspec.Struct, frozen=True):
    """The agreement of predictions with fates in one bucket of distance.

    ``mcc`` is Matthews' correlation (Biochim. Biophys. Acta 405, 1975), ``mcc_low`` and ``mcc_high`` its interval of
    95 % by a bootstrap of blocks of time; ``bias`` the predicted less the true share of fills; times in ms; ``volume``
    the predicted over the true quantity; ``edge`` the mean markout of a fill after a second, predicted less true, in
    ticks. ``None`` where there is nothing to measure.
    """

    n: int
    true_rate: float
    said_rate: float
    bias: float
    precision: float
    recall: float
    mcc: float | None
    mcc_low: float | None
    mcc_high: float | None
    brier: float
    time_error_ms: float | None
    volume: float
    edge: float | None


class Bin(msgspec.Struct, frozen=True):
    """One row of the reliability table: orders of similar probability, what was said of them and what came."""

    low: float
    high: float
    n: int
    said: float
    true: float


class GradeScore(msgspec.Struct, frozen=True):
    """Of the fills that carry a grade: their share of all graded fills, and the share that happened."""

    grade: str
    n: int
    share: float
    true: float


class Fidelity(msgspec.Struct, frozen=True):
    """All scores of one model on one tape; ``missing`` probes have no prediction and count as not filled."""

    missing: int
    buckets: dict[str, Score]
    reliability: list[Bin]
    grades: list[GradeScore]


def mcc(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    """Matthews' correlation; nan where a margin is empty.

    >>> one = lambda x: np.array([float(x)])
    >>> mcc(one(5), one(0), one(0), one(5)), mcc(one(4), one(1), one(1), one(4))
    (array([1.]), array([0.6]))
    """
    with np.errstate(all="ignore"):
        answer: Floats = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return answer


@kernel
def mids(rows: Int64s, depth: int) -> tuple[Int64s, Int64s]:
    """Times, and twice the mid price, after each level row that leaves both sides of the book filled.

    ``rows``: time, kind (1 level, 3 clear), side (1 bid, -1 ask), price, size.
    """
    count = np.zeros(TOP_FIELDS, np.int64)
    levels = np.zeros((2, 2, depth), np.int64)
    times = np.zeros(len(rows), np.int64)
    doubled = np.zeros(len(rows), np.int64)
    found = 0
    for row in range(len(rows)):
        ns, kind, side, price, size = rows[row]
        if kind == 3:
            count[:] = 0
        elif kind == 1:
            which = 0 if side > 0 else 1
            column = ASK_COUNT if which else BID_COUNT
            key = -price if which else price
            count[column] = set_level(levels[which, 0], levels[which, 1], count[column], key, size)
            if count[BID_COUNT] > 0 and count[ASK_COUNT] > 0:
                times[found] = ns
                doubled[found] = levels[0, 0, count[BID_COUNT] - 1] - levels[1, 0, count[ASK_COUNT] - 1]
                found += 1
    return times[:found], doubled[:found]


def mid_path(tape: pl.DataFrame) -> tuple[Int64s, Floats]:
    """Times in ns and mid prices in ticks of a tape."""
    rows = tape.select(
        "ts_ns",
        kind=pl.col("kind").replace_strict({"level": 1, "clear": 3}, default=0, return_dtype=pl.Int64),
        side=pl.when(pl.col("side") == "bid").then(1).otherwise(-1).cast(pl.Int64),
        price="price_ticks",
        size="size",
    ).fill_null(0)
    times, doubled = mids(np.ascontiguousarray(rows.to_numpy()), tape["price_ticks"].n_unique() + 1)
    return times, doubled / 2


def score(
    probes: pl.DataFrame, predictions: pl.DataFrame, tape: pl.DataFrame | None = None, grace_ns: int = GRACE_NS
) -> Fidelity:
    """Score predictions (``PREDICTION_SCHEMA``) against fates (``FATE_SCHEMA``); ``tape`` is needed for the edge.

    Raises:
        FillFileError: an order stands twice in the predictions, or there is no probe.
    """
    if not probes.height:
        raise FillFileError("expected probes, found none: nothing can be scored")
    doubles = predictions.height - predictions["order_id"].n_unique()
    if doubles:
        raise FillFileError(f"expected one prediction for each order_id, found {doubles} again: keep one of each")
    said_columns = predictions.select("order_id", "p_fill", "grade", said_size="filled_size", said_ns="t_first_fill_ns")
    both = probes.join(said_columns, on="order_id", how="left", maintain_order="left")
    said_size = both["said_size"].fill_null(0).to_numpy()
    said_ns = both["said_ns"].fill_null(-1).to_numpy()
    full_ns = both["t_full_fill_ns"].fill_null(-1).to_numpy()
    deadline = np.where(full_ns >= 0, full_ns + grace_ns, both["t_end_ns"].fill_null(NEVER).to_numpy())
    said: Bools = (said_size > 0) & (said_ns >= 0) & (said_ns <= deadline)
    true_size = both["filled_size"].fill_null(0).to_numpy()
    true: Bools = true_size > 0
    has_chance = predictions["p_fill"].null_count() < predictions.height
    chance = both["p_fill"].fill_null(0.0).to_numpy() if has_chance else said.astype(np.float64)
    view = _View(
        said=said,
        true=true,
        said_size=np.where(said, said_size, 0),
        true_size=true_size,
        said_ns=said_ns,
        true_ns=both["t_first_fill_ns"].fill_null(-1).to_numpy(),
        chance=chance,
        block=_blocks(both["t0_ns"].to_numpy()),
        markouts=_markouts(both, tape, said, said_ns) if tape is not None else None,
    )
    distance = both["dist_ticks"].to_numpy()
    draws = np.random.default_rng(SEED).multinomial(BLOCKS, [1 / BLOCKS] * BLOCKS, size=DRAWS)
    buckets = {}
    for name, (low, high) in BUCKETS.items():
        chosen = (distance >= low) & (distance <= high)
        if chosen.any():
            buckets[name] = _score(view, chosen, draws)
    missing = int(both["said_size"].is_null().sum())
    grades = _grades(both["grade"], said, true)
    return Fidelity(missing, buckets, reliability(chance, true), grades)


class _View(msgspec.Struct, frozen=True):
    """Predictions and fates side by side, an element a probe."""

    said: Bools
    true: Bools
    said_size: Int64s
    true_size: Int64s
    said_ns: Int64s
    true_ns: Int64s
    chance: Floats
    block: Int64s
    markouts: tuple[Floats, Floats] | None


def _blocks(t0_ns: Int64s) -> Int64s:
    first, last = int(t0_ns.min()), int(t0_ns.max())
    return (t0_ns - first) * BLOCKS // (last - first + 1)


def _markouts(both: pl.DataFrame, tape: pl.DataFrame, said: Bools, said_ns: Int64s) -> tuple[Floats, Floats] | None:
    """Signed mid price a second after the first fill less the fill's price, in ticks; nan without a fill."""
    times, mid = mid_path(tape)
    if not len(times):
        return None
    sign = np.where(both["side"].to_numpy() == "bid", 1, -1)
    price = both["price_ticks"].to_numpy()

    def after(ns: Int64s, happened: Bools) -> Floats:
        at = np.clip(np.searchsorted(times, ns + MARKOUT_NS, side="right") - 1, 0, len(times) - 1)
        return np.where(happened, sign * (mid[at] - price), np.nan)

    true_ns = both["t_first_fill_ns"].fill_null(-1).to_numpy()
    return after(said_ns, said), after(true_ns, both["filled_size"].fill_null(0).to_numpy() > 0)


def _score(view: _View, chosen: Bools, draws: Int64s) -> Score:
    said, true = view.said, view.true
    cells = np.stack(
        [
            np.bincount(view.block[chosen & part], minlength=BLOCKS)
            for part in (said & true, said & ~true, ~said & true, ~said & ~true)
        ],
        axis=1,
    )
    tp, fp, fn, tn = (int(count) for count in cells.sum(axis=0))
    n = tp + fp + fn + tn
    drawn = (draws @ cells).astype(np.float64)
    spread = mcc(drawn[:, 0], drawn[:, 1], drawn[:, 2], drawn[:, 3])
    spread = spread[np.isfinite(spread)]
    low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (math.nan, math.nan)
    matched = chosen & said & true
    errors = np.abs(view.said_ns - view.true_ns)[matched]
    exact = mcc(*(np.array([float(count)]) for count in (tp, fp, fn, tn)))[0]
    return Score(
        n=n,
        true_rate=(tp + fn) / n,
        said_rate=(tp + fp) / n,
        bias=(fp - fn) / n,
        precision=tp / max(1, tp + fp),
        recall=tp / max(1, tp + fn),
        mcc=_number(exact),
        mcc_low=_number(low),
        mcc_high=_number(high),
        brier=float(np.mean((view.chance[chosen] - true[chosen]) ** 2)),
        time_error_ms=float(np.median(errors) / 1e6) if len(errors) else None,
        volume=float(view.said_size[chosen].sum() / max(1, view.true_size[chosen].sum())),
        edge=_edge(view.markouts, chosen),
    )


def _edge(markouts: tuple[Floats, Floats] | None, chosen: Bools) -> float | None:
    if markouts is None:
        return None
    paper, real = (values[chosen & np.isfinite(values)] for values in markouts)
    return float(paper.mean() - real.mean()) if len(paper) and len(real) else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def reliability(chance: Floats, true: Bools, bins: int = BINS) -> list[Bin]:
    """Predicted against true shares in equal bins of probability; empty bins are left out.

    >>> [(one.n, one.said, one.true) for one in reliability(np.array([0.0, 0.9, 1.0]), np.array([False, False, True]))]
    [(1, 0.0, 0.0), (2, 0.95, 0.5)]
    """
    at = np.clip((chance * bins).astype(np.int64), 0, bins - 1)
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            int(chosen.sum()),
            float(chance[chosen].mean()),
            float(true[chosen].mean()),
        )
        for place in range(bins)
        if (chosen := at == place).any()
    ]


def _grades(grade: pl.Series, said: Bools, true: Bools) -> list[GradeScore]:
    """Of predicted fills only: a grade says how sure a fill is."""
    graded = grade.is_not_null().to_numpy() & said
    count = int(graded.sum())
    answer = []
    for name in GRADES:
        chosen = (grade == name).fill_null(value=False).to_numpy() & said
        n = int(chosen.sum())
        if n:
            answer.append(GradeScore(name, n, n / count, float(true[chosen].mean())))
    return answer


def plain(fidelity: Fidelity) -> dict[str, Any]:
    """The scores as plain values, for JSON."""
    answer: dict[str, Any] = msgspec.to_builtins(fidelity)
    return answer
