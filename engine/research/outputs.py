"""What a replay leaves on disk: the tables and the summary, all of it or nothing.

Everything is written to a hidden folder beside the target, which takes the target's name only when it is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from engine.core.desk.order_terms import type_of
from engine.core.events import BATCH, FRAME, FRAME_BOOK, FRAME_READY, SELL, TRADE, Batch, Frames
from engine.core.money_facts import Dividend, Funding, Interest, Liquidated, ShortFee, Split
from engine.core.records import (
    Accepted,
    Account,
    Amended,
    Armed,
    Cancelled,
    Expired,
    Fill,
    LabelScored,
    Markout,
    Missed,
    Pending,
    Record,
    Refusal,
    Regraded,
    Rejected,
    Request,
    Sent,
    Signal,
    Triggered,
    TwinAccount,
    TwinFill,
)
from engine.core.types import Instrument, OrderKind
from engine.research.tables import LAYOUTS, PART_ROWS, Scale, Table

SUMMARY: Final = "summary.json"
"""The file that marks a folder as the output of a replay."""


def carried(fact: Funding | Interest | Dividend | ShortFee | Split | Liquidated) -> tuple[str, str, str, str]:
    """Instrument, kind, amount and currency of money that moved without a fill of ours.

    Of a liquidation the amount is all that it did: profit realised, less its fee, and what the insurance fund paid.

    >>> carried(Interest("s", "BTC", "0.0001", "2", "-0.0002"))
    ('', 'interest', '-0.0002', 'BTC')
    """
    match fact:
        case Interest():
            return "", "interest", fact.amount, fact.currency
        case Split():
            return fact.symbol, "cash in lieu", fact.cash, fact.currency
        case Liquidated():
            amount = Decimal(fact.realised) - Decimal(fact.fee) + Decimal(fact.insurance)
            return fact.symbol, "liquidation", format(amount, "f"), fact.currency
        case _:
            kind = {Funding: "funding", Dividend: "dividend", ShortFee: "short fee"}[type(fact)]
            return fact.symbol, kind, fact.amount, fact.currency


class OutputError(Exception):
    """The output folder cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class _Order:
    """An order until its end, integer units."""

    request: Request
    symbol: int
    requested_ns: int
    state: str = "requested"
    detail: str = ""
    filled: int = 0
    queue_ahead: int | None = None
    arrives_ns: int | None = None
    accepted_ns: int | None = None
    price: int = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.price, self.size = self.request.price, self.request.size


class Outputs:
    """Collects the tables of a run; as a context manager it removes everything when the run fails.

    ``target`` may be missing, an empty folder, or the output of an earlier replay, which is replaced.

    Raises:
        OutputError: the target is something else, or cannot be written.
    """

    def __init__(self, target: Path, instruments: Sequence[Instrument]) -> None:
        self.target = target
        self._check()
        self._folder = target.parent / f".{target.name}.{os.getpid()}.partial"
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{target}: expected a place to write to, found: {error.strerror}") from error
        scale = Scale(instruments)
        self._index = {instrument.name: index for index, instrument in enumerate(instruments)}
        self._tables = {name: Table(self._folder, name, scale) for name in LAYOUTS}
        self._orders: dict[int, _Order] = {}
        self._books: list[Frames] = []
        self._book_rows = 0
        self._trades: list[Batch] = []
        self._trade_rows = 0

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def frames(self, frames: Frames) -> None:
        """Take frames as the engine's tap gives them; the array is copied, as the engine writes it again."""
        books = frames[(frames["flags"] & FRAME_BOOK) != 0]
        if len(books):
            self._books.append(books)
            self._book_rows += len(books)
            if self._book_rows >= PART_ROWS:
                self._store_books()

    def batch(self, batch: Batch) -> None:
        """Take the public trades of a batch."""
        trades = batch[batch["kind"] == TRADE]
        if len(trades):
            self._trades.append(trades)
            self._trade_rows += len(trades)
            if self._trade_rows >= PART_ROWS:
                self._store_trades()

    def _store_books(self) -> None:
        books = np.frombuffer(b"".join(cast("list[Any]", self._books)), FRAME)
        self._books, self._book_rows = [], 0
        columns = {
            "recv_ns": books["recv_ns"],
            "symbol": books["symbol"],
            "update_id": books["id"],
            "ready": (books["flags"] & FRAME_READY) != 0,
            "bid": books["bid"][:, 0],
            "bid_size": books["bid_size"][:, 0],
            "ask": books["ask"][:, 0],
            "ask_size": books["ask_size"][:, 0],
        }
        self._extend("bbo", columns)

    def _store_trades(self) -> None:
        trades = np.frombuffer(b"".join(cast("list[Any]", self._trades)), BATCH)
        self._trades, self._trade_rows = [], 0
        columns = {
            "recv_ns": trades["recv_ns"],
            "venue_ns": trades["venue_ns"],
            "symbol": trades["symbol"].astype(np.int64),
            "id": trades["id"],
            "side": np.where(trades["flags"] & SELL, -1, 1).astype(np.int64),
            "price": trades["price"],
            "size": trades["size"],
        }
        self._extend("trades", columns)

    def _extend(self, table: str, columns: dict[str, npt.NDArray[Any]]) -> None:
        frame = pl.DataFrame({name: np.ascontiguousarray(one) for name, one in columns.items()})
        self._tables[table].extend(frame)

    def records(self, records: Sequence[Record]) -> None:
        """Take what the engine said."""
        for record in records:
            ns, fact = record.ns, record.fact
            match fact:
                case Signal():
                    symbol = self._index[fact.symbol]
                    self._add("signals", ns, symbol, fact.source, fact.name, fact.id, fact.horizon_ns, fact.value)
                case LabelScored():
                    symbol = self._index[fact.symbol]
                    model = f"{fact.model}/{fact.name}" if fact.name else fact.model
                    self._add("labels", ns, symbol, model, fact.id, fact.prediction, fact.label)
                case Account():
                    money = (fact.equity, fact.realised, fact.unrealised, fact.fees, fact.carry)
                    self._add("ledger", ns, fact.strategy, fact.currency, *money)
                case Funding() | Interest() | Dividend() | ShortFee() | Split() | Liquidated():
                    self._add("carry", ns, fact.strategy, *carried(fact))
                case Request():
                    self._orders[fact.order] = _Order(fact, self._index.get(fact.symbol, 0), ns)
                case Fill():
                    self._fill(ns, fact)
                case Regraded() | TwinFill() | TwinAccount() | Markout() | Missed():
                    self._truth(ns, fact)
                case (
                    Refusal()
                    | Sent()
                    | Pending()
                    | Armed()
                    | Triggered()
                    | Accepted()
                    | Rejected()
                    | Cancelled()
                    | Expired()
                ):
                    self._progress(ns, fact)
                case Amended():
                    if (order := self._orders.get(fact.order)) is not None:
                        order.price, order.size = fact.price, fact.size
                case _:
                    pass

    def finish(self, summary: dict[str, Any]) -> None:
        """Write what is left and give the folder its name."""
        for number in list(self._orders):
            self._end(number, None, self._orders[number].state, "")
        self._store_books()
        self._store_trades()
        for table in self._tables.values():
            table.close()
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        (self._folder / SUMMARY).write_bytes(text + b"\n")
        self._check()
        if self.target.exists():
            old = self.target.parent / f".{self.target.name}.{os.getpid()}.old"
            self.target.rename(old)
            self._folder.rename(self.target)
            shutil.rmtree(old)
        else:
            self._folder.rename(self.target)

    def _check(self) -> None:
        target = self.target
        if not target.exists():
            return
        if not target.is_dir():
            raise OutputError(f"{target}: expected a folder or nothing, found a file: choose another --out")
        if any(target.iterdir()) and not (target / SUMMARY).exists():
            raise OutputError(
                f"{target}: expected an empty folder or an earlier replay's, found other files: choose another --out"
            )

    def _add(self, table: str, *values: Any) -> None:
        self._tables[table].add(*values)

    def _fill(self, ns: int, fill: Fill) -> None:
        symbol = self._index[fill.symbol]
        self._tables["fills"].add(
            *(ns, fill.matched_ns, fill.order, fill.strategy, symbol, fill.side, fill.price, fill.size),
            *(fill.maker, fill.fee, fill.fee_currency, fill.left, fill.queue_ahead),
            *(fill.number, fill.model, fill.cause, fill.grade, fill.chance, fill.ahead_now),
            *(fill.latency_ns, fill.front_ns, fill.back_ns, fill.mid2),
        )
        order = self._orders.get(fill.order)
        if order is not None:
            order.filled += fill.size
            if fill.left == 0:
                self._end(fill.order, ns, "filled", "")

    def _truth(self, ns: int, fact: Regraded | TwinFill | TwinAccount | Markout | Missed) -> None:
        match fact:
            case Regraded():
                self._add("regrades", ns, fact.order, fact.number, fact.grade, fact.reason)
            case TwinFill():
                who = (fact.order, fact.strategy, self._index[fact.symbol], fact.side)
                for model in fact.models:
                    self._add("twin_fills", ns, fact.matched_ns, *who, model, fact.price, fact.size, fact.cause)
            case TwinAccount():
                for model, profit in fact.profits.items():
                    self._add("twins", ns, fact.strategy, fact.currency, model, profit, fact.hedged[model])
            case Markout():
                self._add("markouts", ns, fact.order, fact.number, self._index[fact.symbol], fact.place, *fact.mids2)
            case Missed():
                who = (fact.order, fact.strategy, self._index[fact.symbol], fact.side)
                self._add("missed", ns, *who, fact.left, *fact.mids2)

    def _progress(
        self,
        ns: int,
        fact: Refusal | Sent | Pending | Armed | Triggered | Accepted | Rejected | Cancelled | Expired,
    ) -> None:
        order = self._orders.get(fact.order)
        if order is None:
            return
        match fact:
            case Refusal():
                order.detail = fact.detail
                self._end(fact.order, ns, "refused", fact.rule)
            case Sent():
                order.state, order.arrives_ns = "sent", fact.arrives_ns
            case Accepted():
                order.state, order.accepted_ns, order.queue_ahead = "open", ns, fact.queue_ahead
            case Pending() | Armed() | Triggered():
                order.state = type(fact).__name__.lower()
            case Rejected():
                order.detail = fact.words
                self._end(fact.order, ns, "rejected", fact.reason)
            case Expired():
                self._end(fact.order, ns, "expired", fact.reason)
            case Cancelled():
                self._end(fact.order, ns, "cancelled", fact.reason)

    def _end(self, number: int, ns: int | None, state: str, reason: str) -> None:
        order = self._orders.pop(number)
        asked = order.request
        word = type_of(OrderKind(asked.kind), asked.terms)
        self._tables["orders"].add(
            *(asked.order, asked.strategy, order.symbol, asked.side, word, asked.time_in_force, asked.post_only),
            *(order.price, order.size, order.filled, state, reason, order.detail, order.queue_ahead),
            *(order.requested_ns, order.arrives_ns, order.accepted_ns, ns),
        )
