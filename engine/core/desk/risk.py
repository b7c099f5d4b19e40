"""Risk: every intent becomes ``Approved`` or ``Refused`` with a rule and the numbers, and limits act by themselves.

Positions count with all that is working and in flight: a limit holds even if every order fills. Rules are checked in
the order of ``RULES``; the first that does not hold refuses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

import msgspec

from engine.core.account.ledger import Ledger
from engine.core.account.money import amount, to_text
from engine.core.book import Books
from engine.core.desk.limits import Action, RiskSettings, Watch
from engine.core.desk.order_terms import PLAIN, Terms
from engine.core.desk.terms_check import contradiction
from engine.core.types import ContractKind, OrderKind, TimeInForce

__all__ = ["RULES", "Action", "Approved", "Decision", "Intent", "Refused", "Risk", "RiskSettings"]

RULES: tuple[str, ...] = (
    "unknown_symbol",
    "kill_switch",
    "stop_loss",
    "drawdown",
    "flattening",
    "terms",
    "lot",
    "tick",
    "book_not_ready",
    "stale_book",
    "price_collar",
    "min_notional",
    "order_size",
    "order_notional",
    "margin",
    "position",
    "notional",
    "open_orders",
    "order_rate",
)
"""Every word that a refusal may carry, in the order of checking."""

MAX_UNITS = 2**53
"""Prices and sizes beyond this are mistakes: sums of them would leave 64 bits."""


class Intent(msgspec.Struct, frozen=True):
    """An order that somebody wants. ``price`` is 0 at the market; ``flattening`` marks the engine's own closing."""

    order: int
    strategy: str
    symbol: int
    side: int
    kind: OrderKind
    time_in_force: TimeInForce
    price: int
    size: int
    post_only: bool
    flattening: bool = False
    terms: Terms = PLAIN


class Approved(msgspec.Struct, frozen=True):
    """The intent may leave."""

    intent: Intent


class Refused(msgspec.Struct, frozen=True):
    """The intent may not: ``rule`` is one of ``RULES``, ``detail`` says what was allowed and what was asked."""

    intent: Intent
    rule: str
    detail: str


def waking_price(intent: Intent) -> int:
    """The price at which a waiting order would trade, as far as it is known; 0 for all others."""
    trigger = intent.terms.trigger
    return 0 if trigger is None else trigger.price


Decision: TypeAlias = Approved | Refused


class Risk:
    """The one gate between an intent and the venue.

    ``working_of(symbol)`` answers with the sizes working to buy and to sell of the other symbols for the total; without
    it the total counts their positions only. ``promised_of(currency)``: money that working buys would take; without it
    only those of the order's own symbol count, at its price."""

    def __init__(
        self,
        settings: RiskSettings,
        books: Books,
        ledger: Ledger,
        working_of: Callable[[int], tuple[int, int]] | None = None,
        promised_of: Callable[[str], int] | None = None,
    ) -> None:
        self._books = books
        self._ledger = ledger
        self._working_of = working_of
        self._promised_of = promised_of
        self._held: set[tuple[str, int]] = set()
        self._instruments = books.instruments
        self.halt_reason: str | None = None  # why the kill switch is on
        self._blocks: dict[tuple[str | None, int | None], tuple[str, int]] = {}
        self._sent_ns: deque[int] = deque()
        self._min_notional = tuple(amount(one.min_notional) for one in self._instruments)
        self._size_one = tuple(amount(Decimal(1).scaleb(-one.size_decimals)) for one in self._instruments)
        self._watch = Watch(settings, ledger)
        self.lacking_margin: Callable[[Intent, int, int], str] = lambda *_: ""  # see liquidation.py
        self.spendable: Callable[[str], int] = ledger.balance_of  # see corporate.py
        self.change(settings)

    def change(self, settings: RiskSettings) -> None:
        """Hold to other limits; blocks, the kill switch, peaks and the orders of the window stay."""
        self.settings = settings
        self._sent_ns = deque(self._sent_ns, maxlen=settings.max_orders_per_window or 1)
        self._order_notional = amount(settings.max_order_notional)
        self._position_notional = amount(settings.max_position_notional)
        self._total_notional = amount(settings.max_total_notional)
        self._order_size = tuple(int(settings.max_order_size.scaleb(one.size_decimals)) for one in self._instruments)
        self._watch.change(settings)

    @property
    def halted(self) -> bool:
        """The kill switch is on."""
        return self.halt_reason is not None

    @property
    def blocks(self) -> dict[tuple[str | None, int | None], str]:
        """What is blocked now, (strategy, symbol index) with None for all, and by which rule."""
        return {scope: rule for scope, (rule, _) in self._blocks.items()}

    def halt(self, reason: str) -> None:
        """Refuse every order until ``resume``, but those that flatten."""
        self.halt_reason = reason

    def hold(self, strategy: str, symbol: int) -> None:
        """Refuse a strategy's own orders on a symbol while the engine closes its position there."""
        self._held.add((strategy, symbol))

    def release(self, strategy: str, symbol: int) -> None:
        self._held.discard((strategy, symbol))

    def resume(self) -> None:
        """Lift the kill switch and every block; peaks of equity are taken anew from here."""
        self.halt_reason = None
        self._blocks.clear()
        self._watch.restart()

    def check(
        self,
        intent: Intent,
        now_ns: int,
        working_buy: int,
        working_sell: int,
        open_orders: int = 0,
        *,
        is_closing: bool = False,
    ) -> Decision:
        """Decide on an intent; the working sizes are those of its symbol over all strategies, in flight included.

        ``is_closing``: it waits for an order that opens what it closes, so it adds nothing to the account.
        """
        found = self._first_broken(intent, now_ns, working_buy, working_sell, open_orders, is_closing)
        if found is not None:
            return Refused(intent, *found)
        if self.settings.max_orders_per_window and not intent.flattening:
            self._sent_ns.append(now_ns)
        return Approved(intent)

    def _first_broken(
        self, intent: Intent, now_ns: int, working_buy: int, working_sell: int, open_orders: int, is_closing: bool
    ) -> tuple[str, str] | None:
        symbol = intent.symbol
        if not 0 <= symbol < len(self._instruments):
            return "unknown_symbol", f"expected an index below {len(self._instruments)}, found {symbol}"
        working_same = working_buy if intent.side > 0 else working_sell
        if not intent.flattening:
            blocked = self._blocked(intent, now_ns, working_same)
            if blocked is not None:
                return blocked
            if (intent.strategy, symbol) in self._held:
                return "flattening", "expected the position closed first, found the engine closing it"
        filtered = self._filter(intent, now_ns)
        if filtered is not None or intent.flattening:
            return filtered
        return (
            self._market(intent, now_ns)
            or self._order(intent)
            or (None if is_closing else self._exposure(intent, working_buy, working_sell))
            or self._count(now_ns, open_orders)
        )

    def _blocked(self, intent: Intent, now_ns: int, working_same: int) -> tuple[str, str] | None:
        if self.halt_reason is not None:
            return "kill_switch", f"halted: {self.halt_reason}; resume to trade again"
        if not self._blocks:
            return None
        strategy, symbol = intent.strategy, intent.symbol
        position = self._ledger.position(symbol, strategy)
        if intent.side * position + working_same + intent.size <= 0:
            return None
        for scope in ((strategy, symbol), (strategy, None), (None, None)):
            rule, until_ns = self._blocks.get(scope, ("", 0))
            if rule and until_ns and now_ns >= until_ns:
                del self._blocks[scope]
            elif rule:
                return rule, f"blocked since the limit was reached, position {position}: only orders that reduce it"
        return None

    def _filter(self, intent: Intent, now_ns: int) -> tuple[str, str] | None:
        """What the venue itself would refuse."""
        instrument = self._instruments[intent.symbol]
        size, price = intent.size, intent.price
        wrong = contradiction(
            intent.side,
            intent.kind,
            intent.time_in_force,
            intent.post_only,
            intent.terms,
            price,
            size,
            instrument,
            now_ns,
        )
        if wrong:
            return "terms", wrong
        checks = self.settings.check_filters or intent.flattening
        least = max(1, instrument.min_size) if checks else 1
        most = (instrument.max_size if checks else 0) or MAX_UNITS
        if (checks and size % instrument.lot) or not least <= size <= most:
            return "lot", f"expected a multiple of {instrument.lot} from {least} to {most}, found {size}"
        if intent.kind is OrderKind.MARKET:
            return ("tick", f"expected price 0 at the market, found {price}") if price else None
        if intent.terms.peg is not None and price == 0:
            return None
        if (checks and price % instrument.tick) or not 0 < price <= MAX_UNITS:
            return "tick", f"expected a positive multiple of {instrument.tick}, found {price}"
        return None

    def _market(self, intent: Intent, now_ns: int) -> tuple[str, str] | None:
        """Is the market in a state to trade, and the price near it?"""
        book = self._books.views[intent.symbol]
        if not book.is_ready:
            return "book_not_ready", "expected a verified book, found one in doubt: wait for the snapshot"
        bid, ask = book.bid, book.ask
        if not bid or not ask:
            return "book_not_ready", "expected bids and asks, found a side empty"
        settings = self.settings
        age_ns = now_ns - book.changed_ns
        if settings.stale_book_ns and age_ns > settings.stale_book_ns:
            return "stale_book", f"expected a change within {settings.stale_book_ns} ns, found the last {age_ns} ns ago"
        if settings.price_collar_bps:
            price = intent.price or (ask if intent.side > 0 else bid)
            # A limit behind a trigger is held against the trigger: far from the market is what both are for.
            waking = 0 if intent.terms is PLAIN else waking_price(intent)
            mid2 = 2 * waking or bid + ask
            price = price if intent.price or not waking else waking
            if abs(2 * price - mid2) * 10_000 > settings.price_collar_bps * mid2:
                return "price_collar", f"expected within {settings.price_collar_bps} bps of {mid2 / 2}, found {price}"
        return None

    def _order(self, intent: Intent) -> tuple[str, str] | None:
        """The order by itself."""
        symbol = intent.symbol
        book = self._books.views[symbol]
        price = intent.price or waking_price(intent) or (book.ask if intent.side > 0 else book.bid)
        notional = self._ledger.worth[symbol].notional2(2 * price, intent.size) // 2
        if notional < self._min_notional[symbol] and self.settings.check_filters:
            return (
                "min_notional",
                f"expected at least {self._instruments[symbol].min_notional}, found {to_text(notional)}",
            )
        most = self._order_size[symbol]
        if most and intent.size > most:
            return "order_size", f"expected at most {most} size units, found {intent.size}"
        if self._order_notional and notional > self._order_notional:
            return "order_notional", f"expected at most {self.settings.max_order_notional}, found {to_text(notional)}"
        return None

    def _exposure(self, intent: Intent, working_buy: int, working_sell: int) -> tuple[str, str] | None:
        """The account if everything working on this side fills, and this order too."""
        symbol, side = intent.symbol, intent.side
        position = self._ledger.position(symbol)
        working_same = working_buy if side > 0 else working_sell
        # Seen from the order's side: above 0 it builds, up to 0 it only reduces what is there.
        after = side * position + working_same + intent.size
        if self._instruments[symbol].kind is ContractKind.SPOT:
            lacking = self._lacking(intent, working_same)
            if lacking is not None:
                return lacking
        lacking_margin = self.lacking_margin(intent, working_buy, working_sell)
        if lacking_margin:
            return "margin", lacking_margin
        if after <= 0:
            return None
        notional2 = self._notional2(symbol, after)
        if self._position_notional and notional2 > 2 * self._position_notional:
            return (
                "position",
                f"expected at most {self.settings.max_position_notional} with all working orders filled, "
                f"found {to_text(notional2 // 2)}",
            )
        if self._total_notional:
            working_other = working_sell if side > 0 else working_buy
            total2 = max(notional2, self._notional2(symbol, max(0, working_other - side * position)))
            total2 += self._others2(symbol)
            if total2 > 2 * self._total_notional:
                return (
                    "notional",
                    f"expected at most {self.settings.max_total_notional} over all symbols, "
                    f"found {to_text(total2 // 2)}",
                )
        return None

    def _lacking(self, intent: Intent, working_same: int) -> tuple[str, str] | None:
        """A spot account can sell only what it has and buy only what it can pay, unless it may borrow."""
        symbol, instrument = intent.symbol, self._instruments[intent.symbol]
        wanted = working_same + intent.size
        if intent.side < 0 and not self.settings.allow_short:
            here = self._ledger.initial_of(instrument.base) + self._ledger.position(symbol) * self._size_one[symbol]
            have = min(here, self._ledger.balance_of(instrument.base))
            if wanted * self._size_one[symbol] > have:
                return (
                    "position",
                    f"expected to sell at most the {to_text(have)} {instrument.base} there is, found "
                    f"{instrument.size_text(wanted)} with working orders; allow_short lifts this",
                )
        elif intent.side > 0 and not self.settings.allow_debt:
            price = intent.price or waking_price(intent) or self._books.views[symbol].ask
            worth = self._ledger.worth[symbol]
            if self._promised_of is None:
                needed = worth.notional2(2 * price, wanted) // 2
            else:
                needed = worth.notional2(2 * price, intent.size) // 2 + self._promised_of(instrument.quote)
            have = self.spendable(instrument.quote)
            if needed > have:
                return (
                    "notional",
                    f"expected to spend at most the {to_text(have)} {instrument.quote} there is, found "
                    f"{to_text(needed)} with working orders; allow_debt lifts this",
                )
        return None

    def _notional2(self, symbol: int, size: int) -> int:
        book = self._books.views[symbol]
        bid, ask = book.bid, book.ask
        # A book with a side missing is valued at its last mark.
        price2 = bid + ask if bid and ask else self._ledger.mark2(symbol)
        return self._ledger.worth[symbol].notional2(price2, size)

    def _others2(self, symbol: int) -> int:
        """Twice the worst notional of all other symbols that are counted in the same currency."""
        total = 0
        counted_in = self._instruments[symbol].counted_in
        for other, instrument in enumerate(self._instruments):
            if other == symbol or instrument.counted_in != counted_in:
                continue
            position = self._ledger.position(other)
            buying, selling = self._working_of(other) if self._working_of is not None else (0, 0)
            worst = max(position + buying, selling - position)
            if worst:
                total += self._notional2(other, worst)
        return total

    def _count(self, now_ns: int, open_orders: int) -> tuple[str, str] | None:
        settings = self.settings
        if settings.max_open_orders and open_orders >= settings.max_open_orders:
            return "open_orders", f"expected fewer than {settings.max_open_orders} working, found {open_orders}"
        most, window_ns = settings.max_orders_per_window, settings.order_window_ns
        if most and len(self._sent_ns) == most and now_ns - self._sent_ns[0] < window_ns:
            return "order_rate", f"expected at most {most} orders in {window_ns} ns, found one more"
        return None

    def watch(self, now_ns: int) -> list[Action]:
        """Hold positions and equity at the marks against stop-loss and drawdown.

        The engine then takes back the orders of each scope and flattens it; new orders there are refused from here on.
        """
        actions: list[Action] = []
        for action in self._watch.broken():
            scope = (action.strategy, action.symbol)
            if scope in self._blocks:
                _, until_ns = self._blocks[scope]
                if until_ns == 0 or now_ns < until_ns:
                    continue
            pause_ns = self.settings.stop_loss_pause_ns if action.rule == "stop_loss" else 0
            self._blocks[scope] = (action.rule, now_ns + pause_ns if pause_ns else 0)
            actions.append(action)
        return actions
