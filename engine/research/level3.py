"""Order-by-order recordings: one small format for all of them, and the tape and the ghosts that are built from it.

An *order tape* says of each order when it came to rest, changed, was hit and left. From it follow what a paper venue
would have seen (level sizes and trades) and the true fate of each order, that of the ghost just ahead of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import polars as pl

from engine.research.fill_files import MOST, TAPE_SCHEMA, FillFileError

ORDER_SCHEMA: Final[Mapping[str, Any]] = {
    "ts_ns": pl.Int64,
    "kind": pl.String,
    "order_id": pl.String,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "aggressor": pl.String,
    "hidden": pl.Boolean,
}
"""An order tape: ``add`` (it rests behind all others at its price), ``change`` (its size is now), ``delete``, ``trade``
(``order_id``: the resting order that was hit, null where it was never displayed), ``clear``. Row order is
authoritative; a trade stands before the change or delete of the order that it hit."""

ORDER_KINDS: Final = ("add", "change", "delete", "trade", "clear")

PROBE_SCHEMA: Final[Mapping[str, Any]] = {
    "order_id": pl.String,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "t0_ns": pl.Int64,
    "queue_ahead_at_t0": pl.Int64,
    "dist_ticks": pl.Int64,
    "spread_ticks": pl.Int64,
    "t_first_fill_ns": pl.Int64,
    "t_full_fill_ns": pl.Int64,
    "t_end_ns": pl.Int64,
    "filled_size": pl.Int64,
    "reduced_size": pl.Int64,
    "censored": pl.Boolean,
    "start_row": pl.Int64,
    "end_row": pl.Int64,
    "oracle_filled": pl.Int64,
    "oracle_t_first_ns": pl.Int64,
}
"""A ghost for each real order: where it stood, what became of it, and what strict first-in-first-out by ids gives."""

FARTHEST_TICKS: Final = 5
"""Orders farther behind the own best price are hardly ever filled: they would say nothing."""
MOST_GHOSTS: Final = 50_000


class Haunted(msgspec.Struct, frozen=True):
    """What an order tape becomes; ``notes`` counts rows that contradict the book and what was done about them."""

    tape: pl.DataFrame
    probes: pl.DataFrame
    notes: dict[str, int]


class _Order:
    """A resting order; ``unexplained`` is what traded against it and no change has said yet."""

    __slots__ = ("ghost", "id", "left", "place", "price", "side", "unexplained")

    def __init__(self, order_id: str, side: str, price: int, left: int, place: int) -> None:
        self.id = order_id
        self.side = side
        self.price = price
        self.left = left
        self.place = place
        self.unexplained = 0
        self.ghost: dict[str, Any] | None = None


class _Level:
    """The orders at one price in the order of their arrival, their total, and the ghosts that wait there."""

    __slots__ = ("ghosts", "orders", "total")

    def __init__(self) -> None:
        self.orders: dict[str, _Order] = {}
        self.ghosts: dict[str, tuple[dict[str, Any], int]] = {}
        self.total = 0


class _Builder:
    """Runs an order tape once. ``ready_ns``: before this no ghost is put, as the book is not known yet."""

    def __init__(self, ready_ns: int, farthest: int) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.probes: list[dict[str, Any]] = []
        self.notes: dict[str, int] = {}
        self._ready_ns = ready_ns
        self._farthest = farthest
        self._orders: dict[str, _Order] = {}
        self._sides: dict[str, dict[int, _Level]] = {"bid": {}, "ask": {}}
        self._best: dict[str, int | None] = {"bid": None, "ask": None}
        self._place = 0
        self._lives: dict[str, int] = {}

    def run(self, rows: Iterator[tuple[Any, ...]]) -> None:
        for ns, kind, order_id, side, price, size, aggressor, hidden in rows:
            if kind == "add":
                self._add(ns, order_id, side, price, size)
            elif kind == "trade":
                self._trade(ns, order_id, price, size, aggressor, bool(hidden))
            elif kind == "clear":
                self._clear(ns)
            elif order_id not in self._orders:
                self._note("changes of orders that do not rest, left out")
            elif kind == "delete":
                self._leave(ns, self._orders[order_id])
            else:
                self._change(ns, self._orders[order_id], price, size)
        for probe in self.probes:
            if probe["t_full_fill_ns"] is None and probe["t_end_ns"] is None:
                probe["censored"] = True
            if probe["end_row"] is None:
                probe["end_row"] = len(self.rows)

    def _note(self, what: str) -> None:
        self.notes[what] = self.notes.get(what, 0) + 1

    def _add(self, ns: int, order_id: str, side: str, price: int, size: int) -> None:
        if side not in self._sides or not (1 <= (price or 0) <= MOST and 1 <= (size or 0) <= MOST):
            self._note("orders with an impossible side, price or size, left out")
            return
        if order_id in self._orders:
            self._note("orders added twice: the first one ends there")
            self._leave(ns, self._orders[order_id])
        level = self._sides[side].setdefault(price, _Level())
        self._place += 1
        order = _Order(order_id, side, price, size, self._place)
        ahead, own, other = level.total, self._best[side], self._best["ask" if side == "bid" else "bid"]
        sign = 1 if side == "bid" else -1
        if ns >= self._ready_ns and own is not None and other is not None:
            distance, spread = (own - price) * sign, (other - own) * sign
            if spread > 0 and (other - price) * sign > 0 and distance <= self._farthest:
                order.ghost = self._ghost(ns, order, ahead, distance, spread)
                level.ghosts[order.ghost["order_id"]] = (order.ghost, order.place)
        self._orders[order_id] = order
        level.orders[order_id] = order
        level.total += size
        if own is None or (price - own) * sign > 0:
            self._best[side] = price
        self._say(ns, order)

    def _ghost(self, ns: int, order: _Order, ahead: int, distance: int, spread: int) -> dict[str, Any]:
        life = self._lives[order.id] = self._lives.get(order.id, 0) + 1
        probe = dict.fromkeys(PROBE_SCHEMA) | {
            "order_id": order.id if life == 1 else f"{order.id}.{life}",
            "side": order.side,
            "price_ticks": order.price,
            "size": order.left,
            "t0_ns": ns,
            "queue_ahead_at_t0": ahead,
            "dist_ticks": distance,
            "spread_ticks": spread,
            "filled_size": 0,
            "reduced_size": 0,
            "censored": False,
            "start_row": len(self.rows),
            "oracle_filled": 0,
        }
        self.probes.append(probe)
        return probe

    def _trade(self, ns: int, order_id: str | None, price: int, size: int, aggressor: str | None, hidden: bool) -> None:
        order = self._orders.get(order_id) if order_id is not None else None
        if not (1 <= (price or 0) <= MOST and 1 <= (size or 0) <= MOST):
            self._note("trades with an impossible price or size, left out")
            return
        if order is not None:
            if size > order.left - order.unexplained:
                self._note("trades larger than the order that they hit, cut")
                size = order.left - order.unexplained
                if size <= 0:
                    return
            aggressor = "sell" if order.side == "bid" else "buy"
            price = order.price
        self.rows.append((ns, "trade", None, price, size, aggressor, hidden))
        if not hidden and aggressor is not None:
            self._oracle(ns, "bid" if aggressor == "sell" else "ask", price, size)
        if order is None:
            return
        order.unexplained += size
        probe = order.ghost
        if probe is not None:
            if probe["t_first_fill_ns"] is None:
                probe["t_first_fill_ns"] = ns
            probe["filled_size"] += size
            if order.unexplained == order.left:
                probe["t_full_fill_ns"] = ns

    def _oracle(self, ns: int, side: str, price: int, size: int) -> None:
        """Strict first in, first out: a trade reaches a ghost when all who came before it are gone."""
        level = self._sides[side].get(price)
        if level is None or not level.ghosts:
            return
        queue = iter(level.orders.values())
        ahead, order = 0, next(queue, None)
        for name, (probe, place) in list(level.ghosts.items()):
            while order is not None and order.place < place:
                ahead += order.left - order.unexplained
                order = next(queue, None)
            if ahead >= size:
                break
            if probe["oracle_t_first_ns"] is None:
                probe["oracle_t_first_ns"] = ns
            probe["oracle_filled"] = min(probe["size"], probe["oracle_filled"] + size - ahead)
            if probe["oracle_filled"] == probe["size"]:
                del level.ghosts[name]

    def _change(self, ns: int, order: _Order, price: int | None, size: int) -> None:
        if not 0 <= (size if size is not None else -1) <= MOST:
            self._note("changes to an impossible size, left out")
        elif (price is not None and price != order.price) or size > order.left:
            side, new_price = order.side, order.price if price is None else price
            self._leave(ns, order)  # it loses its place: another order as far as the queue knows
            if size:
                self._add(ns, order.id, side, new_price, size)
        elif size == 0:
            self._leave(ns, order)
        else:
            gone = order.left - size
            traded = min(gone, order.unexplained)
            order.unexplained -= traded
            order.left = size
            self._sides[order.side][order.price].total -= gone
            if order.ghost is not None:
                order.ghost["reduced_size"] += gone - traded
            self._say(ns, order)

    def _leave(self, ns: int, order: _Order) -> None:
        level = self._sides[order.side][order.price]
        probe = order.ghost
        if probe is not None and probe["t_full_fill_ns"] is None:
            # The ghost is taken back where its order was, before the market shows it.
            probe["t_end_ns"], probe["end_row"] = ns, len(self.rows)
            level.ghosts.pop(probe["order_id"], None)
        level.total -= order.left
        del level.orders[order.id]
        del self._orders[order.id]
        self._say(ns, order)
        if not level.orders and not level.ghosts:
            del self._sides[order.side][order.price]
        if self._best[order.side] == order.price and not level.orders:
            pick = max if order.side == "bid" else min
            self._best[order.side] = pick(
                (at for at, one in self._sides[order.side].items() if one.orders), default=None
            )

    def _clear(self, ns: int) -> None:
        for order in self._orders.values():
            if order.ghost is not None and order.ghost["t_full_fill_ns"] is None:
                order.ghost.update(t_end_ns=ns, end_row=len(self.rows), censored=True)
        self._orders.clear()
        self._sides = {"bid": {}, "ask": {}}
        self._best = {"bid": None, "ask": None}
        self.rows.append((ns, "clear", None, 0, 0, None, False))

    def _say(self, ns: int, order: _Order) -> None:
        total = self._sides[order.side][order.price].total
        self.rows.append((ns, "level", order.side, order.price, total, None, False))


def haunted(
    orders: pl.DataFrame, warm_up_ns: int = 0, farthest: int = FARTHEST_TICKS, most: int = MOST_GHOSTS
) -> Haunted:
    """Tape and ghosts of an order tape (``ORDER_SCHEMA``); of more than ``most`` ghosts every so manieth is kept.

    ``warm_up_ns``: how long after its start the book of a recording without a snapshot is not trusted.

    >>> rows = [(1, "add", "a", "bid", 10, 5), (1, "add", "b", "ask", 12, 5), (2, "add", "r", "bid", 10, 2),
    ...         (3, "delete", "a", None, None, None), (4, "trade", "r", None, 10, 2), (4, "delete", "r", None, None, 0)]
    >>> rows[4] = (4, "trade", "r", None, 10, 2)
    >>> found = haunted(pl.DataFrame([(*row, None, False) for row in rows], schema=ORDER_SCHEMA, orient="row"))
    >>> found.probes.select("order_id", "queue_ahead_at_t0", "filled_size", "start_row", "end_row").rows()
    [('r', 5, 2, 2, 6)]
    >>> found.tape["kind"].to_list(), found.tape["size"].to_list()
    (['level', 'level', 'level', 'level', 'trade', 'level'], [5, 5, 7, 2, 2, 0])

    Raises:
        FillFileError: not an order tape.
    """
    if not orders.height:
        raise FillFileError("expected an order tape, found no row")
    unknown = [kind for kind in orders["kind"].unique().to_list() if kind not in ORDER_KINDS]
    if unknown:
        raise FillFileError(
            f"expected the kinds {', '.join(ORDER_KINDS)}, found {unknown[0]!r}: is this an order tape?"
        )
    times = orders["ts_ns"].cum_max()
    if times.null_count():
        raise FillFileError(f"expected a time in every row, found {times.null_count()} without")
    builder = _Builder(int(times[0]) + warm_up_ns, farthest)
    late = int((orders["ts_ns"] < times).sum())
    if late:
        builder.notes["times that went back, held"] = late
    builder.run(orders.with_columns(ts_ns=times).select(list(ORDER_SCHEMA)).iter_rows())
    probes = pl.DataFrame(builder.probes, schema=PROBE_SCHEMA)
    if probes.height > most:
        step = -(-probes.height // most)
        builder.notes[f"ghosts found, every {step}th is kept"] = probes.height
        probes = probes.gather_every(step)
    return Haunted(pl.DataFrame(builder.rows, schema=TAPE_SCHEMA, orient="row"), probes, builder.notes)
