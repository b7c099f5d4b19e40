"""The venue's door: its rate limits at their edges, its bad moments, its maintenance; and what the owner hears."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.records import Accepted, AmendRejected, Cancelled, CancelRejected, Fill, Rejected
from engine.core.strategy import Context
from engine.core.types import OrderKind, Side, TimeInForce
from engine.core.venue.gateway import Counter, Gate, Gateway, Outage, Windows
from engine.core.venue.latency import AMEND, CANCEL, ORDER
from engine.core.venue.rate_limits import AMENDS, LIMITS, ORDERS, RateLimit, UnknownLimits, limits_of
from engine.live.build import build_engine, offline_problems
from engine.live.config import ConfigError, parse_config
from engine.live.config_paper import paper_settings
from tests.market import BTC, ETH, MS, NO_LATENCY, Rig, S, Script, clock, depth, snapshot, trade

BIDS, ASKS = [(100, 10), (99, 20)], [(102, 5), (103, 700)]


def order(number: int, symbol: int = 0) -> Working:
    intent = Intent(number, "s", symbol, 1, OrderKind.LIMIT, TimeInForce.GTC, 99, 1, post_only=False)
    return Working(intent, "sent", 1)


def gateway(gate: Gate) -> Gateway:
    return Gateway({"v": gate}, [BTC, ETH])


def let_in(door: Gateway, count: int, ns: int, what: int = ORDER, symbol: int = 0) -> int:
    return sum(door.refuses(order(number, symbol), what, ns) is None for number in range(1, count + 1))


def test_binance_counts_by_the_clock_and_says_so_in_its_words() -> None:
    door = gateway(Gate(limits="binance-spot"))
    assert let_in(door, 101, 19 * S) == 100
    assert door.refuses(order(1), ORDER, 20 * S - 1) == (
        "rate_limit", "-1015 Too many new orders; current limit is 100 orders per 10 SECOND.",
    )  # fmt: skip
    assert let_in(door, 200, 19 * S, CANCEL) == 200  # cancels do not count, nor are they refused
    assert let_in(door, 101, 20 * S, symbol=1) == 100  # the next window, and one count for all symbols


def test_the_futures_count_amends_and_the_minute() -> None:
    door = gateway(Gate(limits="binance-usdm"))
    assert let_in(door, 150, 0) + let_in(door, 151, 1 * S, AMEND) == 300
    assert sum(let_in(door, 300, (10 + at * 10) * S) for at in range(5)) == 900
    assert door.refuses(order(1), ORDER, 59 * S) == (
        "rate_limit", "-1015 Too many new orders; current limit is 1200 orders per 1 MINUTE.",
    )  # fmt: skip
    assert let_in(door, 1, 60 * S) == 1


def test_bybit_rolls_and_okx_counts_by_instrument() -> None:
    door = gateway(Gate(limits="bybit-linear"))
    assert let_in(door, 11, 5) == 10 and let_in(door, 11, 5, AMEND) == 10 and let_in(door, 11, 5, CANCEL) == 10
    assert let_in(door, 1, 5 + S - 1) == 0 and let_in(door, 11, 5 + S) == 10
    door = gateway(Gate(limits="okx"))
    assert let_in(door, 61, 0) == 60 and let_in(door, 61, 0, symbol=1) == 60


def test_kraken_counts_young_cancels_more_and_never_refuses_them() -> None:
    door = gateway(Gate(limits="kraken", tier="starter"))
    orders = [order(number) for number in range(1, 8)]
    for one in orders:
        assert door.refuses(one, ORDER, 100 * S) is None
    for one in orders:  # 7 + 7 * 8 = 63, above the threshold of 60
        assert door.refuses(one, CANCEL, 100 * S) is None
    assert door.refuses(order(9), ORDER, 100 * S) == ("rate_limit", "EOrder:Rate limit exceeded")
    assert door.refuses(order(9, symbol=1), ORDER, 100 * S) is None  # a counter each pair
    assert door.refuses(order(9), ORDER, 104 * S) is None  # one a second
    with pytest.raises(UnknownLimits, match="starter, intermediate, pro"):
        gateway(Gate(limits="kraken", tier="vip"))


@given(st.lists(st.tuples(st.integers(0, 3 * S), st.integers(0, 9)), max_size=60))
def test_a_counter_decays_exactly_whatever_the_steps(steps: list[tuple[int, int]]) -> None:
    limit = msgspec.structs.replace(limits_of("kraken").decays["intermediate"], threshold=10**9)
    counter, ns, level = Counter(limit), 0, Decimal(0)
    for wait, cost in steps:
        ns += wait
        level = max(Decimal(0), level - Decimal(wait * limit.decay) / 10**12) + cost
        counter.add(cost, ns)
    assert abs(Decimal(counter._level) / 1000 - level) < Decimal("0.1")


@given(
    st.builds(
        RateLimit,
        limit=st.integers(1, 6),
        window_ns=st.integers(1, 50),
        is_rolling=st.booleans(),
    ),
    st.lists(st.integers(0, 20), max_size=80),
)
def test_no_window_ever_lets_in_more_than_its_limit(limit: RateLimit, waits: list[int]) -> None:
    windows, ns, taken = Windows(limit), 0, []
    for wait in waits:
        ns += wait
        if not windows.is_full(ns):
            windows.add(ns)
            taken.append(ns)
        elif limit.is_rolling:
            assert sum(one > ns - limit.window_ns for one in taken) == limit.limit
        else:
            assert sum(one // limit.window_ns == ns // limit.window_ns for one in taken) == limit.limit
    for one in taken:
        if limit.is_rolling:
            assert sum(one - limit.window_ns < other <= one for other in taken) <= limit.limit
        else:
            assert sum(one // limit.window_ns == other // limit.window_ns for other in taken) <= limit.limit


def test_every_table_says_where_it_is_from() -> None:
    for name, limits in LIMITS.items():
        assert "/" in limits.source and (limits.limits or limits.decays), name
        assert limits_of(name) is limits
    with pytest.raises(UnknownLimits, match="expected limits among binance-spot"):
        limits_of("ftx")


def once(act: Callable[[Context], Any]) -> Script:
    return Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": lambda _, ctx: act(ctx)})


def rig(gate: Gate, act: Callable[[Context], Any] | Script) -> Rig:
    paper = msgspec.structs.replace(NO_LATENCY, gates={"*": gate})
    made = Rig(act if isinstance(act, Script) else once(act), paper=paper)
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(2 * S))
    return made


TWO_A_SECOND = Gate(own=(RateLimit(2, S, ORDERS | AMENDS, is_rolling=True, words="too fast"),))


def test_the_owner_hears_the_venues_words_and_the_reason_is_counted() -> None:
    script = once(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 1, 99) for _ in range(3)])
    made = rig(TWO_A_SECOND, script)
    assert made.facts(Rejected) == [Rejected(3, "rate_limit", "too fast")]
    assert len(made.facts(Accepted)) == 2
    assert made.engine.summary()["orders"]["rejections"] == {"rate_limit": 1}
    heard = [one for one in script.all("order") if one.id == 3]
    assert [one.state for one in heard] == ["rejected"] and heard[-1].reason == "rate_limit"


def test_a_filled_order_does_not_count_as_unfilled() -> None:
    gate = Gate(own=(RateLimit(2, 10 * S, forgives_fills=True),))
    made = rig(gate, lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 1) for _ in range(5)])
    assert len(made.facts(Fill)) == 5 and made.facts(Rejected) == []  # as on Binance: who trades may go on
    strict = rig(Gate(own=(RateLimit(2, 10 * S),)), lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 1) for _ in range(5)])
    assert len(strict.facts(Fill)) == 2 and len(strict.facts(Rejected)) == 3


def test_in_an_outage_nothing_passes_and_what_rests_goes_on_trading() -> None:
    gate = Gate(limits="binance-spot", outages=(Outage(3 * S, 2 * S),))

    def act(name: str, ctx: Context) -> None:
        if name == "go":
            ctx.order("BTCUSDT", Side.BUY, 4, 100)
            ctx.timer("out", 2.5)
            ctx.timer("back", 5.0)
        elif name == "out":
            ctx.cancel(1)
            ctx.amend(1, size=2)
            ctx.order("BTCUSDT", Side.BUY, 1, 99)
        else:
            ctx.cancel(1)

    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": act})
    made = Rig(script, paper=msgspec.structs.replace(NO_LATENCY, gates={"v": gate}))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(4 * S))
    busy = LIMITS["binance-spot"].busy
    assert made.facts(CancelRejected) == [CancelRejected(1, "outage", busy)]
    assert made.facts(Rejected) == [Rejected(2, "outage", busy)]
    assert made.engine.desk.orders[1].state == "open"  # and may be cancelled later
    made.feed(trade(4 * S + 1, 100, 11, sell=True), depth(4 * S + 2, [(100, 5)]), clock(7 * S))
    assert [fill.size for fill in made.facts(Fill)] == [1]
    assert made.facts(Cancelled) == [Cancelled(1, 3, "user")]


def test_an_amend_at_a_shut_door_leaves_the_order_as_it_is() -> None:
    def act(ctx: Context) -> None:
        ctx.order("BTCUSDT", Side.BUY, 4, 99)
        ctx.order("BTCUSDT", Side.BUY, 4, 99)
        ctx.amend(1, size=2)

    made = rig(TWO_A_SECOND, act)
    assert made.facts(AmendRejected) == [AmendRejected(1, "rate_limit", "too fast")]
    assert [one.size for one in made.engine.desk.orders.values()] == [4, 4]


def test_chance_refuses_its_share_and_the_same_ones_every_time() -> None:
    def refused(seed: int) -> list[int]:
        door = gateway(Gate(reject_ppm=100_000, seed=seed))
        return [number for number in range(1, 5001) if door.refuses(order(number), ORDER, number) is not None]

    assert 400 < len(refused(1)) < 600
    assert refused(1) == refused(1) != refused(2)
    door = gateway(Gate(limits="kraken", reject_ppm=1_000_000))
    assert door.refuses(order(1), ORDER, 0) == ("venue_busy", "EService:Unavailable")
    assert door.refuses(order(1), CANCEL, 0) is None


def test_a_door_of_no_venue_is_a_mistake_of_the_config() -> None:
    venue = {"sim": {"use": "binance-spot", "symbols": ["BTCUSDT"]}}
    config = parse_config({"venue": venue, "paper": {"gate": {"smi": {"reject_rate": 0.5}, "*": {}}}}, "t")
    said = "paper.gate.smi: expected a venue of this run (sim) or '*', found none of that name"
    assert offline_problems(config) == [said]
    with pytest.raises(ConfigError, match="expected a venue of this run"):
        build_engine(config, [BTC], inline_training=False)


def test_the_config_names_doors_and_every_mistake() -> None:
    gate: dict[str, Any] = {
        "limits": "kraken",
        "tier": "pro",
        "orders": ["5/1s"],
        "reject_rate": "0.01",
        "outages": [{"at": "03:00", "lasts": "2m"}, {"at": "1970-01-02T00:00:01+01:00", "lasts": "1h"}],
    }
    config = parse_config({"paper": {"gate": {"v": gate}}}, "t")
    assert parse_config(config.plain(), "header") == config
    made = paper_settings(config.paper).gates["v"]
    assert (made.reject_ppm, made.own[0].limit, made.own[0].window_ns) == (10_000, 5, S)
    assert made.outages == (Outage(3 * 3600 * S, 120 * S, daily=True), Outage(23 * 3600 * S + S, 3600 * S))
    for change, said in (
        ({"limits": "ftx"}, "limits among binance-spot"),
        ({"tier": "vip"}, "a tier among starter"),
        ({"orders": ["fast"]}, 'orders in a window of at most a day such as "100/10s"'),
        ({"orders": ["5/2d"]}, "orders in a window"),
        ({"outages": [{"at": "25:00", "lasts": "1s"}]}, "HH:MM"),
        ({"outages": [{"at": "2026-11-21T03:00:00", "lasts": "1s"}]}, "no zone"),
        ({"reject_rate": 2}, "less than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_config({"paper": {"gate": {"v": {**gate, **change}}}}, "t")
