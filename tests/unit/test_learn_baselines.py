"""The baselines say what they are named after, and nothing where they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features.set import FeatureSet
from engine.learn.contract import ModelError, model_class
from tests.frames import SECOND
from tests.learning import settings

NAMES = FeatureSet(ticks=[1]).names


def test_labels_are_repeated_or_averaged_and_absurd_ones_left_out() -> None:
    last, mean = model_class("last")(settings(), NAMES), model_class("mean")(settings(), NAMES)
    x = np.zeros(len(NAMES))
    for model in (last, mean):
        assert model.predict_one(x) is None
        for y in (1.0, -4.0, float("nan"), float("inf"), 1e5):
            model.learn_one(x, y)
        assert model.contained() == {"labels_refused": 3}
    assert (last.predict_one(x), mean.predict_one(x)) == (-4.0, -1.5)


@pytest.mark.parametrize(
    ("use", "horizon_ns", "feature", "sign"),
    [
        ("microprice", SECOND, "microprice_bps", 1.0),
        ("momentum", SECOND, "return_1s_bps", 1.0),
        ("momentum", 60 * SECOND, "return_30s_bps", 1.0),
        ("momentum", 1, "return_250ms_bps", 1.0),
        ("reversal", SECOND, "return_1s_bps", -1.0),
    ],
)
def test_a_feature_is_repeated_with_its_sign(use: str, horizon_ns: int, feature: str, sign: float) -> None:
    model = model_class(use)(settings(use, horizon_ns=horizon_ns), NAMES)
    x = np.arange(1.0, len(NAMES) + 1.0)
    at = NAMES.index(feature)
    assert model.predict_one(x) == sign * x[at]
    for absurd in (np.nan, np.inf, -1e5):
        x[at] = absurd
        assert model.predict_one(x) is None


@pytest.mark.parametrize("use", ["microprice", "momentum", "reversal"])
def test_a_baseline_without_its_feature_says_so_at_the_start(use: str) -> None:
    with pytest.raises(ModelError, match=r"expected a feature .* found a, b"):
        model_class(use)(settings(use), ["a", "b"])
