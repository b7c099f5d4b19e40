"""The fidelity report as one HTML file: how true each queue model is, on which tape, at which feed speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from engine.live.durations import duration_text
from engine.research.charts import number
from engine.research.fidelity import BY_IDS, Choice, Row, Source
from engine.research.fidelity_charts import COLOURS, Dot, dot_chart, reliability_chart
from engine.research.report_style import STYLE

MOST_CURVES: Final = len(COLOURS)

INTRO: Final = (
    "A ghost is a paper order put just ahead of a real one; the real order's fate is what should have become of it. "
    "MCC is the correlation of filled or not, said and true: 1 is always right. Lines are 95 % intervals."
)


def render(rows: Sequence[Row], choices: Sequence[Choice], sources: Sequence[Source]) -> str:
    """The whole page."""
    ranked = sorted(rows, key=lambda row: -(row.all.mcc or 0.0))  # the best, whose curves are drawn, differ in colour
    models = [model for model in dict.fromkeys(row.model for row in ranked) if model != BY_IDS]
    colours = {model: COLOURS[at % len(COLOURS)] for at, model in enumerate(models)}
    body = [
        '<header><h1>How true are paper fills?</h1><span class="when">ghost orders against real fates</span></header>',
        f'<p class="note">{INTRO}</p>',
        _choices(choices),
        _by_feed(rows),
        *(_part(source, feed_ns, rows, colours) for source in sources for feed_ns in _feeds(rows)),
        _sources(sources),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Fidelity · Papertape</title><style>{STYLE}</style></head><body><main>"
        + "".join(body)
        + "</main></body></html>\n"
    )


def feed_text(feed_ns: int) -> str:
    """A feed speed as people say it.

    >>> feed_text(0), feed_text(100_000_000)
    ('every change', 'every 100ms')
    """
    return f"every {duration_text(feed_ns)}" if feed_ns else "every change"


def _feeds(rows: Sequence[Row]) -> list[int]:
    return sorted({row.feed_ns for row in rows})


def _choices(choices: Sequence[Choice]) -> str:
    head = ["Levels published", "Model to use", "Mean MCC", "Mean bias", "Within its interval"]
    cells = [
        [feed_text(one.feed_ns), one.model, number(one.mcc, 3), _signed(one.bias), ", ".join(one.alike) or "–"]
        for one in choices
    ]
    return f'<h2>Which model at which feed speed</h2><div class="card scroll">{_table(head, cells)}</div>'


def _by_feed(rows: Sequence[Row]) -> str:
    """The correlation of each model on each tape, a column a feed speed; nothing where there is only one."""
    feeds = _feeds(rows)
    if len(feeds) < 2:
        return ""
    found = {(row.source, row.model, row.feed_ns): row.all.mcc for row in rows}
    cells = []
    for source, model in dict.fromkeys((row.source, row.model) for row in rows):
        values = [found.get((source, model, feed_ns)) for feed_ns in feeds]
        cells.append([source, model, *("–" if value is None else f"{value:.3f}" for value in values)])
    head = ["Tape", "Model", *(feed_text(feed_ns) for feed_ns in feeds)]
    return f'<h2>MCC by feed speed</h2><div class="card scroll">{_table(head, cells)}</div>'


def _part(source: Source, feed_ns: int, rows: Sequence[Row], colours: Mapping[str, str]) -> str:
    here = [row for row in rows if row.source == source.name and row.feed_ns == feed_ns]
    if not here:
        return ""
    ranked = sorted(here, key=lambda row: -(row.all.mcc or 0.0))
    dots = [
        Dot(
            row.model,
            row.all.mcc,
            row.all.mcc_low or row.all.mcc,
            row.all.mcc_high or row.all.mcc,
            _colour(row, colours),
        )
        for row in ranked
        if row.all.mcc is not None
    ]
    biases = [Dot(row.model, row.all.bias, row.all.bias, row.all.bias, _colour(row, colours)) for row in ranked]
    curves = [(row.model, row.fidelity.reliability, _colour(row, colours)) for row in ranked if row.model != BY_IDS][
        :MOST_CURVES
    ]
    legend = "".join(
        f'<span><i style="background:var(--{colour})"></i>{escape(name)}</span>' for name, _, colour in curves
    )
    title = f"{source.name}, levels {feed_text(feed_ns)}"
    return (
        f"<h2>{escape(title)}</h2>"
        f'<div class="card"><h3>MCC</h3>{dot_chart(dots, f"MCC, {title}")}'
        "<h3>Bias: share of orders filled on paper less in truth</h3>"
        f"{dot_chart(biases, f'Bias, {title}', 4, zero=True)}"
        f'<h3>Reliability: what was said against what came</h3><div class="legend">{legend}</div>'
        f"{reliability_chart(curves, f'Reliability, {title}')}</div>"
        f'<div class="card scroll">{_scores(ranked)}</div>{_buckets(ranked)}{_grades(ranked)}'
    )


def _colour(row: Row, colours: Mapping[str, str]) -> str:
    return colours.get(row.model, "quiet")


SCORE_HEAD: Final = (
    "Model", "Orders", "True", "Said", "MCC", "Interval", "Bias", "Precision", "Recall", "Brier", "Time, ms", "Volume",
    "Edge, ticks",
)  # fmt: skip


def score_cells(row: Row) -> list[str]:
    """A line of the table of scores, for the page and the terminal."""
    one = row.all
    spread = "–" if one.mcc_low is None or one.mcc_high is None else f"{one.mcc_low:.3f} to {one.mcc_high:.3f}"
    return [
        row.model,
        str(one.n),
        *(f"{value:.3f}" for value in (one.true_rate, one.said_rate)),
        "–" if one.mcc is None else f"{one.mcc:.3f}",
        spread,
        _signed(one.bias),
        *(f"{value:.3f}" for value in (one.precision, one.recall)),
        f"{one.brier:.4f}",
        "–" if one.time_error_ms is None else f"{one.time_error_ms:.1f}",
        f"{one.volume:.3f}",
        _signed(one.edge),
    ]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "\u2212")


def _scores(rows: Sequence[Row]) -> str:
    return _table(SCORE_HEAD, [score_cells(row) for row in rows])


def _buckets(rows: Sequence[Row]) -> str:
    names = [name for name in rows[0].fidelity.buckets if name != "all"]
    if not names:
        return ""
    cells = []
    for row in rows:
        found = [row.fidelity.buckets[name] for name in names]
        cells.append([row.model, *("–" if one.mcc is None else f"{one.mcc:.3f}" for one in found)])
    counts = [rows[0].fidelity.buckets[name].n for name in names]
    head = ["MCC by distance", *(f"{name} ({count})" for name, count in zip(names, counts, strict=True))]
    return f'<div class="card scroll">{_table(head, cells)}</div>'


def _grades(rows: Sequence[Row]) -> str:
    cells = [
        [row.model, one.grade, str(one.n), f"{100 * one.share:.1f} %", f"{100 * one.true:.2f} %"]
        for row in rows
        for one in row.fidelity.grades
    ]
    if not cells:
        return ""
    head = ["Model", "Grade", "Fills", "Share of fills", "Happened"]
    return f'<div class="card scroll">{_table(head, cells)}</div>'


def _sources(sources: Sequence[Source]) -> str:
    cells = [
        [
            one.name,
            str(one.tape.height),
            str(one.probes.height),
            "; ".join(f"{n} {what}" for what, n in one.notes.items()) or "–",
        ]
        for one in sources
    ]
    return f'<h2>Sources</h2><div class="card scroll">{_table(["Tape", "Rows", "Ghosts", "Left out"], cells)}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A column is set to the right where its cells read as numbers, or as the dash of none."""
    firsts = [[row[at].lstrip("\u2212+")[:1] for row in rows] for at in range(len(head))]
    right = [bool(rows) and all(first.isdigit() or first == "–" for first in column) for column in firsts]
    kind = [' class="n"' if one else "" for one in right]
    top = "".join(f"<th{attribute}>{escape(name)}</th>" for attribute, name in zip(kind, head, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f"<td{attribute}>{escape(cell)}</td>" for attribute, cell in zip(kind, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
