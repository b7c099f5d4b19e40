"""Whom an ensemble follows, what that costs, and how wide its interval is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.learn.ensemble.hedge import AdaHedge
from engine.learn.ensemble.loss import SquaredLoss
from tests.ensembles import COMBINERS, First, Opposite, Second, ensemble, live, named, rows

# Weights.


@pytest.mark.parametrize("combine", ["adahedge", "hedge", "stacking"])
def test_ensemble_when_one_expert_is_right_then_it_says_what_that_one_says(combine: str) -> None:
    x = rows(4000)
    model = ensemble(named(First), named(Opposite), named(Second), combine=combine, share=0.0)
    live(model, x, x[:, 0] + 0.5 * rows(4000, 2)[:, 0])
    for row in rows(50, 3):
        assert model.predict_one(row) == pytest.approx(row[0], abs=0.1)


@pytest.mark.parametrize("combine", ["adahedge", "hedge", "stacking"])
def test_ensemble_when_no_expert_knows_anything_then_it_falls_silent(combine: str) -> None:
    x = rows(6000)
    model = ensemble(named(First), named(Second), combine=combine, share=0.0)
    said = live(model, x, rows(6000, 2)[:, 0])
    assert max(abs(one or 0.0) for one in said[5000:]) < 0.25
    if combine != "stacking":
        assert model.weights["zero"] > 0.9


@pytest.mark.parametrize("combine", COMBINERS)
@pytest.mark.parametrize("quiet", [0, 3000])
def test_weights_when_most_labels_are_0_and_a_few_large_then_who_foresees_them_is_heard(
    combine: str, quiet: int
) -> None:
    chance = np.random.default_rng(4)
    x = rows(quiet + 6000)
    y = np.where(chance.random(len(x)) < 0.01, 50.0 * np.sign(x[:, 0]), 0.0)
    y[:quiet] = 0.0
    x[:, 0] = 0.8 * y + chance.normal(size=len(x))
    model = ensemble(named(First), named(Opposite), combine=combine, share=0.0)
    live(model, x, y)
    if combine in ("adahedge", "hedge"):
        assert model.weights["First"] > 0.9 and model.weights["Opposite"] < 0.01
    elif combine == "stacking":
        assert (model.predict_one(np.array([40.0, 0.0])) or 0.0) > 20.0, "though it began with the mean, which is 0"
    assert math.isfinite(model.regret)
    assert model.loss.unit == pytest.approx(50.0, rel=0.2)


def test_weights_when_nearly_all_labels_are_nearly_0_then_who_foresees_the_large_ones_is_heard() -> None:
    chance = np.random.default_rng(5)
    large = chance.random(8000) < 0.005
    y = np.where(large, 20.0 * chance.choice([-1.0, 1.0], 8000), 1e-7 * chance.normal(size=8000))
    x = np.stack([0.9 * y, chance.normal(size=8000)], axis=1)
    model = ensemble(named(First), named(Second), share=0.0)
    live(model, x, y)
    assert model.weights["First"] > 0.9


def test_loss_when_all_labels_are_0_then_no_unit_and_no_judgement() -> None:
    model = ensemble(named(First), named(Opposite))
    x = rows(500)
    said = live(model, x, np.zeros(500))
    assert model.loss.unit == 0.0 and model.regret == 0.0 and None not in said
    assert set(model.weights.values()) == {1.0 / 3.0}
    assert model.width_one(x[0]) is None


def test_loss_when_one_label_is_absurd_then_the_weights_go_on_as_without_it() -> None:
    x = rows(3000)
    y = x[:, 0] + rows(3000, 2)[:, 0]
    spoilt = y.copy()
    spoilt[1000] = -9e4
    plain, other = ensemble(named(First), named(Opposite)), ensemble(named(First), named(Opposite))
    live(plain, x, y)
    live(other, x, spoilt)
    assert other.loss.unit == pytest.approx(plain.loss.unit, rel=0.1)
    assert other.weights["First"] == pytest.approx(plain.weights["First"], abs=0.02)


def test_loss_when_labels_grow_a_thousandfold_then_the_unit_follows() -> None:
    loss, chance = SquaredLoss(), np.random.default_rng(6)
    for y in chance.normal(size=3000):
        loss.learn(float(y))
    for y in 1000.0 * chance.normal(size=3000):
        label = loss.learn(float(y))
        assert (loss.of(label, np.array([0.0, 1e300, -1e300])) <= 9010.0).all()
    assert loss.unit == pytest.approx(1000.0, rel=0.1)


def test_weights_when_an_expert_repeats_what_it_was_told_then_it_is_judged_by_what_it_said_before() -> None:
    # Labels of ten samples: the one before, which is known when a label comes, is nine tenths of it.
    y = np.convolve(rows(3010, 3)[:, 0], np.ones(10), "valid")[:3000]
    model = ensemble("last", horizon=10, share=0.0)
    live(model, rows(3000), y, horizon=10)
    assert model.weights["last"] < 0.05


@pytest.mark.parametrize("horizon", [1, 7])
def test_regret_is_what_was_said_against_the_best_expert(horizon: int) -> None:
    x = rows(3000)
    y = 0.3 * x[:, 0] + rows(3000, 2)[:, 0]
    model = ensemble(named(First), named(Second), horizon=horizon, share=0.0)
    said = live(model, x, y, horizon)
    unit = float(np.sqrt(np.mean(y**2)))
    done = slice(0, 3000 - horizon)
    mixed = np.array([one or 0.0 for one in said])
    sums = [float(np.sum((y[done] - one[done]) ** 2)) / unit**2 for one in (mixed, np.zeros(3000), x[:, 0], x[:, 1])]
    assert model.regret == pytest.approx(sums[0] - min(sums[1:]), abs=0.02 * 3000)
    assert model.regret < 0.05 * min(sums[1:])


# The interval.


@pytest.mark.parametrize("horizon", [1, 10])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_width_when_errors_differ_then_it_holds_what_it_should_and_is_wider_where_experts_disagree(
    horizon: int, coverage: float
) -> None:
    chance, count = np.random.default_rng(8), 30_000
    loud = np.repeat(chance.random(count // 100) < 0.5, 100)
    noise = np.where(loud, 3.0, 0.5)
    x = noise[:, None] * chance.normal(size=(count, 2))
    y = x.mean(axis=1) + noise * chance.normal(size=count)
    model = ensemble(named(First), named(Second), combine="mean", coverage=coverage, horizon=horizon)
    inside, widths = np.zeros(count), np.full(count, np.nan)
    for i in range(count):
        if i >= horizon:
            model.learn_one(x[i - horizon], float(y[i - horizon]))
        said, width = model.predict_one(x[i]), model.width_one(x[i])
        if width is not None and said is not None:
            widths[i], inside[i] = width, abs(y[i] - said) <= width
        model.observe_one(x[i])
    late = np.arange(count) >= 5000
    assert inside[late].mean() == pytest.approx(coverage, abs=0.02)
    assert widths[late & loud].mean() > 1.5 * widths[late & ~loud].mean()


def test_width_when_disagreement_tells_nothing_then_it_hardly_moves() -> None:
    x = rows(20_000)
    y = x.mean(axis=1) + 3.0 * rows(20_000, 2)[:, 0]
    model = ensemble(named(First), named(Second), combine="mean")
    live(model, x, y)
    widths = [model.width_one(row) or 0.0 for row in rows(200, 9)]
    assert np.std(widths) < 0.05 * np.mean(widths)


def test_ada_hedge_is_what_the_ensemble_uses_unless_told_otherwise() -> None:
    model = ensemble(named(First))
    assert isinstance(getattr(model.combiner, "hedge", None), AdaHedge)
