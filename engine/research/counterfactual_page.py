"""What a counterfactual leaves on disk: one table as parquet and one page, both or none."""

from __future__ import annotations

import os
import shutil
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Final

import polars as pl

from engine.research.counterfactual import Row, Table
from engine.research.outputs import OutputError
from engine.research.report_style import STYLE

PAGE: Final = "counterfactual.html"
ROWS: Final = "counterfactual.parquet"


def check_folder(target: Path) -> None:
    """See that a folder may be written: missing, empty, or an earlier counterfactual's.

    Raises:
        OutputError: it is something else.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{target}: expected a folder or nothing, found a file: choose another --out")
    if any(target.iterdir()) and not (target / ROWS).exists():
        expected = "an empty folder or an earlier counterfactual's"
        raise OutputError(f"{target}: expected {expected}, found other files: choose another --out")


def write(table: Table, title: str, target: Path) -> None:
    """Write page and table; an earlier counterfactual in the folder is replaced.

    Raises:
        OutputError: the folder cannot be used.
    """
    check_folder(target)
    folder = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{target}: expected a place to write to, found: {error.strerror}") from error
    try:
        frame(table).write_parquet(folder / ROWS)
        (folder / PAGE).write_text(page(table, title), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def frame(table: Table) -> pl.DataFrame:
    """One row an assumption and currency; money as exact text."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.changes))
    rows = [
        {
            "assumption": row.assumption,
            **{name.replace(" ", "_"): row.changes.get(name) for name in names},
            "currency": currency,
            "orders": row.orders,
            "fills": row.fills,
            "maker_share": row.maker_share,
            "profit": row.profit.get(currency, "0"),
            "difference": row.difference[currency],
            "fees": row.fees.get(currency, "0"),
            "markout_1s_bps": row.markout_bps,
            "digest": row.digest,
        }
        for row in table.rows
        for currency in row.difference or {"": ""}
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def cells(row: Row, currency: str) -> list[str]:
    """A row for people: orders, fills, maker share, profit, difference, markout.

    >>> row = Row("as it was", {}, "", 3, 2, 0.5, {"U": "1.2345"}, {}, -0.25, {"U": "0"})
    >>> cells(row, "U")
    ['3', '2', '50.0 %', '1.23', '+0.00', '-0.25']
    """
    share = "–" if row.maker_share is None else f"{100 * row.maker_share:.1f} %"
    markout = "–" if row.markout_bps is None else f"{row.markout_bps:.2f}"
    profit, difference = Decimal(row.profit.get(currency, "0")), Decimal(row.difference.get(currency, "0"))
    return [f"{row.orders:,}", f"{row.fills:,}", share, f"{profit:,.2f}", f"{difference:+,.2f}", markout]


def page(table: Table, title: str) -> str:
    """One HTML file that needs no network: the sentence, and a table with a bar a row for each currency."""
    currencies = sorted({currency for row in table.rows for currency in row.profit})
    parts = [_table(table, currency) for currency in currencies]
    empty = '<p class="note">No run had a profit or a loss.</p>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><main>'
        f"<header><h1>Counterfactual</h1><span class='when'>{escape(title)}</span></header>"
        f'<div class="card">{escape(table.sentence)}</div>{"".join(parts) or empty}'
        '<p class="when">Each row is the same tape played again with one assumption or several changed; the market, '
        "commands and models are the tape's. Markout: mean move of the mid in favour of the fill, one second later."
        "</p></main></body></html>\n"
    )


def _table(table: Table, currency: str) -> str:
    profits = [Decimal(row.profit.get(currency, "0")) for row in table.rows]
    most = max((abs(profit) for profit in profits), default=Decimal(0)) or Decimal(1)
    heads = ("orders", "fills", "maker share", f"profit, {currency}", "difference", "markout 1 s, bps")
    head = "".join(f'<th class="n">{escape(name)}</th>' for name in heads)
    lines = []
    for row, profit in zip(table.rows, profits, strict=True):
        values = "".join(f'<td class="n">{escape(text)}</td>' for text in cells(row, currency))
        lines.append(f"<tr><td>{escape(row.assumption)}</td>{values}<td>{_bar(profit / most)}</td></tr>")
    return (
        f"<h2>{escape(currency)}</h2><div class='scroll'><table>"
        f"<thead><tr><th>assumption</th>{head}<th></th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _bar(share: Decimal) -> str:
    """A bar from the middle: to the right a gain, to the left a loss."""
    width = round(float(abs(share)) * 60, 1)
    left = 60.0 if share > 0 else round(60 - width, 1)
    tone = "var(--buy)" if share > 0 else "var(--sell)"
    return (
        '<svg width="120" height="14" role="img" aria-label="profit against the largest">'
        f'<rect x="{left}" y="2" width="{width}" height="10" fill="{tone}"/>'
        '<line x1="60" x2="60" y1="0" y2="14" stroke="var(--rule)"/></svg>'
    )
