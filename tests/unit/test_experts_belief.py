"""How far ``primary`` is believed: what the next second and the labels said of its words."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features.set import Vector
from engine.learn.contract import SECOND_NS
from engine.learn.experts import belief, machine
from tests.experts import SECOND_ROWS, Floats, at, inputs, labels, made, play, r2_pct


def blank() -> Vector:
    """Knows nothing, with what the model is set to at a row each 100 ms."""
    kept = np.zeros(belief.SINGLES)
    kept[belief.SHARE], kept[belief.PROMISE] = 1.0 / SECOND_ROWS, 0.27
    return kept


def heard(rows: int, told: float, seed: int = 1, moving: float = 1.0) -> tuple[Vector, Floats]:
    """After so many samples whose leading input tells this much of the next second's move; and all moves."""
    rng = np.random.default_rng(seed)
    kept, line = blank(), np.zeros(SECOND_ROWS)
    leads = rng.uniform(-1.0, 1.0, rows)
    moves = rng.normal(size=rows) * (rng.random(rows) < moving)
    moves[SECOND_ROWS:] += told * leads[:-SECOND_ROWS] * (moves[SECOND_ROWS:] != 0.0)
    for lead, move in zip(leads.tolist(), moves.tolist(), strict=True):
        belief.witness(lead, move, kept, line)
    return kept, moves


def test_it_believes_by_half_at_first() -> None:
    assert belief.belief(blank()) == 0.5


def test_a_book_that_tells_the_next_second_is_believed_within_two_minutes_and_one_that_does_not_is_doubted() -> None:
    assert min(belief.belief(heard(1200, 0.7, seed)[0]) for seed in range(8)) > 0.95
    assert np.mean([belief.belief(heard(1200, 0.0, seed)[0]) for seed in range(8)]) < 0.15


def test_it_notices_within_three_minutes_that_a_market_changed() -> None:
    kept, line = heard(6000, 0.7)[0], np.zeros(SECOND_ROWS)
    assert kept[belief.NEXT] == belief.MOST
    rng = np.random.default_rng(2)
    for lead, move in rng.uniform(-1.0, 1.0, size=(2400, 2)).tolist():
        belief.witness(lead, move, kept, line)
    assert kept[belief.NEXT] < 0.0


def test_words_that_earned_are_believed_against_the_book_and_losses_are_bounded() -> None:
    kept = heard(1200, 0.0)[0]
    for _ in range(100):
        belief.judge(0.5, 1.0, 0.1, kept)
    assert belief.belief(kept) > 0.95
    for _ in range(1000):
        belief.judge(1.0, -4.0, 1.0, kept)
    assert kept[belief.EARNED] == belief.LEAST
    for _ in range(10):
        belief.judge(0.5, 1.0, 1.0, kept)
    assert kept[belief.EARNED] == pytest.approx(belief.LEAST + 7.5)


def test_a_move_that_is_not_known_teaches_nothing() -> None:
    kept, line = heard(100, 0.7)[0], np.zeros(SECOND_ROWS)
    before = kept[[belief.MOVES, belief.SIZES, belief.NEXT]].tolist()
    for move in (np.nan, np.inf, -np.inf):
        belief.witness(0.5, move, kept, line)
    assert kept[[belief.MOVES, belief.SIZES, belief.NEXT]].tolist() == before
    belief.witness(np.nan, 1.0, kept, line)
    assert np.isfinite(kept).all() and np.isfinite(line).all()


def test_an_absurd_move_does_not_silence_it() -> None:
    kept, line = heard(3000, 0.7)[0], np.zeros(SECOND_ROWS)
    before = kept[belief.MOVES]
    belief.witness(0.5, 1e6, kept, line)
    assert kept[belief.MOVES] < 1.05 * before


def test_trap_rare_moves_do_not_press_their_scale_down() -> None:
    kept, moves = heard(20_000, 0.0, moving=0.005)
    assert kept[belief.MOVES] == pytest.approx((moves**2).mean(), rel=0.3)


def test_where_samples_are_more_than_a_second_apart_only_labels_tell() -> None:
    model, x = made(5, every_ns=5 * SECOND_NS), inputs(1, 500)
    for row in x:
        model.observe_one(row)
    assert model.state[machine.BELIEF + belief.NEXT] == 0.0 and model.state[machine.BELIEF + belief.SEEN] == 0.0


@pytest.mark.parametrize("horizon_s", [5, 30])
def test_the_first_ten_minutes_of_noise_cost_at_most_half_a_percent(horizon_s: int) -> None:
    """Without doubt it was 2.3 % at 5 s and 1.8 % at 30 s: the prior speaks before a label could contradict it."""
    rows, scores = 600 * SECOND_ROWS, []
    for seed in range(5):
        x = inputs(100 + seed, rows)
        y = labels(100 + seed, np.zeros(rows), horizon_s)
        scores.append(r2_pct(play(made(horizon_s), x, y, horizon_s), y))
    assert min(scores) > -0.5, scores


def test_a_signal_that_the_book_tells_is_spoken_of_from_the_first_label_on() -> None:
    """The leading input leads the moves of the feature that tells them: at half a minute no label knows it so soon."""
    rows, horizon_s = 90 * SECOND_ROWS, 30
    x = inputs(3, rows, keep=0.9)
    x[:, at("imbalance_1")] = np.clip(x[:, at("imbalance_1")], -1.0, 1.0)
    drift = 0.5 * x[:, at("imbalance_1")]
    y = labels(3, drift, 1)
    x[SECOND_ROWS:, at("return_1s_bps")] = y[:-SECOND_ROWS]
    model = made(horizon_s)
    play(model, x, labels(3, drift, horizon_s), horizon_s)
    assert belief.belief(model.state[machine.BELIEF : machine.SINGLES]) > 0.95
