"""Places in the queue: each rule by hand, icebergs, and the prices that wake Python."""

from __future__ import annotations

import pytest

from engine.core.queues.queue_settings import QueueSettings, UnknownQueueModel
from engine.core.state import NOW
from tests.market import MS
from tests.queues import ASK, BID, Queues


def at_ten() -> Queues:
    """A bid of ours for 4 behind ten at 100."""
    queues = Queues()
    queues.level(BID, 100, 10)
    queues.level(ASK, 102, 10)
    queues.rest(BID, 100, 4)
    return queues


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The level grows to 20 behind us, then 8 are cancelled: what of it stood in front of us, of 10 and 10?
        ("back", 10),
        ("risk_averse", 10),
        ("proportional", 6),
        ("power2", 6),
        ("power3", 6),
        ("log", 6),
        # In whole coins ten units are 0.01: behind with log(1.01) / log(1.02).
        ("log2", 10 - 8 * (1 - 0.502488)),
    ],
)
def test_a_cancel_moves_us_by_the_share_that_was_in_front(rule: str, expected: float) -> None:
    queues = at_ten()
    queues.level(BID, 100, 20)
    queues.level(BID, 100, 12)
    assert queues.ahead(1, "own" if rule == "risk_averse" else rule) == pytest.approx(expected, abs=0.02)


def test_in_front_of_a_deep_queue_cancels_are_mostly_behind() -> None:
    queues = at_ten()
    queues.level(BID, 100, 40)  # ten in front, thirty behind
    queues.level(BID, 100, 30)
    found = {rule: queues.ahead(1, rule) for rule in ("proportional", "power2", "power3")}
    assert found == {
        "proportional": pytest.approx(7.5, abs=0.01),
        "power2": pytest.approx(10 - 10 * 0.1, abs=0.01),
        "power3": pytest.approx(10 - 10 / 28, abs=0.01),
    }


@pytest.mark.parametrize("trade_first", [True, False])
def test_a_trade_and_its_level_change_count_once_in_either_order(trade_first: bool) -> None:
    queues = at_ten()
    queues.level(BID, 100, 20)
    if trade_first:
        queues.trade(BID, 100, 6)
        queues.level(BID, 100, 11)  # six traded, three cancelled, of 4 in front and 10 behind
    else:
        queues.level(BID, 100, 11)
        queues.trade(BID, 100, 6)
    assert queues.ahead(1) == 4
    assert queues.ahead(1, "proportional") == pytest.approx(4 - 3 * 4 / 14, abs=0.01)
    assert queues.ahead(1, "power2") == pytest.approx(4 - 3 * 16 / 116, abs=0.01)


def test_rules_without_a_queue_look_at_prices_only() -> None:
    queues = at_ten()
    queues.trade(BID, 100, 3)
    assert queues.filled == {(1, "front"): 3, (1, "print"): 3}
    queues.trade(BID, 99, 2)  # through us: all but touch, which the pessimist then lifts
    both = {lane: queues.filled.get((1, lane), 0) for lane in ("own", "back", "through", "touch", "print")}
    assert both == {"own": 2, "back": 2, "through": 2, "touch": 2, "print": 4}


def test_an_offer_at_our_price_fills_every_rule() -> None:
    queues = at_ten()
    queues.level(BID, 100, 0)
    queues.level(ASK, 100, 3)
    assert {queues.filled.get((1, lane), 0) for lane in ("own", *queues.names[:2], *queues.names[3:])} == {3}


def test_who_is_filled_lives_on_in_the_other_lanes() -> None:
    queues = at_ten()
    queues.level(BID, 100, 4)
    queues.level(BID, 100, 2)
    queues.trade(BID, 100, 8)
    # Own: the last fall of 2 waits for its trade. The pessimist lets both falls wait, 8 in all: nothing is left for us.
    assert (queues.left(1), queues.left(1, "back"), queues.left(1, "front")) == (0, 4, 0)


def test_no_order_of_ours_overtakes_an_older_one() -> None:
    queues = at_ten()
    queues.level(BID, 100, 4)  # six left, by a trade that is told later
    queues.rest(BID, 100, 4)
    queues.trade(BID, 100, 7)
    assert queues.filled.get((2, "own"), 0) == 0 or queues.left(1) == 0


def test_an_iceberg_goes_back_behind_the_level_after_each_part() -> None:
    queues = Queues()
    queues.level(BID, 100, 10)
    one = queues.rest(BID, 100, 9, display=3)
    two = queues.rest(BID, 100, 2)
    queues.trade(BID, 100, 12)  # ten in front, two of the first part
    assert (queues.left(one), queues.left(two)) == (7, 2)
    queues.level(BID, 100, 5)  # others joined behind
    queues.trade(BID, 100, 2)
    assert (queues.left(one), queues.left(two)) == (6, 1)  # the part is used up; the other one is next
    assert queues.ahead(one) == 3  # five, of which two were traded
    queues.trade(BID, 100, 1)
    assert (queues.left(one), queues.left(two)) == (6, 0)
    queues.trade(BID, 100, 2)
    assert queues.left(one) == 6
    queues.trade(BID, 100, 4)
    assert queues.left(one) == 2  # one part of three, and one of the next as nobody else is there


def test_an_iceberg_goes_back_in_each_lane_for_itself() -> None:
    queues = Queues("power2")
    queues.level(BID, 100, 10)
    one = queues.rest(BID, 100, 9, display=3)
    two = queues.rest(BID, 100, 9)
    queues.level(BID, 100, 20)
    queues.level(BID, 100, 14)  # three of the six that went stood in front of us, for the pessimist none
    queues.state.control[NOW] += 300 * MS
    queues.trade(BID, 100, 10)
    lefts = {lane: (queues.left(one, lane), queues.left(two, lane)) for lane in ("own", "back")}
    assert lefts == {"own": (6, 9), "back": (9, 9)}  # only in the rule's own lane is the first part used up
    queues.level(BID, 100, 4)
    queues.trade(BID, 100, 2)
    lefts = {lane: (queues.left(one, lane), queues.left(two, lane)) for lane in ("own", "back")}
    assert lefts == {"own": (6, 7), "back": (7, 9)}  # there the second order is next, for the pessimist the first


def test_what_a_filled_order_got_of_a_print_is_spoken_for() -> None:
    queues = Queues("fitted")
    queues.level(BID, 100, 6)
    one, two = queues.rest(BID, 100, 4), queues.rest(BID, 100, 9)
    queues.trade(BID, 100, 10)
    assert (queues.left(one), queues.left(two)) == (0, 9)
    queues.leave(one)
    queues.level(BID, 100, 0)  # the answer to the print: all ten of it are spent
    assert queues.left(two) == 9


def test_a_print_through_an_iceberg_finds_all_of_it() -> None:
    queues = Queues()
    queues.level(BID, 100, 10)
    one = queues.rest(BID, 100, 9, display=3)
    queues.trade(BID, 99, 7)
    assert queues.left(one) == 2


def test_amending_down_keeps_the_place_in_every_lane() -> None:
    queues = at_ten()
    queues.trade(BID, 100, 3)
    before = {lane: queues.ahead(1, lane) for lane in queues.lanes}
    queues.shrink(1, 2)
    assert {lane: queues.ahead(1, lane) for lane in queues.lanes} == before
    assert (queues.left(1), queues.left(1, "front")) == (2, 0)


def test_exact_queues_are_refused_where_no_feed_has_single_orders() -> None:
    with pytest.raises(UnknownQueueModel, match="needs single orders"):
        QueueSettings(model="fifo")
    with pytest.raises(UnknownQueueModel, match="found 'power4'"):
        QueueSettings(twins=("power4",))
