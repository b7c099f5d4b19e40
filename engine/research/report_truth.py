"""The part of the tearsheet that says how true the fills are: grades, the band of profit, markouts, shortfall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import numpy as np
import polars as pl

from engine.core.honesty.grades import GRADES
from engine.research.charts import Band, Chart, Line, number
from engine.research.report_data import Curve, Run
from engine.research.report_parts import legend, money, percent, share, signed, table

HORIZONS: Final = ("0.1 s", "1 s", "10 s", "60 s")
MAX_ROWS: Final = 40
UNSURE: Final = ("doubt", "gone")


def truth(run: Run) -> Iterable[str]:
    """The sections, none of them where nothing was filled."""
    told = run.summary.get("truth", {})
    if told.get("fills"):
        yield _score(run, told)
        yield from _bands(run)
        yield _markouts(run.summary.get("markouts", []))
    yield _execution(run.summary.get("execution", []))


def _score(run: Run, told: Mapping[str, Any]) -> str:
    fills = int(told["fills"])
    interval = f"{100 * told['low']:.1f} to {100 * told['high']:.1f} %"
    tiles = [
        ("fill-truth score: expected share of fills that are real", f"{100 * told['score']:.1f}<small> %</small>"),
        ("95 % interval, were the model's chances exact", interval),
        ("fills expected to be false", number(float(told["false_fills"]), 1)),
        *((f"{grade} when they came", percent(int(told[grade]), fills)) for grade in GRADES),
    ]
    if told["unsure"]:
        tiles.append(("fills of orders whose book had a gap meanwhile", str(told["unsure"])))
    if told.get("assumed"):
        tiles.append(("more fills were assumed for the time away: not in the score", str(told["assumed"])))
    measured = told.get("measured")
    if measured:
        tiles.append(
            (f"of {measured['said']} ghost fills are beyond doubt", percent(measured["surely"], measured["said"]))
        )
    inner = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for name, value in tiles)
    shares = "".join(
        f'<i class="g-{grade}" style="flex:{told[grade]}" title="{grade} {told[grade]}"></i>'
        for grade in GRADES
        if told[grade]
    )
    note = (
        "Certain: it took what was displayed, a print went through its price, or even the pessimistic model had it. "
        "Likely and ambiguous: as the queue model says, and as later prints support it or not; "
        "the score is the mean chance when the fills came, and what settled later does not raise it."
    )
    return (
        f'<h2>How true the fills are</h2><p class="note">{note}</p><section class="tiles">{inner}</section>'
        f'<div class="card" style="margin-top:14px"><div class="grades">{shares}</div>'
        f'<div class="scroll">{table(*grade_table(run))}</div></div>'
    )


def grade_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Head and rows: by grade when they came, how many, their mean chance, and what became of them."""
    fills = run.tables["fills"]
    settled = run.tables["regrades"].select("order", "number", "reason")
    settled = settled.group_by("order", "number", maintain_order=True).last()
    rows = fills.join(settled, on=["order", "number"], how="left")
    head = [
        "Grade",
        "Fills",
        "Share",
        "Chance",
        "Pessimist had it",
        "Supported later",
        "Left behind",
        "In doubt",
        "Open",
    ]
    found = []
    for grade in GRADES:
        part = rows.filter(pl.col("grade") == grade)
        if not part.height:
            continue
        reason = part["reason"].fill_null("")
        later, left, doubt = (int(reason.is_in(words).sum()) for words in (("back", "passed"), ("left",), UNSURE))
        open_ = part.height - later - left - doubt
        at_once = int(part["back_ns"].is_not_null().sum())
        chance = part["chance"].mean()
        found.append(
            [
                f'<i class="key g-{grade}"></i>{grade}',
                str(part.height),
                share(part.height / fills.height),
                share(float(chance) / 1000 if isinstance(chance, int | float) else None),
                str(at_once),
                str(later),
                str(left),
                str(doubt),
                "–" if grade == "certain" else str(open_),
            ]
        )
    return head, found


def bands(run: Run) -> dict[str, dict[str, Curve]]:
    """By currency and model: the hedged profit of all strategies together at each time that one of them moved."""
    found: dict[str, dict[str, Curve]] = {}
    start_ns, _ = run.span
    for (currency,), part in run.tables["twins"].group_by("currency", maintain_order=True):
        wide = (
            part.with_columns(pl.col("hedged").cast(pl.Float64))
            .pivot(on=["model", "strategy"], index="ns", values="hedged", aggregate_function="last")
            .sort("ns")
            .fill_null(strategy="forward")
            .fill_null(0.0)
        )
        ns = np.concatenate(([start_ns], wide["ns"].to_numpy())).astype(np.int64)
        models = dict.fromkeys(str(model) for model in part["model"])
        found[str(currency)] = {}
        for model in models:
            columns = [name for name in wide.columns if name.startswith(f'{{"{model}",')]
            profit = wide.select(pl.sum_horizontal(columns)).to_series().to_numpy()
            found[str(currency)][model] = Curve(model, ns, np.concatenate(([0.0], profit)))
    return found


def _bands(run: Run) -> Iterable[str]:
    start_ns, end_ns = run.span
    curves = bands(run)
    for currency, one in run.summary.get("band", {}).items():
        models: Mapping[str, str] = one["models"]
        if len(models) < 2 or not any(float(profit) for profit in models.values()):
            continue
        drawn = ""
        by_model = curves.get(currency, {})
        if by_model:
            every = np.stack([curve.values for curve in by_model.values()])
            first = next(iter(by_model.values()))
            area = Band("all models", first.ns, every.min(axis=0), every.max(axis=0))
            lines = [
                Line(f"{name}", curve.ns, curve.values, colour, is_step=True)
                for name, colour in (("back", "c1"), ("front", "c2"), (one["model"], "c0"))
                if (curve := by_model.get(name)) is not None
            ]
            chart = Chart(
                start_ns, end_ns, lines, bands=[area], height=240, zero=True, label=f"Profit band, {currency}"
            )
            drawn = legend(lines) + chart.svg()
        counts = {str(name): count for name, count in run.tables["twin_fills"].group_by("model").len().iter_rows()}
        maker_fills = int(run.tables["fills"]["maker"].sum())
        rows = [
            [
                escape(model) + (' <span class="sub">the venue\'s own</span>' if model == one["model"] else ""),
                str(maker_fills if model == one["model"] else counts.get(model, 0)),
                signed(profit, currency),
                signed(f"{float(profit) - float(one['own']):.12f}", currency),
                signed(one["hedged"][model], currency),
            ]
            for model, profit in sorted(models.items(), key=lambda each: float(each[1]))
        ]
        note = (
            "Every order ran through all queue models at once. The strategy saw the fills of the venue's own model "
            "only: a twin that missed a fill does not know how the strategy would have gone on without it, and holds "
            "what its fills left it. Hedged, as drawn: what a model filled beyond the run is worth its markout after "
            "ten seconds instead."
        )
        spans = (
            f"From {money(one['low'], sign=True)} to {money(one['high'], sign=True)}; hedged from "
            f"{money(one['hedged_low'], sign=True)} to {money(one['hedged_high'], sign=True)}."
        )
        head = ["Queue model", "Maker fills", "Profit", "Against own", "Hedged"]
        yield (
            f"<h2>Profit under every queue model, {escape(currency)}</h2>"
            f'<p class="note">{note} {spans}</p>'
            f'<div class="card">{drawn}<div class="scroll">{table(head, rows)}</div></div>'
        )


def _cell(value: float | None, decimals: int = 2) -> str:
    if value is None:
        return "–"
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return f'<span class="{kind}">{"+" if value > 0 else ""}{number(value, decimals)}</span>'


def markout_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the markouts in ticks, the groups with the most fills first."""
    head = ["Strategy", "Symbol", "Place", "Grade", "Fills", "At once", *HORIZONS, "Drift, 10 s"]
    cells = []
    for row in sorted(rows, key=lambda one: -int(one["fills"]))[:MAX_ROWS]:
        ticks = row["ticks"]
        drift = None if ticks[0] is None or ticks[3] is None else ticks[3] - ticks[0]
        cells.append(
            [
                *(escape(str(row[key])) for key in ("strategy", "symbol", "place")),
                f'<i class="key g-{row["grade"]}"></i>{escape(row["grade"])}',
                str(row["fills"]),
                *(_cell(value) for value in ticks),
                _cell(drift),
            ]
        )
    return head, cells


def _markouts(rows: Sequence[Mapping[str, Any]]) -> str:
    note = (
        "Mean over fills of side × (mid − price), in ticks: at once it is what the fill earned against the mid; the "
        "drift after it is adverse selection where it is below 0. Place: how much stood in front when the order came, "
        "alone (none), near (up to 4), middle (up to 32 times its own size), deep. Moments with a book in doubt do not "
        "count."
    )
    left_out = len(rows) - MAX_ROWS
    more = f'<p class="note">{left_out} smaller groups are in summary.json.</p>' if left_out > 0 else ""
    cells = table(*markout_table(rows))
    return f'<h2>Markouts, ticks</h2><p class="note">{note}</p><div class="card scroll">{cells}{more}</div>'


def execution_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what trading cost against arrival, and what the unfilled orders missed."""
    head = ["Strategy", "Symbol", "Orders", "Filled", "Maker", "Price cost", "Fees", "Shortfall", "bps"]
    head += ["Unfilled", *(f"Missed, {horizon}" for horizon in HORIZONS[1:])]
    cells = []
    for row in rows[:MAX_ROWS]:
        bps = row["shortfall_bps"]
        cells.append(
            [
                *(escape(str(row[key])) for key in ("strategy", "symbol")),
                str(row["orders"]),
                share(row["fill_ratio"]),
                share(row["maker_share"]),
                *(money(row[key], sign=True) for key in ("price_cost", "fees")),
                f"{money(row['shortfall'], sign=True)} {escape(row['currency'])}",
                "–" if bps is None else number(bps, 2),
                str(row["missed"]),
                *(_cell(value) for value in row["missed_bps"][1:]),
            ]
        )
    return head, cells


def _execution(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    note = (
        "Shortfall: what fills cost against the mid when they were asked for, with fees; above 0 is a cost. Missed: "
        "how the mid went on, in basis points, after an order ended with something unfilled; above 0 a fill would have "
        "gained."
    )
    return f'<h2>Execution</h2><p class="note">{note}</p><div class="card scroll">{table(*execution_table(rows))}</div>'
