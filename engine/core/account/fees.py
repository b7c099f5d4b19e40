"""What a fill costs and in which currency it is paid: plain rates, or a venue's schedule by tier.

The tier is named, or follows from the account's own volume at the venue over the schedule's window (``auto``). Volume
counts in US dollars: dollars and the stablecoins of ``DOLLARS`` at par, other quote currencies at the mark.

A fee is paid in the currency of profit (``settle``), from what a spot purchase brought (``received``), or in a token at
its mark with the venue's discount (``token``). Where the account holds too little of the token, or no mark values it,
the whole fee is paid without it and without the discount, as Binance does. Rebates come in the currency of profit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.account.currencies import Conversions, Rate
from engine.core.account.fee_schedules import FeeSchedule, FeeTier, schedule
from engine.core.account.ledger import FEE, Ledger
from engine.core.account.money import FeeTable, amount, to_decimal, to_text
from engine.core.types import ContractKind, Instrument

DAY_NS = 86_400_000_000_000
AUTO = "auto"
DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDP", "DAI", "GUSD", "USD1")
"""Counted as one US dollar each towards a volume; nowhere else."""


class FeeRates(msgspec.Struct, frozen=True):
    """Fractions of a fill's value; a negative rate is a rebate.

    >>> FeeRates(maker=Decimal("-0.0001")).of(is_maker=True)
    Decimal('-0.0001')
    """

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")

    def of(self, is_maker: bool) -> Decimal:
        """The rate that a fill pays."""
        return self.maker if is_maker else self.taker


class VenueFees(msgspec.Struct, frozen=True, kw_only=True):
    """How one venue charges; an empty value leaves it to the schedule.

    ``schedule``: a name of fee_schedules.py, empty for the plain rates. ``tier``: its name, or ``auto``. ``volume``: US
    dollars traded before the run, in the day before its first fill. ``pay_in``: ``settle``, ``received`` or ``token``.
    """

    schedule: str = ""
    tier: str = AUTO
    volume: Decimal = Decimal(0)
    pay_in: str = ""
    token: str = ""
    token_discount: Decimal | None = None


class FeeSettings(msgspec.Struct, frozen=True):
    """``venues``: by the venue's name in the run; the others pay the plain rates."""

    venues: dict[str, VenueFees] = {}


class RollingVolume:
    """What was traded in the last days, in buckets of one UTC day.

    >>> volume = RollingVolume(window_days=2)
    >>> volume.add(10 * DAY_NS, 5); volume.add(11 * DAY_NS, 7); volume.add(11 * DAY_NS + 1, 1)
    >>> volume.before(12 * DAY_NS), volume.now(11 * DAY_NS), volume.before(13 * DAY_NS), volume.before(14 * DAY_NS)
    (13, 13, 8, 0)
    """

    def __init__(self, window_days: int) -> None:
        self._window = window_days
        self._days: deque[tuple[int, int]] = deque(maxlen=window_days + 1)

    def add(self, ns: int, value: int) -> None:
        """Count a value on the day of an engine time."""
        day = ns // DAY_NS
        if self._days and self._days[-1][0] >= day:
            last, before = self._days[-1]
            self._days[-1] = (last, before + value)
        else:
            self._days.append((day, value))

    def before(self, ns: int) -> int:
        """What was traded in the window of whole days before the day of ``ns``."""
        today = ns // DAY_NS
        return sum(value for day, value in self._days if today - self._window <= day < today)

    def now(self, ns: int) -> int:
        """What was traded today and in the days before, a window together."""
        today = ns // DAY_NS
        return sum(value for day, value in self._days if today - self._window < day <= today)

    @property
    def days(self) -> list[tuple[int, int]]:
        """The buckets: UTC day since 1970 and value, oldest first."""
        return list(self._days)


class _Plan:
    """One venue's schedule as it stands for the account now."""

    def __init__(self, settings: VenueFees, plain: FeeRates) -> None:
        fallback = FeeTier("plain", Decimal(0), plain.maker, plain.taker)
        self.schedule = (
            schedule(settings.schedule)
            if settings.schedule
            else FeeSchedule(name="plain", url="", read="config", checked="config", tiers=(fallback,))
        )
        self.is_auto = settings.tier == AUTO
        self.tier = self.schedule.tiers[0] if self.is_auto else self.schedule.tier(settings.tier)
        wants_token = settings.pay_in == "token"
        self.token = (settings.token or self.schedule.token) if wants_token else ""
        discount = settings.token_discount
        self.keeps = 1 - (self.schedule.token_discount if discount is None else discount)
        self.in_base = (self.schedule.pay_in if wants_token or not settings.pay_in else settings.pay_in) == "received"
        self.volume = RollingVolume(self.schedule.window_days)
        self.unseen = amount(settings.volume)
        self.uncounted = 0
        self.day = -1

    def choose(self, now_ns: int) -> None:
        """Look the tier up again where the schedule does so."""
        day = now_ns // DAY_NS
        if self.unseen:
            self.volume.add(now_ns - DAY_NS, self.unseen)
            self.unseen = 0
        if self.is_auto and (day != self.day or not self.schedule.daily):
            volume = self.volume.before(now_ns) if self.schedule.daily else self.volume.now(now_ns)
            self.tier = self.schedule.at(to_decimal(volume))
        self.day = day


class Fees:
    """Books fills with their fees.

    >>> btc = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> ledger = Ledger((btc,), {"USDT": Decimal(1000)})
    >>> settings = FeeSettings({"b": VenueFees(schedule="binance-spot", tier="VIP 1")})
    >>> fees = Fees((btc,), ledger, FeeRates(), settings, Conversions((btc,), ledger.mark2))
    >>> fees.fill("s", 0, 1, 5_000_000, 1_000, is_maker=True, now_ns=0), ledger.position(0)
    ((Decimal('0.000009'), 'BTC'), 1000)
    >>> fees.fill("s", 0, -1, 5_000_000, 999, is_maker=False, now_ns=0)
    (Decimal('0.4995'), 'USDT')
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        ledger: Ledger,
        plain: FeeRates,
        settings: FeeSettings,
        conversions: Conversions,
    ) -> None:
        self._plain = plain
        self._ledger = ledger
        self._conversions = conversions
        self._table = FeeTable()
        self._known = (-1, 0, 0, False, 0, 0)  # the last fill at plain rates: what, and its value and fee
        self.plans = {venue: _Plan(one, plain) for venue, one in settings.venues.items()}
        self._by_symbol = tuple(self.plans.get(instrument.venue) for instrument in instruments)
        self._instruments = tuple(instruments)

    def fill(
        self, strategy: str, symbol: int, side: int, price: int, size: int, *, is_maker: bool, now_ns: int
    ) -> tuple[Decimal, str]:
        """``charge`` with the fee as an exact decimal."""
        fee, currency = self.charge(strategy, symbol, side, price, size, is_maker=is_maker, now_ns=now_ns)
        return to_decimal(fee), currency

    def charge(
        self, strategy: str, symbol: int, side: int, price: int, size: int, *, is_maker: bool, now_ns: int
    ) -> tuple[int, str]:
        """Book a fill in the ledger; returns the fee at 1e-30 (negative: a rebate) and the currency that paid it."""
        plan = self._by_symbol[symbol]
        if plan is None:
            value, fee = self._at_plain_rates(symbol, price, size, is_maker)
            self._ledger.book(strategy, symbol, side, size, value, fee)
            return fee, self._ledger.currency_of(symbol)
        plan.choose(now_ns)
        rate = plan.tier.maker if is_maker else plan.tier.taker
        paid = self._in_token(plan, symbol, price, size, rate) if plan.token and rate > 0 else 0
        if paid:
            self._ledger.charge(strategy, symbol, side, price, size, Decimal(0))
            self._ledger.flow(strategy, plan.token, FEE, -paid)
            told = paid, plan.token
        else:
            buys = plan.in_base and side > 0 and rate > 0 and self._instruments[symbol].kind is ContractKind.SPOT
            told = self._ledger.charge(strategy, symbol, side, price, size, rate, fee_in_base=buys)
        if plan.is_auto:
            self._count(plan, symbol, price, size, now_ns)
        return told

    def plain(self, symbol: int, price: int, size: int, *, is_maker: bool) -> tuple[int, int] | None:
        """A fill's value and fee at 1e-30 where the plain rates apply, the same for every account; else None."""
        if self._by_symbol[symbol] is not None:
            return None
        return self._at_plain_rates(symbol, price, size, is_maker)

    def _at_plain_rates(self, symbol: int, price: int, size: int, is_maker: bool) -> tuple[int, int]:
        """A fill's value and fee; the run and its twins ask for the same one after another."""
        known = self._known
        if known[:4] == (symbol, price, size, is_maker):
            return known[4], known[5]
        value = self._ledger.worth[symbol].settled(price, size)
        fee = self._table.fee(value, self._plain.of(is_maker))
        self._known = (symbol, price, size, is_maker, value, fee)
        return value, fee

    def _in_token(self, plan: _Plan, symbol: int, price: int, size: int, rate: Decimal) -> int:
        """The fee in the token, rounded up at 1e-30; 0 where it cannot be paid so."""
        value = self._ledger.worth[symbol].settled(price, size)
        fee = self._table.fee(value, rate * plan.keeps)
        found = self._conversions.rate(self._ledger.currency_of(symbol), plan.token)
        if found is None:
            return 0
        paid = -(-fee * found.numerator // found.denominator)
        return paid if paid <= self._ledger.balance_of(plan.token) else 0

    def _count(self, plan: _Plan, symbol: int, price: int, size: int, now_ns: int) -> None:
        """Add a fill to the venue's volume; one that no mark values in dollars is counted as left out."""
        quote = self._instruments[symbol].counted_in
        value = self._ledger.worth[symbol].notional2(2 * price, size) // 2
        rate = Rate(1, 1) if quote in DOLLARS else self._dollars(quote)
        if rate is None:
            plan.uncounted += 1
        else:
            plan.volume.add(now_ns, value * rate.numerator // rate.denominator)

    def _dollars(self, currency: str) -> Rate | None:
        found = (self._conversions.rate(currency, dollar) for dollar in DOLLARS)
        return next((rate for rate in found if rate is not None), None)

    def status(self) -> dict[str, dict[str, Any]]:
        """By venue: the schedule, the tier that applies now, and how many fills could not be valued towards it."""
        return {
            venue: {
                "schedule": plan.schedule.name,
                "tier": plan.tier.name,
                "maker": format(plan.tier.maker, "f"),
                "taker": format(plan.tier.taker, "f"),
                "volume_left_out": plan.uncounted,
            }
            for venue, plan in self.plans.items()
        }

    def snapshot(self) -> dict[str, Any]:
        """The volumes by venue, as plain values."""
        return {
            venue: {
                "days": [[day, to_text(value)] for day, value in plan.volume.days],
                "unseen": to_text(plan.unseen),
                "uncounted": plan.uncounted,
                "tier": plan.tier.name,
                "day": plan.day,
            }
            for venue, plan in self.plans.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave; a venue that it does not know starts anew."""
        for venue, plan in self.plans.items():
            if venue in state:
                told = state[venue]
                plan.volume = RollingVolume(plan.schedule.window_days)
                for day, text in told["days"]:
                    plan.volume.add(int(day) * DAY_NS, amount(Decimal(text)))
                plan.unseen, plan.uncounted = amount(Decimal(told["unseen"])), int(told["uncounted"])
                plan.tier, plan.day = plan.schedule.tier(str(told["tier"])), int(told["day"])
