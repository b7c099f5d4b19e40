"""The rules of the run's venues at work: what each takes and how it says no to what it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from engine.core.account.marks import MARK_PRICE
from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.records import AmendRejected, AnyFact, Rejected
from engine.core.state import State
from engine.core.venue.resting import Match
from engine.core.venue.venue_rules import VenueRules, refusal

Told = Match | AnyFact


class RuleBook:
    """``rules`` by symbol; ``orders``: those whose end the owner does not know yet; ``worth2``: twice a notional."""

    def __init__(
        self,
        rules: Sequence[VenueRules],
        state: State,
        orders: dict[int, Working],
        worth2: Callable[[Intent], int],
    ) -> None:
        self._rules = tuple(rules)
        self._has_rules = any(one != VenueRules() for one in rules)
        self._state = state
        self._orders = orders
        self._worth2 = worth2

    def refusal(self, intent: Intent) -> str:
        """Why the venue's own rules do not take an order; empty when they do."""
        if not self._has_rules:
            return ""
        rules, book = self._rules[intent.symbol], self._state.books.views[intent.symbol]
        filters = book.instrument.filters
        here = waiting = 0
        if rules.max_orders or rules.max_algo_orders or filters.max_orders or filters.max_algo_orders:
            here, waiting = self._open(intent)
        mark = int(self._state.books.top[intent.symbol, MARK_PRICE])
        return refusal(rules, intent, book, mark, self._worth2(intent), here, waiting)

    def _open(self, intent: Intent) -> tuple[int, int]:
        """Open orders of the account on the symbol beside this one, and those of them that wait for a trigger."""
        here = [
            one
            for one in self._orders.values()
            if one.arrived and not one.ended and one.intent.symbol == intent.symbol and one.intent is not intent
        ]
        return len(here), sum(one.intent.terms.trigger is not None and not one.at_venue for one in here)

    def cannot_change(self, intent: Intent, new: Intent) -> str:
        """Why the venue's rules do not let an order be changed so; empty when they do."""
        lacks = self._rules[intent.symbol].lacks
        if "amend_price" in lacks and new.price != intent.price:
            return "unsupported:amend_price"
        return "unsupported:amend_up" if "amend_up" in lacks and new.size > intent.size else ""

    def in_its_words(self, told: list[Told]) -> list[Told]:
        """What the venue says beside our reason; ``unsupported:FEATURE`` keeps its first part as the reason."""
        if not self._has_rules:
            return told
        for at, word in enumerate(told):
            if isinstance(word, Rejected | AmendRejected) and not word.words:
                order = self._orders.get(word.order)
                reason, _, feature = word.reason.partition(":")
                if order is None:
                    continue
                rules = self._rules[order.intent.symbol]
                words = rules.lacks.get(feature, "") or rules.words.get(reason, "") or feature
                told[at] = msgspec.structs.replace(word, reason=reason, words=words)
        return told
