"""The daemon's picture in Redis' words: every value is text, decimals exact."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from engine.live.redis_bus import RedisStatus

ORDERS: Final = 2_000
"""Working orders in the hash at most, oldest first; ``paper.max_orders`` may be more."""


def redis_status(state: dict[str, Any]) -> RedisStatus:
    """Books, positions, working orders and health out of ``View.state()``.

    >>> state = {"book_tops": [{"symbol": "v:X", "ready": True, "bid": "1.0", "bid_size": "2", "ask": None,
    ...          "ask_size": None}], "positions": [{"strategy": "s", "symbol": "v:X", "size": "0.5"}], "ready": True,
    ...          "halted": False, "digest": "ab", "fills": 3, "now_ns": 7,
    ...          "working_orders": [{"id": 4, "state": "open"}]}
    >>> status = redis_status(state)
    >>> status.books["v:X"], status.positions, status.health["ready"]
    ({'bid': '1.0', 'bid_size': '2', 'ready': 'true'}, {'s v:X': '0.5'}, 'true')
    >>> status.orders
    {'4': '{"id":4,"state":"open"}'}
    """
    books = {
        book["symbol"]: {
            key: _text(book[key])
            for key in ("bid", "bid_size", "ask", "ask_size", "ready")
            if book.get(key) is not None
        }
        for book in state["book_tops"]
    }
    positions = {f"{one['strategy']} {one['symbol']}": one["size"] for one in state["positions"]}
    shown: tuple[str, ...] = ("ready", "halted", "digest", "now_ns")
    health = {key: _text(state[key]) for key in shown if key in state}
    orders = {str(one["id"]): msgspec.json.encode(one).decode() for one in state["working_orders"][:ORDERS]}
    return RedisStatus(books=books, positions=positions, orders=orders, health=health)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
