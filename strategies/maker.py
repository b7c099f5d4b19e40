"""Maker: quote both sides around the mid, and lean away from the inventory.

The quotes stand ``half_spread_bps`` from a centre. The centre is the mid, moved against the position by up to
``skew_bps``: a long maker wants to sell. Quotes are post-only, are moved only when the price they should have is more
than ``requote_bps`` away, and are taken back when the book is in doubt.
"""

from decimal import Decimal
from typing import Any

from engine import Book, Config, Context, ContractKind, Fill, Gap, Order, Side, Strategy


class MakerConfig(Config, frozen=True):
    symbol: str  # instrument to quote
    notional: Decimal = Decimal(500)  # size of each quote, quote currency
    max_notional: Decimal = Decimal(2000)  # largest inventory, quote currency
    half_spread_bps: float = 1.0  # basis points of the mid, from the centre to each quote
    skew_bps: float = 2.0  # basis points by which a full inventory moves the centre
    requote_bps: float = 0.5  # basis points that the price must move before a quote follows
    pause_s: float = 0.5  # seconds of engine time to wait after a quote was refused or rejected


class Maker(Strategy[MakerConfig]):
    """At most one quote a side; a quote that moves is cancelled first and sent again once that is confirmed."""

    def __init__(self, config: MakerConfig) -> None:
        super().__init__(config)
        self.quoted2 = 0  # twice the mid of the last look at the quotes; 0 asks for another
        self.paused_until_ns = 0

    def on_book(self, book: Book, ctx: Context) -> None:
        mid2 = book.bid + book.ask
        if abs(mid2 - self.quoted2) * 10_000 <= self.config.requote_bps * self.quoted2:
            return
        if ctx.now_ns < self.paused_until_ns or not book.bid or not book.ask:
            return
        self.quoted2 = mid2
        self.quote(book, ctx)

    def quote(self, book: Book, ctx: Context) -> None:
        """Bring both quotes to where they should be."""
        instrument, config = book.instrument, self.config
        tick, position = instrument.tick, ctx.position(config.symbol)
        size = instrument.size_for_notional(config.notional, book.ask)
        most = instrument.size_for_notional(config.max_notional, book.ask)
        least = 0 if instrument.kind is ContractKind.SPOT else -most
        if not size or not most:
            return
        centre = book.mid * (1 - config.skew_bps / 10_000 * max(-1.0, min(1.0, position / most)))
        half = book.mid * config.half_spread_bps / 10_000
        bid = min(int((centre - half) // tick) * tick, book.ask - tick)
        ask = max(-int(-(centre + half) // tick) * tick, book.bid + tick)
        self.quote_side(Side.BUY, bid, min(size, most - position), book, ctx)
        self.quote_side(Side.SELL, ask, min(size, position - least), book, ctx)

    def quote_side(self, side: Side, price: int, size: int, book: Book, ctx: Context) -> None:
        """Send, keep or take back the quote of one side; ``size`` is what there is room for."""
        lot = book.instrument.lot
        size -= size % lot
        working = [order for order in ctx.orders(self.config.symbol) if order.side is side]
        for order in working:
            is_off = abs(order.price - price) * 10_000 > self.config.requote_bps * price
            if order.state != "closing" and (is_off or size <= 0):
                ctx.cancel(order.id)
        if not working and price > 0 and size >= book.instrument.least_size(price):
            ctx.order(self.config.symbol, side, size, price, post_only=True)

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        self.quoted2 = 0

    def on_order(self, order: Order, ctx: Context) -> None:
        if order.state in ("refused", "rejected"):
            self.paused_until_ns = ctx.now_ns + int(self.config.pause_s * 1e9)
        if not order.is_working:
            self.quoted2 = 0

    def on_gap(self, gap: Gap, ctx: Context) -> None:
        self.quoted2 = 0
        for order in ctx.orders(self.config.symbol):
            ctx.cancel(order.id)

    def save(self) -> dict[str, Any]:
        return {"quoted2": self.quoted2, "paused_until_ns": self.paused_until_ns}

    def load(self, state: dict[str, Any]) -> None:
        self.quoted2, self.paused_until_ns = int(state["quoted2"]), int(state["paused_until_ns"])
