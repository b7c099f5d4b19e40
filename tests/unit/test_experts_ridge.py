"""Regressions that are followed label by label, against what linear algebra says at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from engine.learn.contract import ModelError
from engine.learn.experts.ridge import Ridges

Floats = npt.NDArray[np.float64]
ROWS = 1200
WEIGHT = 0.3


def white(rng: np.random.Generator, width: int) -> Floats:
    return rng.normal(size=(ROWS, width))


def copies(rng: np.random.Generator, width: int) -> Floats:
    """Every other input is the one before it."""
    z = white(rng, width)
    z[:, 1::2] = z[:, 0::2][:, : z[:, 1::2].shape[1]]
    return z


def slow(rng: np.random.Generator, width: int) -> Floats:
    """Inputs that hardly change from row to row."""
    z = white(rng, width)
    for i in range(1, ROWS):
        z[i] = 0.99 * z[i - 1] + 0.14 * z[i]
    return z


def closed_form(z: Floats, t: Floats, memory: float, strength: Floats, prior: Floats, later: int = 0) -> Floats:
    """The weights that solve it exactly, ``later`` labels of no weight after the last."""
    weight = WEIGHT * (1.0 - 1.0 / memory) ** (np.arange(len(t))[::-1] + later)
    weighted = z * weight[:, None]
    solved = np.linalg.solve(weighted.T @ z + np.diag(strength), weighted.T @ t + strength * prior)
    return np.asarray(solved, np.float64)


def world(make: Callable[[np.random.Generator, int], Floats], width: int, seed: int = 3) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    z = make(rng, width)
    return z, z @ rng.normal(size=width) / np.sqrt(width) + rng.normal(size=ROWS)


@pytest.mark.parametrize("make", [white, copies, slow])
@pytest.mark.parametrize("memory", [50.0, 1e3, 1e6])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_narrow_regression_is_the_closed_form_within_a_fiftieth(
    width: int, memory: float, make: Callable[[np.random.Generator, int], Floats]
) -> None:
    z, t = world(make, width)
    strengths, prior, out = np.array([[20.0] * width, [2.0] * width]), np.full(width, 0.3), np.zeros(2)
    ridges = Ridges([memory], strengths, prior)
    gaps, says = [], []
    for i in range(ROWS):
        if i >= 200 and i % 23 == 0:
            exact = np.array([z[i] @ closed_form(z[:i], t[:i], memory, one, prior) for one in strengths])
            ridges.predict(z[i], out)
            gaps.append(out - exact)
            says.append(exact)
        ridges.learn(z[i], float(t[i]), WEIGHT)
    # A quarter of a full turn a label or more: what is not solved yet is of the last labels.
    assert np.std(gaps) < (0.02 if memory > 50 else 0.1) * np.std(says)


@pytest.mark.parametrize(("make", "share"), [(white, 0.05), (copies, 0.05), (slow, 0.2)])
def test_a_wide_regression_lags_behind_the_closed_form_by_a_share_of_the_label(
    make: Callable[[np.random.Generator, int], Floats], share: float
) -> None:
    """Eighty-five inputs of which eight are solved a label; inputs that move together take longer."""
    z, t = world(make, 85)
    strength, prior, out = np.full(85, 20.0), np.zeros(85), np.zeros(1)
    ridges = Ridges([1e6], strength[None], prior)
    gaps = []
    for i in range(ROWS):
        if i >= 200 and i % 50 == 0:
            ridges.predict(z[i], out)
            gaps.append(float(out[0]) - z[i] @ closed_form(z[:i], t[:i], 1e6, strength, prior))
        ridges.learn(z[i], float(t[i]), WEIGHT)
    assert np.std(gaps) < share * np.std(t)


@pytest.mark.parametrize("make", [white, copies, slow])
@pytest.mark.parametrize("width", [3, 8, 85])
def test_without_news_the_steps_end_at_the_closed_form(
    width: int, make: Callable[[np.random.Generator, int], Floats]
) -> None:
    z, t = world(make, width)
    strength, prior = np.full(width, 20.0), np.full(width, -0.2)
    ridges = Ridges([1e9], strength[None], prior)
    for row, target in zip(z, t.tolist(), strict=True):
        ridges.learn(row, target, WEIGHT)
    later = 100 * width
    for _ in range(later):
        ridges.learn(z[0], 0.0, 0.0)
    assert ridges.beta[0, 0] == pytest.approx(closed_form(z, t, 1e9, strength, prior, later), abs=1e-6)


def test_without_data_it_is_the_prior_for_ever() -> None:
    ridges, out = Ridges([10.0, 1e6], np.array([[1.0] * 4, [1e3] * 4]), np.array([0.5, 0.0, -2.0, 1e-9])), np.zeros(4)
    for _ in range(10_000):
        ridges.learn(np.zeros(4), 5.0, 1.0)
    ridges.predict(np.array([1.0, 1.0, 1.0, 0.0]), out)
    assert out.tolist() == [-1.5] * 4


def test_what_is_older_than_the_memory_is_forgotten() -> None:
    rng = np.random.default_rng(5)
    ridges = Ridges([200.0, 1e6], np.full((1, 2), 1.0), np.zeros(2))
    for sign in (1.0, -1.0):
        for z in rng.normal(size=(2000, 2)):
            ridges.learn(z, sign * float(z[0]), 1.0)
    short, long = ridges.beta[:, 0, 0].tolist()
    assert short == pytest.approx(-1.0, abs=0.01)
    assert long == pytest.approx(0.0, abs=0.05)


def test_a_direction_without_data_falls_back_to_the_prior() -> None:
    rng = np.random.default_rng(6)
    ridges = Ridges([50.0], np.full((1, 2), 1.0), np.array([0.0, 0.4]))
    for z in rng.normal(size=(500, 2)):
        ridges.learn(z, 3.0 * float(z[1]), 1.0)
    assert float(ridges.beta[0, 0, 1]) > 2.0
    for z in rng.normal(size=(2000, 2)):
        z[1] = 0.0
        ridges.learn(z, 0.0, 1.0)
    assert float(ridges.beta[0, 0, 1]) == pytest.approx(0.4, abs=1e-9)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_numbers_of_any_size_are_regressed_alike(scale: float) -> None:
    """Inputs and labels of a million, with the strength of such inputs, give the weights of inputs of one."""
    z, t = world(copies, 8)
    one = Ridges([500.0], np.full((1, 8), 4.0), np.full(8, 0.1))
    other = Ridges([500.0], np.full((1, 8), 4.0 * scale * scale), np.full(8, 0.1))
    for row, target in zip(z, t.tolist(), strict=True):
        one.learn(row, target, WEIGHT)
        other.learn(row * scale, target * scale, WEIGHT)
    assert other.beta[0, 0] == pytest.approx(one.beta[0, 0], rel=1e-6, abs=1e-9)


def test_writing_the_sums_anew_changes_nothing() -> None:
    """With a memory of two labels the factor halves each time, and passes 1e-60 after 200."""
    z, t = world(white, 3)
    strength, prior = np.full(3, 3.0), np.zeros(3)
    ridges = Ridges([2.0], strength[None], prior)
    factors = []
    for i, (row, target) in enumerate(zip(z, t.tolist(), strict=True), 1):
        ridges.learn(row, target, WEIGHT)
        factors.append(float(ridges.factor[0]))
        exact = closed_form(z[:i], t[:i], 2.0, strength, prior)
        assert ridges.beta[0, 0] == pytest.approx(exact, abs=5e-3), i
    assert 1e-60 <= min(factors) < 1e-59
    assert sum(now > before for before, now in pairwise(factors)) == ROWS // 200


def test_it_goes_on_to_the_bit_after_load_and_refuses_another_shape() -> None:
    z, t = world(white, 5)
    one, other = (Ridges([100.0, 1e4], np.full((2, 5), 3.0), np.zeros(5)) for _ in range(2))
    for row, target in zip(z[:700], t.tolist(), strict=False):
        one.learn(row, target, WEIGHT)
    other.load(one.save())
    for row, target in zip(z[700:], t[700:].tolist(), strict=True):
        one.learn(row, target, WEIGHT)
        other.learn(row, target, WEIGHT)
    assert one.beta.tobytes() == other.beta.tobytes() and len(one) == 4
    with pytest.raises(ModelError, match=r"expected \d+ bytes, found \d+: saved with other features"):
        Ridges([100.0], np.full((2, 5), 3.0), np.zeros(5)).load(one.save())
    one.reset()
    assert not one.beta.any()


def test_a_strength_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"strengths of more than 0, found 0\.0"):
        Ridges([100.0], np.zeros((1, 2)), np.zeros(2))
