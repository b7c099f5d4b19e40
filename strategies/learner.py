"""Learner: trade what a model predicts, but only where it pays for the way in.

A model says the return it expects, in basis points of the mid. A market order costs the taker fee and half the spread.
So a position opens when the prediction is beyond ``edge`` times that cost, and closes when the prediction no longer
points its way by at least ``leave_bps``; in between it is kept, as leaving costs too.

A model that says how sure it is (``MODEL/width``: half the width of an interval around its prediction) may decide the
size too. With ``width_scale`` a position opens with the share

    min(1, (|prediction| - entry) / (width_scale * width)),  entry = edge * cost

of the full size: nothing at the entry, all of it where the prediction exceeds that by ``width_scale`` half-widths.

A model whose relation to the market is in doubt may ask for less (``MODEL/size``: a share from 0 to 1, before the
prediction it belongs to). That much of the position is held; a model that stands aside says 0 and then nothing.
"""

from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta

from engine import Book, Config, Context, ContractKind, Signal, Strategy

NotNegative = Annotated[float, Meta(ge=0.0)]


class LearnerConfig(Config, frozen=True):
    symbol: str  # instrument to trade
    model: str  # name of the model in the configuration
    notional: Decimal = Decimal(1000)  # size of a position, quote currency
    cost_bps: float = 10.0  # taker fee of one fill, basis points
    edge: float = 1.0  # multiples of the cost that a prediction must promise
    leave_bps: float = 0.0  # prediction in the position's own direction below which it is closed, basis points
    hold_s: float = 1.0  # seconds of engine time between two changes of mind
    width_scale: NotNegative = 0.0  # half-widths beyond the entry for the full size; 0: always the full size


class Learner(Strategy[LearnerConfig]):
    """Follows one model on one instrument with market orders.

    With ``width_scale`` it hears only predictions that come with a width. A spot account owns what it sells, so there
    the strategy is flat where it would be short.
    """

    def __init__(self, config: LearnerConfig) -> None:
        super().__init__(config)
        self.heard = f"{config.model}/width" if config.width_scale else config.model
        self.size = 0  # the position it wants, signed, size units
        self.changed_ns = 0

    def on_signal(self, signal: Signal, ctx: Context) -> None:
        book = ctx.book(self.config.symbol)
        if (signal.source, signal.name, signal.symbol) != (self.config.model, self.heard, book.symbol):
            return
        # A width follows the prediction that it belongs to.
        prediction = ctx.signal(self.config.symbol, self.config.model)
        if prediction is None or prediction.id != signal.id or not book.mid or not book.is_ready:
            return
        if ctx.now_ns - self.changed_ns >= self.config.hold_s * 1e9:
            size = self.wanted(prediction.value, signal.value, book)
            if size != self.size:
                self.size = size
                self.changed_ns = ctx.now_ns
        # Counts working orders: asks again for what was refused or did not fill, and never twice for the same.
        ctx.target(self.config.symbol, self.reduced(prediction.id, book, ctx))

    def reduced(self, sample: int, book: Book, ctx: Context) -> int:
        """The position that it wants, or the share of it that the model asks for with this sample; whole lots."""
        share = ctx.signal(self.config.symbol, f"{self.config.model}/size")
        if share is None or share.id != sample:
            return self.size
        units = int(abs(self.size) * share.value)
        return (units - units % book.instrument.lot) * (1 if self.size > 0 else -1)

    def wanted(self, prediction_bps: float, width_bps: float, book: Book) -> int:
        """The position that a prediction is worth, in size units; the width counts where ``width_scale`` is not 0."""
        cost_bps = self.config.cost_bps + 5_000 * book.spread / book.mid
        enter_bps = self.config.edge * cost_bps
        lowest = 0 if book.instrument.kind is ContractKind.SPOT else -1
        direction = max(lowest, (prediction_bps > enter_bps) - (prediction_bps < -enter_bps))
        held = (self.size > 0) - (self.size < 0)
        if direction in (0, held):
            is_kept = held * prediction_bps >= self.config.leave_bps
            return self.size if is_kept else 0
        share = clarity(abs(prediction_bps) - enter_bps, self.config.width_scale * width_bps)
        return direction * book.instrument.size_for_notional(self.config.notional * Decimal(share), book.ask)

    def save(self) -> dict[str, Any]:
        return {"size": self.size, "changed_ns": self.changed_ns}

    def load(self, state: dict[str, Any]) -> None:
        self.size, self.changed_ns = int(state["size"]), int(state["changed_ns"])


def clarity(beyond_bps: float, full_bps: float) -> float:
    """The share of the full size, from 0 to 1, of a prediction so far beyond its entry; ``full_bps`` 0: all of it.

    >>> clarity(1.0, 4.0), clarity(9.0, 4.0), clarity(-1.0, 4.0), clarity(1.0, 0.0)
    (0.25, 1.0, 0.0, 1.0)
    """
    return max(0.0, min(1.0, beyond_bps / full_bps)) if full_bps > 0.0 else 1.0
