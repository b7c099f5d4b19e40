"""Each detector by itself, several together, the budget they keep, and the kind of a drift."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.learn.drift.baselines import Always, Never
from engine.learn.drift.budget import Budget, alarms_in, bootstrap_rows
from engine.learn.drift.contract import Detector, DriftError
from engine.learn.drift.cusum import Cusum
from engine.learn.drift.kinds import kind_of
from engine.learn.drift.rivers import KEPT, Adwin, Kswin, PageHinkley
from engine.learn.drift.scan import Scan
from engine.learn.drift.together import Together, signals_of
from engine.learn.drift.windows import Psi
from tests.drifting import OF_MISSES, OF_VALUES, independent, rough

ALL = {**OF_VALUES, **OF_MISSES}


@pytest.mark.parametrize("name", ALL)
def test_a_stream_that_changes_when_heard_then_it_is_told_soon_and_before_nothing_is(name: str) -> None:
    values = independent(name, 8000, seed=3)
    values[5000:] = values[5000:] + 1.5 if name in OF_VALUES else np.random.default_rng(4).random(3000) < 0.8
    first = alarms_in(ALL[name](), values)[0]
    assert 5000 <= first < 6500  # EDDM, a mean over all it has heard, is slow
    assert alarms_in(ALL[name](), values[:5000]) == []


@pytest.mark.parametrize("name", [*ALL, "always", "never"])
def test_a_detector_when_saved_and_restored_anywhere_then_it_goes_on_as_if_nothing_was(name: str) -> None:
    makers = {**ALL, "always": lambda: Always(700), "never": Never}
    values = independent(name, 6000, seed=5)
    if name in OF_VALUES:
        values[3500:] += 1.5
    for cut in (10, 3333):
        whole, first, second = makers[name](), makers[name](), makers[name]()
        for value in values[:cut].tolist():
            assert whole.update(value) == first.update(value)
        second.load(json.loads(json.dumps(first.save())))
        told = [(whole.update(value), second.update(value)) for value in values[cut:].tolist()]
        assert all(one == other for one, other in told)


@pytest.mark.parametrize("name", ALL)
def test_values_when_heard_at_once_then_alarms_are_those_of_one_by_one(name: str) -> None:
    values = independent(name, 7000, seed=6)
    values[4000:] = values[4000:] + 1.5 if name in OF_VALUES else 1.0
    one = ALL[name]()
    assert alarms_in(ALL[name](), values) == [at for at, value in enumerate(values.tolist()) if one.update(value)]


def test_a_scan_when_heard_by_pieces_of_any_length_then_alarms_are_the_same() -> None:
    values = independent("scan", 7000, seed=6)
    values[4000:] += 1.5
    whole = alarms_in(Scan(), values)
    scan, begin, found = Scan(), 0, []
    for length in (7, 30, 1, 333) * 20:
        piece = values[begin : begin + length]
        if length > 7:
            found += [begin + at for at, value in enumerate(piece.tolist()) if scan.update(value)]
        elif scan.run(piece) >= 0:
            break
        begin += length
        scan.load(scan.save())
    assert whole and found[:1] == whole[:1]


@pytest.mark.parametrize("detector", [Scan(), Cusum(), Psi(), Adwin(1e-6), PageHinkley(200.0)])
def test_a_value_that_is_missing_when_heard_then_it_is_passed_over(detector: Detector) -> None:
    values = independent("scan", 5000, seed=7)
    values[::7] = np.nan
    values[3] = np.inf
    assert alarms_in(detector, values) == []
    assert "nan" not in json.dumps(detector.save()).lower()


def test_a_state_of_another_detector_when_loaded_then_it_is_refused() -> None:
    with pytest.raises(DriftError, match="expected the state of cusum, found that of 'scan'"):
        Cusum().load(Scan().save())
    with pytest.raises(DriftError, match="expected the state of 5 windows"):
        Scan().load(Scan(windows=(100,)).save())
    with pytest.raises(DriftError, match="expected 1 parts, found 2"):
        Together([("residual", Cusum())]).load(Together([("a", Cusum()), ("b", Cusum())]).save())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Scan("sideways"), "expected a shape of plain, location, spread, sign, found 'sideways'"),
        (lambda: Scan(windows=(120,)), r"expected windows of whole blocks of 50, found \(120,\)"),
        (lambda: Scan(warm=60), "warm: expected whole blocks of 50"),
        (lambda: Cusum(slack=-1.0), "slack of at least 0"),
        (lambda: Psi(recent=3), "windows of at least 20 values"),
        (lambda: Together([]), "at least one detector"),
        (lambda: bootstrap_rows(0, 5), "of at least 1, found 0, 5"),
        (lambda: kind_of(np.zeros(3), np.zeros(50)), "at least 20 values before and since, found 3 and 50"),
    ],
)
def test_what_cannot_be_when_asked_for_then_the_error_says_what_was_expected(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(DriftError, match=text):
        make()


def test_a_detector_of_rivers_when_it_has_heard_much_without_an_alarm_then_its_memory_stays_bounded() -> None:
    test = PageHinkley(1e9)
    for value in np.zeros(KEPT + 10).tolist():
        test.update(value)
    assert len(test.save()["heard"]) == 10


def test_variance_when_it_doubles_then_spread_sees_it_and_location_does_not() -> None:
    values = np.random.default_rng(8).normal(size=10_000)
    values[6000:] *= np.sqrt(2.0)
    assert 6000 <= alarms_in(Scan("spread"), values)[0] < 6500
    assert alarms_in(Scan("location"), values) == []


def test_signals_when_made_of_pairs_then_a_label_of_zero_is_neither_hit_nor_miss() -> None:
    found = signals_of([1.0, 1.0, -1.0], [2.0, 0.0, 3.0])
    assert found["residual"].tolist() == [1.0, -1.0, 4.0] and found["product"].tolist() == [2.0, 0.0, -3.0]
    assert found["miss"][[0, 2]].tolist() == [0.0, 1.0] and np.isnan(found["miss"][1])


def test_several_together_when_one_fires_then_all_begin_anew_and_it_is_named() -> None:
    chance = np.random.default_rng(9)
    rows = chance.normal(size=(9000, 2))
    rows[5000:, 1] += 1.0
    both = Together([("residual", Scan()), ("product", Scan())])
    at = both.run(rows)
    assert 5000 <= at < 5400 and both.fired == "product" and both.signals == ["residual", "product"]
    one = Together([("residual", Scan()), ("product", Scan())])
    told = [one.update(row) for row in rows[: at + 1].tolist()]
    assert told.index(True) == at and one.save() == both.save()
    restored = Together([("residual", Scan()), ("product", Scan())])
    restored.load(json.loads(json.dumps(one.save())))
    assert restored.save() == one.save()


BUDGET = Budget(alarms=3.0, streams=10, rows=20_000)


@pytest.mark.parametrize("make", [Cusum, lambda: Scan("spread"), Scan], ids=["cusum", "scan-spread", "scan"])
def test_the_budget_when_tuned_on_the_past_then_it_holds_on_streams_never_seen(make: type[Detector]) -> None:
    """Noise whose neighbours overlap, heavy-tailed and clustered: theory's thresholds would fire all the time."""
    past, later = rough(20_000, seed=1), rough(20_000, seed=2)
    detector = make()
    threshold = BUDGET.tune(detector, past)
    again = make()
    assert BUDGET.tune(again, past) == threshold
    fresh = Budget(alarms=3.0, streams=10, rows=20_000, seed=777)
    assert sum(len(alarms_in(detector, one)) for one in fresh.drawn(later)) <= 2 * BUDGET.allowed


def test_rivers_kswin_as_it_comes_when_heard_on_such_noise_then_it_fires_hundreds_of_times() -> None:
    values = rough(3000, seed=2)
    assert len(alarms_in(Kswin(each=1), values)) * 100_000 / 3000 > 300


def test_one_budget_for_several_when_tuned_then_their_alarms_together_keep_it() -> None:
    past = np.column_stack((rough(10_000, seed=1), rough(10_000, seed=3)))
    both = Together([("residual", Scan()), ("product", Cusum())])
    BUDGET.tune_together(both, past)
    assert sum(len(alarms_in(both, one)) for one in BUDGET.drawn(past)) <= BUDGET.convincing
    with pytest.raises(DriftError, match="expected 2 shares that add up to 1"):
        BUDGET.tune_together(both, past, [0.5])


def test_a_detector_that_cannot_keep_the_budget_when_tuned_then_that_is_said() -> None:
    class Restless(Always):
        most = 100.0

    with pytest.raises(DriftError, match="this detector cannot keep the budget on this stream"):
        Budget(streams=5).tune(Restless(), rough(2000, seed=1))


def test_so_few_alarms_as_convince_when_counted_then_a_worse_detector_would_rarely_show_them() -> None:
    assert Budget(streams=50).allowed == 10.0 and Budget(streams=50).convincing == 7
    assert Budget(streams=5).convincing == 0


def test_a_bootstrap_when_drawn_then_blocks_are_as_long_as_asked_and_the_seed_decides() -> None:
    drawn = bootstrap_rows(5000, 100_000, 200, seed=1)
    assert (drawn == bootstrap_rows(5000, 100_000, 200, seed=1)).all()
    assert (drawn != bootstrap_rows(5000, 100_000, 200, seed=2)).any()
    joints = np.count_nonzero((np.diff(drawn) != 1) & (np.diff(drawn) != -4999))
    assert 400 < joints < 600


@pytest.mark.parametrize("seed", range(3))
def test_kinds_of_drift_when_looked_at_later_then_they_are_told_apart(seed: int) -> None:
    chance = np.random.default_rng(seed)
    old, noise = chance.normal(size=5000), chance.normal(size=6000)
    share = np.clip(np.arange(6000) / 4000, 0.0, 1.0)
    assert kind_of(old, noise + 3.0) == "abrupt"
    assert kind_of(old, noise - 3.0 * share) == "incremental"
    assert kind_of(old, noise + 3.0 * (chance.random(6000) < share)) == "gradual"
    assert kind_of(old, noise + 3.0 * (np.arange(6000) // 1500 % 2 == 0)) == "recurring"


def test_the_example_of_the_readme_when_run_then_it_works() -> None:
    text = (Path(__file__).parents[2] / "engine/learn/drift/README.md").read_text()
    names: dict[str, object] = {}
    exec(compile(text.partition("```python\n")[2].partition("```")[0], "README.md", "exec"), names)
    assert isinstance(names["watch"], Together) and names["watch"].threshold > 0.0
