"""Inputs of the model ``primary``: scaled by what was learned and nothing else, and contained whatever comes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.learn.contract import ModelError
from engine.learn.experts import basis
from tests.experts import NAMES, Floats, at, inputs

COLUMNS = basis.columns_of(NAMES)
ODD = slice(len(basis.PLAIN) + len(basis.HEAVY))


class Scales:
    """The kernels with their state."""

    def __init__(self) -> None:
        self.own = np.zeros(basis.SCALES)

    def learn(self, x: Floats) -> Floats:
        out = np.zeros(basis.INPUTS)
        basis.learn(x, COLUMNS, self.own, out)
        return out

    def say(self, x: Floats) -> Floats:
        out = np.zeros(basis.INPUTS)
        basis.expand(x, COLUMNS, self.own, out)
        basis.scale(self.own, out)
        return out


def slow(rows: Floats, x: Floats) -> Floats:
    """The inputs of ``x`` after some rows, far from all bounds, by their definitions."""
    names = [*basis.PLAIN, *basis.HEAVY]

    def bent(row: Floats, usual: dict[str, float]) -> list[float]:
        told = [row[at(name)] for name in basis.PLAIN]
        return told + [np.sign(row[at(n)]) * np.log1p(abs(row[at(n)]) / usual[n]) for n in basis.HEAVY]

    def even(row: Floats, usual: dict[str, float]) -> list[float]:
        told = []
        for name, way in basis.MODULATORS:
            value = float(row[at(name)])
            heavy = float(np.sign(value) * np.log1p(abs(value) / usual[name]))
            told.append({"plain": value, "log": float(np.log(max(value, 0.0) + 1e-3)), "heavy": heavy}[way])
        return told

    def whole(row: Floats, seen: Floats) -> list[float]:
        usual = {name: float(np.abs(seen[:, at(name)]).mean()) for name in NAMES}
        past = np.array([even(seen[i], {n: float(np.abs(seen[: i + 1, at(n)]).mean()) for n in NAMES})
                         for i in range(len(seen))])  # fmt: skip
        told = bent(row, usual)
        told += [told[0] ** power for power in basis.POWERS]
        centred = np.clip((np.array(even(row, usual)) - past.mean(0)) / past.std(0), -2.5, 2.5)
        return told + [told[names.index(name)] * one for one in centred for name in basis.MODULATED]

    squares = np.array([whole(rows[i], rows[: i + 1]) for i in range(1, len(rows))]) ** 2
    first = np.array(bent(rows[0], {name: abs(float(rows[0, at(name)])) for name in NAMES}))
    before = np.concatenate([first, [first[0] ** 3, first[0] ** 7], np.zeros(basis.INPUTS - len(first) - 2)]) ** 2
    scale = np.sqrt((squares.sum(0) + before) / len(rows))
    return np.asarray(np.clip(np.array(whole(x, rows)) / scale, -basis.BOUND, basis.BOUND), np.float64)


def test_inputs_are_their_definitions() -> None:
    """Over the first rows, where no value is bounded while learning."""
    x = inputs(2, basis.SETTLED_AFTER)
    scales = Scales()
    for row in x[:-1]:
        learned = scales.learn(row)
    assert learned.tolist() == scales.say(x[-2]).tolist()
    assert scales.say(x[-1]) == pytest.approx(slow(x[:-1], x[-1]), rel=1e-9, abs=1e-9)


def test_saying_changes_nothing_and_sees_only_what_was_learned() -> None:
    x = inputs(3, 500)
    quiet, asked = Scales(), Scales()
    for row in x:
        quiet.learn(row)
        asked.say(row * 100.0)
        asked.learn(row)
        asked.say(row * -100.0)
    assert quiet.own.tobytes() == asked.own.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e12])
def test_what_is_missing_or_absurd_says_nothing_and_moves_nothing(value: float) -> None:
    scales = Scales()
    for row in inputs(4, 500):
        scales.learn(row)
    assert not scales.say(np.full(len(NAMES), value))[ODD].any()
    assert np.isfinite(scales.say(np.full(len(NAMES), value))).all()
    for _ in range(200):
        scales.learn(np.full(len(NAMES), value))
    assert np.isfinite(scales.own).all()
    said = np.array([scales.say(row) for row in inputs(5, 500)])
    # A row that says nothing counts as 0, so a scale shrinks by its share of rows and no more.
    assert 0.9 < np.sqrt((said[:, ODD] ** 2).mean()) < 1.4


def test_a_feature_that_explodes_stays_within_its_bound_and_recovers() -> None:
    x = inputs(6, 4000)
    scales = Scales()
    for row in x[:1000]:
        scales.learn(row)
    for power in range(60):
        row = x[power].copy()
        row[power % len(NAMES)] = 10.0 ** (5 * power)
        assert np.abs(scales.learn(row)).max() <= basis.BOUND
    for row in x[1000:]:
        scales.learn(row)
    said = np.array([scales.say(row) for row in x[:1000]])
    assert said.std(0).min() > 0.7 and said.std(0).max() < 1.3


def test_trap_scales_that_begin_with_zeros_are_not_frozen() -> None:
    """A known trap: capping losses in an expert mixture breaks on tick data where most labels are 0.

    A bound of a multiple of the running square, which is 0 until something moves, would hold it at 0 for ever.
    """
    x = np.tanh(inputs(7, 9000))
    scales = Scales()
    for _ in range(1000):
        scales.learn(np.zeros(len(NAMES)))
    assert not scales.say(x[0]).any()
    for row in x:
        scales.learn(row)
    said = np.array([scales.say(row) for row in x[-3000:]])
    spread = said.std(0)
    assert spread[ODD].min() > 0.3 and spread.min() > 0.1 and spread.max() < 1.7


@pytest.mark.parametrize("constant", [0.7, 5e5])
def test_features_that_begin_as_a_constant_find_their_scale(constant: float) -> None:
    x = np.tanh(inputs(8, 9000))
    scales = Scales()
    for _ in range(1000):
        scales.learn(np.full(len(NAMES), constant))
    for row in x:
        scales.learn(row * max(1.0, constant))
    said = np.array([scales.say(row * max(1.0, constant)) for row in x[-3000:]])
    spread = said.std(0)
    assert spread[ODD].min() > 0.3 and spread.min() > 0.1 and spread.max() < 1.7


def test_missing_features_are_named() -> None:
    with pytest.raises(ModelError, match=r"expected a feature set with microprice_bps, spread_bps: name one"):
        basis.columns_of([name for name in NAMES if name not in ("microprice_bps", "spread_bps")])
