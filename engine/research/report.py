"""The tearsheet: one HTML file with everything inside, readable in twenty years without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

import polars as pl

from engine.research import report_data as data
from engine.research.charts import Chart, Line, Mark, number
from engine.research.report_data import Run
from engine.research.report_models import models
from engine.research.report_parts import (
    duration,
    empty,
    fill_legend,
    legend,
    money,
    percent,
    share,
    signed,
    table,
    utc,
)
from engine.research.report_style import STYLE
from engine.research.report_truth import truth

MAX_SYMBOLS: Final = 6
MAX_MARKS: Final = 600
COLOURS: Final = ("c0", "c1", "c2", "c3", "c4", "c5")


def render(run: Run, title: str) -> str:
    """The whole page."""
    start_ns, end_ns = run.span
    when = f"{utc(start_ns)} to {utc(end_ns)}, {duration(end_ns - start_ns)}"
    body = [
        f'<header><h1>{escape(title)}</h1><span class="when">{when}</span></header>',
        _tiles(run),
        _doubts(run),
        *_equity(run),
        *truth(run),
        *_markets(run),
        _strategies(run),
        *models(run),
        _refusals(run),
        _latency(run),
        _venues(run),
        f"<footer>Digest <code>{escape(str(run.summary.get('digest', '')))}</code>. A replay of the same tape with the "
        "same configuration gives the same digest. The tables are exact; charts are drawn in floating point.</footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Papertape</title><style>{STYLE}</style></head><body><main>"
        + "".join(body)
        + "</main></body></html>\n"
    )


def _tiles(run: Run) -> str:
    summary = run.summary
    orders = summary.get("orders", {})
    fills = run.tables["fills"]
    tiles = []
    for currency, text in summary.get("profit", {}).items():
        if float(text) or currency in data.equity(run) or len(summary["profit"]) == 1:
            sign = "up" if float(text) > 0 else "down" if float(text) < 0 else ""
            tiles.append((f"profit after fees, {currency}", f'<b class="{sign}">{money(text, sign=True)}</b>'))
    one = summary.get("reporting")
    if one:
        missing = ", ".join(f"{money(value)} {escape(name)}" for name, value in one["profit_left_out"].items())
        note = f"<small>without {missing}: no mark converts it</small>" if missing else ""
        name = f"profit after fees, all in {one['currency']} at the last marks"
        tiles.append((name, f"<b>{money(one['profit'], sign=True)}</b>{note}"))
    for currency, curves in data.equity(run).items():
        worst = float(data.drawdown(curves[0]).values.min())
        tiles.append((f"largest drawdown, {currency}", f"<b>{money(worst)}</b>"))
    for currency, text in summary.get("fees", {}).items():
        if float(text):
            tiles.append((f"fees paid, {currency}", f"<b>{money(text)}</b>"))
    for kind, amounts in summary.get("carry", {}).items():
        for currency, text in amounts.items():
            tiles.append((f"{kind} received less paid, {currency}", f"<b>{money(text, sign=True)}</b>"))
    sent = int(orders.get("sent", 0))
    touched = int((run.tables["orders"]["filled"] > 0).sum())
    tiles.append(("fills", f"<b>{fills.height}</b>"))
    tiles.append(("orders sent", f"<b>{sent}</b>"))
    tiles.append(("of them filled at least in part", f"<b>{percent(touched, sent)}</b>"))
    tiles.append(("fills as maker", f"<b>{percent(int(fills['maker'].sum()), fills.height)}</b>"))
    tiles.append(("requests refused by risk", f"<b>{sum(orders.get('refused', {}).values())}</b>"))
    books = summary.get("books", {})
    tiles.append(
        ("books ready at the end", f"<b>{books.get('ready', 0)}<small> of {books.get('total', 0)}</small></b>")
    )
    inner = "".join(f'<div class="tile">{value}<span>{escape(name)}</span></div>' for name, value in tiles)
    return f'<section class="tiles">{inner}</section>'


def _doubts(run: Run) -> str:
    why = run.summary.get("why", [])
    lines = "".join(f"<li>{escape(str(one))}</li>" for one in why)
    return f'<h2>What to know first</h2><div class="card"><ul class="note">{lines}</ul></div>' if lines else ""


def _equity(run: Run) -> Iterable[str]:
    start_ns, end_ns = run.span
    curves = data.equity(run)
    if not curves:
        yield "<h2>Profit</h2>" + empty("Nothing was traded, so there is no profit or loss to show.")
    for currency, found in curves.items():
        colours = _colours(run)
        lines = [
            Line(curve.name, curve.ns, curve.values, colours.get(curve.name, "c0"), is_step=True, is_filled=at == 0)
            for at, curve in enumerate(found)
        ]
        down = data.drawdown(found[0])
        below = Line("drawdown", down.ns, down.values, "loss", is_step=True, is_filled=True)
        profit = Chart(start_ns, end_ns, lines, height=260, zero=True, label=f"Profit in {currency}")
        trough = Chart(start_ns, end_ns, [below], height=120, zero=True, label=f"Drawdown in {currency}")
        names = legend(lines) if len(lines) > 1 else ""
        yield (
            f'<h2>Profit after fees, {escape(currency)}</h2><div class="card">{names}'
            f"{profit.svg()}<h3>Below the highest point so far</h3>{trough.svg()}</div>"
        )


def _markets(run: Run) -> Iterable[str]:
    start_ns, end_ns = run.span
    for symbol in data.symbols(run)[:MAX_SYMBOLS]:
        mid = data.mids(run, symbol)
        fills = data.fills_of(run, symbol)
        if not len(mid.ns):
            yield f"<h2>{escape(symbol)}</h2>" + empty("Its book was never ready, so nothing could trade.")
            continue
        marks, left_out = _marks(fills)
        price = Chart(
            start_ns, end_ns, [Line("mid price", mid.ns, mid.values, "quiet")], marks, 280, label=f"{symbol} price"
        )
        parts = [fill_legend() if marks else "", price.svg()]
        if left_out:
            parts.append(f'<p class="note">Every {left_out}th of the {fills.height} fills is drawn.</p>')
        held = data.positions(run, symbol)
        if held:
            colours = _colours(run)
            lines = [
                Line(one.name, one.ns, one.values, colours.get(one.name, "c0"), is_step=True, is_filled=len(held) == 1)
                for one in held
            ]
            drawn = Chart(start_ns, end_ns, lines, height=130, zero=True, label=f"{symbol} position")
            parts += [f"<h3>Position</h3>{legend(lines)}", drawn.svg()]
        yield f'<h2>{escape(symbol)}</h2><div class="card">{"".join(parts)}</div>'


def _colours(run: Run) -> Mapping[str, str]:
    """A strategy has one colour on the whole page; the first belongs to all of them together."""
    names = [row["name"] for row in data.strategies(run)]
    return {name: COLOURS[1 + at % (len(COLOURS) - 1)] for at, name in enumerate(names)}


def _marks(fills: pl.DataFrame) -> tuple[list[Mark], int]:
    """At most so many fills as triangles, evenly taken, and which share was left out (0: none)."""
    step = -(-fills.height // MAX_MARKS)
    marks = []
    for row in fills.gather_every(max(1, step)).iter_rows(named=True):
        role = "maker" if row["maker"] else "taker"
        label = f"{row['strategy']} {row['side']} {row['size'].normalize():f} at {row['price'].normalize():f}, {role}"
        marks.append(Mark(row["ns"], float(row["price"]), row["side"], row["maker"], label))
    return marks, step if step > 1 else 0


def _strategies(run: Run) -> str:
    rows = []
    for one in data.strategies(run):
        profit = "<br>".join(signed(f"{float(row['equity']):.10f}", row["currency"]) for row in one["money"]) or "0"
        fees = "<br>".join(f"{money(row['fees'])} {escape(row['currency'])}" for row in one["money"]) or "0"
        name = escape(one["name"])
        if one["stopped"]:
            name += f'<br><span class="warn">stopped: {escape(str(one["stopped"]))}</span>'
        cells = [one["requested"], one["refused"], one["sent"], one["fills"]]
        shares = [share(one["fill_ratio"]), share(one["maker_share"])]
        rows.append([name, *map(str, cells), *shares, fees, profit])
    if not rows:
        return ""
    head = ["Strategy", "Requests", "Refused", "Sent", "Fills", "Filled", "Maker", "Fees", "Profit"]
    return f'<h2>Strategies</h2><div class="card scroll">{table(head, rows)}</div>'


def _refusals(run: Run) -> str:
    rows = [[escape(rule), str(count), escape(example)] for rule, count, example in data.refusals(run)]
    ended = run.tables["orders"].filter(pl.col("state") == "rejected").group_by("reason").len().sort("reason")
    rows += [[escape(f"venue: {reason}"), str(count), ""] for reason, count in ended.iter_rows()]
    if not rows:
        return ""
    return f'<h2>Refusals</h2><div class="card scroll">{table(["Rule", "Times", "Example"], rows)}</div>'


def _latency(run: Run) -> str:
    rows = []
    for name, one in run.summary.get("latency_us", {}).items():
        if isinstance(one, dict) and one.get("p50"):
            rows.append(
                [escape(name.replace("_", " ")), *(number(float(one[key]), 1) for key in ("p50", "p99", "p999"))]
            )
    if not rows:
        return ""
    return f'<h2>Latency, µs</h2><div class="card scroll">{table(["", "p50", "p99", "p99.9"], rows)}</div>'


def _venues(run: Run) -> str:
    keys = ("frames", "gaps", "reconnects", "malformed")
    rows = [
        [escape(name), *(str(one.get(key, 0)) for key in keys)] for name, one in run.summary.get("venues", {}).items()
    ]
    head = ["Venue", "Frames", "Gaps", "Reconnects", "Malformed"]
    return f'<h2>Venues</h2><div class="card scroll">{table(head, rows)}</div>' if rows else ""
