"""Hold: buy once for a fixed amount of money, and keep it. The smallest whole strategy."""

from decimal import Decimal

from engine import Config, Context, Side, Strategy


class HoldConfig(Config, frozen=True):
    symbol: str  # instrument to buy
    notional: Decimal = Decimal(1000)  # money to spend, quote currency
    retry_s: float = 1.0  # seconds of engine time between two looks


class Hold(Strategy[HoldConfig]):
    """Looks once every ``retry_s`` until it has bought; a refused or unfilled order is simply tried again."""

    def on_start(self, ctx: Context) -> None:
        ctx.timer("buy", self.config.retry_s)

    def on_timer(self, name: str, ctx: Context) -> None:
        book = ctx.book(self.config.symbol)
        if ctx.position(self.config.symbol):
            return
        if book.is_ready and not ctx.orders(self.config.symbol):
            size = book.instrument.size_for_notional(self.config.notional, book.ask)
            if size:
                ctx.order(self.config.symbol, Side.BUY, size)
        ctx.timer("buy", self.config.retry_s)
