"""What ``positions``, ``orders``, ``fills`` and ``models`` show a person: short, and never cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rich.table import Table

from engine.live.terminal import money, score, trim

Row = Mapping[str, Any]


class Column(NamedTuple):
    """A head, its text for a row, and whether it is set to the right like a number."""

    head: str
    text: Callable[[Row], str]
    right: bool = False


def _plain(key: str) -> Column:
    return Column(key, lambda row: str(row[key]))


def _decimal(key: str) -> Column:
    return Column(key, lambda row: trim(row[key] or "–"), right=True)


def _count(head: str, key: str) -> Column:
    return Column(head, lambda row: f"{row[key]:,}", right=True)


def _score(head: str, key: str) -> Column:
    return Column(head, lambda row: score(row[key], row["predictions"]), right=True)


def _time(row: Row) -> str:
    return datetime.fromtimestamp(row["ns"] / 1e9, UTC).strftime("%H:%M:%S")


def _model_state(row: Row) -> str:
    return str(row["stopped"]) or ("training" if row["training"] else "active")


LISTS: Final[Mapping[str, Sequence[Column]]] = {
    "positions": (
        *(_plain("strategy"), _plain("symbol"), _decimal("size"), _decimal("average"), _decimal("mark")),
        Column("open", lambda row: money(row["unrealised"]), right=True),
        Column("fees", lambda row: money(row["fees"]), right=True),
        Column("profit", lambda row: f"{money(row['profit'])} {row['currency']}", right=True),
    ),
    "orders": (
        *(Column("id", lambda row: str(row["id"]), right=True), _plain("strategy"), _plain("symbol"), _plain("side")),
        *(_plain("kind"), _decimal("price"), _decimal("size"), _decimal("filled"), _plain("state")),
    ),
    "fills": (
        *(Column("UTC", _time), _plain("strategy"), _plain("symbol"), _plain("side"), _decimal("price")),
        *(_decimal("size"), Column("as", lambda row: "maker" if row["maker"] else "taker")),
        Column("fee", lambda row: f"{money(row['fee'])} {row['fee_currency']}", right=True),
    ),
    "models": (
        *(_plain("name"), _plain("symbol"), Column("ahead", lambda row: f"{row['horizon_s']:g} s", right=True)),
        *(_count("predicted", "predictions"), _count("learned", "learned"), _score("IC", "ic"), _score("RMSE", "rmse")),
        *(_count("swaps", "swaps"), _count("drift", "drift_alarms"), Column("state", _model_state)),
    ),
}
"""By command, what it lists. ``--json`` has every key and every digit."""


def table(name: str, rows: Sequence[Row]) -> Table:
    """A list as a table; what does not fit in a line goes on in the next."""
    shown = Table(box=None, header_style="dim", pad_edge=False)
    for column in LISTS[name]:
        shown.add_column(column.head, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(column.text(row) for column in LISTS[name]))
    return shown
