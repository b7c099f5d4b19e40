"""The tearsheet's part about the models: scores with their intervals, value after costs, decay, calibration."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from engine.research import report_data as data
from engine.research.charts import Chart, Line, number
from engine.research.report_data import Run
from engine.research.report_parts import table

NOTE = (
    "Each prediction is scored when its label matures, before the model learns from it. The information coefficient is "
    "the correlation of prediction and outcome; its 95 % interval counts blocks of several horizons, as neighbouring "
    "labels overlap. R² is against always saying 0, and against saying the last label again. Gross is the mean move in "
    "the predicted direction in bps; net is what spread and taker fees leave of it where the prediction exceeds them."
)


def models(run: Run) -> Iterable[str]:
    """All about the models, or nothing where there are none."""
    told = run.summary.get("models", [])
    if not told:
        return
    head = ["Model", "Label", "Pairs", "IC", "95 %", "Rank IC", "R², %", "against last", "Hit, %", "Slope"]
    rows = [_scores(one, more) for one in told for more in (one, *one.get("others", []))]
    yield f'<h2>Models</h2><p class="note">{NOTE}</p><div class="card scroll">{table(head, rows)}</div>'
    worth = ["Model", "Signals", "Gross, bps", "Trades", "Net, bps", "Learned", "Void", "Retrains", "Swaps", "Drift"]
    yield f'<div class="card scroll">{table(worth, [_worth(one) for one in told])}</div>'
    for name, key, which in (
        ("Decay: IC over other horizons", "decay", "ends_s"),
        ("Entry later", "entry", "begins_s"),
    ):
        curves = [one for one in told if any(point["ic"] is not None for point in one.get(key, []))]
        if curves:
            heads = ["Model", *(f"{point[which] / _unit(curves[0], key):g}{_word(key)}" for point in curves[0][key])]
            lines = [[escape(str(one["name"])), *(_told(point["ic"], 3) for point in one[key])] for one in curves]
            yield f'<div class="card scroll"><h3>{name}</h3>{table(heads, lines)}</div>'
    sure = [one for one in told if one.get("reliability")]
    if sure:
        heads = ["Model", *(f"{tenth}" for tenth in range(1, 11))]
        lines = [
            [escape(str(one["name"])), *(f"{_told(p, 2)}<br>{_told(y, 2)}" for p, y, _ in one["reliability"])]
            for one in sure
        ]
        note = "Mean prediction and, below it, mean label, by tenths of the prediction; recent pairs."
        yield f'<div class="card scroll"><h3>Reliability</h3><p class="note">{note}</p>{table(heads, lines)}</div>'
    yield from _curves(run)


def _scores(model: dict[str, Any], one: dict[str, Any]) -> list[str]:
    known = bool(one.get("pairs", model.get("predictions")))
    low, high = one.get("ic_low"), one.get("ic_high")
    cells: list[tuple[float | None, int]] = [
        (one.get("spearman"), 4),
        (one.get("r2_pct"), 3),
        (one.get("r2_last_pct"), 3),
        (100.0 * one.get("hit_rate", 0.0), 1),
        (one.get("slope"), 2),
    ]
    return [
        escape(str(model.get("name"))),
        escape(str(one.get("label", ""))),
        str(one.get("pairs", 0)),
        _told(one.get("ic") if known else None, 4),
        "–" if low is None else f"{_told(low, 3)} to {_told(high, 3)}",
        *(_told(value if known else None, digits) for value, digits in cells),
    ]


def _worth(one: dict[str, Any]) -> list[str]:
    return [
        escape(str(one.get("name"))),
        str(one.get("signals", 0)),
        _told(one.get("gross_bps"), 3),
        str(one.get("trades", 0)),
        _told(one.get("net_bps"), 3),
        *(str(one.get(key, 0)) for key in ("learned", "void", "retrains", "swaps", "drift_alarms")),
    ]


def _unit(one: dict[str, Any], key: str) -> float:
    return float(one["horizon_s"]) if key == "decay" else 1.0


def _word(key: str) -> str:
    return "×" if key == "decay" else " s"


def _told(value: float | None, digits: int) -> str:
    return "–" if value is None else number(float(value), digits)


def _curves(run: Run) -> Iterable[str]:
    start_ns, end_ns = run.span
    for name, (ic, rmse) in data.score_curves(run).items():
        if len(ic.ns) < 2:
            continue
        first = Chart(start_ns, end_ns, [Line(ic.name, ic.ns, ic.values, "c0")], height=150, zero=True, label=ic.name)
        second = Chart(start_ns, end_ns, [Line(rmse.name, rmse.ns, rmse.values, "c1")], height=130, label=rmse.name)
        yield (
            f'<div class="card"><h3>{escape(name)}: information coefficient</h3>{first.svg()}'
            f"<h3>{escape(name)}: root mean squared error, bps</h3>{second.svg()}</div>"
        )
