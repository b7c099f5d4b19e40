"""Lean: hold a position in the direction of recent trades and of the book.

The score is the mean of two numbers in [-1, 1]: the flow (bought less sold size over their sum, forgotten with a
half-life) and the imbalance of the displayed book. It opens a position beyond ``enter`` and closes it inside ``leave``.
"""

from decimal import Decimal
from typing import Any

from engine import Config, Context, ContractKind, Gap, Strategy, Trade


class LeanConfig(Config, frozen=True):
    symbol: str  # instrument to trade
    notional: Decimal = Decimal(1000)  # size of a position, quote currency
    halflife_s: float = 2.0  # seconds of engine time after which a trade counts half
    levels: int = 5  # levels of each side in the imbalance
    enter: float = 0.4  # score in [0, 1] that opens a position
    leave: float = 0.1  # score in [0, 1] below which it is closed
    every_s: float = 0.5  # seconds of engine time between two decisions


class Lean(Strategy[LeanConfig]):
    """Says its score as the signal ``lean`` at every decision, and goes after it with market orders.

    A spot account owns what it sells, so there the strategy is flat where it would be short.
    """

    def __init__(self, config: LeanConfig) -> None:
        super().__init__(config)
        self.signed_size = 0.0
        self.total_size = 0.0
        self.flow_ns = 0
        self.size = 0  # the position it wants, signed, size units

    def on_start(self, ctx: Context) -> None:
        ctx.timer("decide", self.config.every_s)

    def on_trade(self, trade: Trade, ctx: Context) -> None:
        kept: float = 0.5 ** ((trade.recv_ns - self.flow_ns) / (self.config.halflife_s * 1e9))
        self.signed_size = self.signed_size * kept + trade.side * trade.size
        self.total_size = self.total_size * kept + trade.size
        self.flow_ns = trade.recv_ns

    def on_gap(self, gap: Gap, ctx: Context) -> None:
        # Trades were missed, so the flow is not what we think it is.
        self.signed_size = self.total_size = 0.0

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.timer("decide", self.config.every_s)
        book = ctx.book(self.config.symbol)
        if not book.is_ready:
            return
        flow = self.signed_size / self.total_size if self.total_size else 0.0
        score = (flow + book.imbalance(self.config.levels)) / 2
        ctx.emit(self.config.symbol, "lean", score)
        lowest = 0 if book.instrument.kind is ContractKind.SPOT else -1
        direction = max(lowest, (score > self.config.enter) - (score < -self.config.enter))
        if direction * self.size <= 0 and direction:
            self.size = direction * book.instrument.size_for_notional(self.config.notional, book.ask)
        elif self.size and score * (1 if self.size > 0 else -1) < self.config.leave:
            self.size = 0
        # Counts working orders, so what is on its way is not asked for twice, and what was refused is asked for again.
        ctx.target(self.config.symbol, self.size)

    def save(self) -> dict[str, Any]:
        return {
            "signed_size": self.signed_size,
            "total_size": self.total_size,
            "flow_ns": self.flow_ns,
            "size": self.size,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.signed_size, self.total_size = float(state["signed_size"]), float(state["total_size"])
        self.flow_ns, self.size = int(state["flow_ns"]), int(state["size"])
