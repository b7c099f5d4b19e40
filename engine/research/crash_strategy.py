"""A strategy that keeps the paper venue busy: quotes on many levels, taken back after a while, and some takers.

It decides by counting only, so that it is the same in every session and in a replay.
"""

from decimal import Decimal

from engine import Book, Config, Context, Side, Strategy


class BusyConfig(Config, frozen=True):
    symbol: str  # instrument to trade
    notional: Decimal = Decimal(200)  # size of each order, quote currency
    every_s: float = 0.02  # seconds of engine time between two rounds
    orders: int = 4  # orders a round
    rest: int = 200  # orders that rest at once; the oldest are taken back
    deep: int = 8  # price steps over which they rest
    renews: bool = True  # the oldest are taken back for new ones, without an end
    takes: bool = True  # one in sixteen is a market order against the position


class Busy(Strategy[BusyConfig]):
    """Sends ``orders`` a round until ``rest`` of them rest, and then takes the oldest back for new ones."""

    def __init__(self, config: BusyConfig) -> None:
        super().__init__(config)
        self.sent = 0

    def on_start(self, ctx: Context) -> None:
        ctx.timer("round", self.config.every_s)

    def on_timer(self, name: str, ctx: Context) -> None:
        resting = [order for order in ctx.orders(self.config.symbol) if order.state != "closing"]
        if not self.config.renews and len(resting) >= self.config.rest:
            return
        ctx.timer(name, self.config.every_s)
        book = ctx.book(self.config.symbol)
        if not book.is_ready or not book.bid or not book.ask:
            return
        for order in resting[: max(0, len(resting) + self.config.orders - self.config.rest)]:
            ctx.cancel(order.id)
        for _ in range(self.config.orders):
            self.send(book, ctx)

    def send(self, book: Book, ctx: Context) -> None:
        """The next order: sides in turn, one to eight ticks from the best price of its side."""
        self.sent += 1
        instrument, symbol = book.instrument, self.config.symbol
        size = instrument.size_for_notional(self.config.notional, book.ask)
        if self.config.takes and self.sent % 16 == 0:
            side = Side.SELL if ctx.position(symbol) > 0 else Side.BUY
            ctx.order(symbol, side, size)
            return
        side = Side.BUY if self.sent % 2 else Side.SELL
        away = (self.sent // 2) % self.config.deep * instrument.tick
        best = book.bid if side is Side.BUY else book.ask
        ctx.order(symbol, side, size, best - int(side) * away, post_only=True)
