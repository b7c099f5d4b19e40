"""Codes in the place of a model's inputs: read before they are learned, exact over a restart, told to the scores."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engine.core.records import LabelScored
from engine.features.autoencoder import BOUND
from engine.features.latent import WARM, Latent
from engine.features.set import FeatureSet
from engine.learn.autoencoder import fit_autoencoder
from engine.learn.contract import ModelError
from engine.learn.inputs import Inputs
from engine.learn.models import Models
from engine.learn.prepare import Preparation
from engine.learn.reduce import REDUCTIONS, Codes
from tests.frames import MS, walk
from tests.learning import INSTRUMENTS, drive, settings

Rows = npt.NDArray[np.float64]
NAMES = tuple("abcde")


def rows(count: int, seed: int = 1) -> Rows:
    """Rows of two common factors."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(count, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(count, 5)))


def taken(preparation: Preparation, x: Rows) -> tuple[Rows, list[bool]]:
    found, known = [], []
    for row in x:
        found.append(preparation.take(row).copy())
        known.append(preparation.known)
    return np.array(found), known


def test_codes_are_those_of_the_prepared_rows_before_they_are_learned() -> None:
    x = rows(WARM + 100)
    reduced, known = taken(Preparation(NAMES, "z", reducer=Codes(NAMES, "pca", components=2)), x)
    prepared, _ = taken(Preparation(NAMES, "z"), x)
    latent, out = Latent(5, components=2, cells=0, codes=0), np.zeros(3)
    for index, row in enumerate(prepared):
        latent.encode(0, row, out)
        np.testing.assert_array_equal(reduced[index], out)
        assert known[index] == (index >= WARM)
        latent.learn(0, row)


@pytest.mark.parametrize("method", ["pca", "map"])
def test_a_row_changes_no_code_of_its_own_or_before(method: str) -> None:
    x = rows(WARM + 100)
    other = x.copy()
    other[WARM + 50 :] *= -3.0
    one, _ = taken(Preparation(NAMES, "z", reducer=Codes(NAMES, method)), x)
    two, _ = taken(Preparation(NAMES, "z", reducer=Codes(NAMES, method)), other)
    np.testing.assert_array_equal(one[: WARM + 50], two[: WARM + 50])
    assert not np.array_equal(one[WARM + 50 :], two[WARM + 50 :])
    codes, out = Codes(NAMES, method), np.zeros(len(one[0]))
    for row in x:
        codes.learn(row)
    before = codes.save()
    assert codes.reduce(x[0], out) and codes.reduce(x[0], out) and codes.save() == before


@pytest.mark.parametrize("method", ["pca", "map"])
def test_kept_inputs_come_first_and_unchanged(method: str) -> None:
    x = rows(WARM + 20)
    both, _ = taken(Preparation(NAMES, "robust", reducer=Codes(NAMES, method, keep=True)), x)
    alone, _ = taken(Preparation(NAMES, "robust", reducer=Codes(NAMES, method)), x)
    prepared, _ = taken(Preparation(NAMES, "robust"), x)
    np.testing.assert_array_equal(both, np.hstack([prepared, alone]))
    assert Codes(NAMES, method, keep=True).names == (*NAMES, *Codes(NAMES, method).names)


def test_two_components_miss_little_of_two_factors() -> None:
    x = rows(1_000)
    codes, out = Codes(NAMES, "pca", components=2), np.zeros(3)
    errors = []
    for row in x:
        if codes.reduce(row, out):
            errors.append(out[-1])
        codes.learn(row)
    assert len(errors) == 1_000 - WARM and 0.05 < np.mean(errors) < 0.35


def test_the_cell_of_a_map_is_the_regime() -> None:
    rng = np.random.default_rng(6)
    centres = np.array([[4.0, 0, 0, 1, 0], [-4.0, 1, 0, 0, 2], [0, -5.0, 3.0, 0, 0]])
    codes, out = Codes(NAMES, "map"), np.zeros(3)
    seen: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for step in range(3_000):
        x = centres[step // 50 % 3] + 0.2 * rng.normal(size=5)
        assert codes.reduce(x, out) == (step >= WARM) == (codes.regime >= 0)
        if step > 2_000:
            seen[step // 50 % 3].add(codes.regime)
        codes.learn(x)
    assert all(seen.values()) and sum(map(len, seen.values())) == len(set.union(*seen.values()))
    assert set.union(*seen.values()) <= set(range(4))


def test_an_autoencoder_speaks_once_it_has_weights() -> None:
    x = rows(300)
    codes, out = Codes(NAMES, "autoencoder", components=2), np.zeros(3)
    assert codes.names == ("code_1", "code_2", "code_error") and not codes.reduce(x[0], out)
    codes.take(fit_autoencoder(np.clip(x, -BOUND, BOUND), seed=1, epochs=5, codes=2))
    assert codes.reduce(x[0], out) and np.isfinite(out).all()
    with pytest.raises(ValueError, match=r"tensor weight\.1: expected finite numbers of shape \(2, 12\)"):
        codes.take(fit_autoencoder(x, seed=1, epochs=1, codes=3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "ica"}, "reduce: expected one of none, pca, map, autoencoder, found 'ica'"),
        ({"method": "pca", "components": 6}, "components: expected 1 to 5, the number of inputs, found 6"),
        ({"method": "pca", "components": 0}, "components: expected 1 to 5, the number of inputs, found 0"),
        ({"method": "map", "components": 1}, "components: expected 2 to 8 cells of a map"),
        ({"method": "map", "names": ["a"]}, "reduce: expected at least 2 inputs to reduce, found 1"),
    ],
)
def test_reductions_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Codes(**({"names": NAMES} | arguments))


def test_the_hash_tells_every_way_to_reduce_apart() -> None:
    features = FeatureSet(ticks=[1])
    ways: list[dict[str, Any]] = [{}, *({"reduce": one} for one in REDUCTIONS[1:])]
    ways += [
        {"reduce": "pca", "components": 3},
        {"reduce": "pca", "reduce_keep": True},
        {"reduce": "map", "masks": True},
    ]
    assert len({Inputs(features, "z", **way).hash for way in ways}) == len(ways)
    plain, reduced = Inputs(features, "z"), Inputs(features, "z", reduce="pca", components=2, masks=True)
    assert (plain.regime, reduced.regime) == (-1, -1)
    assert reduced.names == ("component_1", "component_2", "component_error")
    with pytest.raises(ModelError, match="saved with other settings of reduce, components or reduce_keep"):
        Inputs(features, "z", reduce="map").load(reduced.save())
    with pytest.raises(ValueError, match="reduce: expected prepare = z, robust or rank beside it, found none"):
        Inputs(features, reduce="pca")


@pytest.mark.parametrize("method", ["pca", "map"])
def test_a_model_learns_from_codes_is_scored_by_regime_and_goes_on_after_a_restart(method: str) -> None:
    frames = walk(3000, step_ns=30 * MS)
    told = settings("clipped-linear", prepare="z", reduce=method, components=3, reduce_keep=method == "map")
    made = [Models(INSTRUMENTS, [told]) for _ in range(3)]
    facts = drive(made[0], frames[:2000])
    scored = [fact for _, fact in facts if isinstance(fact, LabelScored)]
    assert len(scored) > 100 and np.isfinite([fact.prediction for fact in scored]).all()
    made[1].load(msgspec.msgpack.decode(msgspec.msgpack.encode(made[0].save())))
    assert drive(made[0], frames[2000:]) == drive(made[1], frames[2000:])
    (summary,) = made[0].summary()
    assert not summary["stopped"] and set(summary["regimes"]) <= {"0", "1", "2"}
    assert sum(one["pairs"] for one in summary["regimes"].values()) == (summary["pairs"] if method == "map" else 0)
    # What was learned includes what the weights speak of: another run reads the same codes from the first row on.
    slot, other = made[0].slot("m"), made[2].slot("m")
    other.learn_on(msgspec.msgpack.decode(msgspec.msgpack.encode(slot.knowledge())))
    assert other.features.save() == slot.features.save()


def test_nothing_is_sampled_before_there_are_codes() -> None:
    models = Models(INSTRUMENTS, [settings("zero", prepare="z", reduce="pca")])
    drive(models, walk(1000, step_ns=30 * MS))  # half a minute, a second of it warm-up: 290 samples less WARM
    assert 80 <= models.summary()[0]["predictions"] <= 95


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduce": "pca"}, "model m: reduce: expected prepare = z, robust or rank beside it, found none"),
        ({"reduce": "umap", "prepare": "z"}, "model m: reduce: expected one of none, pca, map, autoencoder"),
        ({"reduce": "autoencoder", "prepare": "z"}, "fit_autoencoder and given to engine.learn.reduce.Codes.take"),
        ({"reduce": "map", "prepare": "z", "components": 9}, "model m: components: expected 2 to 8 cells"),
    ],
)
def test_settings_that_cannot_be_had_say_what_to_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        Models(INSTRUMENTS, [settings(**changes)])


@pytest.mark.parametrize("use", ["mlp", "lstm", "conv", "lightgbm", "sklearn:linear_model.Ridge"])
def test_models_of_whole_rows_are_refused_features_that_may_be_missing(use: str) -> None:
    with pytest.raises(ModelError) as caught:
        Models(INSTRUMENTS, [settings(use, features=("book", "trades"))])
    said = str(caught.value)
    assert said.startswith("model m: prepare: expected z, robust or rank beside features that may be missing (")
    assert use in said and 'set prepare = "z"' in said


def test_what_is_never_missing_or_prepared_or_of_a_model_that_takes_gaps_is_let_through() -> None:
    Models(
        INSTRUMENTS,
        [
            settings("mlp"),
            settings("mlp", name="touch", features="alpha"),
            settings("mlp", name="z", features=("book", "trades"), prepare="z"),
            settings("clipped-linear", name="gaps", features=("book", "trades")),
        ],
    )
