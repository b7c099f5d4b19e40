"""Real orders beside paper ones on the simulated market: the copies are true copies, and the figures add up."""

from __future__ import annotations

import json

import pytest

from adapters.market import VISITOR, SymbolMarket, spec_of
from engine.core.types import Side
from engine.research import truth
from engine.research.truth import Experiment, run
from engine.research.truth_market import Fate, copied, play
from engine.research.truth_orders import KINDS, LARGE, MS, SLICED, Trial, Wanted
from engine.research.truth_score import Pair, score
from engine.research.virtual_market import VirtualFeed
from tests.market import S


def market(seconds: int = 5, seed: int = 1) -> SymbolMarket:
    made = SymbolMarket(spec_of("BTCUSDT"), seed, 0)
    made.advance(seconds * S)
    return made


def test_a_copy_without_a_visitor_goes_the_same_way() -> None:
    original = market()
    twin = copied(original)
    assert original.advance(9 * S) == twin.advance(9 * S)
    assert not original.visits


def test_a_visitor_stands_in_the_queue_and_trades_like_anybody() -> None:
    made = market()
    bid, before = made.book.bids.best, made.book.bids.best_size
    order = made.place(VISITOR, Side.BUY, 70, bid)
    assert order is not None and made.book.bids.total(bid) == before + 70
    made.book.market(2, Side.SELL, before + 30)
    made.advance(made.now_ns + 1)
    assert made.withdraw(order) and not made.withdraw(order)
    assert [(fill.price, fill.size, fill.maker) for _, fill in made.visits] == [(bid, 30, VISITOR)]
    assert made.place(VISITOR + 1, Side.BUY, 10, made.book.asks.best, rests=False) is None
    assert made.place(VISITOR + 2, Side.SELL, 10) is None
    assert sum(made.book.positions.values()) == 0
    with pytest.raises(ValueError, match="visitor"):
        made.place(7, Side.BUY, 1)


def test_a_market_order_of_a_trial_takes_what_stands_and_no_more() -> None:
    made = market()
    shown = made.book.asks.depth(3)
    size = sum(lots for _, lots in shown)
    trial = Trial(0, LARGE, made.now_ns, [Wanted(0, 1, 0, size, 0)])
    found = play(copied(made), trial, 1, 5, 1, made.now_ns + S)
    assert found.fates[0].size == size
    assert [price for _, price, _, _ in found.fates[0].fills][:1] == [shown[0][0] * 5]
    assert found.spreads == [made.book.asks.best - made.book.bids.best]


@pytest.mark.parametrize(("pace_ms", "view"), [(0, 0), (100, 0), (100, 10)])
def test_the_feed_shows_the_book_that_the_market_has(pace_ms: int, view: int) -> None:
    made = market()
    feed = VirtualFeed(made, feed_ns=3, pace_ns=pace_ms * MS, view=view)
    shown: dict[tuple[int, int], int] = {}
    for batch in (feed.opening(), feed.advance(9 * S)):
        for kind, flags, _, _, price, size, venue_ns, recv_ns, _ in batch.tolist():
            assert recv_ns == venue_ns + 3
            if kind == 1:
                shown[flags & 1, price] = size
    count = view or 1 << 30
    book = {(0, price * 5): lots for price, lots in made.book.bids.depth(count)}
    book |= {(1, price * 5): lots for price, lots in made.book.asks.depth(count)}
    assert {key: size for key, size in shown.items() if size} == book


def test_a_view_needs_a_pace() -> None:
    with pytest.raises(ValueError, match="pace"):
        VirtualFeed(market(), feed_ns=0, view=10)


def test_paper_and_real_orders_agree_on_the_simulated_market() -> None:
    outcome = run(Experiment(orders=60))
    pairs = outcome.pairs["default"]
    assert len(pairs) >= 60 and {one.kind for one in pairs} == set(KINDS)
    (*each, whole) = outcome.rows()["default"]
    assert whole.orders == sum(one.orders for one in each)
    assert whole.agree > 0.9 and abs(whole.profit_error) < 0.05
    for one in pairs:
        assert one.real.size <= one.wanted and one.paper.size <= one.wanted
        if one.kind == LARGE:  # tick by tick the paper order walks the very book that the real one met
            assert one.real.fills[0][:2] == one.paper.fills[0][:2] and one.real.worth == one.paper.worth
    assert run(Experiment(orders=60)).plain() == outcome.plain()


def test_the_score_of_pairs_whose_answer_is_known() -> None:
    real, paper = Fate([(1, 100, 4, False)]), Fate([(3_000_001, 99, 4, False)])
    pair = Pair("crossing small", 1, 4, real, paper, 220, 222, 2)
    row = score("all", [pair, Pair("passive deep", -1, 5, Fate([]), Fate([]), 220, 220, 2)], 1)
    assert (row.agree, row.real_filled, row.price_ticks, row.time_ms_p50) == (1.0, 0.5, 1.0, 3.0)
    # Four bought a tick cheaper, less the smaller fee, over four times half a spread of two and the fee of 400.
    assert row.profit_error == pytest.approx((4 + 0.002) / (4 + 0.2))


def test_a_paper_order_beside_its_real_double_meets_the_same_market() -> None:
    outcome = run(Experiment(orders=30, paired=20))
    (*_, whole) = outcome.rows()["paired"]
    assert whole.agree > 0.9
    for one in outcome.pairs["paired"]:
        if one.kind in (LARGE, SLICED):  # its own effect is in the feed: nothing is left to be modelled
            assert one.real.fills[0][:2] == one.paper.fills[0][:2] and one.real.worth == one.paper.worth


def test_the_law_makes_slices_dearer() -> None:
    rows = {name: some[-2] for name, some in run(Experiment(orders=60)).rows().items()}
    assert {one.kind for one in rows.values()} == {SLICED}
    assert rows["impact"].price_ticks < rows["default"].price_ticks


def test_the_command_prints_a_table_or_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert truth.main(["--orders", "12"]) == 0
    assert "passive at touch" in capsys.readouterr().out
    assert truth.main(["--orders", "12", "--json", "--fill-model", "power2"]) == 0
    assert set(told := json.loads(capsys.readouterr().out)["rows"]) == {"default", "impact", "power2"}
    assert told["default"]["all"]["orders"] >= 12
    with pytest.raises(SystemExit):
        truth.main(["--view", "10"])
