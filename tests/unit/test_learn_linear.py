"""The linear kernels are the estimators they are named after: River's step by step, or the closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from river import linear_model, optim

from engine.learn.contract import ModelError, model_class
from engine.learn.linear.guard import LABELS_CLIPPED, RESTARTS, SQUARE, Guarded, take_label
from engine.learn.linear.least_squares import WeightedLeastSquares, fade, recurse
from engine.learn.linear.normal_equations import solve
from engine.learn.linear.passive_aggressive import react
from engine.learn.linear.rolling import RollingRidge, roll
from engine.learn.linear.sgd import LOGISTIC, SETTLED_AFTER, ClippedLinear, Logistic, descend, parameters, step_of
from engine.learn.online import RiverLinear, Shrinking
from tests.learning import settings

Array = npt.NDArray[np.float64]
WIDTH, ROWS = 6, 1500
NAMES = [f"f{i}" for i in range(WIDTH)]


def stream(seed: int = 1) -> tuple[Array, Array]:
    """Rows with a constant feature, a copy, and a jump in the middle; labels with noise and a jump of their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, WIDTH))
    x[:, 4] = 0.5
    x[:, 5] = x[:, 0]
    x[ROWS // 2 :, 1] *= 5.0
    y = 0.3 * x[:, 0] - 0.2 * x[:, 1] + rng.normal(size=ROWS)
    y[ROWS // 3 :] += 1.0
    return x, y


class PaperLoss(optim.losses.EpsilonInsensitiveHinge):
    """The loss of the paper; River's takes the label for a class of 0 or 1 and measures against 2y - 1."""

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return max(abs(y_pred - y_true) - self.eps, 0.0)


def _untyped(module: Any, name: str) -> Any:
    """An estimator of River that ships without types."""
    return getattr(module, name)


def follow(river: Any, kernel: Any, weights: Array, labels: Array, rows: Array) -> float:
    """The largest difference between what the two say before each label."""
    apart = 0.0
    for x, y in zip(rows, labels.tolist(), strict=True):
        named = dict(zip(NAMES, x.tolist(), strict=True))
        theirs = river._raw_dot_one(named) if hasattr(river, "_raw_dot_one") else river.predict_one(named)
        apart = max(apart, abs(float(x @ weights[:-1] + weights[-1]) - theirs))
        river.learn_one(named, y)
        kernel(x, y)
    return apart


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.0, 0.05), (0.02, 0.0)])
def test_descent_is_that_of_river(l1: float, l2: float, constant: bool) -> None:
    x, y = stream()
    step: Any = 0.01 if constant else Shrinking(0.01)
    river = linear_model.LinearRegression(optimizer=optim.SGD(step), l1=l1, l2=l2, intercept_lr=step, clip_gradient=3.0)
    told = parameters(0.01, l1=l1, l2=l2, gradient_bound=3.0, settling=0.0 if constant else SETTLED_AFTER)
    weights, penalties, progress = np.zeros(WIDTH + 1), np.zeros(WIDTH), np.zeros(2)
    apart = follow(river, lambda a, b: descend(a, b, weights, penalties, progress, told), weights, y, x)
    assert apart < 1e-9 and np.abs(weights).max() > 0.1


def test_logistic_regression_is_that_of_river() -> None:
    x, y = stream()
    classes = (y > 0.4).astype(float)
    river = linear_model.LogisticRegression(optimizer=optim.SGD(0.02), l2=0.01, intercept_lr=0.05)
    told = parameters(0.02, intercept_rate=0.05, l2=0.01, loss=LOGISTIC)
    weights, penalties, progress = np.zeros(WIDTH + 1), np.zeros(WIDTH), np.zeros(2)
    rows = x * np.linspace(1.0, 40.0, ROWS)[:, None]  # to margins beyond 18, where River takes another branch
    assert follow(river, lambda a, b: descend(a, b, weights, penalties, progress, told), weights, classes, rows) < 1e-9


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_passive_aggressive_regression_is_that_of_river_with_the_loss_of_the_paper(mode: int) -> None:
    x, y = stream()
    x[7] = 0.0
    river: Any = _untyped(linear_model, "PARegressor")(C=0.05, mode=mode, eps=0.2)
    river.loss = PaperLoss(eps=0.2)
    weights = np.zeros(WIDTH + 1)
    assert follow(river, lambda a, b: react(a, b, weights, float(mode), 0.05, 0.2), weights, y, x) < 1e-9


def test_recursive_least_squares_without_forgetting_is_rivers_bayesian_regression() -> None:
    x, y = stream()
    rows = np.column_stack([x, np.ones(ROWS)])
    river: Any = _untyped(linear_model, "BayesianLinearRegression")(alpha=2.0, beta=1.0)
    weights, covariance, gain = np.zeros(WIDTH + 1), np.eye(WIDTH + 1) / 2.0, np.zeros(WIDTH + 1)
    told = np.array([0.5, 1.0, 1.0])
    for row, label in zip(rows, y.tolist(), strict=True):
        named = dict(enumerate(row.tolist()))
        assert abs(float(row @ weights) - river.predict_one(named)) < 1e-9
        river.learn_one(named, label)
        assert recurse(row, label, weights, covariance, gain, told)


def test_recursive_least_squares_with_forgetting_is_the_weighted_closed_form() -> None:
    x, y = stream()
    rows = np.column_stack([x, np.ones(ROWS)])[:400]
    weights, covariance, gain = np.zeros(WIDTH + 1), np.eye(WIDTH + 1), np.zeros(WIDTH + 1)
    for row, label in zip(rows, y.tolist(), strict=False):
        assert recurse(row, label, weights, covariance, gain, np.array([1.0, 0.99, 1e12]))
    age = 0.99 ** np.arange(len(rows) - 1, -1, -1)
    gram = (rows * age[:, None]).T @ rows + 0.99 ** len(rows) * np.eye(WIDTH + 1)
    expected = np.linalg.solve(gram, (rows * age[:, None]).T @ y[:400])
    assert np.abs(weights - expected).max() < 1e-9


def test_what_is_not_excited_does_not_wind_up() -> None:
    rng = np.random.default_rng(3)
    weights, covariance, gain = np.zeros(3), np.eye(3), np.zeros(3)
    told = np.array([1.0, 0.98, 1.0])
    for _ in range(20_000):  # without the cap the second variance would be 1e175 by then
        value = float(rng.normal())
        assert recurse(np.array([value, 0.0, 1.0]), 2.0 * value, weights, covariance, gain, told)
    assert 0.999 < covariance[1, 1] <= 1.0 + 1e-9 and np.linalg.eigvalsh(covariance).min() > 0.0
    assert weights[0] == pytest.approx(2.0, abs=1e-6)
    for _ in range(300):  # what is excited still forgets: it follows a change within its memory
        value = float(rng.normal())
        recurse(np.array([value, 0.0, 1.0]), -value, weights, covariance, gain, told)
    assert weights[0] == pytest.approx(-1.0, abs=0.02)


def test_a_covariance_that_is_none_starts_again() -> None:
    weights, covariance = np.ones(2), np.array([[-1.0, 0.0], [0.0, 1.0]])
    assert not recurse(np.array([2.0, 1.0]), 1.0, weights, covariance, np.zeros(2), np.array([0.5, 1.0, 1.0]))
    assert covariance.tolist() == [[0.5, 0.0], [0.0, 0.5]] and weights.tolist() == [1.0, 1.0]


def test_weighted_and_rolling_sums_are_those_of_the_rows() -> None:
    x, y = stream()
    rows = np.column_stack([x, np.ones(ROWS)])
    width, capacity = WIDTH + 1, 100
    gram, moment, work = np.zeros((width, width)), np.zeros(width), np.zeros((width, width + 1))
    ring, ages, sums, moments = (
        np.zeros((capacity, width + 1)),
        np.zeros(2),
        np.zeros((2, width, width)),
        np.zeros((2, width)),
    )
    ridge = np.diag([1.0] * WIDTH + [0.0])
    found = np.zeros(width)
    for i, (row, label) in enumerate(zip(rows, y.tolist(), strict=True)):
        fade(row, label, 0.99, gram, moment)
        roll(row, label, ring, ages, sums, moments)
        if i % 97 != 96:
            continue
        age = 0.99 ** np.arange(i, -1, -1.0)[:, None]
        assert solve(gram, moment, 0.5, work, found)
        past, told = rows[: i + 1], y[: i + 1]
        expected = np.linalg.solve((past * age).T @ past + 0.5 * ridge, (past * age).T @ told)
        assert np.abs(found - expected).max() < 1e-9
        past, told = rows[max(0, i + 1 - capacity) : i + 1], y[max(0, i + 1 - capacity) : i + 1]
        assert solve(sums[0], moments[0], 0.5, work, found)
        assert np.abs(found - np.linalg.solve(past.T @ past + 0.5 * ridge, past.T @ told)).max() < 1e-9


def test_a_window_forgets_an_absurd_row_to_the_last_digit() -> None:
    capacity, sums, moments = 20, np.zeros((2, 2, 2)), np.zeros((2, 2))
    ring, ages = np.zeros((capacity, 3)), np.zeros(2)
    for i in range(200):
        value = 1e12 if i == 50 else float(i % 3)
        roll(np.array([value, 1.0]), value, ring, ages, sums, moments)
    last = np.array([float(i % 3) for i in range(180, 200)])
    assert sums[0, 0, 0] == last @ last and moments[0].tolist() == [last @ last, last.sum()]


def test_a_singular_matrix_is_not_solved() -> None:
    out = np.full(2, 7.0)
    assert not solve(np.ones((2, 2)), np.ones(2), 0.0, np.zeros((2, 3)), out)
    assert not solve(np.full((2, 2), np.nan), np.ones(2), 0.0, np.zeros((2, 3)), out)
    assert out.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("width", [1, 23, 24, 258])
def test_however_wide_a_row_a_step_does_not_overshoot(width: int) -> None:
    told = settings(horizon_ns=1, every_ns=1)
    rate = step_of(told, width)
    assert rate == 0.002 * min(1.0, 23 / width)
    # With every input at its bound, one step moves the answer by less than the error.
    model = ClippedLinear(told, [f"x{i}" for i in range(width)])
    row, weights = np.full(width, 4.0), np.zeros(width + 1)
    descend(row, 1.0, weights, np.zeros(width), np.zeros(2), model.told)
    assert 0.0 < weights[:width] @ row + weights[width] < 1.6
    assert step_of(settings(learning_rate=0.5), width) == 0.5


def test_wide_rows_are_learned_as_river_learns_them() -> None:
    rng, names = np.random.default_rng(3), [f"x{i}" for i in range(60)]
    ours, theirs = ClippedLinear(settings(), names), RiverLinear(settings(), names)
    for row in rng.normal(size=(200, 60)):
        assert (ours.predict_one(row) or 0.0) == pytest.approx(theirs.predict_one(row) or 0.0, abs=1e-9)
        ours.learn_one(row, float(row[0]))
        theirs.learn_one(row, float(row[0]))
    assert ours.predict_one(row)


def test_the_clipped_linear_model_is_the_river_one() -> None:
    x, y = stream()
    x[40], y[41], x[700], x[701, 2] = 1e9, 9e4, np.inf, np.nan
    ours, theirs = ClippedLinear(settings(), NAMES), RiverLinear(settings(), NAMES)
    for row, label in zip(x, y.tolist(), strict=True):
        mine, other = ours.predict_one(row), theirs.predict_one(row)
        assert (mine is None) == (other is None) and abs((mine or 0.0) - (other or 0.0)) < 1e-9
        ours.learn_one(row, label)
        theirs.learn_one(row, label)
    assert ours.contained() == {
        "inputs_missing": WIDTH + 1,
        "inputs_clipped": ours.contained()["inputs_clipped"],
        "labels_refused": 0,
        "labels_clipped": 1,
        "restarts": 0,
    }


GUARDED = [
    "linear",
    "clipped-linear",
    "elastic-net",
    "logistic",
    "passive-aggressive",
    "recursive-least-squares",
    "weighted-least-squares",
    "rolling-ridge",
]


@pytest.mark.parametrize("use", GUARDED)
def test_it_learns_what_is_linear_through_bad_rows_and_labels(use: str) -> None:
    rng = np.random.default_rng(5)
    model = model_class(use)(settings(use, learning_rate=0.005, options={}), NAMES)
    assert isinstance(model, Guarded)
    x = rng.normal(size=(4000, WIDTH))
    y = x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=4000)
    x[500:600, 3], x[700], y[800], y[900], x[1000, 0] = np.nan, 1e30, np.nan, -1e12, np.inf
    y[1100] = 9e4
    said = []
    for i, (row, label) in enumerate(zip(x, y.tolist(), strict=True)):
        if i >= 3000:
            said.append(model.predict_one(row) or 0.0)
        model.learn_one(row, label)
    assert np.corrcoef(said, y[3000:])[0, 1] > 0.9
    kept = model.contained()
    assert (kept["inputs_missing"], kept["labels_refused"], kept["restarts"]) == (101, 2, 0)
    assert kept["inputs_clipped"] >= WIDTH and kept["labels_clipped"] >= 1


def ticks(share: float, rows: int, seed: int = 7) -> Array:
    """Labels of one tick up or down in this share of the rows, else 0."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice([-1.0, 1.0], rows) * (rng.random(rows) < share))


@pytest.mark.parametrize("use", [*GUARDED, "river-linear"])
def test_trap_labels_that_are_mostly_nothing_are_not_clipped_to_nothing(use: str) -> None:
    """Eight root mean squares are less than a tick where fewer than one label in 64 moves."""
    y = ticks(0.01, 12_000)
    x = np.stack([y, np.random.default_rng(1).normal(size=len(y))], axis=1)
    model = model_class(use)(settings(use), NAMES[:2])
    for row, label in zip(x, y.tolist(), strict=True):
        model.learn_one(row, label)
    assert isinstance(model, Guarded | RiverLinear)
    scale = np.sqrt(model.guard[SQUARE]) if isinstance(model, Guarded) else model._scale
    assert scale == pytest.approx(0.1, rel=0.15)
    assert model.contained().get("labels_clipped", 0) == 0


def test_a_usual_move_may_be_learned_and_said_whole() -> None:
    y = ticks(0.005, 20_000)
    model = model_class("linear")(settings("linear", learning_rate=0.002), NAMES[:1])
    for label in y.tolist():
        model.learn_one(np.array([label]), label)
    assert model.predict_one(np.array([1.0])) == pytest.approx(1.0, abs=0.1)


def test_trap_a_market_that_falls_nearly_still_keeps_its_scale() -> None:
    guard = np.zeros(RESTARTS + 1)
    for label in [*ticks(0.9, 10_000).tolist(), *ticks(0.005, 150_000).tolist()]:
        take_label(label, guard)
    assert np.sqrt(guard[SQUARE]) == pytest.approx(np.sqrt(0.005), rel=0.1)
    assert guard[LABELS_CLIPPED] == 0.0


def test_an_absurd_label_is_cut_where_few_move_too() -> None:
    guard = np.zeros(RESTARTS + 1)
    for label in [*ticks(0.01, 5_000).tolist(), 9e4]:
        take_label(label, guard)
    assert guard[LABELS_CLIPPED] == 1.0 and np.sqrt(guard[SQUARE]) < 0.15


def test_a_step_far_too_large_is_started_again_and_counted() -> None:
    rng = np.random.default_rng(6)
    model = model_class("linear")(settings("linear", learning_rate=1.0), NAMES)
    for row in rng.normal(size=(500, WIDTH)):
        model.learn_one(row, float(row[0]))
        said = model.predict_one(row)
        assert said is None or np.isfinite(said)
    assert model.contained()["restarts"] > 0


def test_the_logistic_model_says_chances_and_learns_nothing_from_what_did_not_move() -> None:
    model = Logistic(settings("logistic", learning_rate=0.05), NAMES)
    rng = np.random.default_rng(8)
    for row in rng.normal(size=(2000, WIDTH)):
        model.learn_one(row, 2.0 if rng.random() < 0.8 else -2.0)
    assert model.chance(np.zeros(WIDTH)) == pytest.approx(0.8, abs=0.1)
    before = model.weights.copy()
    model.learn_one(np.ones(WIDTH), 0.0)
    assert np.array_equal(before, model.weights) and model.learned == 2001


def test_exact_solutions_come_when_they_are_due() -> None:
    for kind in (WeightedLeastSquares, RollingRidge):
        model = kind(settings(options={"solve_every": 7}), NAMES)
        for i in range(20):
            before = model.weights.copy()
            model.learn_one(np.random.default_rng(i).normal(size=WIDTH), float(i))
            assert np.array_equal(before, model.weights) == ((i + 1) % 7 != 0)


@pytest.mark.parametrize(
    ("use", "options", "text"),
    [
        ("linear", {"l3": 1.0}, "unknown field `l3`; expected l1, l2, clip, gradient_bound"),
        ("linear", {"clip": 0.0}, "clip: expected more than 0, found 0.0"),
        ("passive-aggressive", {"mode": 3}, r"options: Invalid enum value 3"),
        ("passive-aggressive", {"aggressiveness": -1.0}, "aggressiveness and epsilon of at least 0"),
        ("recursive-least-squares", {"memory": 1.5}, "memory of 0.5 to 1"),
        ("weighted-least-squares", {"memory": 1.0}, "memory above 0.5 and below 1"),
        ("rolling-ridge", {"rows": 1}, "rows of at least 8"),
    ],
)
def test_a_wrong_option_says_what_was_expected(use: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        model_class(use)(settings(use, options=options), NAMES)


def test_a_state_of_another_width_is_refused_and_changes_nothing() -> None:
    model = ClippedLinear(settings(), NAMES)
    state = model.save()
    with pytest.raises(ModelError, match="expected 24 bytes, found 56"):
        ClippedLinear(settings(), ["a", "b"]).load(
            {**ClippedLinear(settings(), ["a", "b"]).save(), "weights": state["weights"]}
        )
