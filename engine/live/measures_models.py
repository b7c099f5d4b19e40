"""What the metrics say of the models: counts, scores with their intervals, value after costs, decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.learn.curves import FACTORS

Samples = list[tuple[tuple[str, ...], float]]

COUNTS: Final = ("predictions", "learned", "retrains", "swaps", "refused", "drift_alarms", "trades")
GAUGES: Final = {
    "ic": "model_ic",
    "ic_low": "model_ic_low",
    "ic_high": "model_ic_high",
    "spearman": "model_spearman",
    "rmse": "model_rmse_bps",
    "hit_rate": "model_hit_ratio",
    "slope": "model_slope",
    "log_loss": "model_log_loss",
    "gross_bps": "model_gross_bps",
    "net_bps": "model_net_bps",
    "pending": "model_pending_labels",
    "training": "model_training",
}
SHARES: Final = {"r2_pct": "model_r2", "r2_last_pct": "model_r2_last"}
LOST: Final = {"void": "void", "dropped": "dropped", "holes": "hole"}


def contests(summaries: Sequence[dict[str, Any]], values: dict[str, Samples]) -> None:
    """Add who speaks for each contest, what the bets on the others are worth, and what shadow accounts gained."""
    for one in summaries:
        contest = str(one["name"])
        values.setdefault("contest_champion", []).append(((contest, one["champion"]), 1.0))
        for other in one["challengers"]:
            values["contest_champion"].append(((contest, other["model"]), 0.0))
            values.setdefault("contest_wealth", []).append(((contest, other["model"]), float(other["wealth"])))
        for account in one["accounts"]:
            labels = (contest, account["model"])
            values.setdefault("contest_account", []).append((labels, float(account["gained"])))
            values.setdefault("contest_account_out", []).append((labels, float(bool(account["out"]))))
        values.setdefault("contest_promotions_total", []).append(((contest,), float(one["promotions"])))
        values.setdefault("contest_rollbacks_total", []).append(((contest,), float(one["rollbacks"])))


def models(summaries: Sequence[dict[str, Any]], values: dict[str, Samples]) -> None:
    """Add the samples; what is not known yet is left out."""

    def add(name: str, labels: tuple[str, ...], value: float | None) -> None:
        if value is not None:
            values.setdefault(name, []).append((labels, float(value)))

    for summary in summaries:
        model = str(summary["name"])
        for what in COUNTS:
            add(f"model_{what}_total", (model,), summary[what])
        for what, name in GAUGES.items():
            add(name, (model,), summary[what])
        for what, name in SHARES.items():
            add(name, (model,), None if summary[what] is None else summary[what] / 100.0)
        for what, why in LOST.items():
            add("model_lost_labels_total", (model, why), summary[what])
        add("model_stopped", (model,), bool(summary["stopped"]))
        _drift(model, summary["drift"], add)
        for factor, point in zip(FACTORS, summary["decay"], strict=False):
            add("model_decay_ic", (model, f"{factor:g}"), point["ic"])
        for point in summary["entry"]:
            add("model_entry_ic", (model, f"{point['begins_s']:g}s"), point["ic"])
        for regime, one in summary["regimes"].items():
            add("model_regime_ic", (model, regime), one["ic"])
        for one in (summary, *summary["others"]):
            add("model_label_ic", (model, one["label"]), one["ic"] if one["pairs"] else None)


def _drift(model: str, told: dict[str, Any], add: Callable[[str, tuple[str, ...], float | None], None]) -> None:
    """How a model is watched, and what became of the alarms beside one who always and one who never fires."""
    for who, grades in told["graded"].items():
        for grade, count in grades.items():
            add("model_drift_graded_total", (model, who, grade), count)
    add("model_drift_nearness", (model,), told["nearness"])
    add("model_drift_tuned", (model,), told["tuned"])
    add("model_drift_size", (model,), told["size"])
    add("model_drift_odd_total", (model,), told["odd"])
