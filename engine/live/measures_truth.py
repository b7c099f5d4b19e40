"""What the metrics say of how true the fills are."""

from __future__ import annotations

from engine.core import report
from engine.core.engine import Engine
from engine.core.honesty.grades import GRADES, UNSEEN
from engine.core.honesty.markouts import HORIZONS_NS

Samples = list[tuple[tuple[str, ...], float]]

HORIZONS = tuple(f"{ns / 1e9:g}s" for ns in HORIZONS_NS)


def truth(engine: Engine, values: dict[str, Samples]) -> None:
    """Add the samples; what is not known yet is left out."""
    told = report.truth(engine)
    score = told["truth"]
    values["fills_graded_total"] = [((grade,), float(score[grade])) for grade in (*GRADES, UNSEEN)]
    values["fills_regraded_total"] = [((reason,), float(count)) for reason, count in score["regraded"].items()]
    values["fills_unsure_total"] = [((), float(score["unsure"]))]
    values["fills_false_expected"] = [((), float(score["false_fills"]))]
    if score["score"] is not None:
        for what in ("score", "low", "high"):
            values[f"fill_truth_{what}"] = [((), float(score[what]))]
    if score["measured"]:
        values["fill_truth_measured"] = [((), float(score["measured"]["low"]))]
    for currency, band in told["band"].items():
        for edge in ("low", "high", "hedged_low", "hedged_high"):
            values.setdefault(f"profit_{edge}", []).append(((currency,), float(band[edge])))
        values.setdefault("twin_profit", []).extend(
            ((model, currency), float(profit)) for model, profit in band["models"].items()
        )
    for row in told["execution"]:
        labels = (str(row["strategy"]), str(row["symbol"]))
        for what in ("shortfall_bps", "maker_share", "fill_ratio"):
            if row[what] is not None:
                values.setdefault(what, []).append((labels, float(row[what])))
        for horizon, bps in zip(HORIZONS, row["missed_bps"], strict=True):
            if bps is not None:
                values.setdefault("missed_bps", []).append(((*labels, horizon), float(bps)))
    values["markout_ticks"] = _markouts(engine)
    _calibration(engine, values)


def _calibration(engine: Engine, values: dict[str, Samples]) -> None:
    for one in engine.calibration.plain():
        symbol = (str(one["symbol"]),)
        for name, key in (("queue_share", "share"), ("queue_share_low", "low"), ("queue_share_high", "high")):
            values.setdefault(name, []).append((symbol, float(one[key])))
        values.setdefault("ghosts_total", []).extend(
            ((*symbol, fate), float(one[fate])) for fate in ("surely", "surely_not", "unknown")
        )


def _markouts(engine: Engine) -> Samples:
    """By strategy, symbol, grade and horizon the mean over all places of the queue."""
    sums: dict[tuple[str, ...], tuple[int, int]] = {}
    for (strategy, symbol, _, grade), one in engine.honesty.markouts.groups.items():
        for at, horizon in enumerate(HORIZONS, 1):
            key = (strategy, engine.instruments[symbol].name, grade, horizon)
            gain2, counted = sums.get(key, (0, 0))
            sums[key] = gain2 + one.gain2[at] * 10_000 // engine.instruments[symbol].tick, counted + one.counted[at]
    return [(key, gain2 / (20_000 * counted)) for key, (gain2, counted) in sums.items() if counted]
