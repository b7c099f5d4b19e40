"""The run so far as plain values: the summary that ends a run, and the picture a person watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.core.book import DOUBT, IS_READY
from engine.core.desk.order_terms import type_of
from engine.core.desk.risk import waking_price
from engine.core.events import REASONS
from engine.core.prints import LEFT_OUT
from engine.core.state import FRAMES_SEEN, GAPS_SEEN

if TYPE_CHECKING:
    from engine.core.engine import Engine


def summary(engine: Engine) -> dict[str, Any]:
    """Counts of books, orders and fills, and the profit by currency as exact text."""
    top = engine.books.top
    desk = engine.desk
    return {
        "digest": engine.digest,
        "records": engine.seq,
        "frames": int(engine._state.control[FRAMES_SEEN]),
        "books": {
            "ready": int((top[:, IS_READY] != 0).sum()),
            "total": len(engine.instruments),
            "doubts": int(engine._state.control[GAPS_SEEN]),
        },
        "prints_left_out": int(top[:, LEFT_OUT].sum()),
        "orders": {
            "sent": desk.sent,
            "refused": dict(sorted(desk.refused.items())),
            "filled": desk.filled,
            "cancelled": desk.cancelled,
            "expired": desk.expired,
            "rejected": desk.rejected,
            "rejections": dict(sorted(desk.rejections.items())),
            "working": len(desk.orders),
        },
        "fills": desk.fills,
        "profit": {currency: format(value, "f") for currency, value in sorted(engine.ledger.profit().items())},
        "fees": {currency: format(value, "f") for currency, value in sorted(engine.ledger.fees().items())},
        "strategies": {
            name: {
                "profit": {
                    currency: format(value, "f") for currency, value in sorted(engine.ledger.profit(name).items())
                },
                "band": engine.honesty.twins.band(engine.ledger, name),
                "stopped": engine.roster.stopped.get(name),
            }
            for name in engine.roster.slots
        },
        **truth(engine),
        **engine.treasury.plain(engine.roster.slots),
        "calibration": engine.calibration.plain(),
        **engine.charges.plain(),
        "halted": engine.halted,
    }


def truth(engine: Engine) -> dict[str, Any]:
    """How true the fills are, with what the run's own ghost orders found of the queue model in use.

    ``measured``: of the ghost fills that the model ``said``, so many were had by the pessimist too, ``surely``; ``low``
    is their share, the least that is real whatever the queues did.
    """
    fates = engine.calibration.ghosts.fates
    said, surely = sum(one.said for one in fates), sum(one.surely for one in fates)
    ghosts = {"ghosts": sum(one.ended for one in fates), "said": said, "surely": surely}
    return engine.honesty.plain(ghosts | {"low": surely / said} if said else None)


def status(engine: Engine) -> dict[str, Any]:
    """Books, positions and working orders with prices and sizes as exact text, on top of the summary."""
    books = []
    for index, instrument in enumerate(engine.instruments):
        book = engine.book_views[index]
        shown = book.bid != 0 and book.ask != 0
        books.append(
            {
                "symbol": instrument.name,
                "ready": book.is_ready,
                "reason": "" if book.is_ready else REASONS[int(engine.books.top[index, DOUBT])] or "no snapshot yet",
                "bid": instrument.price_text(book.bid) if shown else None,
                "bid_size": instrument.size_text(book.bid_size) if shown else None,
                "ask": instrument.price_text(book.ask) if shown else None,
                "ask_size": instrument.size_text(book.ask_size) if shown else None,
                "changed_ns": book.changed_ns,
            }
        )
    positions = [
        {
            "strategy": name,
            "symbol": instrument.name,
            "size": instrument.size_text(size),
        }
        for name in engine.roster.slots
        for index, instrument in enumerate(engine.instruments)
        if (size := engine.ledger.position(index, name)) != 0
    ]
    orders = []
    for order in engine.desk.orders.values():
        instrument = engine.instruments[order.intent.symbol]
        orders.append(
            {
                "id": order.intent.order,
                "strategy": order.intent.strategy,
                "symbol": instrument.name,
                "side": "buy" if order.intent.side > 0 else "sell",
                "kind": type_of(order.intent.kind, order.intent.terms),
                "time_in_force": order.intent.time_in_force.value,
                "price": instrument.price_text(order.price) if order.price else None,
                "trigger": instrument.price_text(trigger) if (trigger := waking_price(order.intent)) else None,
                "size": instrument.size_text(order.size),
                "filled": instrument.size_text(order.filled),
                "state": order.state,
            }
        )
    cash = {currency: format(value, "f") for currency, value in sorted(engine.ledger.cash().items())}
    return summary(engine) | {
        "now_ns": engine.now_ns,
        "book_tops": books,
        "positions": positions,
        "working_orders": orders,
        "cash": cash,
    }
