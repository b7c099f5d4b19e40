"""What Hedge and AdaHedge guarantee on any losses, and the numbers of a plain reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.learn.ensemble.hedge import AdaHedge, Hedge

Losses = npt.NDArray[np.float64]

DIGITS = 60

shapes = st.tuples(st.integers(1, 120), st.integers(2, 6))
games = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-3.0, 3.0)))
bounded = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(0.0, 1.0)))


def plain_ada_hedge(game: Losses) -> tuple[list[list[float]], float, float, list[float]]:
    """AdaHedge as figure 1 of the paper says, to ``DIGITS`` digits: weights, their loss, the gap, the rates.

    In double precision the reference itself would be wrong: the rate is ln(K) / gap, and while the gap is small it
    magnifies the rounding of losses that are subtracted from each other.
    """
    with localcontext(prec=DIGITS):
        totals, gap, suffered = [Decimal(0)] * game.shape[1], Decimal(0), Decimal(0)
        used: list[list[float]] = []
        rates: list[float] = []
        for row in game.tolist():
            losses = [Decimal(loss) for loss in row]
            low, after = min(totals), [total + loss for total, loss in zip(totals, losses, strict=True)]
            rate = Decimal(len(totals)).ln() / gap if gap > 0 else None
            if rate is not None and math.isinf(float(rate)):
                rate = None  # no double is so large
            rates.append(0.0 if rate is None else float(rate))
            if rate is None:
                raw = [Decimal(total == low) for total in totals]
            else:
                raw = [(-rate * (total - low)).exp() for total in totals]
            weights = [one / sum(raw) for one in raw]
            used.append([float(one) for one in weights])
            lost = sum((w * loss for w, loss in zip(weights, losses, strict=True)), Decimal(0))
            made = min(after) - low if rate is None else mixed(losses, weights, rate)
            suffered += lost
            gap += max(Decimal(0), lost - made)
            totals = after
    return used, float(suffered), float(gap), rates


def mixed(losses: Sequence[Decimal], weights: Sequence[Decimal], rate: Decimal) -> Decimal:
    """-1/rate ln of the weighted mean of exp(-rate loss), by its definition."""
    low = min(losses)
    inner = sum((w * (-rate * (loss - low)).exp() for w, loss in zip(weights, losses, strict=True)), Decimal(0))
    return low - inner.ln() / rate


def play(hedge: Hedge, game: Losses) -> tuple[list[Losses], float]:
    """The weights of each round, and the variance of the losses under them, summed."""
    used, variance = [], 0.0
    for losses in game:
        weights = hedge.weights()
        used.append(weights)
        variance += float(weights @ (losses - weights @ losses) ** 2)
        hedge.learn(losses)
    return used, variance


def assert_bounds(game: Losses) -> None:
    hedge = AdaHedge(game.shape[1])
    _, variance = play(hedge, game)
    ln, reach = math.log(game.shape[1]), float(np.ptp(game, axis=1).max())
    slack = 1e-9 * (1.0 + float(np.abs(game).sum()))
    assert hedge.regret <= 2.0 * hedge.gap + slack  # lemma 3
    assert hedge.regret <= 2.0 * math.sqrt(variance * ln) + reach * (4.0 / 3.0 * ln + 2.0) + slack  # theorem 6
    best, most, least = float(hedge.totals.min()), float(game.max(axis=1).sum()), float(game.min(axis=1).sum())
    if most > least:  # theorem 8
        inner = max(0.0, reach * (most - best) * (best - least) / (most - least) * ln)
        assert hedge.regret <= 2.0 * math.sqrt(inner) + reach * (16.0 / 3.0 * ln + 2.0) + slack


@settings(deadline=None, max_examples=200)
@given(games)
def test_ada_hedge_when_any_losses_then_its_regret_is_bounded(game: Losses) -> None:
    assert_bounds(game)


def alternating(rounds: int) -> Losses:
    """The losses that ruin who follows the leader."""
    game = np.zeros((rounds, 2))
    game[0, 0] = 0.5
    game[1::2, 1] = 1.0
    game[2::2, 0] = 1.0
    return game


def adversary(rounds: int, experts: int) -> Losses:
    """Each round the expert with the most weight loses: nothing punishes trust more."""
    hedge, game = AdaHedge(experts), np.zeros((rounds, experts))
    for losses in game:
        losses[int(np.argmax(hedge.weights()))] = 1.0
        hedge.learn(losses)
    return game


@pytest.mark.parametrize(
    "game",
    [
        alternating(3000),
        adversary(3000, 2),
        adversary(3000, 8),
        np.random.default_rng(1).random((3000, 5)),
        np.random.default_rng(2).standard_t(2, (3000, 5)),
        1e12 * np.random.default_rng(3).random((3000, 3)) - 1e12,
        1e-12 * np.random.default_rng(4).random((3000, 3)),
    ],
    ids=["alternating", "adversary of 2", "adversary of 8", "uniform", "heavy tails", "huge", "tiny"],
)
def test_ada_hedge_when_the_game_is_long_then_its_regret_is_bounded(game: Losses) -> None:
    assert_bounds(game)


@settings(deadline=None, max_examples=200)
@given(bounded, st.floats(0.01, 5.0))
def test_hedge_when_losses_are_within_0_and_1_then_its_regret_is_bounded(game: Losses, rate: float) -> None:
    hedge = Hedge(game.shape[1], rate)
    play(hedge, game)
    assert hedge.regret <= math.log(game.shape[1]) / rate + rate * len(game) / 8.0 + 1e-9


@settings(deadline=None, max_examples=200)
@given(bounded, st.floats(0.01, 5.0), st.floats(0.001, 0.5), st.lists(st.integers(0, 5), min_size=120, max_size=120))
def test_fixed_share_when_the_best_expert_changes_then_regret_against_the_best_path_is_bounded(
    game: Losses, rate: float, share: float, path: list[int]
) -> None:
    hedge = Hedge(game.shape[1], rate, share)
    play(hedge, game)
    experts = [one % game.shape[1] for one in path[: len(game)]]
    followed = math.fsum(float(losses[one]) for losses, one in zip(game, experts, strict=True))
    shifts = sum(a != b for a, b in pairwise(experts))
    stays = len(game) - 1 - shifts
    # The prior weight of a path: 1/K at first, share / K more for a change, and at least 1 - share for none.
    price = math.log(game.shape[1]) * (1 + shifts) - shifts * math.log(share) - stays * math.log(1.0 - share)
    assert hedge.suffered <= followed + price / rate + rate * len(game) / 8.0 + 1e-9


def test_fixed_share_when_the_best_expert_changes_then_it_is_found_sooner() -> None:
    game = np.zeros((4000, 3))
    game[:2000, 1:] = 1.0
    game[2000:, [0, 2]] = 1.0
    makes: list[Callable[[float], Hedge]] = [lambda share: AdaHedge(3, share), lambda share: Hedge(3, 0.5, share)]
    for make in makes:
        suffered = {}
        for share in (0.0, 0.01):
            hedge = make(share)
            play(hedge, game)
            suffered[share] = hedge.suffered
        assert suffered[0.01] < 0.2 * suffered[0.0]


@settings(deadline=None, max_examples=200)
@given(games)
@example(np.random.default_rng(5).normal(size=(120, 6)))
@example(np.array([[1.0, 1.0]] * 9 + [[0.0, 1e-5], [0.0, 1.0]]))
@example(np.array([[1.11253693e-308, 0.0], [0.0, 0.0]]))
def test_ada_hedge_when_compared_with_a_plain_reference_then_it_says_the_same(game: Losses) -> None:
    hedge = AdaHedge(game.shape[1])
    found, _ = play(hedge, game)
    used, suffered, gap, rates = plain_ada_hedge(game)
    # A total of losses is right to some 1e-16 of their size; the rate says what that does to a weight.
    rounding = float(np.abs(game).sum()) * np.finfo(np.float64).eps
    for number, (mine, theirs) in enumerate(zip(found, used, strict=True)):
        unsure = max(rates[: number + 1]) * rounding
        if unsure > 1e-3:
            return  # from here on rounding decides, not the rule
        np.testing.assert_allclose(mine, theirs, rtol=1e-11 + 8 * unsure, atol=1e-12 + 8 * unsure)
    bound = 1e-12 + 8 * (max(rates) * rounding) * max(1.0, float(np.abs(game).sum()))
    assert hedge.gap == pytest.approx(gap, rel=bound, abs=bound)
    assert hedge.suffered == pytest.approx(suffered, rel=bound, abs=bound)


@settings(deadline=None, max_examples=100)
@given(games, st.integers(-40, 40))
def test_ada_hedge_when_losses_are_scaled_then_the_weights_are_the_same(game: Losses, power: int) -> None:
    plain, scaled = AdaHedge(game.shape[1]), AdaHedge(game.shape[1])
    for losses in game:
        plain.learn(losses)
        scaled.learn(losses * 2.0**power)  # exact in floats
    if plain.gap > 1e-9:
        np.testing.assert_allclose(plain.weights(), scaled.weights(), rtol=1e-9)


MAKES: dict[str, Callable[[int], Hedge]] = {
    "adahedge": AdaHedge,
    "adahedge with a share": lambda n: AdaHedge(n, 0.01),
    "hedge": lambda n: Hedge(n, 0.5),
    "hedge with a share": lambda n: Hedge(n, 1e6, 0.3),
}
wild = shapes.flatmap(
    lambda shape: arrays(
        np.float64,
        shape,
        elements=st.one_of(st.floats(), st.sampled_from([0.0, 1e-300, 5e-324, 1e300, -1e300, math.nan, math.inf])),
    )
)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@settings(deadline=None, max_examples=200)
@given(game=wild)
def test_weights_when_losses_are_anything_then_they_are_shares(make: Callable[[int], Hedge], game: Losses) -> None:
    hedge = make(game.shape[1])
    for losses in game:
        hedge.learn(losses)
        weights = hedge.weights()
        assert (weights >= 0.0).all() and weights.sum() == pytest.approx(1.0)
        assert math.isfinite(hedge.regret) and not math.isnan(hedge.rate)


@settings(deadline=None, max_examples=100)
@given(games)
def test_weight_when_an_expert_is_silent_then_it_suffers_what_the_others_do(game: Losses) -> None:
    hedge = Hedge(game.shape[1], 0.7)
    play(hedge, game)
    losses = game[0].copy()
    losses[0] = math.nan
    others = hedge.weights()[1:]
    suffered = float(others @ losses[1:]) / float(others.sum())
    hedge.learn(losses)
    twin = Hedge(game.shape[1], 0.7)
    play(twin, game)
    twin.learn(np.concatenate([[suffered], losses[1:]]))
    np.testing.assert_allclose(hedge.weights(), twin.weights(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_hedge_when_saved_and_loaded_then_it_goes_on_to_the_last_bit(make: Callable[[int], Hedge]) -> None:
    game = np.random.default_rng(6).normal(size=(200, 4))
    one, other = make(4), make(4)
    play(one, game[:100])
    other.load(one.save())
    for losses in game[100:]:
        one.learn(losses)
        other.learn(losses)
        assert one.weights().tobytes() == other.weights().tobytes()
    assert one.save() == other.save()


@pytest.mark.parametrize(
    ("experts", "rate", "share"), [(1, 1.0, 0.0), (2, 0.0, 0.0), (2, math.nan, 0.0), (2, 1.0, 1.0)]
)
def test_hedge_when_told_what_cannot_be_then_it_says_so(experts: int, rate: float, share: float) -> None:
    with pytest.raises(ValueError, match="expected at least 2 experts"):
        Hedge(experts, rate, share)
