"""What each strategy promises, on the small markets; and the tutorial, executed as it stands."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from decimal import Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.core.records import (
    CancelRequested,
    FeedState,
    Fill,
    Record,
    Refusal,
    Request,
    Sent,
    Signal,
)
from engine.core.strategy import Strategy
from engine.core.types import ContractKind
from strategies import scenarios
from strategies.hold import Hold, HoldConfig
from strategies.lean import Lean, LeanConfig
from strategies.learner import Learner, LearnerConfig
from strategies.maker import Maker, MakerConfig
from strategies.scenarios import FRAME_NS, START_NS, SYMBOL, Outcome, play, walk

README = Path(__file__).resolve().parents[2] / "strategies" / "README.md"


def facts(outcome: Outcome, kind: type[Any]) -> list[Any]:
    assert outcome.stopped is None
    return [record.fact for record in outcome.records if isinstance(record.fact, kind)]


def positions(records: list[Record]) -> list[int]:
    """The position before the first fill and after each."""
    fills = (record.fact for record in records if isinstance(record.fact, Fill))
    return list(accumulate((fill.side * fill.size for fill in fills), initial=0))


def at(frame: int) -> int:
    """The engine time of a frame."""
    return START_NS + (frame + 1) * FRAME_NS


# Hold.


def test_hold_when_the_market_is_there_then_buys_once_for_its_money() -> None:
    outcome = play(lambda: Hold(HoldConfig(SYMBOL, notional=Decimal(2500))), walk())
    (fill,) = facts(outcome, Fill)
    assert fill.side == 1
    assert 2490 < fill.size * fill.price / 100_000 <= 2500


def test_hold_when_refused_then_asks_again_no_faster_than_it_looks() -> None:
    outcome = play(lambda: Hold(HoldConfig(SYMBOL, retry_s=2.0)), walk(), is_halted=True)
    assert {refusal.rule for refusal in facts(outcome, Refusal)} == {"kill_switch"}
    assert len(facts(outcome, Request)) == 5


def test_hold_when_its_money_buys_less_than_a_lot_then_nothing() -> None:
    assert facts(play(lambda: Hold(HoldConfig(SYMBOL, notional=Decimal("0.001"))), walk()), Request) == []


# Lean.


def test_lean_when_the_score_is_high_then_it_follows_and_says_why() -> None:
    outcome = play(lambda: Lean(LeanConfig(SYMBOL, enter=0.2)), walk())
    scores = [signal.value for signal in facts(outcome, Signal) if signal.name == "lean"]
    assert all(-1 <= score <= 1 for score in scores)
    assert max(scores) > 0.2
    assert min(scores) < -0.2
    assert min(positions(outcome.records)) < 0 < max(positions(outcome.records))


def test_lean_when_spot_then_never_short() -> None:
    outcome = play(lambda: Lean(LeanConfig(SYMBOL, enter=0.2)), walk(), kind=ContractKind.SPOT)
    assert min(positions(outcome.records)) == 0 < max(positions(outcome.records))


def test_lean_when_there_is_a_gap_then_it_says_nothing_of_that_book() -> None:
    outcome = play(lambda: Lean(LeanConfig(SYMBOL, every_s=0.05)), walk(gap=True))
    in_gap = range(at(scenarios.GAP_FRAMES[0]), at(scenarios.GAP_FRAMES[-1]))
    assert not any(
        record.ns in in_gap
        for record in outcome.records
        if isinstance(record.fact, Signal) and record.fact.name == "lean"
    )


# Maker.


def test_maker_when_it_quotes_then_post_only_on_both_sides_of_the_mid() -> None:
    requests = facts(play(lambda: Maker(MakerConfig(SYMBOL)), walk()), Request)
    assert {request.side for request in requests} == {1, -1}
    assert all(request.post_only and request.kind == "limit" for request in requests)
    assert all(request.price % 10 == 0 for request in requests)


def test_maker_when_it_is_hit_then_its_inventory_stays_within_the_limit() -> None:
    config = MakerConfig(SYMBOL, max_notional=Decimal(750), half_spread_bps=0.2, skew_bps=0.0, requote_bps=3.0)
    outcome = play(lambda: Maker(config), walk())
    assert len(facts(outcome, Fill)) > 2
    assert max(abs(position) for position in positions(outcome.records)) <= 75


def test_maker_when_spot_then_sells_only_what_it_holds() -> None:
    config = MakerConfig(SYMBOL, half_spread_bps=0.2, requote_bps=3.0)
    outcome = play(lambda: Maker(config), walk(), kind=ContractKind.SPOT)
    assert len(facts(outcome, Fill)) > 1
    assert min(positions(outcome.records)) == 0


def test_maker_when_the_price_stays_within_the_threshold_then_quotes_stay() -> None:
    calm = facts(play(lambda: Maker(MakerConfig(SYMBOL, requote_bps=50.0)), walk()), CancelRequested)
    nervous = facts(play(lambda: Maker(MakerConfig(SYMBOL, requote_bps=0.1)), walk()), CancelRequested)
    assert len(calm) * 10 < len(nervous)


def test_maker_when_the_book_is_in_doubt_then_takes_its_quotes_back() -> None:
    outcome = play(lambda: Maker(MakerConfig(SYMBOL, requote_bps=50.0)), walk(gap=True))
    doubt = next(record for record in outcome.records if isinstance(record.fact, FeedState) and not record.fact.ready)
    after = [record for record in outcome.records if record.seq > doubt.seq and record.ns == doubt.ns]
    assert any(isinstance(record.fact, CancelRequested) for record in after)


def test_maker_when_its_money_buys_less_than_a_lot_then_no_quotes() -> None:
    assert facts(play(lambda: Maker(MakerConfig(SYMBOL, notional=Decimal("0.001"))), walk()), Request) == []


# Learner.


def test_learner_when_predictions_do_not_pay_the_cost_then_no_order() -> None:
    assert facts(play(lambda: Learner(LearnerConfig(SYMBOL, "model", cost_bps=100.0)), walk()), Request) == []


def test_learner_when_another_model_speaks_then_no_order() -> None:
    assert facts(play(lambda: Learner(LearnerConfig(SYMBOL, "mine")), walk(), model="other"), Request) == []


@pytest.mark.parametrize(("kind", "lowest"), [(ContractKind.LINEAR, -1), (ContractKind.SPOT, 0)])
def test_learner_when_predictions_swing_then_it_follows(kind: ContractKind, lowest: int) -> None:
    outcome = play(lambda: Learner(LearnerConfig(SYMBOL, "model", hold_s=0.0)), walk(), kind=kind, model="model")
    assert {(position > 0) - (position < 0) for position in positions(outcome.records)} == {lowest, 0, 1} | {0}


def test_learner_when_it_changed_its_mind_then_it_waits() -> None:
    def changes(hold_s: float) -> list[int]:
        outcome = play(lambda: Learner(LearnerConfig(SYMBOL, "model", hold_s=hold_s)), walk(), model="model")
        return [record.ns for record in outcome.records if isinstance(record.fact, Sent)]

    slow = changes(3.0)
    assert len(slow) < len(changes(0.0))
    assert all(later - earlier >= 3_000_000_000 for earlier, later in pairwise(slow))


def test_learner_when_it_heeds_the_width_then_positions_are_as_large_as_the_prediction_is_clear() -> None:
    config = LearnerConfig(SYMBOL, "model", hold_s=0.0, width_scale=2.0)
    largest = {}
    for width in (5.0, 20.0, 100.0, 4000.0):
        outcome = play(lambda: Learner(config), walk(), width=width)
        assert outcome.stopped is None
        largest[width] = max(abs(position) for position in positions(outcome.records))
        # The Prophet says 60 bps at most, the entry is 10 and half a spread, and the full size is 100 lots or less.
        assert largest[width] <= 100 * min(1.0, 50.0 / (2.0 * width))
    assert largest[5.0] > largest[20.0] > largest[100.0] > 0 == largest[4000.0]


def test_learner_when_it_heeds_the_width_and_the_model_tells_none_then_no_order() -> None:
    config = LearnerConfig(SYMBOL, "model", width_scale=1.0)
    assert facts(play(lambda: Learner(config), walk(), width=None), Request) == []


@pytest.mark.parametrize("width_scale", [0.0, 0.1])
def test_learner_when_the_model_asks_for_less_then_it_holds_that_share(width_scale: float) -> None:
    config = LearnerConfig(SYMBOL, "model", hold_s=0.0, width_scale=width_scale)
    held = {}
    for size in (None, 1.0, 0.5, 0.0):
        outcome = play(lambda: Learner(config), walk(), size=size)
        assert outcome.stopped is None
        held[size] = positions(outcome.records)
    assert held[None] == held[1.0]
    assert max(map(abs, held[0.5])) == max(map(abs, held[None])) // 2
    assert set(held[0.0]) <= {0}


def test_learner_when_a_model_says_more_than_its_prediction_then_only_that_is_traded() -> None:
    """A width of 60 bps is no prediction of 60 bps."""
    config = LearnerConfig(SYMBOL, "model", hold_s=0.0)
    one, other = (play(lambda: Learner(config), walk(), width=width) for width in (None, 60.0))
    assert facts(one, Sent) == facts(other, Sent)
    assert len(facts(one, Sent)) > 2


@pytest.mark.parametrize("strategy", [Lean(LeanConfig(SYMBOL)), Maker(MakerConfig(SYMBOL))], ids=["lean", "maker"])
def test_save_when_nothing_happened_then_load_takes_it(strategy: Strategy[Any]) -> None:
    before = strategy.save()
    strategy.load(before)
    assert strategy.save() == before


# The tutorial.


def test_readme_when_its_blocks_run_in_order_then_every_assertion_holds(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    path = tmp_path / "dip_tutorial.py"
    path.write_text("\n".join(blocks), "utf-8")
    spec = importlib.util.spec_from_file_location("dip_tutorial", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dip_tutorial"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["dip_tutorial"]


def test_orders_when_its_examples_run_then_every_assertion_holds() -> None:
    text = README.with_name("ORDERS.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 8
    names: dict[str, Any] = {"__name__": "orders_examples"}
    for block in blocks:
        exec(compile(block, "ORDERS.md", "exec"), names)


def test_readme_when_it_lists_the_strategies_then_they_are_the_registered_ones() -> None:
    text = README.read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    pyproject = tomllib.loads((README.parents[1] / "pyproject.toml").read_text("utf-8"))
    assert listed == set(pyproject["project"]["entry-points"]["papertape.strategies"])
    for toml in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        assert tomllib.loads(toml)["strategy"][0]["use"] == "dip:Dip"
