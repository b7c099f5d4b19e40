"""A market that turns round: what was learned holds with its sign changed, and noise turns nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.learn.experts import machine, turning
from tests.experts import Floats, at, inputs, labels, made, play, r2_pct

ROWS = 9000
TURN = 5000
STRENGTH = 0.9  # of the queue imbalance a row, as a share of a step's deviation: an R² of some 12 % at one second


def world(seed: int, rows: int = ROWS, turn: int = TURN) -> tuple[Floats, Floats]:
    """Inputs that last for about a second, and labels that follow the imbalance until the turn, then its opposite."""
    x = inputs(seed, rows, keep=0.9)
    drift = STRENGTH * x[:, at("imbalance_1")] * np.where(np.arange(rows) < turn, 1.0, -1.0) / 3.0
    return x, labels(seed, drift, 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_flip_most_of_what_was_known_is_kept(seed: int) -> None:
    x, y = world(seed)
    model = made()
    said = play(model, x, y, 1)
    still_x, still_y = world(seed, turn=ROWS)
    still = play(made(), still_x, still_y, 1)
    assert model.turns == 1 and model.state[machine.SIGN] == -1.0
    after = slice(TURN + 10, None)
    assert r2_pct(said[after], y[after]) > 0.5 * r2_pct(still[after], still_y[after]) > 3.0
    late = slice(TURN + 1000, None)
    assert r2_pct(said[late], y[late]) > 0.7 * r2_pct(still[late], still_y[late])


def test_what_turned_can_turn_back() -> None:
    x = inputs(5, 12_000, keep=0.9)
    sign = np.where((np.arange(12_000) // 4000) % 2 == 0, 1.0, -1.0)
    model = made()
    play(model, x, labels(5, STRENGTH * x[:, at("imbalance_1")] * sign / 3.0, 1), 1)
    assert model.turns == 2 and model.state[machine.SIGN] == 1.0


def test_a_turned_model_goes_on_after_a_restart_to_the_last_bit() -> None:
    x, y = world(3)
    model, other = made(), made()
    play(model, x, y, 1)
    other.load(model.save())
    assert other.contained()["turns"] == other.turns == 1
    assert play(other, x[:500], -y[:500], 1).tolist() == play(model, x[:500], -y[:500], 1).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_noise_turns_nothing(seed: int) -> None:
    """Words that never earned enough are not turned round, however bad they are."""
    x = inputs(seed, 6000, keep=0.9)
    model = made()
    play(model, x, labels(seed, np.zeros(6000), 1), 1)
    assert model.turns == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_without_a_relation_turns_nothing(seed: int) -> None:
    """Five minutes in which the market moves five times as much and does not follow the book."""
    x = inputs(seed, ROWS, keep=0.9)
    storm = (np.arange(ROWS) >= TURN) & (np.arange(ROWS) < TURN + 3000)
    calm = labels(seed, STRENGTH * x[:, at("imbalance_1")] / 3.0, 1)
    wild = 5.0 * labels(seed + 100, np.zeros(ROWS), 1)
    model = made()
    play(model, x, np.where(storm, wild, calm), 1)
    assert model.turns == 0


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4), st.floats(0.001, 1.0)), max_size=400))
def test_the_sign_is_the_parity_of_the_turns_and_nothing_runs_away(heard: list[tuple[float, float, float]]) -> None:
    kept = np.zeros(turning.SINGLES)
    turning.begin(kept)
    for word, target, weight in heard:
        before = kept[turning.TURNS]
        sign = kept[turning.SIGN]
        turning.heed(word, target * sign, weight, kept)
        assert kept[turning.TURNS] in (before, before + 1.0)
        assert kept[turning.SIGN] == sign * (-1.0 if kept[turning.TURNS] > before else 1.0)
        assert 0.0 <= kept[turning.FALLEN] < turning.TURNS_AT or kept[turning.TOP] < turning.PROVEN_AT
        assert 0.0 <= kept[turning.LATE] <= 16.0
