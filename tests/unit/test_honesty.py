"""Grades, twin accounts, markouts and shortfall, by examples worked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.account.money import amount
from engine.core.honesty.grades import grade
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Fill, Markout, Missed, Regraded, TwinAccount, TwinFill
from engine.core.types import Side
from engine.core.venue.resting import AT_PRICE, CROSSED, TAKEN, THROUGH, Match, TwinMatch
from tests.market import MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade

BIDS = [(100, 10), (98, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]
GRACE_NS = NO_LATENCY.queue.twin_grace_ns
BOUNDS = replace(NO_LATENCY, queue=QueueSettings(twins=()))


def rig(size: int = 4, price: int | None = 100, side: Side = Side.BUY) -> Rig:
    """An order is sent at one second and rests; twins are told by hand."""
    script = Script(
        {
            "start": lambda _, ctx: ctx.timer("go", 1.0),
            "timer": lambda _, ctx: ctx.order("BTCUSDT", side, size, price),
        }
    )
    made = Rig(script, paper=BOUNDS)
    setattr(made.engine.desk.venue.resting, "twins", list)  # noqa: B010 - the kernel's own stay silent
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S), clock(1 * S + 1))
    return made


def twin(made: Rig, model: str, size: int, cause: int = AT_PRICE) -> None:
    made.engine.honesty.twins_did([TwinMatch(1, (model,), 100, size, cause, made.engine.now_ns)])


def plain(made: Rig) -> dict[str, Any]:
    return made.engine.honesty.plain()


def test_a_fill_that_took_is_certain_and_the_same_in_every_model() -> None:
    made = rig(size=8, price=None)
    first, second = made.facts(Fill)
    assert (first.grade, first.cause, first.number, second.number) == ("certain", "taken", 1, 2)
    assert first.front_ns == first.back_ns == 1 * S
    made.say("stop", 2 * S)
    for band in (plain(made)["band"]["USDT"], made.engine.summary()["strategies"]["s"]["band"]["USDT"]):
        assert set(band["models"]) == {"fitted", "front", "back"}
        assert len(set(band["models"].values())) == 1
        assert band["low"] == band["own"] == band["high"] == format(made.engine.ledger.profit()["USDT"], "f")


def test_the_pessimistic_twin_makes_a_fill_certain_at_once_or_later() -> None:
    made = rig()
    made.feed(clock(2 * S))
    twin(made, "front", 4)
    twin(made, "back", 1)
    made.feed(trade(2 * S + 1, 100, 11, sell=True))  # ten in front, then one of ours
    made.feed(trade(2 * S + 2, 100, 2, sell=True))
    one, two = made.facts(Fill)
    assert (one.grade, one.front_ns, one.back_ns) == ("certain", 2 * S, 2 * S)
    assert (two.cause, two.front_ns, two.back_ns) == ("at_price", 2 * S, 0)
    assert two.grade == "likely"  # as the model says: chance 1000


def test_a_fill_that_crosses_a_cancel_on_its_way_is_likely_at_most() -> None:
    script = Script(
        {
            "start": lambda _, ctx: (ctx.timer("go", 1.0), ctx.timer("back", 2.0)),
            "timer": lambda name, ctx: ctx.order("BTCUSDT", Side.BUY, 4, 100) if name == "go" else ctx.cancel(1),
        }
    )
    made = Rig(script, paper=replace(NO_LATENCY, out_ns=5 * MS))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(2 * S))
    made.feed(trade(2 * S + MS, 100, 14, sell=True))  # the cancel is still on its way
    (fill,) = made.facts(Fill)
    assert (fill.cause, fill.back_ns, fill.grade) == ("at_price", 2 * S + MS, "likely")


def doubtful(made: Rig, monkeypatch: pytest.MonkeyPatch, chance: int = 600) -> None:
    """Fills from here on have this chance, as a queue model would say."""
    resting = made.engine.desk.venue.resting
    matched = resting.matched

    def unsure() -> list[Match]:
        return [replace(one, cause=AT_PRICE, chance=chance) for one in matched()]

    monkeypatch.setattr(resting, "matched", unsure)


def fill_it(made: Rig) -> Fill:
    made.feed(trade(2 * S, 100, 14, sell=True))
    (fill,) = made.facts(Fill)
    assert isinstance(fill, Fill) and fill.left == 0
    return fill


def test_an_ambiguous_fill_becomes_likely_when_the_pessimistic_twin_gets_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = rig()
    doubtful(made, monkeypatch)
    assert fill_it(made).grade == "ambiguous"
    made.feed(clock(2 * S + 400 * MS))
    twin(made, "back", 3)
    assert plain(made)["truth"]["final"]["likely"] == 0
    made.feed(clock(2 * S + 500 * MS))
    twin(made, "back", 1)
    truth = plain(made)["truth"]
    assert (truth["ambiguous"], truth["final"], truth["regraded"]["back"]) == (
        1,
        {"certain": 0, "likely": 1, "ambiguous": 0},
        1,
    )
    assert (truth["score"], truth["false_fills"]) == (0.6, 0.4)  # what settled later does not raise it
    made.feed(clock(4 * S))
    assert plain(made)["truth"]["regraded"] == {"back": 1, "passed": 0, "left": 0, "doubt": 0, "gone": 0}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (depth(2 * S + MS, bids=[(100, 0)], asks=[(100, 3)]), ("likely", "passed")),
        (depth(2 * S + MS, bids=[(101, 3)]), ("likely", "left")),
        (gap(2 * S + MS), None),  # the order was gone before the book fell in doubt, and nothing is known after
        (clock(2 * S + MS), None),
    ],
)
def test_what_the_book_says_at_the_end_of_the_grace(
    after: Any, expected: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rig()
    doubtful(made, monkeypatch, chance=980)
    assert fill_it(made).grade == "likely"
    made.feed(after, clock(2 * S + GRACE_NS))
    assert made.facts(Regraded) == []
    made.feed(clock(2 * S + GRACE_NS + 1))
    assert made.facts(Regraded) == ([] if expected is None else [Regraded(1, 1, *expected)])
    twin(made, "back", 4)  # too late: the order is forgotten
    assert made.facts(TwinFill) == []


def test_an_order_that_is_gone_before_its_level_answers_seldom_had_the_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait_ns, expected in ((100 * MS, [Regraded(1, 1, "ambiguous", "gone")]), (300 * MS, [])):
        made = rig(size=9)
        twin(made, "back", 2)
        doubtful(made, monkeypatch, chance=988)
        made.feed(trade(2 * S, 100, 12, sell=True))
        (fill,) = made.facts(Fill)
        assert (fill.grade, fill.left > 0) == ("certain", True)
        made.feed(clock(2 * S + wait_ns))
        made.engine.desk.cancel(1, "s", made.engine.now_ns)
        made.feed(clock(2 * S + wait_ns + 1))
        assert made.facts(Regraded) == expected
        monkeypatch.undo()


def test_an_order_whose_book_fell_in_doubt_is_unsure() -> None:
    made = rig()
    made.feed(gap(1 * S + 5), snapshot(1 * S + 6, BIDS, ASKS))
    fill = fill_it(made)
    truth = plain(made)["truth"]
    assert (fill.grade, truth["unsure"], truth["ambiguous"]) == ("ambiguous", 1, 1)
    made.feed(clock(4 * S))
    assert made.facts(Regraded) == [Regraded(1, 1, "ambiguous", "doubt")]


def test_twins_earn_what_their_fills_are_worth() -> None:
    made = rig()
    made.feed(clock(2 * S))
    made.engine.honesty.twins_did([TwinMatch(1, ("front",), 100, 4, THROUGH, 2 * S)])
    made.feed(depth(2 * S, bids=[(102, 5)], asks=[(102, 0), (103, 0), (104, 9)]))
    made.say("stop", 3 * S)
    # Four thousandths bought at 1.00, worth 1.03 now; the venue's own model has nothing, and no fee for makers.
    band = plain(made)["band"]["USDT"]
    assert (band["low"], band["own"], band["high"]) == ("0", "0", "0.00012")
    assert band["models"] == {"fitted": "0", "front": "0.00012", "back": "0"}
    assert made.facts(TwinAccount) == [TwinAccount("s", "USDT", band["models"], band["hedged"])]
    assert made.engine.honesty.twins.position("front", "s", 0) == 4


def test_hedged_profit_is_the_mid_ten_seconds_after_a_fill_whatever_the_position_does_later() -> None:
    made = rig()
    made.feed(clock(2 * S))
    twin(made, "front", 4)
    made.feed(depth(2 * S + 1, bids=[(102, 5)], asks=[(102, 0), (103, 0), (104, 9)]))  # mid 103
    assert plain(made)["band"]["USDT"]["hedged"]["front"] == "0.00012"  # waits: the mid of now
    made.feed(clock(12 * S), depth(13 * S, bids=[(102, 0), (100, 0)], asks=[(99, 4)]), clock(14 * S))  # mid 98.5
    band = plain(made)["band"]["USDT"]
    assert (band["models"]["front"], band["hedged"]["front"]) == ("-0.00006", "0.00012")
    assert (band["hedged_low"], band["hedged_high"], band["low"], band["high"]) == (
        *("-0.00006", "0.00012"),  # our own fill came late and lost at once; its model is the lowest
        *("-0.00006", "0"),
    )


def test_a_split_ends_what_is_followed_at_the_prices_of_before() -> None:
    made = rig()
    fill_it(made)
    made.feed(depth(2 * S + 500 * MS, bids=[(101, 4)]))  # mid 101.5
    before = plain(made)["band"]["USDT"]["hedged"]
    made.engine.honesty.splits(0)
    made.feed(snapshot(3 * S, [(50, 1)], [(51, 1)]), clock(63 * S))
    assert made.facts(Markout) == [Markout(1, 1, "v:BTCUSDT", "near", [202, 202, 0, 0, 0])]
    after = plain(made)["band"]["USDT"]
    hedged = {model: Decimal(profit) - Decimal(after["own"]) for model, profit in after["hedged"].items()}
    assert hedged == {
        model: Decimal(profit) - Decimal(before[made.engine.honesty.twins.own]) for model, profit in before.items()
    }


def test_what_moves_the_runs_money_beside_fills_is_in_every_model() -> None:
    made = rig(size=8, price=None)
    before = plain(made)["band"]["USDT"]
    made.engine.ledger.flow("s", "USDT", "interest", -amount(Decimal("0.25")))
    after = plain(made)["band"]["USDT"]
    assert {Decimal(after["models"][model]) - Decimal(before["models"][model]) for model in after["models"]} == {
        Decimal("-0.25")
    }


def test_markouts_are_signed_to_the_order_and_split_into_capture_and_drift() -> None:
    made = rig()
    fill = fill_it(made)
    assert fill.mid2 == 202
    made.feed(depth(2 * S + 50 * MS, bids=[(101, 4)]))  # mid 101.5
    made.feed(depth(2 * S + 500 * MS, asks=[(102, 0)]))  # mid 102
    made.feed(gap(5 * S), clock(13 * S))  # void after 10 s
    made.feed(snapshot(14 * S, [(90, 1)], [(91, 1)]), clock(63 * S))
    assert made.facts(Markout) == [Markout(1, 1, "v:BTCUSDT", "near", [202, 203, 204, 0, 181])]
    (row,) = plain(made)["markouts"]
    assert (row["place"], row["grade"], row["fills"], row["size"]) == ("near", "likely", 1, "0.004")
    assert row["counted"] == [1, 1, 1, 0, 1]
    assert row["ticks"] == [1.0, 1.5, 2.0, None, -9.5]
    assert row["bps"][1] == pytest.approx(150.0)


def test_a_sale_wins_when_the_mid_falls() -> None:
    made = rig(side=Side.SELL, price=103)
    made.feed(trade(2 * S, 103, 11, sell=False), depth(2 * S, bids=[(100, 0)]), clock(3 * S))
    (row,) = plain(made)["markouts"]
    assert row["ticks"][:3] == [2.0, 3.0, 3.0]  # 103 against 101, then 100


def test_shortfall_is_the_price_against_the_mid_of_the_request_with_fees() -> None:
    made = rig(size=8, price=None)  # five at 102 and three at 103 against 101, a fee of one thousandth
    (row,) = plain(made)["execution"]
    cost = Decimal("0.01") * (5 * 1 + 3 * 2) * Decimal("0.001")
    fees = Decimal("0.001") * Decimal("0.001") * Decimal("0.01") * (5 * 102 + 3 * 103)
    assert Decimal(row["price_cost"]) == cost
    assert Decimal(row["fees"]) == fees
    assert Decimal(row["shortfall"]) == cost + fees
    assert row["shortfall_bps"] == pytest.approx(float(1e4 * float(cost + fees) / (0.01 * 101 * 0.008)))
    assert (row["maker_share"], row["fill_ratio"], row["orders"], row["fills"]) == (0.0, 1.0, 1, 2)


def test_what_was_missed_is_the_move_after_the_order_ended() -> None:
    made = rig()
    made.engine.desk.cancel(1, "s", made.engine.now_ns)
    made.feed(clock(2 * S), depth(2 * S, bids=[(101, 1)], asks=[(102, 0)]), clock(3 * S))
    (row,) = plain(made)["execution"]
    assert (row["missed"], row["missed_size"], row["fill_ratio"]) == (1, "0.004", 0.0)
    # Ended at 101; a second later 102: four thousandths would have gained a cent each.
    assert row["missed_gain"] == ["0", "0.00004", "0", "0"]
    made.say("stop", 4 * S)
    assert made.facts(Missed) == [Missed(1, "s", "v:BTCUSDT", 1, 4, [202, 202, 204, 0, 0])]
    assert plain(made)["markouts"] == []


@pytest.mark.parametrize("cause", [TAKEN, THROUGH, CROSSED])
def test_grades_know_the_causes_that_leave_no_doubt(cause: int) -> None:
    assert grade(cause, 1, back_filled=False) == "certain"
