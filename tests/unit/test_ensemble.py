"""What an ensemble makes of what its experts say, and of experts that say nothing, raise, or refuse."""

from __future__ import annotations

import hashlib
import math
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engine.features.set import Vector
from engine.learn.contract import SECOND_NS, Model, ModelError, ModelSettings, TrainJob
from engine.learn.ensemble.ensemble import Ensemble
from engine.learn.ensemble.hedge import AdaHedge
from engine.learn.ensemble.loss import SquaredLoss

Rows = npt.NDArray[np.float64]
COMBINERS = ("adahedge", "hedge", "stacking", "mean")


def ensemble(*experts: Any, horizon: int = 1, seed: int = 0, **options: Any) -> Ensemble:
    """An ensemble whose labels are ``horizon`` samples long."""
    told = ModelSettings(
        name="e", symbol="v:X", use="ensemble", horizon_ns=horizon * SECOND_NS, every_ns=SECOND_NS, seed=seed,
        min_rows=8, options={"experts": list(experts), **options},
    )  # fmt: skip
    return Ensemble(told, ("return_1s_bps", "b"))


def named(kind: type[Model], name: str = "", **more: Any) -> dict[str, Any]:
    return {"use": f"{__name__}:{kind.__name__}", "name": name or kind.__name__, **more}


def live(model: Model, x: Rows, y: Rows, horizon: int = 1) -> list[float | None]:
    """Predict each row, and learn its label ``horizon`` rows later."""
    said: list[float | None] = []
    for i in range(len(x)):
        if i >= horizon:
            model.learn_one(x[i - horizon], float(y[i - horizon]))
        said.append(model.predict_one(x[i]))
        model.observe_one(x[i])
    return said


class First(Model):
    """Says the first feature."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[0])


class Opposite(Model):
    """Says the first feature with the other sign."""

    def predict_one(self, x: Vector) -> float | None:
        return -float(x[0])


class Second(Model):
    """Says the second feature."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[1])


class Hesitant(Model):
    """Says the first feature where the second is above 0, and nothing else."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[0]) if x[1] > 0.0 else None


class Broken(Model):
    """Raises whatever it is asked, and whatever it is taught."""

    def predict_one(self, x: Vector) -> float | None:
        raise ZeroDivisionError("no data")

    def observe_one(self, x: Vector) -> None:
        raise KeyError("no place")

    def learn_one(self, x: Vector, y: float) -> None:
        raise IndexError("no row")


class Mad(Model):
    """Says what no market does."""

    def predict_one(self, x: Vector) -> float | None:
        return math.inf if x[0] > 0 else 1e300


class Memory(Model):
    """Knows every label by heart once it was told, and nothing before."""

    def __init__(self, settings: ModelSettings, names: Any) -> None:
        super().__init__(settings, names)
        self.known: dict[bytes, float] = {}

    def predict_one(self, x: Vector) -> float | None:
        return self.known.get(x.tobytes(), 1.0)

    def learn_one(self, x: Vector, y: float) -> None:
        self.known[x.tobytes()] = y


class Told(Model):
    """Trained to say one number."""

    trains: ClassVar[bool] = True
    said: float | None = None

    def predict_one(self, x: Vector) -> float | None:
        return self.said

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        weight = 1.0 if job.weights is None else float(job.weights.mean())
        return f"{weight * float(job.y.mean()) + 1e-10 * job.seed}".encode()

    def swap(self, payload: bytes, features: str) -> None:
        self.said = float(payload)

    def save(self) -> dict[str, Any]:
        return {"said": self.said}

    def load(self, state: dict[str, Any]) -> None:
        self.said = state["said"]


class Picky(Told):
    """Takes no payload."""

    def swap(self, payload: bytes, features: str) -> None:
        raise ModelError("not to my taste")


class Untrainable(Told):
    """Whose training always raises."""

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        raise ZeroDivisionError("no rows")


def rows(count: int, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).normal(size=(count, 2))


# Weights.


@pytest.mark.parametrize("combine", ["adahedge", "hedge", "stacking"])
def test_ensemble_when_one_expert_is_right_then_it_says_what_that_one_says(combine: str) -> None:
    x = rows(4000)
    model = ensemble(named(First), named(Opposite), named(Second), combine=combine, share=0.0)
    live(model, x, x[:, 0] + 0.5 * rows(4000, 2)[:, 0])
    for row in rows(50, 3):
        assert model.predict_one(row) == pytest.approx(row[0], abs=0.1)


@pytest.mark.parametrize("combine", ["adahedge", "hedge", "stacking"])
def test_ensemble_when_no_expert_knows_anything_then_it_falls_silent(combine: str) -> None:
    x = rows(6000)
    model = ensemble(named(First), named(Second), combine=combine, share=0.0)
    said = live(model, x, rows(6000, 2)[:, 0])
    assert max(abs(one or 0.0) for one in said[5000:]) < 0.25
    if combine != "stacking":
        assert model.weights["zero"] > 0.9


@pytest.mark.parametrize("combine", COMBINERS)
@pytest.mark.parametrize("quiet", [0, 3000])
def test_weights_when_most_labels_are_0_and_a_few_large_then_who_foresees_them_is_heard(
    combine: str, quiet: int
) -> None:
    chance = np.random.default_rng(4)
    x = rows(quiet + 6000)
    y = np.where(chance.random(len(x)) < 0.01, 50.0 * np.sign(x[:, 0]), 0.0)
    y[:quiet] = 0.0
    x[:, 0] = 0.8 * y + chance.normal(size=len(x))
    model = ensemble(named(First), named(Opposite), combine=combine, share=0.0)
    live(model, x, y)
    if combine in ("adahedge", "hedge"):
        assert model.weights["First"] > 0.9 and model.weights["Opposite"] < 0.01
    elif combine == "stacking":
        assert (model.predict_one(np.array([40.0, 0.0])) or 0.0) > 20.0, "though it began with the mean, which is 0"
    assert math.isfinite(model.regret)
    assert model.loss.unit == pytest.approx(50.0, rel=0.2)


def test_weights_when_nearly_all_labels_are_nearly_0_then_who_foresees_the_large_ones_is_heard() -> None:
    chance = np.random.default_rng(5)
    large = chance.random(8000) < 0.005
    y = np.where(large, 20.0 * chance.choice([-1.0, 1.0], 8000), 1e-7 * chance.normal(size=8000))
    x = np.stack([0.9 * y, chance.normal(size=8000)], axis=1)
    model = ensemble(named(First), named(Second), share=0.0)
    live(model, x, y)
    assert model.weights["First"] > 0.9


def test_loss_when_all_labels_are_0_then_no_unit_and_no_judgement() -> None:
    model = ensemble(named(First), named(Opposite))
    x = rows(500)
    said = live(model, x, np.zeros(500))
    assert model.loss.unit == 0.0 and model.regret == 0.0 and None not in said
    assert set(model.weights.values()) == {1.0 / 3.0}
    assert model.width_one(x[0]) is None


def test_loss_when_one_label_is_absurd_then_the_weights_go_on_as_without_it() -> None:
    x = rows(3000)
    y = x[:, 0] + rows(3000, 2)[:, 0]
    spoilt = y.copy()
    spoilt[1000] = -9e4
    plain, other = ensemble(named(First), named(Opposite)), ensemble(named(First), named(Opposite))
    live(plain, x, y)
    live(other, x, spoilt)
    assert other.loss.unit == pytest.approx(plain.loss.unit, rel=0.1)
    assert other.weights["First"] == pytest.approx(plain.weights["First"], abs=0.02)


def test_loss_when_labels_grow_a_thousandfold_then_the_unit_follows() -> None:
    loss, chance = SquaredLoss(), np.random.default_rng(6)
    for y in chance.normal(size=3000):
        loss.learn(float(y))
    for y in 1000.0 * chance.normal(size=3000):
        label = loss.learn(float(y))
        assert (loss.of(label, np.array([0.0, 1e300, -1e300])) <= 9010.0).all()
    assert loss.unit == pytest.approx(1000.0, rel=0.1)


def test_weights_when_an_expert_knows_only_what_it_was_told_then_it_is_judged_by_what_it_said_before() -> None:
    x = np.tile(rows(5), (400, 1)) + 1e-9 * rows(2000, 2)  # no row comes twice
    model = ensemble(named(Memory), named(Opposite), horizon=10, share=0.0)
    live(model, x, rows(2000, 3)[:, 0], horizon=10)
    assert model.weights["Memory"] < 0.05


@pytest.mark.parametrize("horizon", [1, 7])
def test_regret_is_what_was_said_against_the_best_expert(horizon: int) -> None:
    x = rows(3000)
    y = 0.3 * x[:, 0] + rows(3000, 2)[:, 0]
    model = ensemble(named(First), named(Second), horizon=horizon, share=0.0)
    said = live(model, x, y, horizon)
    unit = float(np.sqrt(np.mean(y**2)))
    done = slice(0, 3000 - horizon)
    mixed = np.array([one or 0.0 for one in said])
    sums = [float(np.sum((y[done] - one[done]) ** 2)) / unit**2 for one in (mixed, np.zeros(3000), x[:, 0], x[:, 1])]
    assert model.regret == pytest.approx(sums[0] - min(sums[1:]), abs=0.02 * 3000)
    assert model.regret < 0.05 * min(sums[1:])


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


# The interval.


@pytest.mark.parametrize("horizon", [1, 10])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_width_when_errors_differ_then_it_holds_what_it_should_and_is_wider_where_experts_disagree(
    horizon: int, coverage: float
) -> None:
    chance, count = np.random.default_rng(8), 30_000
    loud = np.repeat(chance.random(count // 100) < 0.5, 100)
    noise = np.where(loud, 3.0, 0.5)
    x = noise[:, None] * chance.normal(size=(count, 2))
    y = x.mean(axis=1) + noise * chance.normal(size=count)
    model = ensemble(named(First), named(Second), combine="mean", coverage=coverage, horizon=horizon)
    inside, widths = np.zeros(count), np.full(count, np.nan)
    for i in range(count):
        if i >= horizon:
            model.learn_one(x[i - horizon], float(y[i - horizon]))
        said, width = model.predict_one(x[i]), model.width_one(x[i])
        if width is not None and said is not None:
            widths[i], inside[i] = width, abs(y[i] - said) <= width
        model.observe_one(x[i])
    late = np.arange(count) >= 5000
    assert inside[late].mean() == pytest.approx(coverage, abs=0.02)
    assert widths[late & loud].mean() > 1.5 * widths[late & ~loud].mean()


def test_width_when_disagreement_tells_nothing_then_it_hardly_moves() -> None:
    x = rows(20_000)
    y = x.mean(axis=1) + 3.0 * rows(20_000, 2)[:, 0]
    model = ensemble(named(First), named(Second), combine="mean")
    live(model, x, y)
    widths = [model.width_one(row) or 0.0 for row in rows(200, 9)]
    assert np.std(widths) < 0.05 * np.mean(widths)


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


def test_ada_hedge_is_what_the_ensemble_uses_unless_told_otherwise() -> None:
    model = ensemble(named(First))
    assert isinstance(getattr(model.combiner, "hedge", None), AdaHedge)
