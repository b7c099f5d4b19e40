"""How often each venue lets an account speak, and in which words it says no: one declarative table a venue.

The figures are the venues' defaults for an account without privileges; ``source`` names the page (read in stored copies
of autumn 2026) and what could not be verified there. A venue may change them any day: compare with its own answer
(Binance: ``exchangeInfo``), and give your account's in the config. Limits on requests of an address and the bans that
follow are not modelled: paper orders travel alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 24 * 60 * MINUTE_NS

ORDERS, AMENDS, CANCELS = 1, 2, 4
"""What a limit counts, as a sum; one shifted by the number of latency.py's ``ORDER``, ``AMEND``, ``CANCEL``."""


class UnknownLimits(LookupError):
    """No table has that name, or no tier; the text says which there are."""


class RateLimit(msgspec.Struct, frozen=True):
    """At most ``limit`` messages in ``window_ns``.

    A window begins at a whole multiple of its length (UTC), or ends now where ``is_rolling``. ``by_symbol``: each
    instrument has its own. ``forgives_fills``: an order counts no more once it was filled for the first time.
    ``words``: what the venue answers.
    """

    limit: int
    window_ns: int
    counts: int = ORDERS
    is_rolling: bool = False
    by_symbol: bool = False
    forgives_fills: bool = False
    words: str = ""


class DecayLimit(msgspec.Struct, frozen=True):
    """A counter by instrument that each message raises and time lowers; above ``threshold`` new orders are refused.

    ``decay`` is in thousandths a second. An order costs 1, an amend 1 and more while the order is young, a cancel by
    its age: ``amend_ages`` and ``cancel_ages`` are (younger than ns, cost).
    """

    threshold: int
    decay: int
    amend_ages: tuple[tuple[int, int], ...]
    cancel_ages: tuple[tuple[int, int], ...]
    words: str


class VenueLimits(msgspec.Struct, frozen=True):
    """What one venue's door does. ``busy``: its words when it cannot serve anybody now."""

    source: str
    limits: tuple[RateLimit, ...] = ()
    decays: dict[str, DecayLimit] = {}
    busy: str = ""

    def decay(self, tier: str) -> DecayLimit | None:
        """The counter of a tier; the first there is without a name.

        Raises:
            UnknownLimits: there is no such tier.
        """
        if not tier:
            return next(iter(self.decays.values()), None)
        if tier not in self.decays:
            raise UnknownLimits(f"expected a tier among {', '.join(self.decays) or 'none'}, found {tier!r}")
        return self.decays[tier]


def _binance(limit: int, number: int, unit: str, unit_ns: int, counts: int, forgives: bool) -> RateLimit:
    return RateLimit(
        limit=limit,
        window_ns=number * unit_ns,
        counts=counts,
        forgives_fills=forgives,
        words=f"-1015 Too many new orders; current limit is {limit} orders per {number} {unit}.",
    )


def _each(limit: int, window_ns: int, words: str, *, by_symbol: bool) -> tuple[RateLimit, ...]:
    """The same limit for orders, amends and cancels, each counted by itself."""
    return tuple(
        RateLimit(limit, window_ns, counts, is_rolling=True, by_symbol=by_symbol, words=words)
        for counts in (ORDERS, AMENDS, CANCELS)
    )


_KRAKEN_AMEND: Final = ((5 * SECOND_NS, 3), (10 * SECOND_NS, 2), (15 * SECOND_NS, 1))
_KRAKEN_CANCEL: Final = tuple(
    (seconds * SECOND_NS, cost) for seconds, cost in ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
)


def _kraken(threshold: int, decay: int) -> DecayLimit:
    return DecayLimit(threshold, decay, _KRAKEN_AMEND, _KRAKEN_CANCEL, "EOrder:Rate limit exceeded")


_BINANCE_BUSY: Final = "-1008 Server is currently overloaded with other requests. Please try again in a few minutes."
_BYBIT: Final = "10006 Too many visits!"
_BYBIT_SOURCE: Final = (
    "bybit-exchange.github.io/docs/v5/rate-limit: a rolling second an account, each endpoint by itself; "
    "create 20/s on spot and 10/s on derivatives, amend 10/s; cancel was not in the stored copy and is taken as create"
)
_OKX: Final = "50011 Rate limit reached. Please refer to API documentation and throttle requests accordingly"

LIMITS: Final[Mapping[str, VenueLimits]] = {
    "binance-spot": VenueLimits(
        source=(
            "developers.binance.com/docs/binance-spot-api-docs: faqs/order_count_decrement (unfilled orders, 100 in "
            "10 s, windows by the clock, the first fill takes an order out of the count), errors (-1015, -1008); "
            "200,000 a day is not on those pages (a recorded exchangeInfo of 2023 says 50 in 10 s and 160,000)"
        ),
        limits=(
            _binance(100, 10, "SECOND", SECOND_NS, ORDERS, forgives=True),
            _binance(200_000, 1, "DAY", DAY_NS, ORDERS, forgives=True),
        ),
        busy=_BINANCE_BUSY,
    ),
    "binance-usdm": VenueLimits(
        source=(
            "a recorded fapi/v1/exchangeInfo: 300 in 10 s, 1,200 a minute; not verified: that an amend counts, and "
            "that a busy venue says what the spot venue says"
        ),
        limits=(
            _binance(300, 10, "SECOND", SECOND_NS, ORDERS | AMENDS, forgives=False),
            _binance(1_200, 1, "MINUTE", MINUTE_NS, ORDERS | AMENDS, forgives=False),
        ),
        busy=_BINANCE_BUSY,
    ),
    "binance-coinm": VenueLimits(
        source="a recorded dapi/v1/exchangeInfo: 1,200 a minute; the rest as with binance-usdm",
        limits=(_binance(1_200, 1, "MINUTE", MINUTE_NS, ORDERS | AMENDS, forgives=False),),
        busy=_BINANCE_BUSY,
    ),
    "bybit-spot": VenueLimits(
        source=_BYBIT_SOURCE,
        limits=(
            RateLimit(20, SECOND_NS, ORDERS, is_rolling=True, words=_BYBIT),
            RateLimit(10, SECOND_NS, AMENDS, is_rolling=True, words=_BYBIT),
            RateLimit(20, SECOND_NS, CANCELS, is_rolling=True, words=_BYBIT),
        ),
        busy="10016 internal server error",
    ),
    "bybit-linear": VenueLimits(
        source=_BYBIT_SOURCE,
        limits=_each(10, SECOND_NS, _BYBIT, by_symbol=False),
        busy="10016 internal server error",
    ),
    "okx": VenueLimits(
        source=(
            "okx.com/docs-v5: 60 in 2 s an account and instrument for placing and for amending (cancelling: taken as "
            "the same), 50011; okx.com/help/fill-ratio-sub-account-rate-limit: 1,000 new and amended orders in 2 s an "
            "account; that the windows roll is not verified"
        ),
        limits=(
            *_each(60, 2 * SECOND_NS, _OKX, by_symbol=True),
            RateLimit(1_000, 2 * SECOND_NS, ORDERS | AMENDS, is_rolling=True, words=_OKX),
        ),
        busy="50026 System error. Try again later",
    ),
    "kraken": VenueLimits(
        source=(
            "docs.kraken.com/api/docs/guides/spot-ratelimits (costs by age, words), support.kraken.com 360045239571 "
            "(thresholds and decay by tier); that a cancel raises the counter but is never refused is an assumption"
        ),
        decays={"starter": _kraken(60, 1_000), "intermediate": _kraken(125, 2_340), "pro": _kraken(180, 3_750)},
        busy="EService:Unavailable",
    ),
    "hyperliquid": VenueLimits(
        source=(
            "hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits: weight 1 an unbatched action, "
            "1,200 a minute; the budget an address earns by its volume is not modelled, and no words are known"
        ),
        limits=(RateLimit(1_200, MINUTE_NS, ORDERS | AMENDS | CANCELS, is_rolling=True),),
    ),
}
"""By name; adapters of the same name take them with ``[paper.gate.NAME] limits``."""


def limits_of(name: str) -> VenueLimits:
    """A table by its name.

    >>> limits_of("binance-usdm").limits[0].words
    '-1015 Too many new orders; current limit is 300 orders per 10 SECOND.'

    Raises:
        UnknownLimits: there is none.
    """
    if name not in LIMITS:
        raise UnknownLimits(f"expected limits among {', '.join(LIMITS)}, found {name!r}")
    return LIMITS[name]
