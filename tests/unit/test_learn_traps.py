"""Traps of learning from markets, each as a test that falls into it on purpose and one that does not."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from river import drift

from engine.learn.drift.rivers import Adwin
from engine.learn.estimates import pearson
from engine.learn.labels import Labels, Matured
from engine.learn.models import Models
from engine.learn.purge import walk_forward
from engine.research.intervals import bootstrap_scores
from tests.frames import MS, SECOND, walk
from tests.learning import INSTRUMENTS, drive, settings

Floats = npt.NDArray[np.float64]

HORIZON = 100


def worthless(seed: int, rows: int = 3000) -> tuple[Floats, Floats]:
    """Slow features of pure chance, and the moves of another walk over a hundred rows: there is nothing to learn."""
    chance = np.random.default_rng(seed)
    features = np.cumsum(chance.normal(size=(rows, 8)), axis=0)
    path = np.cumsum(chance.normal(size=rows + HORIZON))
    return features, path[HORIZON:] - path[:-HORIZON]


def nearest(x: Floats, y: Floats, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> Floats:
    """The label of the training row whose features are nearest."""
    far = ((x[test, None, :] - x[None, train, :]) ** 2).sum(axis=2)
    said: Floats = y[train[np.argmin(far, axis=1)]]
    return said


def test_random_folds_over_labels_that_overlap_score_near_one_where_there_is_nothing() -> None:
    x, y = worthless(1)
    rows = np.arange(len(y))
    said, ahead = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for part in np.array_split(np.random.default_rng(1).permutation(rows), 5):
        said[part] = nearest(x, y, np.setdiff1d(rows, part), part)
    for train, test in walk_forward(rows, rows + HORIZON, 5):
        ahead[test] = nearest(x, y, train, test)
    assert pearson(said, y) > 0.95  # measured .98 to .99
    kept = np.isfinite(ahead)
    found = bootstrap_scores(ahead[kept], y[kept], 4 * HORIZON)
    assert found.ic_lo < 0.0 < found.ic_hi


def test_a_label_known_before_it_matured_is_worth_more_than_any_model() -> None:
    frames = walk(4000, seed=3)
    labels = Labels(0, 2 * SECOND, 30, 1)
    told: list[Matured] = []
    done = 0
    for number, now in enumerate(range(int(frames["recv_ns"][100]), int(frames["recv_ns"][-1]), 100 * MS)):
        upto = int(np.searchsorted(frames["recv_ns"], now))
        labels.follow(frames[done:upto])
        done = upto
        told += labels.ripe(now)
        labels.add(now, id=number, x=np.zeros(1), prediction=None)
    y = np.array([one.label for one in told])
    assert pearson(y[:-1], y[1:]) > 0.85, "the label of the sample before overlaps nearly whole"
    matured = [(one.last, one.label) for one in told if one.last is not None]
    assert len(matured) == len(told) - 20
    by_id = {one.id: one for one in told}
    for one in told:
        if one.last is not None:
            assert by_id[one.id - 20].label == one.last and by_id[one.id - 20].end_ns <= one.sample_ns
    assert abs(pearson(*np.array(matured).T)) < 0.4, "what had matured says little"


def test_intervals_for_independent_rows_are_several_times_too_narrow() -> None:
    ratios = []
    for seed in range(20):
        x, y = worthless(seed, 12_000)
        slow = np.diff(x[:, 0], prepend=0.0)
        smooth = np.convolve(slow, np.ones(HORIZON) / HORIZON)[: len(slow)]
        found = bootstrap_scores(smooth, y, 5 * HORIZON, 200, seed)
        independent = 2.0 * 1.96 / math.sqrt(found.n)
        ratios.append((found.ic_hi - found.ic_lo) / independent)
    assert 2.0 < float(np.median(ratios)) < 10.0


def test_entering_later_takes_from_the_correlation_step_by_step() -> None:
    models = Models(INSTRUMENTS, [settings()])
    drive(models, walk(12_000, seed=5))
    points = models.summary()[0]["entry"]
    ics = [point["ic"] for point in points]
    assert ics == sorted(ics, reverse=True) and ics[0] > 0.2 and ics[-1] < 0.6 * ics[0]


def test_errors_in_units_of_trailing_volatility_hide_that_volatility_drifted() -> None:
    chance = np.random.default_rng(4)
    moves = chance.normal(size=4000) * np.repeat((1.0, 3.0), 2000)
    plain, scaled = Adwin(0.0005), Adwin(0.0005)
    variance, alarms = 1.0, {"plain": 0, "scaled": 0}
    for at, move in enumerate(moves.tolist()):
        fired = plain.update(abs(move))
        hidden = scaled.update(min(abs(move) / math.sqrt(variance), 5.0))
        variance += 0.2 * (move * move - variance)
        if at >= 2000:
            alarms["plain"] += fired
            alarms["scaled"] += hidden
    assert alarms["plain"] > 0 and alarms["scaled"] == 0


@pytest.mark.parametrize(("name", "hears_errors"), [("DDM", True), ("HDDMA", True), ("HDDMW", True), ("FHDDM", False)])
def test_which_way_round_rivers_detectors_hear_an_error(name: str, hears_errors: bool) -> None:
    """DDM and HDDM want 1 for an error, FHDDM, against its own documentation, 1 for a right answer: the wrong way round
    they are deaf to decay."""
    chance = np.random.default_rng(0)
    errors = np.concatenate((chance.random(2000) < 0.1, chance.random(2000) < 0.5))
    first: dict[bool, int] = {}
    for told, values in ((True, errors), (False, ~errors)):
        detector = getattr(drift.binary, name)()
        for at, value in enumerate(values.tolist()):
            detector.update(value)
            if detector.drift_detected:
                first.setdefault(told, at)
    assert 2000 <= first[hears_errors] < 2200
    assert first.get(not hears_errors, 4000) > 3400
