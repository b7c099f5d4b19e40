"""The rules of real venues, each with the page it was read on; what was not found on a page says so.

A reason in ``unverified`` has words from memory or from other people's clients: right in sense, perhaps not to the
letter. Names are those of adapters (``use``) where there is one.
"""

from __future__ import annotations

from engine.core.desk.order_terms import SelfTrade
from engine.core.venue.venue_rules import VenueRules

_NO_LISTS = {"pair": "", "parent": ""}
_OURS = {"trail_volatility": "", "by_mid": ""}  # no venue has these

PLAIN_VENUE = VenueRules()
"""Takes everything that the engine can do, and says no in our words."""

BINANCE_SPOT = VenueRules(
    family="binance-spot",
    source="https://github.com/binance/binance-spot-api-docs/blob/master/errors.md (and filters.md, faqs/)",
    lacks={
        **_OURS,
        "gtd": "-1115 Invalid timeInForce.",
        "day": "-1115 Invalid timeInForce.",
        "reduce_only": "-1106 Parameter 'reduceOnly' sent when not required.",
        "by_best": "",
        "by_mark": "",
        "trail_price": "",
        "amend_price": "",
        "amend_up": "",
    },
    words={
        "tick": "-1013 Filter failure: PRICE_FILTER",
        "price_range": "-1013 Filter failure: PRICE_FILTER",
        "percent_price": "-1013 Filter failure: PERCENT_PRICE_BY_SIDE",
        "lot": "-1013 Filter failure: LOT_SIZE",
        "market_lot": "-1013 Filter failure: MARKET_LOT_SIZE",
        "min_notional": "-1013 Filter failure: NOTIONAL",
        "max_notional": "-1013 Filter failure: NOTIONAL",
        "iceberg_parts": "-1013 Filter failure: ICEBERG_PARTS",
        "max_orders": "-1013 Filter failure: MAX_NUM_ORDERS",
        "max_algo_orders": "-1013 Filter failure: MAX_NUM_ALGO_ORDERS",
        "would_take": "-2010 Order would immediately match and take.",
        "would_trigger": "-2010 Order would trigger immediately.",
        "unsupported": "-1014 Unsupported order combination.",
        "too_late": "-2011 Unknown order sent.",
    },
    rejects_reached=True,
    lets_in_parts=False,
    ends_pair_on_part=True,
    pegs_follow=False,
    self_trade=SelfTrade.EXPIRE_MAKER,
    checks_filters=True,
)
"""FOK that cannot fill and market orders without liquidity expire there instead of being rejected: no words."""

BINANCE_FUTURES = VenueRules(
    family="binance-futures",
    source="https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code",
    lacks={
        **_OURS,
        **_NO_LISTS,
        "day": "-1115 Invalid timeInForce.",
        "iceberg": "",
        "pegged": "",
        "by_best": "",
        "trail_price": "",
    },
    words={
        "tick": "-4014 Price not increased by tick size.",
        "price_range": "-4002 Price greater than max price.",
        "percent_price": "-4131 The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        "lot": "-4023 Qty not increased by step size.",
        "market_lot": "-4005 Quantity greater than max quantity.",
        "min_notional": "-4164 Order's notional must be no smaller than the minimum (unless you choose reduce only)",
        "max_orders": "-2025 Reach max open order limit.",
        "max_algo_orders": "-4045 Reach max stop order limit.",
        "would_take": "-5022 Due to the order could not be executed as maker, the Post Only order will be rejected.",
        "fok_unfilled": "-5021 Due to the order could not be filled immediately, the FOK order has been rejected.",
        "would_trigger": "-2021 Order would immediately trigger.",
        "reduce_only": "-2022 ReduceOnly Order is rejected.",
        "unsupported": "-1116 Invalid orderType.",
        "too_late": "-2013 Order does not exist.",
    },
    unverified=frozenset({"min_notional", "percent_price", "self_trade"}),
    rejects_reached=True,
    self_trade=SelfTrade.EXPIRE_MAKER,
    checks_filters=True,
)
"""The figure in ``min_notional`` is the symbol's. ``price_range`` below the minimum says -4013 there."""

BYBIT = VenueRules(
    family="bybit",
    source="https://bybit-exchange.github.io/docs/v5/error",
    lacks={**_OURS, "parent": "", "gtd": "", "day": "", "iceberg": "", "pegged": "", "trail_bps": "", "by_best": ""},
    words={
        "tick": "170134 Order price decimal too long.",
        "price_range": "110003 Order price is out of permissible range",
        "percent_price": "110003 Order price is out of permissible range",
        "lot": "170137 Order volume decimal too long",
        "min_notional": "170140 Transaction amount lower than the minimum.",
        "max_orders": "110020 number of active orders greater than 500",
        "max_algo_orders": "110009 The number of stop orders exceeds maximum limit allowed",
        "reduce_only": "110017 Reduce-only rule not satisfied",
        "would_trigger": "110093 expect Falling, but trigger_price > current",
        "too_late": "110001 Order does not exist",
    },
    unverified=frozenset({"tick", "price_range", "percent_price", "lot", "min_notional", "max_orders",
                          "max_algo_orders", "reduce_only", "would_trigger", "too_late"}),
    rejects_reached=True,
    checks_filters=True,
)  # fmt: skip
"""Read in a client library's copy of the list. A post-only order that would take is cancelled there, not rejected."""

OKX = VenueRules(
    family="okx",
    source="https://www.okx.com/docs-v5/en/#error-code",
    lacks={**_OURS, "gtd": "", "day": "", "pegged": "", "by_best": ""},
    words={
        "price_range": "51006 Order price out of the limit",
        "percent_price": "51006 Order price out of the limit",
        "lot": "51121 Order count should be the integer multiples of the lot size",
        "min_notional": "51020 Order amount should be greater than the min available amount",
        "max_orders": "51025 Order count exceeds the limit",
        "max_algo_orders": "51261 Each user can hold up to {0} pending stop - orders at the same time",
        "would_trigger": "51280 SL trigger price can not be higher than the last price",
        "reduce_only": "51205 Reduce-Only is not available",
        "too_late": "51402 Cancellation failed as the order is already completed",
        "unsupported": "51000 Parameter {0} error",
    },
    unverified=frozenset({"price_range", "percent_price", "lot", "min_notional", "max_orders", "max_algo_orders",
                          "would_trigger", "reduce_only", "too_late", "unsupported", "self_trade"}),
    rejects_reached=True,
    self_trade=SelfTrade.EXPIRE_MAKER,
    checks_filters=True,
)  # fmt: skip
"""Read in a client library's copy of the list; ``{0}`` is OKX's own place for a figure."""

COINBASE = VenueRules(
    family="coinbase",
    source="https://docs.cdp.coinbase.com/advanced-trade/reference (NewOrderFailureReason)",
    lacks={
        **_OURS,
        "day": "UNSUPPORTED_ORDER_CONFIGURATION",
        "stop": "UNSUPPORTED_ORDER_CONFIGURATION",
        "take_profit": "UNSUPPORTED_ORDER_CONFIGURATION",
        "take_profit_limit": "UNSUPPORTED_ORDER_CONFIGURATION",
        "trailing": "UNSUPPORTED_ORDER_CONFIGURATION",
        "trailing_limit": "UNSUPPORTED_ORDER_CONFIGURATION",
        "iceberg": "UNSUPPORTED_ORDER_CONFIGURATION",
        "pegged": "UNSUPPORTED_ORDER_CONFIGURATION",
        "parent": "UNSUPPORTED_ORDER_CONFIGURATION",
        "by_best": "UNSUPPORTED_ORDER_CONFIGURATION",
        "by_mark": "UNSUPPORTED_ORDER_CONFIGURATION",
    },
    words={
        "tick": "INVALID_PRICE_PRECISION",
        "price_range": "INVALID_LIMIT_PRICE",
        "percent_price": "INVALID_LIMIT_PRICE",
        "lot": "INVALID_SIZE_PRECISION",
        "would_take": "INVALID_LIMIT_PRICE_POST_ONLY",
        "no_liquidity": "INVALID_NO_LIQUIDITY",
        "unsupported": "UNSUPPORTED_ORDER_CONFIGURATION",
    },
    unverified=frozenset({"tick", "price_range", "percent_price", "lot", "would_take", "no_liquidity", "unsupported"}),
    rejects_reached=True,
    self_trade=SelfTrade.EXPIRE_TAKER,
    checks_filters=True,
)
"""The names of its failure reasons as several clients list them; its own page was not at hand."""

KRAKEN = VenueRules(
    family="kraken",
    source="https://support.kraken.com/hc/en-us/articles/360001491786-API-error-messages",
    lacks={**_OURS, "day": "", "fok": "", "pegged": "", "pair": "", "by_best": "", "by_mark": ""},
    words={
        "tick": "EOrder:Tick size check failed",
        "price_range": "EOrder:Invalid price",
        "lot": "EOrder:Order minimum not met",
        "min_notional": "EOrder:Cost minimum not met",
        "max_orders": "EOrder:Orders limit exceeded",
        "would_take": "EOrder:Post only order",
        "unsupported": "EGeneral:Invalid arguments",
        "too_late": "EOrder:Unknown order",
    },
    unverified=frozenset({"tick", "price_range", "max_orders", "too_late"}),
    rejects_reached=True,
    self_trade=SelfTrade.EXPIRE_TAKER,
    checks_filters=True,
)

DERIBIT = VenueRules(
    family="deribit",
    source="https://docs.deribit.com/articles/errors",
    lacks={**_OURS, "gtd": "", "pegged": "", "by_best": ""},
    words={
        "tick": "10043 price_wrong_tick",
        "price_range": "10009 price_too_high",
        "percent_price": "10009 price_too_high",
        "lot": "10021 invalid_amount",
        "min_notional": "10032 whole_cost_too_low",
        "max_algo_orders": "11035 no_more_stops",
        "iceberg_parts": "10036 invalid_max_show_amount",
        "would_take": "11054 post_only_reject",
        "unsupported": "11047 unsupported_arg_combination",
        "too_late": "11044 not_open_order",
    },
    unverified=frozenset({"price_range", "percent_price"}),
    rejects_reached=True,
    self_trade=SelfTrade.EXPIRE_TAKER,
    checks_filters=True,
)

FAMILIES: dict[str, VenueRules] = {
    rules.family: rules for rules in (PLAIN_VENUE, BINANCE_SPOT, BINANCE_FUTURES, BYBIT, OKX, COINBASE, KRAKEN, DERIBIT)
}
"""Every family by the name that a config may give it."""

ADAPTERS: dict[str, str] = {
    "binance-spot": "binance-spot",
    "binance-usdm": "binance-futures",
    "binance-coinm": "binance-futures",
}
"""The family of each adapter that names none itself."""
