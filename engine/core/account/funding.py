"""Funding of perpetuals: at the venue's times longs pay shorts the rate that the feed last said, or the reverse.

payment = value of the position at the mark price x rate, in the currency of profit, rounded half to even at 1e-30 by
its size, so that what a long pays is exactly what a short of the same size receives. Binance: "Funding Amount = Nominal
Value of Positions x Funding Rate", where the value is mark price x size (USD-M), contract size x contracts / mark price
(COIN-M), https://www.binance.com/en/support/faq/360033525031.

The funding time is the venue's: it is due here at that time plus the distance of the two clocks when it was named.
If the venue names the next funding before that, it is over and is paid then, at the rate last said for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from engine.core.account.ledger import FUNDING, Ledger
from engine.core.account.marks import (
    FUNDING_NS,
    FUNDING_RATE,
    MARK_PRICE,
    PAST_MARK,
    PAST_NS,
    PAST_RATE,
    SAID_NS,
    SAID_VENUE_NS,
)
from engine.core.account.money import round_half_even, to_text
from engine.core.book import Int64s
from engine.core.events import RATE_DECIMALS
from engine.core.money_facts import Funding
from engine.core.records import AnyFact
from engine.core.types import Instrument, decimal_text

RATE_ONE = int(10**RATE_DECIMALS)


def payment(value: int, side: int, rate: int) -> int:
    """What a position of that value and side receives (below 0: pays) at a rate of 1e-12.

    >>> payment(12_000_000, 1, 100_000_000), payment(12_000_000, -1, 100_000_000), payment(12_000_000, 1, -100_000_000)
    (-1200, 1200, 1200)
    """
    owed = round_half_even(value * abs(rate), RATE_ONE)
    return -owed if (rate > 0) == (side > 0) else owed


class FundingPayments:
    """Knows which funding is next and pays each once; ``others`` (the twin accounts) without telling."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        top: Int64s,
        ledger: Ledger,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
        others: Callable[[], Iterable[Ledger]] = tuple,
    ) -> None:
        self._instruments = tuple(instruments)
        self._top = top
        self._ledger = ledger
        self._emit = emit
        self._schedule = schedule
        self._others = others
        self._awaited = [0] * len(self._instruments)  # by symbol: the funding time that is not paid yet, 0: none
        self._paid = [0] * len(self._instruments)  # and the last that was: a feed that repeats it pays nothing

    def named(self, symbol: int) -> None:
        """The venue named another funding time: the one before it is over, and the new one is due at its time."""
        row = self._top[symbol]
        past_ns, next_ns = int(row[PAST_NS]), int(row[FUNDING_NS])
        if 0 < past_ns < next_ns and self._awaited[symbol] == past_ns:
            self._pay(symbol, int(row[PAST_MARK]), int(row[PAST_RATE]))
        self._awaited[symbol] = next_ns = next_ns if next_ns > self._paid[symbol] else 0
        if next_ns:
            apart_ns = int(row[SAID_NS] - row[SAID_VENUE_NS]) if row[SAID_VENUE_NS] else 0
            self._schedule(max(next_ns + apart_ns, int(row[SAID_NS])), "funding", (symbol, next_ns))

    def due(self, subject: tuple[int, int], ns: int) -> None:
        """A funding time came: pay it, if the venue has not said before that it is over."""
        del ns
        symbol, funding_ns = subject
        row = self._top[symbol]
        if self._awaited[symbol] == funding_ns == int(row[FUNDING_NS]):
            self._pay(symbol, int(row[MARK_PRICE]), int(row[FUNDING_RATE]))

    def _pay(self, symbol: int, mark: int, rate: int) -> None:
        self._paid[symbol], self._awaited[symbol] = self._awaited[symbol], 0
        instrument, worth = self._instruments[symbol], self._ledger.worth[symbol]
        currency = self._ledger.currency_of(symbol)
        paid = [(ledger, entry) for ledger in (self._ledger, *self._others()) for entry in list(ledger.entries())]
        for ledger, entry in paid:
            if entry.symbol != symbol or not entry.size or mark <= 0:
                continue
            amount = payment(worth.settled(mark, abs(entry.size)), 1 if entry.size > 0 else -1, rate)
            ledger.flow(entry.strategy, currency, FUNDING, amount)
            if ledger is not self._ledger:
                continue
            self._emit(
                Funding(
                    symbol=instrument.name,
                    strategy=entry.strategy,
                    rate=decimal_text(rate, RATE_DECIMALS),
                    mark=instrument.price_text(mark),
                    amount=to_text(amount),
                    currency=currency,
                )
            )

    def snapshot(self) -> dict[str, int]:
        """By symbol, the venue's time of the last funding that was paid."""
        return {one.name: ns for one, ns in zip(self._instruments, self._paid, strict=True) if ns}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave; the feed names the next one."""
        self._paid = [int(state.get(one.name, 0)) for one in self._instruments]
