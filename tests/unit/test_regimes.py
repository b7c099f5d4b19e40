"""Regimes are remembered as models, and the one that has come back is found by what it would have predicted."""

from __future__ import annotations

import msgspec
import numpy as np

from engine.core.drift_facts import AlarmGraded, RegimeTold
from engine.core.records import AnyFact, DriftAlarm
from engine.learn.contract import Model, ModelSettings, model_class
from engine.learn.drift.settings import DriftSettings
from engine.learn.guard import Guard, teach
from engine.learn.labels import Matured
from engine.learn.regimes import MOST, TRIAL, Regimes

EVERY_NS = 100_000_000
DRIFT = DriftSettings(
    span_ns=50_000 * EVERY_NS, past=1000, warm=500, settle=350, grade=400, late=300,
    answers=("alert", "begin-anew", "specialist"),
)  # fmt: skip
SETTINGS = ModelSettings(name="m", symbol="v:X", use="recursive-least-squares", drift=DRIFT, drift_cooldown_ns=0)
NAMES = ("a", "b", "c")


def make() -> Model:
    return model_class(SETTINGS.use)(SETTINGS, NAMES)


class Bench:
    """A model with its guard, as a slot has them; a label is known when the next sample is taken."""

    def __init__(self) -> None:
        self.guard = Guard(SETTINGS, NAMES, 1, make)
        self.model = make()
        self.count = 0
        self.squares: list[float] = []

    def play(self, x: np.ndarray, y: np.ndarray) -> list[tuple[int, AnyFact]]:
        told: list[tuple[int, AnyFact]] = []
        for row, label in zip(x, y.tolist(), strict=True):
            self.count += 1
            said = self.model.predict_one(row)
            self.guard.sampled(self.count, row, 4)
            matured = Matured(self.count * EVERY_NS, self.count, said, label, row)
            facts = self.guard.judged(self.model, matured, self.count * EVERY_NS)
            told += [(self.count, fact) for fact in facts]
            self.squares.append((label - (said or 0.0)) ** 2)
            if self.guard.wants_anew:
                before, self.model, self.guard.wants_anew = self.model, make(), False
                self.guard.replaced(before)
            if self.guard.recalled is not None:
                before, self.model, self.guard.recalled = self.model, self.guard.recalled, None
                self.guard.replaced(before)
            teach(self.model, matured)
            self.guard.learned(matured)
        return told


def market(rows: int, seed: int, weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, 3))
    return x, x @ np.array(weights) + chance.normal(size=rows)


CALM, TURNED = (0.8, 0.5, 0.0), (-0.6, 0.0, 0.7)


def test_a_regime_that_comes_back_is_answered_by_its_own_model() -> None:
    bench = Bench()
    told = [bench.play(*market(5000, seed, weights)) for seed, weights in enumerate((CALM, TURNED, CALM))]
    alarms = [at for facts in told for at, fact in facts if isinstance(fact, DriftAlarm)]
    assert len(alarms) == 2 and 5000 < alarms[0] < 5600 and 10_000 < alarms[1] < 10_600
    regimes = [fact for facts in told for _, fact in facts if isinstance(fact, RegimeTold)]
    assert [(one.number, one.regime, one.known, one.labels) for one in regimes] == [
        (1, 1, False, TRIAL),
        (2, 0, True, TRIAL),
    ]
    assert regimes[1].reason.startswith("regime 0 has come back: the best specialist lost ")
    assert regimes[1].specialist < regimes[1].live
    summary = bench.guard.summary()
    assert (summary["regime"], summary["regimes"]) == (0, 2)
    assert [fact.grade for facts in told for _, fact in facts if isinstance(fact, AlarmGraded)] == ["true", "true"]
    settled = float(np.mean(bench.squares[alarms[1] + TRIAL + 10 :]))
    assert settled < 1.1, "as good as before it went, and at once: noise has a square of 1"


def test_no_more_regimes_are_remembered_than_there_is_room_for() -> None:
    regimes = Regimes(make)
    for number in range(MOST + 3):
        regimes.regime = number
        regimes.ended(make())
    assert list(regimes.known) == [3, 4, 5, 6]


def test_a_test_under_way_that_is_saved_goes_on_as_if_nothing_had_happened() -> None:
    x, y = market(5000, 1, CALM)
    turned = market(2000, 2, TURNED)
    x, y = np.concatenate([x, turned[0]]), np.concatenate([y, turned[1]])
    whole = Bench()
    cut = 5000
    whole.play(x[:cut], y[:cut])
    while not (whole.guard.regimes is not None and whole.guard.regimes.is_trying):
        whole.play(x[cut : cut + 50], y[cut : cut + 50])
        cut += 50
    resumed = Bench()
    resumed.guard.load(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.guard.save()), strict=False))
    resumed.model.load(whole.model.save())
    resumed.count, resumed.squares = whole.count, list(whole.squares)
    assert whole.play(x[cut:], y[cut:]) == resumed.play(x[cut:], y[cut:])
    assert whole.guard.summary() == resumed.guard.summary()
    assert whole.squares == resumed.squares
