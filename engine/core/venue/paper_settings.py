"""What the paper venue assumes: latencies, fees, bounds."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.core.account.borrow import BorrowSettings
from engine.core.account.corporate import EquitySettings
from engine.core.account.fees import FeeSettings
from engine.core.account.margin import MarginSettings
from engine.core.queues.calibration_settings import CalibrationSettings
from engine.core.queues.queue_settings import QueueSettings
from engine.core.venue.gateway import Gate
from engine.core.venue.impact import ImpactSettings
from engine.core.venue.latency import LatencySettings
from engine.core.venue.venue_rules import VenueRules


class PaperSettings(msgspec.Struct, frozen=True):
    """Latencies in ns, fee rates as fractions of the notional (negative: a rebate), bounds.

    ``out_ns``: from us to the venue's matching; ``back_ns``: its answer to us; ``feed_ns``: its market data to us;
    ``latency``: how they vary (None: not at all). ``gates``: what a venue's door refuses, by the venue's name.
    ``max_taken``: levels whose taken size is remembered.
    ``reporting_currency``: in which all profit is told once more, empty: in its own currencies only.
    ``fees``: the schedules of venues, which then take the place of the two rates.
    ``explain_ns``: how long a level change waits for the trade that explains it (see queue.py).
    ``queue``: the rules that say where resting orders stand.
    ``rules``: what a venue takes and how it says no; ``venue_rules``: by the venue's name, in its place.
    ``impact``: what an order finds beyond the display, and how far market orders go.
    ``calibration``: how the queue model's share is fitted while the engine runs (None: not at all).
    """

    out_ns: int = 5_000_000
    back_ns: int = 5_000_000
    feed_ns: int = 5_000_000
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")
    fees: FeeSettings = FeeSettings()
    borrow: BorrowSettings = BorrowSettings()
    margin: MarginSettings = MarginSettings()
    equities: EquitySettings = EquitySettings()
    reporting_currency: str = ""
    max_orders: int = 2_000
    max_taken: int = 8192
    explain_ns: int = 200_000_000
    latency: LatencySettings | None = None
    gates: dict[str, Gate] = {}
    queue: QueueSettings = QueueSettings()
    rules: VenueRules = VenueRules()
    impact: ImpactSettings = ImpactSettings()
    venue_rules: dict[str, VenueRules] = {}
    calibration: CalibrationSettings | None = None

    @property
    def ghosts(self) -> int:
        """Ghost orders of a symbol that rest at once at most."""
        return 0 if self.calibration is None else self.calibration.most

    def rules_of(self, venue: str) -> VenueRules:
        """The rules of a venue."""
        return self.venue_rules.get(venue, self.rules)

    @property
    def effect_ns(self) -> int:
        """From the decision to the place in the received stream where it takes effect."""
        return self.out_ns + self.feed_ns

    @property
    def tell_ns(self) -> int:
        """From that place to when its owner is told."""
        return max(0, self.back_ns - self.feed_ns)
