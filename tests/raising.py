"""A strategy that is busy for a while, and then meets what its author did not think of."""

from engine import Book, Config, Context, Strategy
from engine.research.crash_strategy import Busy, BusyConfig


class RaisesConfig(Config, frozen=True):
    symbol: str  # instrument to trade
    after: int = 200  # orders until it raises


class Raises(Strategy[RaisesConfig]):
    """Busy until it has sent ``after`` orders."""

    def __init__(self, config: RaisesConfig) -> None:
        super().__init__(config)
        self.busy = Busy(BusyConfig(symbol=config.symbol, orders=1, rest=8))

    def on_start(self, ctx: Context) -> None:
        self.busy.on_start(ctx)

    def on_timer(self, name: str, ctx: Context) -> None:
        self.busy.on_timer(name, ctx)
        if self.busy.sent >= self.config.after:
            raise ZeroDivisionError(f"no change in {self.busy.sent} orders")

    def on_book(self, book: Book, ctx: Context) -> None:
        self.last = book.bid
