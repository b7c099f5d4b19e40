"""The connections to the venues as messages see them: when each arrives, and that none overtakes another.

A venue is reached through one ordered connection (a TCP stream) and answers through another. However much latencies
jitter, an order sent later does not arrive earlier, and what the venue says is heard in the order in which it said it.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.desk.orders import Working
from engine.core.events import Measured
from engine.core.types import Instrument
from engine.core.venue.latency import MESSAGES, LatencyModel
from engine.core.venue.paper_settings import PaperSettings


class Lines:
    """When messages arrive. One line a venue.

    >>> from engine.core.desk.risk import Intent
    >>> from engine.core.types import OrderKind, TimeInForce
    >>> btc = Instrument(venue="v", symbol="B", base="B", quote="U", price_decimals=2, size_decimals=3)
    >>> lines = Lines(PaperSettings(out_ns=30, feed_ns=5, back_ns=20), [btc])
    >>> intent = Intent(1, "s", 0, 1, OrderKind.LIMIT, TimeInForce.GTC, 10, 1, False)
    >>> order = Working(intent, "sent", 1)
    >>> lines.send(order, 0, 100), (order.out_ns, order.feed_ns)
    (135, (30, 5))
    >>> lines.hear(order, is_fill=False, now_ns=135), order.back_ns
    (150, 20)
    """

    def __init__(self, settings: PaperSettings, instruments: Sequence[Instrument]) -> None:
        names = list(dict.fromkeys(instrument.venue for instrument in instruments))
        self.venues: dict[str, int] = {name: line for line, name in enumerate(names)}
        self.model = LatencyModel(
            settings.latency, settings.out_ns, settings.back_ns, settings.feed_ns, len(self.venues)
        )
        self._line = [self.venues[instrument.venue] for instrument in instruments]
        self._arrives_ns = [0] * len(names)
        self._heard_ns = [0] * len(names)
        self._waiting = [0] * len(names)

    def of(self, order: Working) -> int:
        """The line of an order's venue."""
        return self._line[order.intent.symbol]

    def send(self, order: Working, what: int, now_ns: int) -> int:
        """A message of an order leaves now; the engine time at which it takes effect in the received stream.

        ``what`` is ``ORDER``, ``AMEND`` or ``CANCEL`` of ``latency.py``.
        """
        line = self._line[order.intent.symbol]
        order.messages += 1
        message = order.intent.order * MESSAGES + order.messages
        order.out_ns, order.feed_ns = self.model.way_out(line, what, message, now_ns)
        arrives_ns = now_ns + order.out_ns + order.feed_ns
        if arrives_ns < self._arrives_ns[line]:  # waits on the line behind what was sent before
            order.out_ns += self._arrives_ns[line] - arrives_ns
            arrives_ns = self._arrives_ns[line]
        self._arrives_ns[line] = arrives_ns
        return arrives_ns

    def hear(self, order: Working, is_fill: bool, now_ns: int) -> int:
        """The venue says something of an order at ``now_ns`` of the received stream; when we hear it."""
        line = self._line[order.intent.symbol]
        order.messages += 1
        message = order.intent.order * MESSAGES + order.messages
        order.back_ns = self.model.way_back(line, is_fill, message, now_ns)
        late_ns = order.back_ns - order.feed_ns
        heard_ns = now_ns + late_ns if late_ns > 0 else now_ns
        if heard_ns < self._heard_ns[line]:
            order.back_ns = order.feed_ns + self._heard_ns[line] - now_ns
            heard_ns = self._heard_ns[line]
        self._heard_ns[line] = heard_ns
        return heard_ns

    def is_quiet(self, line: int) -> bool:
        """Nothing that was said earlier is still on its way."""
        return not self._waiting[line]

    def wait(self, line: int) -> None:
        """Words were scheduled to be heard later."""
        self._waiting[line] += 1

    def arrived(self, line: int) -> None:
        """Such words were heard."""
        self._waiting[line] -= 1

    def measured(self, what: Measured) -> None:
        """A round trip to a venue was measured; a venue without instruments in this run is none of ours."""
        if what.venue in self.venues:
            self.model.measured(self.venues[what.venue], what.rtt_ns, what.delay_ns)

    def in_use(self, venue: str, now_ns: int) -> tuple[int, int, int]:
        """Out, back and feed that an order sent now would meet in the middle, in ns."""
        return self.model.typical(self.venues[venue], now_ns)
