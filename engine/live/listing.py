"""What ``positions``, ``orders``, ``fills``, ``models`` and ``truth`` show a person: short, and never cut off."""

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


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _ticks(head: str, at: int) -> Column:
    """A markout in ticks, after the horizon of this place in the list."""
    return Column(head, lambda row: _signed(row["ticks"][at]), right=True)


def _bps(head: str, value: Callable[[Row], float | None]) -> Column:
    return Column(head, lambda row: _signed(value(row)), right=True)


def _share(head: str, key: str) -> Column:
    return Column(head, lambda row: "–" if row[key] is None else f"{100 * row[key]:.1f} %", right=True)


def _shortfall(row: Row) -> str:
    return f"{money(row['shortfall'])} {row['currency']}"


def _time(row: Row) -> str:
    return datetime.fromtimestamp(row["ns"] / 1e9, UTC).strftime("%H:%M:%S")


def _grade(row: Row) -> str:
    """The grade as it stands now, and what settled it."""
    return f"{row['grade']} ({row['graded']})" if row["graded"] else str(row["grade"])


def _model_state(row: Row) -> str:
    return str(row["stopped"]) or ("training" if row["training"] else "active")


def _last_alarm(row: Row) -> str:
    """The last alarm of drift and what it was judged to be."""
    alarm, graded = row["drift"]["last"], row["drift"]["last_graded"]
    if alarm is None:
        return "–"
    is_judged = graded is not None and graded["alarm"]["number"] == alarm["number"]
    return f"{alarm['signal']}, {graded['grade'] if is_judged else 'not judged yet'}"


LISTS: Final[Mapping[str, Sequence[Column]]] = {
    "positions": (
        *(_plain("strategy"), _plain("symbol"), _decimal("size"), _decimal("average"), _decimal("mark")),
        Column("open", lambda row: money(row["unrealised"]), right=True),
        Column("fees", lambda row: money(row["fees"]), right=True),
        Column("profit", lambda row: f"{money(row['profit'])} {row['currency']}", right=True),
    ),
    "orders": (
        *(Column("id", lambda row: str(row["id"]), right=True), _plain("strategy"), _plain("symbol"), _plain("side")),
        *(
            _plain("kind"),
            _decimal("price"),
            _decimal("trigger"),
            _decimal("size"),
            _decimal("filled"),
            _plain("state"),
        ),
    ),
    "fills": (
        *(Column("UTC", _time), _plain("strategy"), _plain("symbol"), _plain("side"), _decimal("price")),
        *(_decimal("size"), Column("as", lambda row: "maker" if row["maker"] else "taker")),
        Column("fee", lambda row: f"{money(row['fee'])} {row['fee_currency']}", right=True),
        *(Column("grade", _grade), Column("chance", lambda row: f"{100 * row['chance']:.0f} %", right=True)),
    ),
    "markouts": (
        *(_plain("strategy"), _plain("symbol"), _plain("place"), _plain("grade"), _count("fills", "fills")),
        *(_ticks(head, at) for at, head in enumerate(("at once", "0.1 s", "1 s", "10 s", "60 s"))),
    ),
    "execution": (
        *(_plain("strategy"), _plain("symbol"), _count("orders", "orders"), _share("filled", "fill_ratio")),
        *(_share("maker", "maker_share"), Column("shortfall", _shortfall, right=True)),
        *(_bps("in bps", lambda row: row["shortfall_bps"]), _count("unfilled", "missed")),
        _bps("missed 10 s, bps", lambda row: row["missed_bps"][2]),
    ),
    "models": (
        *(_plain("name"), _plain("symbol"), Column("ahead", lambda row: f"{row['horizon_s']:g} s", right=True)),
        *(_count("predicted", "predictions"), _count("learned", "learned"), _score("IC", "ic"), _score("RMSE", "rmse")),
        *(_count("swaps", "swaps"), _count("drift", "drift_alarms"), Column("last alarm", _last_alarm)),
        Column("state", _model_state),
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
