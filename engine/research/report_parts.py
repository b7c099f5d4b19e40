"""Pieces of a report as HTML: tables, legends, and numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from engine.research.charts import Line, number

TAG: Final = re.compile(r"<[^>]*>")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; a column is set to the right where its cells read as numbers, or as the dash of none."""
    firsts = [[TAG.sub("", row[at]).lstrip("\u2212+")[:1] for row in rows] for at in range(len(head))]
    right = [bool(rows) and all(first.isdigit() or first == "–" for first in column) for column in firsts]
    kind = [' class="n"' if one or name in ("Fees", "Profit") else "" for one, name in zip(right, head, strict=True)]
    top = "".join(f"<th{attribute}>{escape(name)}</th>" for attribute, name in zip(kind, head, strict=True))
    lines = ("".join(f"<td{attribute}>{cell}</td>" for attribute, cell in zip(kind, row, strict=True)) for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


def legend(lines: Sequence[Line]) -> str:
    items = "".join(f'<span><i style="background:var(--{one.colour})"></i>{escape(one.name)}</span>' for one in lines)
    return f'<div class="legend">{items}</div>'


def fill_legend() -> str:
    items = []
    for side, points in (("buy", "1,9 10,9 5.5,1"), ("sell", "1,1 10,1 5.5,9")):
        for hollow, role in (("", "taker"), (" hollow", "maker")):
            mark = f'<svg viewBox="0 0 11 10"><polygon class="{side}{hollow}" points="{points}"/></svg>'
            items.append(f"<span>{mark}{side}, {role}</span>")
    return f'<div class="legend">{"".join(items)}</div>'


def empty(text: str) -> str:
    return f'<div class="card"><p class="note">{escape(text)}</p></div>'


def money(value: Any, sign: bool = False) -> str:
    r"""Two decimals for large amounts, four digits of small ones.

    >>> money("1234.567"), money("0.00102104"), money("0.00000012")
    ('1\u202f234.57', '0.001021', '0.00000012')
    """
    amount = float(value)
    leading = -math.floor(math.log10(abs(amount))) if amount else 0
    text = number(amount, 2 if leading <= 0 else min(8, leading + 3))
    return f"+{text}" if sign and amount > 0 else text


def signed(text: str, currency: str) -> str:
    kind = "up" if float(text) > 0 else "down" if float(text) < 0 else ""
    return f'<span class="{kind}">{money(text, sign=True)}</span> {escape(currency)}'


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}<small> %</small>" if whole else "–"


def share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(ns: int) -> str:
    """A length of time in two units.

    >>> duration(95_000_000_000), duration(90_061 * 10**9)
    ('1 min 35 s', '1 d 1 h')
    """
    seconds = ns // 10**9
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [
        f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if count
    ]
    return " ".join(parts[:2]) or "0 s"
