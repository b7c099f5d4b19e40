"""What a venue takes, when its day ends, how it links and wakes orders, and in which words it says no.

``FAMILIES`` of venue_families.py holds one such value a kind of venue. Everything here is enforced where the order
arrives, by the venue itself; what risk refuses beforehand is another matter.
"""

from __future__ import annotations

import msgspec

from engine.core.book import Book
from engine.core.desk.order_terms import PLAIN, SelfTrade, TriggerBy, type_of
from engine.core.desk.risk import Intent
from engine.core.types import OrderKind, TimeInForce

REASONS: tuple[str, ...] = (
    "book_not_ready",
    "busy",
    "expired",
    "fok_unfilled",
    "iceberg_parts",
    "list",
    "lot",
    "market_lot",
    "max_algo_orders",
    "max_notional",
    "max_orders",
    "min_notional",
    "no_liquidity",
    "no_mark_price",
    "percent_price",
    "price_range",
    "reduce_only",
    "tick",
    "too_late",
    "too_many_orders",
    "unsupported",
    "would_take",
    "would_trigger",
)
"""Our words for a rejection, the same for every venue; a venue's own words come beside them."""


class VenueRules(msgspec.Struct, frozen=True):
    """How a venue ends, wakes, links and refuses orders.

    ``lacks``: what it does not have (words of ``features``), each with what it says then. ``words``: what it says, by
    our reason; ``unverified`` names those that no page of the venue was at hand for. ``day_ends_ns``: when its day
    ends, ns after midnight UTC: orders for the day expire then. ``rejects_reached``: an order whose trigger the market
    has passed already is rejected, otherwise it wakes at once. ``lets_in_parts``: a parent that ended with a part
    filled lets its children in for that part. ``ends_pair_on_part``: the first trade of one of a pair ends the other,
    otherwise it takes what it traded off it. ``pegs_follow``: a pegged order moves with the market, otherwise it takes
    its price once. ``self_trade``: what happens where two orders of the account would trade with each other.
    ``max_orders``, ``max_algo_orders``: open orders and waiting ones a symbol, 0: no limit or the instrument's own.
    ``volatility_step_ns`` and ``volatility_samples``: how the volatility that a stop may trail by is measured.
    """

    family: str = "plain"
    source: str = ""
    lacks: dict[str, str] = {}
    words: dict[str, str] = {}
    unverified: frozenset[str] = frozenset()
    day_ends_ns: int = 0
    rejects_reached: bool = False
    lets_in_parts: bool = True
    ends_pair_on_part: bool = False
    pegs_follow: bool = True
    self_trade: SelfTrade = SelfTrade.NONE
    max_orders: int = 0
    max_algo_orders: int = 0
    checks_filters: bool = False
    volatility_step_ns: int = 1_000_000_000
    volatility_samples: int = 30


def features(intent: Intent) -> tuple[str, ...]:
    """What an order needs of a venue beyond market and limit orders that rest until cancelled.

    >>> from engine.core.desk.order_terms import Terms, stop
    >>> some = Intent(1, "s", 0, 1, OrderKind.MARKET, TimeInForce.GTC, 0, 1, False, False, Terms(trigger=stop(5)))
    >>> features(some)
    ('stop',)
    """
    needed = [intent.time_in_force.value] if intent.time_in_force is not TimeInForce.GTC else []
    if intent.post_only:
        needed.append("post_only")
    terms = intent.terms
    if terms is PLAIN:
        return tuple(needed)
    word = type_of(intent.kind, terms)
    if word not in ("market", "limit"):
        needed.append(word)
    if terms.trigger is not None and terms.trigger.by is not TriggerBy.LAST:
        needed.append(f"by_{terms.trigger.by}")
    if terms.trigger is not None and terms.trigger.trail is not None:
        needed.append(f"trail_{terms.trigger.trail.by}")
    needed += [name for name in ("reduce_only", "pair", "parent") if getattr(terms, name)]
    return tuple(needed)


def refusal(rules: VenueRules, intent: Intent, book: Book, mark: int, worth2: int, here: int, waiting: int) -> str:
    """Why the venue does not take an order that arrives, by our word or ``unsupported:FEATURE``; empty when it does.

    ``mark``: the venue's mark price, 0: none. ``worth2``: the order's worth in the quote currency, twice. ``here``,
    ``waiting``: open and waiting orders of the account on the symbol. The averages of the last minutes that venues
    hold prices against are in no feed: the mark, or else the mid, stands for them.
    """
    for feature in features(intent):
        if feature in rules.lacks:
            return f"unsupported:{feature}"
    filters = book.instrument.filters
    most = rules.max_orders or filters.max_orders
    if most and here >= most:
        return "max_orders"
    is_algo = intent.terms.trigger is not None
    most_algo = rules.max_algo_orders or filters.max_algo_orders
    if is_algo and most_algo and waiting >= most_algo:
        return "max_algo_orders"
    return _filtered(intent, book, mark, worth2) if rules.checks_filters else ""


def _filtered(intent: Intent, book: Book, mark: int, worth2: int) -> str:
    """The venue's filters, in the order in which Binance documents them."""
    instrument, filters, price, size = book.instrument, book.instrument.filters, intent.price, intent.size
    trigger = intent.terms.trigger
    prices = [one for one in (price, trigger.price if trigger is not None else 0) if one]
    if any(one % instrument.tick for one in prices):
        return "tick"
    if any(one < filters.min_price or 0 < filters.max_price < one for one in prices):
        return "price_range"
    if price and _is_far(intent, book, mark):
        return "percent_price"
    if size % instrument.lot or size < instrument.min_size or 0 < instrument.max_size < size:
        return "lot"
    is_market = intent.kind is OrderKind.MARKET
    if is_market and (
        size % (filters.market_lot or 1) or size < filters.market_min_size or 0 < filters.market_max_size < size
    ):
        return "market_lot"
    if worth2 < 2 * filters.min_worth or 0 < 2 * filters.max_worth < worth2:
        return "min_notional" if worth2 < 2 * filters.min_worth else "max_notional"
    if intent.terms.display and filters.iceberg_parts and -(-size // intent.terms.display) > filters.iceberg_parts:
        return "iceberg_parts"
    return ""


def _is_far(intent: Intent, book: Book, mark: int) -> bool:
    """The price is further from the market than the venue's multipliers allow (in millionths of the reference)."""
    filters = book.instrument.filters
    reference2 = 2 * mark if mark else (book.bid + book.ask if book.bid and book.ask else 0)
    up, down = (filters.bid_up, filters.bid_down) if intent.side > 0 else (filters.ask_up, filters.ask_down)
    scaled = 2 * intent.price * 1_000_000
    return reference2 > 0 and ((up > 0 and scaled > up * reference2) or (down > 0 and scaled < down * reference2))
