"""Resting orders judged by what traded while the daemon was away: at its time, with its alternatives, and no more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import Command
from engine.core.order_facts import Assumed, Cancelled, Expired
from engine.core.records import Fill, Note
from engine.core.strategy import Context
from engine.core.types import Side, TimeInForce
from tests.away import START, Away, S
from tests.market import BTC


def resting(*orders: tuple[Side, int, int], gtd_s: float = 0.0) -> Away:
    """Orders that rest, by side, size and price, until they expire so many seconds after the start, or for good."""

    def begin(ctx: Context) -> None:
        for side, size, price in orders:
            terms: dict[str, Any] = {"post_only": True}
            if gtd_s:
                terms |= {"time_in_force": TimeInForce.GTD, "expires_ns": START + int(gtd_s * S)}
            ctx.order(BTC.name, side, size, price, **terms)

    away = Away(begin)
    assert len(away.engine.desk.orders) == len(orders)
    return away


def test_a_print_through_the_price_fills_at_the_price() -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.back([(10, 9_980, 7, -1)])
    (fill,) = away.facts(Fill)
    assert (fill.price, fill.size, fill.maker, fill.cause, fill.grade) == (9_990, 5, True, "assumed", "assumed")
    assert fill.matched_ns == START + 10 * S
    (told,) = away.facts(Assumed)
    assert (told.size, told.optimistic, told.pessimistic, told.basis) == (5, 5, 5, "prints")
    assert away.engine.ledger.position(0, "s") == 5
    assert not away.engine.desk.orders


def test_a_print_gives_no_more_than_it_was() -> None:
    away = resting((Side.BUY, 5, 9_990), (Side.BUY, 5, 9_990))
    away.back([(10, 9_980, 7, -1)])
    assert away.fills == [(1, 9_990, 5), (2, 9_990, 2)]


def test_prints_at_the_price_use_up_the_queue_first() -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.back([(10, 9_990, 79, -1)])
    assert away.fills == []
    (told,) = away.facts(Assumed)
    assert (told.size, told.optimistic, told.pessimistic) == (0, 5, 0)
    away = resting((Side.BUY, 5, 9_990))
    away.back([(10, 9_990, 60, -1), (11, 9_990, 23, -1)])
    assert away.fills == [(1, 9_990, 3)], "80 stood in front"
    assert away.engine.desk.orders[1].left == 2


def test_the_younger_of_two_comes_behind_the_older() -> None:
    away = resting((Side.BUY, 5, 9_990), (Side.BUY, 5, 9_990))
    away.back([(10, 9_990, 87, -1), (11, 9_990, 1, -1)])
    assert away.fills == [(1, 9_990, 5), (2, 9_990, 2), (2, 9_990, 1)]


@pytest.mark.parametrize("side", [1, 0])
def test_a_buyer_at_the_bid_takes_nothing_from_it(side: int) -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.back([(10, 9_990, 500, side)])
    assert bool(away.fills) == (side == 0), "an aggressor that nobody knows may have sold"


def test_sells_mirror_buys() -> None:
    away = resting((Side.SELL, 5, 10_020))
    away.back([(10, 10_020, 81, 1), (12, 10_030, 2, 1)])
    assert away.fills == [(1, 10_020, 1), (1, 10_020, 2)]


def test_an_order_that_expired_before_has_nothing() -> None:
    away = resting((Side.BUY, 5, 9_990), gtd_s=5.0)
    away.back([(10, 9_980, 7, -1)])
    assert away.fills == []
    assert len(away.facts(Expired)) == 1
    away = resting((Side.BUY, 5, 9_990), gtd_s=15.0)
    away.back([(10, 9_980, 2, -1), (20, 9_980, 9, -1)])
    assert away.fills == [(1, 9_990, 2)]
    assert len(away.facts(Expired)) == 1


def test_a_bar_through_the_price_fills_and_one_that_touches_says_nothing() -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.back(bars=[(30, 9_990, 10_100)])
    assert away.fills == []
    (told,) = away.facts(Assumed)
    assert (told.size, told.optimistic, told.pessimistic, told.basis) == (0, 5, 0, "bars")
    away = resting((Side.BUY, 5, 9_990))
    away.back(bars=[(30, 9_989, 10_100)])
    assert away.fills == [(1, 9_990, 5)]


def test_assumed_fills_are_not_in_the_score() -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.back([(10, 9_980, 7, -1)])
    truth = away.engine.summary()["truth"]
    assert (truth["fills"], truth["assumed"], truth["score"]) == (0, 1, None)


@pytest.mark.parametrize("args", [{"symbol": "v:NONE"}, {}, {"symbol": BTC.name, "prints": [[0, 1, 1, 1]] * 200_001}])
def test_nonsense_is_noted_and_changes_nothing(args: dict[str, Any]) -> None:
    away = resting((Side.BUY, 5, 9_990))
    away.records += away.engine.process(Command(START + S, "missed", args))
    (note,) = away.facts(Note)
    assert "expected" in note.fields["missed"]
    assert not away.facts(Cancelled) and not away.fills


PRINTS = st.lists(
    st.tuples(st.floats(1.0, 50.0), st.integers(9_970, 10_040), st.integers(1, 120), st.sampled_from([-1, 0, 1])),
    max_size=12,
)
ORDERS = st.lists(
    st.one_of(
        st.tuples(st.just(Side.BUY), st.integers(1, 60), st.sampled_from([9_980, 9_990, 10_000])),
        st.tuples(st.just(Side.SELL), st.integers(1, 60), st.sampled_from([10_010, 10_020, 10_030])),
    ),
    min_size=1,
    max_size=5,
)


@given(orders=ORDERS, prints=PRINTS)
def test_whatever_traded_no_more_is_assumed_than_traded_and_between_the_bounds(
    orders: list[tuple[Side, int, int]], prints: list[tuple[float, int, int, int]]
) -> None:
    away = resting(*orders)
    away.back(prints)
    for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
        had = sum(fill.size for fill in away.facts(Fill) if fill.side == side)
        prices = [price for one, _, price in orders if one is side]
        edge = (max if side is Side.BUY else min)(prices) if prices else 0
        assert had <= sum(size for _, price, size, _ in prints if prices and (price - edge) * sign >= 0)
    sizes = {number: size for number, (_, size, _) in enumerate(orders, 1)}
    for told in away.facts(Assumed):
        assert told.pessimistic <= told.optimistic <= sizes[told.order]
        assert told.size <= told.optimistic
        assert told.size == sum(fill.size for fill in away.facts(Fill) if fill.order == told.order)
    assert msgspec.msgpack.encode(away.records[-1])
