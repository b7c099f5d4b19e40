"""What a prediction is worth as a trade: the move in its direction, before and after what a trade costs."""

from __future__ import annotations

from typing import Any

import msgspec

SURE = 0.5
"""Where a prediction is no move in bps but -1 to 1, it is traded on from here: more likely than not."""


class Value(msgspec.Struct):
    """Bps for each signal. Gross: every prediction with a sign is followed, free of costs.

    Net: only where the predicted move exceeds the costs, which are half a spread and the taker's fee, each twice.

    >>> value = Value()
    >>> value.update(0.4, unit_bps=1.0, move_bps=3.0, spread_bps=1.0, fee_bps=0.5)
    >>> value.update(-4.0, unit_bps=1.0, move_bps=-5.0, spread_bps=1.0, fee_bps=0.5)
    >>> value.gross_bps, value.net_bps, value.signals, value.trades
    (4.0, 3.0, 2, 1)
    """

    signals: int = 0
    gross: float = 0.0
    trades: int = 0
    net: float = 0.0

    def update(
        self, prediction: float, *, unit_bps: float | None, move_bps: float, spread_bps: float, fee_bps: float
    ) -> None:
        """Take one prediction with what the mid moved; ``unit_bps`` None: the prediction is no move in bps."""
        if prediction == 0.0:
            return
        gross = move_bps if prediction > 0.0 else -move_bps
        self.signals += 1
        self.gross += gross
        cost = spread_bps + 2.0 * fee_bps
        if abs(prediction) * unit_bps > cost if unit_bps is not None else abs(prediction) > SURE:
            self.trades += 1
            self.net += gross - cost

    @property
    def gross_bps(self) -> float | None:
        """Mean over all signals; None before the first."""
        return self.gross / self.signals if self.signals else None

    @property
    def net_bps(self) -> float | None:
        """Mean over those that were worth trading on; None before the first."""
        return self.net / self.trades if self.trades else None

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return msgspec.structs.asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        for field, value in state.items():
            setattr(self, field, value)
