"""Bitstamp's orders one by one, as ob-analytics recorded them, to an order tape.

A line is ``<receive ms> <event> <JSON>``.

The log has no snapshot and does not say who hit whom. What it does say is enough: an order that is heard of before it
was created stood there from the start; what an order lost between two sayings was traded; and two losses of the same
quantity on both sides are one trade, in which the older order (the lower id) is the one that rested.
Source: https://github.com/phil8192/ob-analytics
"""

from __future__ import annotations

import lzma
from bisect import bisect_left
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from engine.research.fill_files import FillFileError
from engine.research.level3 import ORDER_SCHEMA

WARM_UP_NS: Final = 60_000_000_000
"""After so long the orders near the touch have all been heard of."""
PAIRED_NS: Final = 10_000_000_000
"""The two sides of a trade are told at most so far apart."""
EVENTS: Final = ("order_created", "order_changed", "order_deleted", "trade", "order_book")
MOST_PENDING: Final = 256


class _Saying(msgspec.Struct):
    """What is read of a line's JSON; numbers as text, so that no digit is rounded."""

    id: int = 0
    price: str = "0"
    amount: str = "0"
    order_type: int = 0


class _Loss:
    """What one order lost at one moment; ``size`` is None while nobody knows (it was never seen before)."""

    __slots__ = ("age", "is_taker", "ns", "pair", "price", "row", "side", "size")

    def __init__(self, row: int, ns: int, life: _Life, size: int | None) -> None:
        self.row = row
        self.ns = ns
        self.age = (-1 if life.created_row is None else life.created_row, life.id)
        self.side = life.side
        self.price = life.price
        self.size = size
        self.is_taker = False
        self.pair: _Loss | None = None


class _Life:
    """All that is said of an order at one price; ``created_row`` is None where it stood before the log began, and
    ``left`` is None before its size is known."""

    __slots__ = ("created_row", "ended_row", "id", "left", "losses", "price", "said", "side")

    def __init__(self, order_id: int, side: str, price: int, created_row: int | None, size: int | None) -> None:
        self.id = order_id
        self.side = side
        self.price = price
        self.created_row = created_row
        self.left = self.said = size
        self.losses: list[_Loss] = []
        self.ended_row: int | None = None


def is_bitstamp_log(start: bytes) -> bool:
    """Whether a file that begins so is such a log.

    >>> is_bitstamp_log(b'1430438404518 order_created {"price"'), is_bitstamp_log(b"PAR1")
    (True, False)
    """
    words = start.split(b" ", 2)
    return len(words) == 3 and words[0].isdigit() and words[1].decode("ascii", "replace") in EVENTS


def read_bitstamp_log(path: Path) -> pl.DataFrame:
    """The order tape of a log, plain or xz: price in cents, size in 1e-8 BTC.

    Raises:
        FillFileError: a line is not what such a log holds, or the file is torn.
    """
    listener = _Listener()
    times: list[int] = []
    decode = msgspec.json.Decoder(_Saying).decode
    opener = lzma.open if path.suffix == ".xz" else Path.open
    number = 0
    try:
        with opener(path, "rb") as file:
            for line in file:
                number += 1
                words = line.split(b" ", 2)
                if len(words) != 3 or not words[0].isdigit():
                    raise FillFileError(
                        f"{path}, line {number}: expected '<receive ms> <event> <JSON>', found {line[:60]!r}"
                    )
                event = words[1].decode("ascii", "replace")
                if event not in EVENTS:
                    raise FillFileError(f"{path}, line {number}: expected one of {', '.join(EVENTS)}, found {event!r}")
                times.append(int(words[0]) * 1_000_000)
                if event.startswith("order_") and event != "order_book":
                    listener.hear(event, decode(words[2]), len(times) - 1, times[-1])
    except (lzma.LZMAError, EOFError, msgspec.DecodeError, InvalidOperation) as error:
        found = str(error).splitlines()[0][:120]
        raise FillFileError(f"{path}, after line {number}: expected a whole log, found: {found}") from error
    _pair(listener.losses)
    rows = sorted(_told(listener.lives, times), key=lambda one: one[0])
    return pl.DataFrame([row for _, row in rows], schema=ORDER_SCHEMA, orient="row")


class _Listener:
    """Hears the log once: who lives, and what each lost."""

    def __init__(self) -> None:
        self.lives: list[_Life] = []
        self.losses: list[_Loss] = []
        self._now: dict[int, _Life] = {}
        self._created: list[tuple[int, int]] = []
        """Ids in the order in which they rose, with the row that said so."""

    def hear(self, event: str, said: _Saying, row: int, ns: int) -> None:
        price = int((Decimal(said.price) * 100).to_integral_value())
        size = int((Decimal(said.amount) * 10**8).to_integral_value())
        side = "ask" if said.order_type else "bid"
        life = self._now.get(said.id)
        if life is None:
            is_new = event == "order_created"
            life = self._live(
                _Life(said.id, side, price, row if is_new else self._came(said.id), size if is_new else None)
            )
            if is_new:
                if not self._created or said.id > self._created[-1][0]:
                    self._created.append((said.id, row))
                return
        elif event == "order_created" or life.ended_row is not None:
            return  # told late or twice: what came of it is already known
        if price != life.price and event == "order_changed":
            life.ended_row = row  # its owner moved it: it lost its place, and may trade where it goes
            if life.left is None:
                life.left = size
            self._live(_Life(said.id, side, price, row, size))
            return
        if event == "order_deleted" and size > 0 and life.left is None:
            life.left = size  # never seen before, never traded: it stood there all the time
        lost = None if life.left is None else life.left - size
        if lost is None or lost > 0:
            loss = _Loss(row, ns, life, lost)
            life.losses.append(loss)
            self.losses.append(loss)
        life.left = size
        if event == "order_deleted":
            life.ended_row = row

    def _came(self, order_id: int) -> int | None:
        """Where an order came whose creation was not told: after the one of the id before it; None: before the log."""
        at = bisect_left(self._created, (order_id, 0))
        return self._created[at - 1][1] if at else None

    def _live(self, life: _Life) -> _Life:
        self._now[life.id] = life
        self.lives.append(life)
        return life


def _pair(losses: list[_Loss]) -> None:
    """Find the two sides of each trade; the older order is the one that rested, and a loss alone is that of one."""
    waiting: list[_Loss] = []
    for loss in losses:
        waiting = [one for one in waiting if one.pair is None and loss.ns - one.ns <= PAIRED_NS][-MOST_PENDING:]
        best = max((one for one in waiting if _fits(one, loss)), key=_exactness(loss), default=None)
        if best is None:
            waiting.append(loss)
            continue
        best.pair, loss.pair = loss, best
        size = loss.size if loss.size is not None else best.size
        loss.size = best.size = size
        (best if best.age > loss.age else loss).is_taker = True


def _fits(one: _Loss, other: _Loss) -> bool:
    if one.side == other.side or one.pair is not None:
        return False
    bid, ask = (one, other) if one.side == "bid" else (other, one)
    if bid.price < ask.price:
        return False
    if one.size is None or other.size is None:
        return one.size is not None or other.size is not None
    return abs(one.size - other.size) <= 1


def _exactness(loss: _Loss) -> Any:
    return lambda one: (one.size is not None and loss.size is not None, one.ns)


def _told(lives: list[_Life], times: list[int]) -> list[tuple[tuple[int, int], tuple[Any, ...]]]:
    """Rows of the order tape with their place in the log; the start's orders stand before its first line."""
    rows: list[tuple[tuple[int, int], tuple[Any, ...]]] = []
    start_ns = times[0] if times else 0

    def tell(row: int, part: int, *values: Any) -> None:
        rows.append(((row, part), (times[row] if row >= 0 else start_ns, *values, None, False)))

    for life in lives:
        losses = [loss for loss in life.losses if loss.size is not None]
        if life.said is None:
            shown_row = -1 if life.created_row is None else life.created_row
            shown = sum(loss.size or 0 for loss in losses) + (life.left or 0)
            maker = losses
        else:
            taken = 0
            for loss in losses:
                if not loss.is_taker:
                    break
                taken += 1
            # What is left of a taker is shown when both sides of its last trade have been told.
            both = [(one.row, one.pair.row if one.pair is not None else 0) for one in losses[taken - 1 : taken]]
            shown_row = max(*both[0]) if both else life.created_row or 0
            shown = (life.said or 0) - sum(loss.size or 0 for loss in losses[:taken])
            maker = losses[taken:]
        if shown <= 0:
            continue
        tell(shown_row, 3, "add", str(life.id), life.side, life.price, shown)
        left = shown
        for loss in maker:
            size = int(loss.size or 0)
            left -= size
            if not loss.is_taker:
                tell(loss.row, 1, "trade", str(life.id), None, life.price, size)
            if left > 0:
                tell(loss.row, 2, "change", str(life.id), None, None, left)
        if life.ended_row is not None:
            tell(life.ended_row, 2, "delete", str(life.id), None, None, None)
    return rows
