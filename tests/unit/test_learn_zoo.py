"""Every registered model in one run: none stops, all speak, and a saved run goes on as if nothing had happened."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec
import numpy as np
import pytest

from engine.core.events import Frames
from engine.core.records import LabelScored
from engine.learn.contract import BUILT_IN, ModelError, ModelSettings
from engine.learn.models import Models
from tests.frames import MS, SECOND, walk
from tests.learning import INSTRUMENTS, drive, settings

QUICK = {"hidden": (8,), "epochs": 3, "min_rows": 60, "retrain_every_ns": 8 * SECOND, "horizon_ns": 300 * MS}
USES = [*BUILT_IN, "river:linear_model.LinearRegression", "sklearn:linear_model.Ridge"]
WANTED = {"lightgbm": "lightgbm", "sklearn:linear_model.Ridge": "sklearn"}


def zoo() -> list[ModelSettings]:
    """One of each that this machine can train."""
    uses = [use for use in USES if use not in WANTED or find_spec(WANTED[use])]
    return [settings(use, name=use.replace(":", "-"), **QUICK) for use in uses]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(2500, seed=2)


def test_all_models_live_in_one_run_and_after_a_restart(frames: Frames) -> None:
    whole, resumed = (Models(INSTRUMENTS, zoo(), seed=1, inline_delay_ns=200 * MS) for _ in range(2))
    told = drive(whole, frames[:1500])
    resumed.load(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save())))
    later = drive(whole, frames[1500:])
    assert later == drive(resumed, frames[1500:])
    assert whole.summary() == resumed.summary()
    scored: dict[str, int] = {}
    for _, fact in told + later:
        if isinstance(fact, LabelScored):
            scored[fact.model] = scored.get(fact.model, 0) + 1
    for one in whole.summary():
        assert not one["stopped"] and not one["refused"], one
        assert scored[one["name"]] > 50 and np.isfinite(one["rmse"])
        assert one["swaps"] > 0 or one["retrains"] == 0


@pytest.mark.parametrize("use", BUILT_IN)
def test_settings_of_a_model_say_no_to_unknown_options(use: str) -> None:
    with pytest.raises(ModelError, match="unknown field `no_such_option`; expected"):
        Models(INSTRUMENTS, [settings(use, options={"no_such_option": 1})])
