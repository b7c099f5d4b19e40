"""The interval around a prediction holds its share of labels, whatever the errors do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from engine.learn.experts.interval import LEAST, Interval

Floats = npt.NDArray[np.float64]
COVERAGE = 0.9
SETTLED = 500  # labels


def inside(errors: Floats, weight: float = 1.0, interval: Interval | None = None) -> npt.NDArray[np.bool_]:
    """Which errors were inside when they came."""
    interval = interval or Interval(coverage=COVERAGE)
    told = []
    for error in errors.tolist():
        told.append(error <= interval.width)
        interval.learn(error, weight)
    return np.array(told)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_independent_errors_are_covered_as_asked(coverage: float, seed: int) -> None:
    errors = np.abs(np.random.default_rng(seed).normal(size=20_000)) * 7.0
    held = inside(errors, interval=Interval(coverage=coverage))
    assert held[SETTLED:].mean() == pytest.approx(coverage, abs=0.02)


@pytest.mark.parametrize("change", [2.0, 0.5])
def test_after_errors_double_or_halve_it_takes_300_labels(change: float) -> None:
    halves = []
    for seed in range(20):
        errors = np.abs(np.random.default_rng(seed).normal(size=8000))
        errors[4000:] *= change
        halves.append(inside(errors))
    held = np.array(halves)
    assert held[:, 1000:4000].mean() == pytest.approx(COVERAGE, abs=0.02)
    assert held[:, 4300:4800].mean() == pytest.approx(COVERAGE, abs=0.02)
    assert held[:, 4300:].mean(axis=1) == pytest.approx(COVERAGE, abs=0.02)


@pytest.mark.parametrize("freedom", [1, 2, 3])
def test_heavy_tails_are_covered_as_asked(freedom: int) -> None:
    errors = np.abs(np.random.default_rng(freedom).standard_t(freedom, size=20_000))
    assert inside(errors)[SETTLED:].mean() == pytest.approx(COVERAGE, abs=0.02)


@pytest.mark.parametrize("overlap", [10, 50])
def test_labels_that_overlap_are_covered_as_asked(overlap: int) -> None:
    steps = np.random.default_rng(overlap).normal(size=2000 * overlap)
    errors = np.abs(np.convolve(steps, np.ones(overlap), "valid")) / np.sqrt(overlap)
    held = inside(errors, weight=1.0 / overlap)
    assert held[SETTLED * overlap :].mean() == pytest.approx(COVERAGE, abs=0.02)


def test_a_market_that_wakes_up_is_caught_up_with_in_150_labels() -> None:
    """Errors of 0 for long take the width to its least, and from there it must come back."""
    interval = Interval(coverage=COVERAGE)
    assert inside(np.zeros(10_000), interval=interval).all() and interval.width == LEAST
    held = inside(np.abs(np.random.default_rng(1).normal(size=5000)), interval=interval)
    assert not held[:50].mean() > 0.2
    assert held[150:].mean() == pytest.approx(COVERAGE, abs=0.02)


def test_errors_of_any_size_leave_a_finite_width() -> None:
    interval = Interval(coverage=COVERAGE)
    for error in (float("inf"), 1e300, 0.0, float("nan")) * 1000:
        interval.learn(error, 1.0)
    assert 0.0 < interval.width <= 1e6


def test_it_goes_on_the_same_after_load() -> None:
    errors = np.abs(np.random.default_rng(2).normal(size=400))
    one, other = Interval(coverage=COVERAGE), Interval(coverage=0.5)
    inside(errors[:200], interval=one)
    other.load(one.save())
    assert (inside(errors[200:], interval=one) == inside(errors[200:], interval=other)).all()
    assert one == other and 0.8 < one.covered < 1.0
