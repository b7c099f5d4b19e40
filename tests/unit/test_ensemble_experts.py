"""Experts of an ensemble that say nothing, raise or refuse; their trainings, bags, state and settings."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.learn.contract import SECOND_NS, ModelError, ModelSettings
from engine.learn.ensemble.ensemble import Ensemble
from engine.learn.jobs import TrainJob
from tests.ensembles import (
    COMBINERS,
    Broken,
    First,
    Hesitant,
    Mad,
    Opposite,
    Picky,
    Second,
    Told,
    Untrainable,
    ensemble,
    live,
    named,
    rows,
)

# Experts that are not well.


def test_ensemble_when_an_expert_raises_then_the_others_go_on_and_it_is_counted() -> None:
    x = rows(1000)
    y = x[:, 0] + 0.1 * rows(1000, 2)[:, 0]
    model, without = ensemble(named(First), named(Broken), named(Second)), ensemble(named(First), named(Second))
    said, expected = live(model, x, y), live(without, x, y)
    assert said[-1] == pytest.approx(expected[-1], abs=0.05)
    assert model.contained()["Broken raised"] == 1000 + 1000 + 999
    assert model.panel.raised["Broken"].startswith(("IndexError", "KeyError"))


def test_ensemble_when_an_expert_says_what_no_market_does_then_it_counts_as_silent() -> None:
    model = ensemble(named(Mad), named(First), combine="mean")
    assert live(model, rows(100), rows(100, 2)[:, 0])[-1] is not None
    assert model.contained()["Mad silent"] == 100


def test_ensemble_when_nobody_but_silence_speaks_then_it_says_nothing() -> None:
    model = ensemble(named(Mad), named(Broken))
    assert set(live(model, rows(100), rows(100, 2)[:, 0])) == {None}
    assert model.width_one(rows(1)[0]) is None and model.disagreement_one(rows(1)[0]) is None


def test_ensemble_when_an_expert_is_silent_then_its_weight_is_shared_in_proportion() -> None:
    x = rows(3000)
    model = ensemble(named(Hesitant), named(Second), share=0.01)
    live(model, x, x[:, 0] + x[:, 1] + rows(3000, 2)[:, 0])
    weights = model.weights
    row = np.array([1.0, -2.0])
    left = weights["zero"] + weights["Second"]
    assert model.predict_one(row) == pytest.approx(-2.0 * weights["Second"] / left)
    row[1] = 0.5
    assert model.predict_one(row) == pytest.approx(weights["Hesitant"] + 0.5 * weights["Second"])
    assert model.contained()["Hesitant silent"] == int((x[:, 1] <= 0.0).sum())


def test_learn_when_labels_come_in_another_order_then_each_meets_its_own_words() -> None:
    x, chance = rows(1200), np.random.default_rng(7)
    model = ensemble(named(First), named(Opposite), horizon=12, share=0.0)
    pending: list[int] = []
    for i in range(len(x)):
        pending.append(i)
        model.observe_one(x[i])
        if len(pending) > 10:
            at = pending.pop(int(chance.integers(len(pending) - 3)) if i % 2 else 0)
            model.learn_one(x[at], float(x[at, 0]))
    assert model.weights["First"] > 0.95
    assert model.totals[1] == 0.0, "what the first expert said was right each time"
    assert len(model._words) <= 14


def test_learn_when_samples_never_get_a_label_then_their_words_make_room() -> None:
    model = ensemble(named(First), horizon=5)
    for row in rows(1000):
        model.observe_one(row)
    assert len(model._words) == 7
    model.learn_one(rows(1000)[0], 1.0)  # whose words have gone
    assert model.regret == 0.0


# Trained experts.


def job(model: Ensemble, seed: int = 7) -> TrainJob:
    x = rows(64)
    times = np.arange(64, dtype=np.int64) * SECOND_NS
    return TrainJob(model.settings, "f", model.names, times, x.astype(np.float32), np.full(64, 2.0), seed)


def test_swap_when_experts_were_trained_then_each_gets_its_own() -> None:
    model = ensemble(named(Told, "a"), named(First), named(Told, "b"), combine="mean")
    assert model.is_trained and not ensemble(named(First)).is_trained
    model.swap(Ensemble.fit(job(model)), "f")
    a, _, b = (bag.members[0].predict_one(rows(1)[0]) for bag in model.panel.bags)
    assert a is not None and b is not None and a != b, "each with a seed of its own"
    assert model.left_out() == ""


def test_swap_when_one_expert_refuses_then_the_others_take_theirs_and_it_is_said() -> None:
    model = ensemble(named(Told), named(Picky), named(Untrainable))
    model.swap(Ensemble.fit(job(model)), "f")
    assert model.panel.bags[0].members[0].predict_one(rows(1)[0]) is not None
    assert model.left_out() == ("Picky: not to my taste; Untrainable: the training failed: ZeroDivisionError: no rows")
    assert model.contained()["Picky refused"] == model.contained()["Untrainable refused"] == 1
    model.swap(Ensemble.fit(job(ensemble(named(Told), named(Picky)))), "f")
    assert "Untrainable: expected a training of it in the payload, found none" in model.left_out()


def test_swap_when_nobody_takes_anything_then_it_is_refused() -> None:
    with pytest.raises(ModelError, match="Untrainable 0: ZeroDivisionError: no rows"):
        Ensemble.fit(job(ensemble(named(Untrainable))))
    model = ensemble(named(Picky))
    with pytest.raises(ModelError, match="Picky: not to my taste"):
        model.swap(Ensemble.fit(job(model)), "f")
    silent = ensemble(named(First))
    with pytest.raises(ModelError, match="no expert of this ensemble is trained"):
        silent.swap(Ensemble.fit(job(silent)), "f")


def test_swap_when_a_part_was_changed_on_its_way_then_that_part_is_refused() -> None:
    model = ensemble(named(Told, "a"), named(Told, "b"))
    parcel = msgspec.msgpack.decode(Ensemble.fit(job(model)))
    parcel["entries"][0]["payload"] = b"3.5"
    model.swap(msgspec.msgpack.encode(parcel), "f")
    found = hashlib.sha256(b"3.5").hexdigest()
    assert model.left_out().startswith("a: expected a payload with SHA-256") and found in model.left_out()


# Bags.


def test_bag_when_a_model_learns_from_each_label_then_its_members_have_heard_others() -> None:
    x = rows(2000)
    model = ensemble({"use": "clipped-linear", "bag": 5}, horizon=4)
    live(model, x, x[:, 0] + rows(2000, 2)[:, 0], horizon=4)
    answers = [one.predict_one(x[0]) for one in model.panel.bags[0].members]
    assert len(set(answers)) == 5
    apart = model.disagreement_one(x[0])
    assert apart is not None and apart > 0.0
    again = ensemble({"use": "clipped-linear", "bag": 5}, horizon=4)
    live(again, x, x[:, 0] + rows(2000, 2)[:, 0], horizon=4)
    assert again.predict_one(x[1]) == model.predict_one(x[1])
    other = ensemble({"use": "clipped-linear", "bag": 5}, horizon=4, seed=1)
    live(other, x, x[:, 0] + rows(2000, 2)[:, 0], horizon=4)
    assert other.predict_one(x[1]) != model.predict_one(x[1])


def test_bag_when_a_model_is_trained_then_its_members_have_other_seeds_and_rows_other_weights() -> None:
    model = ensemble(named(Told), bag=4)
    payload = Ensemble.fit(job(model))
    assert payload == Ensemble.fit(job(model)) != Ensemble.fit(job(model, seed=8))
    model.swap(payload, "f")
    said = [one.predict_one(rows(1)[0]) or 0.0 for one in model.panel.bags[0].members]
    assert len(set(said)) == 4 and all(1.0 < one < 3.5 for one in said)
    assert model.panel.bags[0].speak(rows(1)[0])[0] == pytest.approx(sum(said) / 4)


# State and settings.


@pytest.mark.parametrize("combine", COMBINERS)
def test_ensemble_when_saved_in_the_middle_then_the_loaded_one_goes_on_to_the_last_bit(combine: str) -> None:
    experts = ("clipped-linear", {"use": "last", "bag": 3}, named(Hesitant), named(Told))
    x = rows(1200)
    y = x[:, 0] + rows(1200, 2)[:, 0]
    model = ensemble(*experts, combine=combine, horizon=6)
    live(model, x[:600], y[:600], horizon=6)
    model.swap(Ensemble.fit(job(model)), "f")
    other = ensemble(*experts, combine=combine, horizon=6)
    other.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    for i in range(600, 1200):
        for one in (model, other):
            one.learn_one(x[i - 6], float(y[i - 6]))
        assert model.predict_one(x[i]) == other.predict_one(x[i])
        assert model.width_one(x[i]) == other.width_one(x[i])
        for one in (model, other):
            one.observe_one(x[i])
    assert msgspec.msgpack.encode(model.save()) == msgspec.msgpack.encode(other.save())
    with pytest.raises(ModelError, match="saved experts: expected First, found clipped-linear"):
        ensemble(named(First), combine=combine).load(model.save())


def test_ensemble_inside_an_ensemble_is_an_expert_as_any() -> None:
    inner = {"use": "ensemble", "options": {"experts": [named(First), named(Told)]}}
    model = ensemble(inner, named(Opposite))
    model.swap(Ensemble.fit(job(model)), "f")
    x = rows(500)
    live(model, x, x[:, 0])
    assert model.is_trained and model.weights["ensemble"] > 0.9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"experts": []}, "expected one or more, each name once, found none"),
        ({"experts": ["zero", "zero"]}, "found zero twice: give one a name"),
        ({"experts": ["oracle"]}, "model 'oracle': expected one of clipped-linear"),
        ({"experts": [{"use": "zero", "horizon": 3}]}, "unknown field `horizon`"),
        ({"experts": [{"use": "rolling-ridge", "options": {"rows": 1}}]}, "model e.rolling-ridge: options"),
        ({"experts": [{"use": "mlp", "epochs": 0}]}, "model e.mlp: epochs: expected at least 1, found 0"),
        ({"combine": "vote"}, "Invalid enum value 'vote'"),
        ({"share": 1.0}, "share"),
        ({"coverage": 0.2}, "coverage"),
        ({"bag": 0}, "bag"),
    ],
)
def test_options_when_they_cannot_be_then_the_error_says_which(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Ensemble(ModelSettings(name="e", symbol="v:X", options=options), ("a",))
