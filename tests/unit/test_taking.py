"""Taking: the display, our own fading impact, what the law gives beyond it, and the venue's price protection."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.order_facts import Expired
from engine.core.records import Cancelled, Fill, Rejected
from engine.core.strategy import Context
from engine.core.types import Side, TimeInForce
from engine.core.venue.impact import ImpactSettings
from engine.core.venue.paper_settings import PaperSettings
from engine.live.config import ConfigError, parse_config
from engine.live.config_paper import paper_settings
from tests.market import MS, Rig, S, Script, clock, depth, snapshot, trade

BIDS = [(10_000, 10), (9_990, 20)]
ASKS = [(10_010, 5), (10_020, 7)]
LAW = ImpactSettings(enabled=True, scale=1.0, decay_ns=100 * MS, decay_quarters=4)
PROTECTED = ImpactSettings(protection_bps=10)  # 10 of a middle of 10,005: the last price is 10,015 or 9,995


def market(*orders: tuple[int, dict[str, Any]], impact: ImpactSettings = LAW, quiet: bool = False) -> Rig:
    """Orders by the ms after 20 s of a market that trades 100 a second and moves by 20 each second."""

    def send(name: str, ctx: Context) -> None:
        ctx.order("BTCUSDT", **orders[int(name)][1])

    def start(_: Any, ctx: Context) -> None:
        for at, (after_ms, _order) in enumerate(orders):
            ctx.timer(str(at), 20.0 + after_ms / 1000)

    paper = PaperSettings(out_ns=0, back_ns=0, feed_ns=0, impact=impact)
    made = Rig(Script({"start": start, "timer": send}), paper=paper)
    made.feed(snapshot(1 * MS, BIDS, ASKS))
    for second in range(1, 0 if quiet else 19):
        up = second % 2
        made.feed(trade(second * S, 10_000, 100, sell=True))
        gone = [(10_000, 0), (9_990, 0)] if up else [(10_020, 0), (10_010, 0)]
        made.feed(depth(second * S + 1, bids=gone + ([] if up else BIDS), asks=[] if up else [*ASKS]))
        made.feed(depth(second * S + 2, bids=[(9_980, 10)] if up else [(9_980, 0)]))
    made.feed(snapshot(19 * S, BIDS, ASKS), clock(20 * S + 999 * MS))
    return made


def fills(made: Rig) -> list[tuple[int, int]]:
    return [(fill.price, fill.size) for fill in made.facts(Fill)]


def buy(size: int, **terms: Any) -> dict[str, Any]:
    return {"side": Side.BUY, "size": size, **terms}


def test_without_the_law_a_market_order_gets_what_is_displayed() -> None:
    made = market((0, buy(30)), impact=ImpactSettings())
    assert fills(made) == [(10_010, 5), (10_020, 7)]
    assert [(fact.left, fact.reason) for fact in made.facts(Cancelled)] == [(18, "no_liquidity")]


def test_the_law_gives_the_rest_at_a_worse_price_and_calls_it_ambiguous() -> None:
    made = market((0, buy(30)))
    shown, beyond = fills(made)[:2], made.facts(Fill)[2]
    assert shown == [(10_010, 5), (10_020, 7)]
    assert beyond.size == 18 and beyond.price > 10_020
    assert (beyond.cause, beyond.grade, beyond.chance) == ("beyond", "ambiguous", 500)
    assert [fill.grade for fill in made.facts(Fill)[:2]] == ["certain", "certain"]
    assert made.facts(Cancelled) == []


def test_nothing_is_invented_where_nothing_was_measured() -> None:
    made = market((0, buy(30)), quiet=True)
    assert fills(made) == [(10_010, 5), (10_020, 7)]
    assert [fact.reason for fact in made.facts(Cancelled)] == ["no_liquidity"]


def test_our_own_trade_makes_the_next_dearer_until_it_fades() -> None:
    def second(after_ms: int, side: Side = Side.BUY) -> int:
        made = market((0, buy(4)), (after_ms, {"side": side, "size": 1}))
        return fills(made)[1][0]

    at_once, later, last = second(1), second(100), second(900)
    # One of the five is left at 10,010, so the display itself did not get worse.
    assert at_once > later > last >= 10_010
    assert second(1, Side.SELL) == 10_000  # and the other side is never better


def test_what_the_memory_of_taken_levels_charges_is_not_charged_twice() -> None:
    made = market((0, buy(5)), (1, buy(1)))
    alone = market((0, buy(4)), (1, buy(1)))
    assert fills(made)[1][0] >= 10_020
    assert fills(made)[1][0] - fills(alone)[1][0] <= 10


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.FOK])
def test_a_limit_holds_whatever_the_law_says(force: TimeInForce) -> None:
    made = market((0, buy(4)), (1, buy(2, price=10_010, time_in_force=force)))
    assert fills(made) == [(10_010, 4)]


def test_protection_stops_a_market_order_in_the_display() -> None:
    made = market((0, buy(12)), impact=PROTECTED)
    assert fills(made) == [(10_010, 5)]
    assert [(fact.left, fact.reason) for fact in made.facts(Expired)] == [(7, "price_protection")]
    sold = market((0, {"side": Side.SELL, "size": 30}), impact=PROTECTED)
    assert fills(sold) == [(10_000, 10)]


def test_protection_before_the_first_level_rejects_and_a_bare_display_is_no_protection() -> None:
    made = market((0, buy(12)), impact=ImpactSettings(protection_bps=1))
    assert [fact.reason for fact in made.facts(Rejected)] == ["price_protection"]
    wide = market((0, buy(30)), impact=ImpactSettings(protection_bps=5_000))
    assert [fact.reason for fact in wide.facts(Cancelled)] == ["no_liquidity"] and wide.facts(Expired) == []


def test_the_law_ends_at_the_protection() -> None:
    bound = ImpactSettings(enabled=True, protection_bps=30)
    made = market((0, buy(3_000)), impact=bound)
    last = made.facts(Fill)[-1]
    assert last.cause == "beyond" and 10_020 < last.price <= 10_035
    assert [fact.reason for fact in made.facts(Expired)] == ["price_protection"]


def test_the_config_says_it_and_refuses_nonsense() -> None:
    text = {"paper": {"impact": {"enabled": True, "scale": 0.2, "decay": "100ms", "protection_bps": 500}}}
    config = parse_config({"venue": {"sim": {"use": "binance-spot", "symbols": ["BTCUSDT"]}}, **text}, "test")
    impact = paper_settings(config.paper).impact
    assert (impact.enabled, impact.scale, impact.decay_ns, impact.protection_bps) == (True, 0.2, 100 * MS, 500)
    text["paper"]["impact"]["decay_quarters"] = 9
    with pytest.raises(ConfigError, match=r"paper\.impact\.decay_quarters"):
        parse_config({"venue": {"sim": {"use": "binance-spot", "symbols": ["BTCUSDT"]}}, **text}, "test")
