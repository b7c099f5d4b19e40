"""The online calibration: ghosts that nobody hears of, and a share learned from who cancels."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError

from engine.core.events import Batch
from engine.core.queues.calibration import SHARES, Calibration, posterior
from engine.core.queues.calibration_settings import CalibrationSettings
from engine.core.queues.ghost_orders import Fates
from engine.core.queues.implied import GRID
from engine.core.records import Calibrated, TwinFill
from engine.core.state import P_SHARE, START_SHARE, Float64s
from engine.core.types import Side
from engine.core.venue.paper_settings import PaperSettings
from engine.live.config_paper import PaperSection, paper_settings
from engine.live.measures_truth import truth
from engine.live.status import truth_lines
from tests.market import MS, NO_LATENCY, Rig, S, Script, depth, gap, snapshot, trade

QUICK = CalibrationSettings(
    interval_ns=50 * MS, life_ns=2 * S, report_ns=5 * S, weight=1.0, pooled=0.0, prior_sd=2.0, most_told=1e9
)
PAPER = msgspec.structs.replace(NO_LATENCY, calibration=QUICK)


def crowd(seconds: int, logit: float, seed: int = 1) -> list[Batch]:
    """One level of bids that empties and fills again, whose orders leave as a share with this logit says."""
    chance = random.Random(seed)
    frames: list[Batch] = [snapshot(1 * MS, [(100, 5)], [(103, 5)]), trade(2 * MS, 101, 1, sell=True)]
    frames.append(depth(3 * MS, [(101, 0)]))
    queue: list[int] = []
    ns = 3 * MS
    while ns < seconds * S:
        ns += 2 * MS
        roll = chance.random()
        if len(queue) < 3 or (roll < 0.47 and len(queue) < 20):
            queue.append(chance.randint(1, 400))
        elif roll < 0.9:
            total, before, weights = sum(queue), 0, []
            for size in queue:
                places = [before / total, (before + size) / total]
                before += size
                weights.append(within(logit, places[1]) - within(logit, places[0]))
            del queue[chance.choices(range(len(queue)), weights)[0]]
        elif roll < 0.95:
            taken = min(queue[0], 3)
            frames.append(trade(ns, 101, taken, sell=True))
            queue[0] -= taken
            queue = [size for size in queue if size]
        elif roll < 0.97:
            queue = []
        frames.append(depth(ns, [(101, sum(queue))]))
    return frames


def within(logit: float, place: float) -> float:
    if place in (0.0, 1.0):
        return place
    return float(1 / (1 + np.exp(-(logit + 0.38 * np.log(place / (1 - place))))))


@pytest.mark.parametrize("logit", [-2.5, -1.0, 0.5])
def test_it_finds_the_share_by_which_orders_leave(logit: float) -> None:
    rig = Rig(Script(), paper=PAPER)
    rig.feed(*crowd(21, logit))
    told = rig.facts(Calibrated)
    assert told[-1].told > 1500
    last = rig.engine.calibration.shares[0]
    assert last.logit == pytest.approx(logit, abs=0.35)
    assert last.low < last.share == told[-1].share < last.high
    assert rig.engine._state.params[0, P_SHARE] == last.logit
    assert rig.engine.summary()["calibration"][0]["ghosts"] >= told[-1].ghosts > 50


def test_blocks_of_any_size_give_the_same_records() -> None:
    frames = crowd(12, -1.0)
    digests = set()
    for count in (1, 7, len(frames)):
        rig = Rig(Script(), paper=PAPER)
        for at in range(0, len(frames), count):
            rig.feed(np.concatenate(frames[at : at + count]))
        digests.add(rig.engine.digest)
        assert rig.facts(Calibrated)
    assert len(digests) == 1


def test_ghosts_change_nothing_for_a_strategy() -> None:
    def quote(_: Any, ctx: Any) -> None:
        if len(ctx.orders()) < 3:
            ctx.order("BTCUSDT", Side.BUY, 3, price=101)

    def play(paper: PaperSettings) -> list[Any]:
        script = Script({"trade": quote})
        rig = Rig(script, paper=paper)
        rig.feed(*crowd(6, -1.0))
        told = [record.fact for record in rig.records if not isinstance(record.fact, Calibrated | TwinFill)]
        # What is due of a ghost may have the twins of orders told a little sooner, with the same time in them.
        twins = sorted(rig.facts(TwinFill), key=lambda one: (one.matched_ns, one.order, str(one)))
        summary = rig.engine.summary()
        summary["truth"]["measured"] = None
        assert summary["fills"] > 5
        counts = [summary[key] for key in ("profit", "fills", "orders", "truth", "band")]
        return [told, twins, counts, script.all("fill")]

    silent = msgspec.structs.replace(PAPER, calibration=msgspec.structs.replace(QUICK, report_ns=100 * S))
    assert play(silent) == play(NO_LATENCY)
    # What they and the cancels taught is used: from the first report on the fitted rule fills otherwise.
    assert play(PAPER)[0] != play(NO_LATENCY)[0]


def test_the_fates_of_ghosts_are_what_the_bounds_say() -> None:
    rig = Rig(Script(), paper=PAPER)
    ghosts = rig.engine.calibration.ghosts
    rig.feed(snapshot(1 * MS, [(100, 5)], [(103, 5)]))
    for at in range(40):
        rig.feed(depth((10 + 50 * at) * MS, [(99, 5 + at % 2)]))
    assert sum(ghosts._here) == QUICK.most
    # A trade through every bid fills them all, whatever stands in front.
    rig.feed(trade(2 * S + 20 * MS, 98, 1000, sell=True))
    rig.feed(depth(5 * S, [(99, 7)]), depth(6 * S, [(99, 8)]))
    fates = ghosts.fates[0]
    assert fates.surely > 0 and fates.surely_not > 0
    assert fates.ended == fates.surely + fates.surely_not and fates.unknown == 0
    assert fates.said == fates.surely


def test_a_gap_voids_the_ghosts_that_stood_through_it() -> None:
    rig = Rig(Script(), paper=PAPER)
    rig.feed(snapshot(1 * MS, [(100, 5)], [(103, 5)]), depth(1 * S, [(99, 5)]), gap(1100 * MS))
    rig.feed(snapshot(1200 * MS, [(100, 5)], [(103, 5)]), depth(10 * S, [(99, 6)]))
    assert rig.engine.calibration.ghosts.fates[0].void > 0


def test_without_settings_nothing_is_there() -> None:
    rig = Rig(Script())
    rig.feed(*crowd(2, -1.0))
    calibration = rig.engine.calibration
    assert calibration.plain() == [] and calibration.ghosts.fates == [Fates()]
    assert calibration.likelihood.size == 0
    assert not rig.facts(Calibrated)
    assert rig.engine._state.params[0, P_SHARE] == START_SHARE


def test_the_posterior_goes_from_the_prior_to_the_evidence() -> None:
    settings = CalibrationSettings(prior_sd=0.5)
    sharp: Float64s = -200.0 * np.square(SHARES - 0.6)
    assert posterior(sharp, settings).logit == pytest.approx(0.6, abs=0.05)
    assert posterior(np.zeros(GRID), settings).logit == pytest.approx(START_SHARE, abs=0.01)
    half = posterior(sharp / 100, settings)
    assert START_SHARE < half.logit < 0.6
    assert half.high - half.low > posterior(sharp, settings).high - posterior(sharp, settings).low


def test_hours_lean_on_each_other_by_the_pooled_part() -> None:
    rig = Rig(Script(), paper=msgspec.structs.replace(NO_LATENCY, calibration=CalibrationSettings(pooled=0.5)))
    calibration: Calibration = rig.engine.calibration
    calibration.likelihood[0, 3, :GRID] = -100.0 * np.square(SHARES - 1.0)
    assert calibration.estimate(0, 3).logit > calibration.estimate(0, 4).logit > START_SHARE + 0.3


def test_the_config_switches_it_on_and_unknown_keys_are_refused() -> None:
    section = PaperSection.model_validate({"calibration": {"interval": "250ms", "most": 4}})
    found = paper_settings(section)
    assert found.calibration is not None
    assert (found.calibration.interval_ns, found.ghosts) == (250 * MS, 4)
    assert paper_settings(PaperSection.model_validate({"calibration": {"enabled": False}})).ghosts == 0
    assert paper_settings(PaperSection()).calibration is None
    with pytest.raises(ValidationError):
        PaperSection.model_validate({"calibration": {"often": 1}})


def test_people_and_metrics_are_told() -> None:
    rig = Rig(Script(), paper=PAPER)
    rig.feed(*crowd(11, -1.0))
    summary = rig.engine.summary()
    (line,) = truth_lines(summary)[1:]
    assert line.startswith("queue of v:BTCUSDT: ") and " % of a cancel in front of its middle" in line
    values: dict[str, Any] = {}
    truth(rig.engine, values)
    assert values["queue_share_low"][0][1] < values["queue_share"][0][1] < values["queue_share_high"][0][1]
    assert {labels[1] for labels, _ in values["ghosts_total"]} == {"surely", "surely_not", "unknown"}
