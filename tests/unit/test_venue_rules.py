"""What venues refuse, in their words: types they lack, filters, limits, and what a config may change of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.binance_instruments import parse
from engine.core.desk.order_terms import Peg, PegTo, SelfTrade, TriggerBy, stop, trailing
from engine.core.records import AmendRejected, Expired, Fill, Rejected
from engine.core.types import ContractKind, Filters, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.venue_families import ADAPTERS, FAMILIES
from engine.core.venue.venue_rules import REASONS, VenueRules
from engine.live.build_instruments import override
from engine.live.config import ConfigError, InstrumentSection, parse_config
from engine.live.config_rules import RulesSection, unknown_rules, venue_rules
from tests.market import LOOSE, MS, NO_LATENCY, S, clock, trade
from tests.orders import BUY, LINEAR, SELL, Act, order, prints, rig

OPEN_FILTERS = msgspec.structs.replace(LOOSE, check_filters=False)
FILTERED = msgspec.structs.replace(
    LINEAR,
    tick=5,
    lot=2,
    min_size=4,
    max_size=100,
    filters=Filters(
        min_price=50,
        max_price=500,
        market_lot=4,
        market_min_size=8,
        market_max_size=40,
        bid_up=1_200_000,
        bid_down=800_000,
        ask_up=1_200_000,
        ask_down=800_000,
        min_worth=6 * 10**27,
        max_worth=90 * 10**27,
        iceberg_parts=5,
        max_orders=3,
        max_algo_orders=1,
    ),
)


def at(family: str, **more: Any) -> PaperSettings:
    return msgspec.structs.replace(NO_LATENCY, rules=msgspec.structs.replace(FAMILIES[family], **more))


def rejected(family: str, *acts: Act, instrument: Any = LINEAR) -> list[tuple[str, str]]:
    made = rig(*acts, paper=at(family), instrument=instrument, risk=OPEN_FILTERS)
    made.feed(clock(3 * S))
    return [(word.reason, word.words) for word in made.facts(Rejected)]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_speaks_of_known_reasons_and_names_its_page(family: str) -> None:
    rules = FAMILIES[family]
    assert rules.family == family and set(rules.words) <= set(REASONS)
    assert rules.unverified <= {*rules.words, "self_trade"}
    assert family == "plain" or rules.source.startswith("https://")
    assert set(ADAPTERS.values()) <= set(FAMILIES)


@pytest.mark.parametrize(
    ("act", "reason", "words"),
    [
        (order(BUY, 8, 101), "tick", "-1013 Filter failure: PRICE_FILTER"),
        (order(BUY, 8, 45), "price_range", "-1013 Filter failure: PRICE_FILTER"),
        (order(BUY, 8, 75), "percent_price", "-1013 Filter failure: PERCENT_PRICE_BY_SIDE"),
        (order(SELL, 8, 130), "percent_price", "-1013 Filter failure: PERCENT_PRICE_BY_SIDE"),
        (order(BUY, 9, 100), "lot", "-1013 Filter failure: LOT_SIZE"),
        (order(BUY, 2, 100), "lot", "-1013 Filter failure: LOT_SIZE"),
        (order(BUY, 102, 100), "lot", "-1013 Filter failure: LOT_SIZE"),
        (order(BUY, 10), "market_lot", "-1013 Filter failure: MARKET_LOT_SIZE"),
        (order(BUY, 44), "market_lot", "-1013 Filter failure: MARKET_LOT_SIZE"),
        (order(BUY, 4, 100), "min_notional", "-1013 Filter failure: NOTIONAL"),
        (order(BUY, 92, 100), "max_notional", "-1013 Filter failure: NOTIONAL"),
        (order(BUY, 24, 100, display=4), "iceberg_parts", "-1013 Filter failure: ICEBERG_PARTS"),
        (order(BUY, 8, 105, post_only=True), "would_take", "-2010 Order would immediately match and take."),
        (order(SELL, 8, 100, reduce_only=True), "unsupported", "-1106 Parameter 'reduceOnly' sent when not required."),
        (order(BUY, 8, 100, time_in_force=TimeInForce.DAY), "unsupported", "-1115 Invalid timeInForce."),
        (order(SELL, 8, trigger=stop(95, TriggerBy.MID)), "unsupported", "-1014 Unsupported order combination."),
    ],
)
def test_binance_spot_says_no_in_its_words(act: Act, reason: str, words: str) -> None:
    assert rejected("binance-spot", act, instrument=FILTERED) == [(reason, words)]


def test_open_and_waiting_orders_are_counted() -> None:
    some = [order(BUY, 8, 95), order(SELL, 8, trigger=stop(90)), order(SELL, 8, trigger=stop(85)), order(BUY, 8, 90)]
    said = rejected("binance-spot", *some, order(BUY, 8, 85), instrument=FILTERED)
    assert [reason for reason, _ in said] == ["max_algo_orders", "max_orders"]


@pytest.mark.parametrize(
    ("family", "act", "reason", "words"),
    [
        ("binance-futures", order(BUY, 1, 102, post_only=True), "would_take", "-5022"),
        ("binance-futures", order(BUY, 60, 102, time_in_force=TimeInForce.FOK), "fok_unfilled", "-5021"),
        ("binance-futures", order(BUY, 1, 100, reduce_only=True), "reduce_only", "-2022 ReduceOnly Order is rejected."),
        ("binance-futures", lambda ctx: ctx.oco("BTCUSDT", SELL, 1, 104, stop(98)), "unsupported", "-1116"),
        ("bybit", order(BUY, 1, 100, reduce_only=True), "reduce_only", "110017"),
        ("okx", order(BUY, 1, peg=Peg(PegTo.MID)), "unsupported", "51000"),
        ("coinbase", order(BUY, 1, 102, post_only=True), "would_take", "INVALID_LIMIT_PRICE_POST_ONLY"),
        ("coinbase", order(SELL, 1, trigger=stop(98)), "unsupported", "UNSUPPORTED_ORDER_CONFIGURATION"),
        ("kraken", order(BUY, 1, 102, post_only=True), "would_take", "EOrder:Post only order"),
        ("deribit", order(BUY, 1, 102, post_only=True), "would_take", "11054 post_only_reject"),
        ("plain", order(BUY, 1, 102, post_only=True), "would_take", ""),
    ],
)
def test_each_venue_has_its_words(family: str, act: Act, reason: str, words: str) -> None:
    said = rejected(family, act)
    assert {one for one, _ in said} == {reason} or said[0][0] == reason
    assert said[0][1].startswith(words)


def test_a_stop_that_the_market_has_passed_is_rejected_in_words() -> None:
    made = rig(order(SELL, 1, trigger=stop(105)), paper=at("binance-futures"))
    assert made.facts(Rejected) == []  # nothing traded yet: there is no last price to hold it against
    made = rig(lambda ctx: None, order(SELL, 1, trigger=stop(105)), paper=at("binance-futures"))
    made.feed(prints(1 * S + 2, 101), clock(2 * S))
    assert made.facts(Rejected) == [Rejected(1, "would_trigger", "-2021 Order would immediately trigger.")]


def test_binance_spot_amends_down_only_and_its_pegs_do_not_follow() -> None:
    made = rig(order(BUY, 4, 100), lambda ctx: ctx.amend(1, price=99), lambda ctx: ctx.amend(1, size=9),
               paper=at("binance-spot"))  # fmt: skip
    made.feed(clock(3 * S))
    assert [word.reason for word in made.facts(AmendRejected)] == ["unsupported", "unsupported"]
    peg = rig(order(BUY, 4, peg=Peg(PegTo.PRIMARY)), paper=at("binance-spot"))
    assert peg.engine.desk.orders[1].intent.price == 100 and not peg.engine.desk.watches(0)


def test_binance_prevents_self_trades_by_default_and_an_order_may_choose() -> None:
    made = rig(order(BUY, 4, 101), order(SELL, 2, 101), paper=at("binance-spot"))
    made.feed(clock(2 * S))
    assert made.facts(Expired) == [Expired(1, 4, "self_trade")]
    free = rig(order(BUY, 4, 101), order(SELL, 2, 100, self_trade=SelfTrade.NONE), paper=at("binance-spot"))
    free.feed(clock(2 * S))
    assert free.facts(Expired) == [] and [fill.price for fill in free.facts(Fill)] == [100]


def test_lists_end_as_binance_ends_them() -> None:
    made = rig(lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, 100, target=104, stop=stop(98)), lambda ctx: ctx.cancel(1),
               paper=at("binance-spot"))  # fmt: skip
    made.feed(trade(1 * S + 2, 100, 11, sell=True), clock(2 * S))
    assert [word.order for word in made.facts(Expired)] == [2, 3]


def test_exchange_info_gives_every_filter() -> None:
    page = b"""{"symbols":[{"symbol":"ETHBTC","baseAsset":"ETH","quoteAsset":"BTC","filters":[
      {"filterType":"PRICE_FILTER","minPrice":"0.00001000","maxPrice":"922327.00000000","tickSize":"0.00001000"},
      {"filterType":"LOT_SIZE","minQty":"0.00010000","maxQty":"100000.00000000","stepSize":"0.00010000"},
      {"filterType":"ICEBERG_PARTS","limit":10},
      {"filterType":"MARKET_LOT_SIZE","minQty":"0.00000000","maxQty":"963.49166667","stepSize":"0.00000000"},
      {"filterType":"PERCENT_PRICE_BY_SIDE","bidMultiplierUp":"5","bidMultiplierDown":"0.2","askMultiplierUp":"4",
       "askMultiplierDown":"0.3","avgPriceMins":5},
      {"filterType":"NOTIONAL","minNotional":"0.00010000","maxNotional":"9000000.00000000"},
      {"filterType":"MAX_NUM_ORDERS","maxNumOrders":200},
      {"filterType":"MAX_NUM_ALGO_ORDERS","maxNumAlgoOrders":5}]}]}"""
    filters = parse("v", page, ContractKind.SPOT)["ETHBTC"].filters
    assert (filters.min_price, filters.max_price) == (1000, 92_232_700_000_000)
    assert (filters.bid_up, filters.bid_down, filters.ask_up, filters.ask_down) == (
        5_000_000,
        200_000,
        4_000_000,
        300_000,
    )
    assert (filters.iceberg_parts, filters.max_orders, filters.max_algo_orders) == (10, 200, 5)
    assert (filters.market_lot, filters.market_max_size) == (0, 9_634_916_666)
    assert (filters.min_worth, filters.max_worth) == (10**26, 9_000_000 * 10**30)
    futures = page.replace(b'"maxNumOrders":200', b'"limit":100').replace(b'"maxNumAlgoOrders":5', b'"limit":7')
    futures = futures.replace(b"PERCENT_PRICE_BY_SIDE", b"PERCENT_PRICE").replace(b"bidMultiplier", b"multiplier")
    other = parse("v", futures, ContractKind.LINEAR)["ETHBTC"].filters
    assert (other.bid_up, other.ask_up, other.max_orders, other.max_algo_orders) == (5_000_000, 5_000_000, 100, 7)


def test_a_config_in_other_units_keeps_the_filters_true() -> None:
    section = InstrumentSection(price_decimals=4, size_decimals=3)
    finer = override(FILTERED, section, "here").filters
    assert (finer.min_price, finer.market_lot, finer.bid_up) == (5000, 4, 1_200_000)
    assert override(FILTERED, InstrumentSection(price_decimals=1), "here").filters.min_price == 0


def test_the_config_names_a_family_and_changes_single_rules() -> None:
    config = parse_config({"paper": {"rules": {"spot": {"family": "kraken", "day_ends": "22h", "max_orders": 3}}}}, "t")
    rules = venue_rules(config.paper.rules, ["spot", "other"], {"other": "okx"})
    assert rules["spot"].words == FAMILIES["kraken"].words and rules["other"] == FAMILIES["okx"]
    assert (rules["spot"].day_ends_ns, rules["spot"].max_orders) == (22 * 3600 * S, 3)
    assert unknown_rules(["*", "spot", "nowhere"], ["spot"]) == [
        "paper.rules.nowhere: expected a venue of the run (spot) or '*', found 'nowhere'"
    ]
    for wrong in ({"family": "mtgox"}, {"day_ends": "25h"}, {"self_trade": "maybe"}, {"colour": "red"}):
        with pytest.raises(ConfigError, match=r"paper\.rules\.spot"):
            parse_config({"paper": {"rules": {"spot": wrong}}}, "t")
    assert venue_rules({"*": RulesSection(self_trade=SelfTrade.DECREMENT)}, ["v"], {})["v"] == VenueRules(
        self_trade=SelfTrade.DECREMENT
    )


def test_trailing_in_prices_is_not_binances() -> None:
    assert [one for one, _ in rejected("binance-spot", order(SELL, 1, trigger=trailing(5)))] == ["unsupported"]
    assert rejected("binance-spot", order(SELL, 1, trigger=trailing(50, "bps"))) == []
    assert Decimal(FILTERED.filters.min_worth).scaleb(-30) == Decimal("0.006") and MS
