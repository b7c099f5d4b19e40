"""``papertape drift``: what is put into the streams, how alarms are judged, and the command on a small tape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from engine.learn.drift.baselines import Always, Never
from engine.learn.drift.together import SIGNALS
from engine.live import commands_drift
from engine.research.drift_adapting import DRIFTS as ADAPTED
from engine.research.drift_adapting import WAYS
from engine.research.drift_inject import DRIFTS, OTHERS, inject
from engine.research.drift_score import Found, Streams, find, macro_f1
from tests.unit.test_validate import tape

KEYS = {"symbol", "detector", "signal", "tuned", "drift", "false_alarms_per_100k", "missed_pct", "median_delay", "f1"}


def command(*words: object) -> Result:
    app = typer.Typer()
    commands_drift.register(app)
    app.command()(lambda: None)  # a second command, so that the first is called by its name
    return CliRunner().invoke(app, ["drift", *map(str, words)])


@pytest.mark.parametrize("drift", [*DRIFTS, *OTHERS])
def test_a_drift_when_put_in_then_nothing_before_it_has_changed_and_what_it_says_has(drift: str) -> None:
    chance = np.random.default_rng(1)
    p = chance.normal(size=20_000)
    y = p + chance.normal(size=20_000)
    y[::9] = 0.0
    plain = inject("flip", p, y, 20_000, 1.0, seed=1)
    table = inject(drift, p, y, 10_000, float(np.std(y - p)), seed=1)
    assert np.array_equal(table[:10_000], plain[:10_000], equal_nan=True)
    before, after = table[:10_000], table[15_000:16_000]
    residual, _, product, *_ = range(len(SIGNALS))
    shift = after[:, residual].mean() - before[:, residual].mean()
    ratio = after[:, residual].var() / before[:, residual].var()
    if drift in ("flip", "gradual"):
        assert after[:, product].mean() < -0.5 < 0.5 < before[:, product].mean()
    elif drift in ("mean", "gradual-mean"):
        assert shift == pytest.approx(0.5 * np.std(y - p), abs=0.15)
    elif drift == "variance":
        assert ratio == pytest.approx(2.0, rel=0.2) and abs(shift) < 0.15
        assert np.array_equal(table[:, product], plain[:, product])
    elif drift == "feature":
        assert abs(after[:, product].mean()) < 0.2
    else:
        assert table[10_000:11_000, product].mean() < -0.5 < 0.5 < table[11_000:12_000, product].mean()


def test_alarms_when_judged_then_those_before_are_false_those_in_time_true_and_later_ones_missed() -> None:
    chance = np.random.default_rng(1)
    p = chance.normal(size=3000)
    streams = Streams(p, p + chance.normal(size=3000), DRIFTS, streams=4, rows=20_000, seed=1)
    found = find(Always(6500), ["residual"], streams)
    assert found["flip"] == Found((), 4, 4) and found["gradual"] == Found((3000,) * 4, 4, 0)
    assert found["flip"].f1 == 0.0 and found["gradual"].f1 == pytest.approx(8 / 12)
    assert macro_f1(found, DRIFTS) == pytest.approx(8 / 12 / 5)
    assert macro_f1(find(Never(), ["residual"], streams), DRIFTS) == 0.0


def test_the_command_when_run_twice_then_its_last_line_is_the_same_and_whole(tmp_path: Path) -> None:
    words = (
        *(tape(tmp_path, seconds=1500), "--every", "1s", "--streams", 4, "--judged", 100_000, "--json"),
        *("--detectors", "always,cusum,scan sign,cusums"),
    )
    runs = [command(*words) for _ in range(2)]
    assert [run.exit_code for run in runs] == [0, 0]
    first, second = (run.stdout.strip().splitlines()[-1] for run in runs)
    assert first == second
    told = json.loads(first)
    assert {frozenset(row) for row in told["rows"]} == {frozenset(KEYS)}
    assert {row["drift"] for row in told["rows"]} == {*DRIFTS, *OTHERS}
    assert [one["detector"] for one in told["macro"]] == ["always", "cusum", "cusum", "cusum", "cusums", "scan sign"]
    flips = {row["detector"]: row for row in told["rows"] if row["drift"] == "flip"}
    assert flips["scan sign"]["missed_pct"] == 0.0 and flips["scan sign"]["median_delay"] < 500
    assert flips["always"]["false_alarms_per_100k"] == 20.0
    assert "with a budget" in runs[0].stderr
    seen = command(*words[:-3], "--detectors", "always", "--adapting")
    assert seen.exit_code == 0
    assert "always on residual, as it comes: macro-F1" in seen.stdout and "primary-anew" in seen.stdout


def test_the_command_when_asked_for_what_is_not_then_it_says_what_there_is(tmp_path: Path) -> None:
    wrong = command(tmp_path / "x.ptz", "--detectors", "oracle")
    assert wrong.exit_code == 2 and "expected some of never, always, adwin" in wrong.stderr
    assert command(tmp_path / "x.ptz", "--every", "soon").exit_code == 2
    short = command(tape(tmp_path, seconds=120), "--every", "1s", "--detectors", "never")
    assert short.exit_code == 1 and "expected at least 400 labels" in short.stderr


def test_after_a_flip_the_frozen_model_stays_wrong_and_those_that_notice_recover(tmp_path: Path) -> None:
    found = command(
        *(tape(tmp_path, seconds=1500), "--every", "1s", "--streams", 2, "--judged", 200_000, "--json", "--adapting"),
        *("--detectors", "never"),
    )
    assert found.exit_code == 0
    told = json.loads(found.stdout.strip().splitlines()[-1])["adapting"]
    assert [(one["way"], one["drift"]) for one in told] == [(way, drift) for way in WAYS for drift in ADAPTED]
    ways = {one["way"]: one for one in told if one["drift"] == "flip"}
    assert all(one["ic_before"] > 0.5 for one in told)
    assert ways["frozen"]["ic_after"] < -0.5 and ways["drift-triggered"]["ic_after"] > 0.0
    assert ways["primary-anew"]["r2_after_pct"] > ways["frozen"]["r2_after_pct"] + 50
    assert ways["primary"]["kept_pct"] > 60.0 > 0.0 > ways["frozen"]["kept_pct"]
    assert all(one["kept_pct"] == 100.0 for one in told if one["drift"] == "none")
