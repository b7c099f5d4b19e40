"""Networks with a memory: kernels say what torch says, the state is carried, refilled at a swap, and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch

from engine.features.set import FeatureSet
from engine.learn.contract import ModelError, ModelSettings
from engine.learn.jobs import TrainJob
from engine.learn.models import Models
from engine.learn.networks.conv import Conv
from engine.learn.networks.lstm import Lstm
from engine.learn.networks.mlp import Mlp
from engine.learn.networks.options import ConvOptions, SequenceOptions
from engine.learn.networks.payload import TOLERANCE, card_of, check_tensors, difference, probe, unpack
from engine.learn.networks.sequence import Remembering, run
from engine.learn.networks.sequence_fit import make_net
from engine.learn.trainer import fit
from tests.frames import MS, walk
from tests.learning import INSTRUMENTS, Spy, drive, settings

FEATURES = FeatureSet(ticks=[1], warm_up_ns=1)
WIDTH = 6
NAMES = FEATURES.names[:WIDTH]
OPTIONS: dict[str, dict[str, Any]] = {
    "lstm": {"steps": 32, "burn_in": 8, "prime": 64},
    "conv": {"steps": 32, "burn_in": 8, "prime": 64, "layers": 3},
}
KINDS: dict[str, type[Remembering]] = {"lstm": Lstm, "conv": Conv}


def told(use: str, **changes: Any) -> ModelSettings:
    values: dict[str, Any] = {"hidden": (16,), "epochs": 25, "learning_rate": 0.01, "batch": 256, "patience": 12}
    return settings(use, **(values | {"options": OPTIONS.get(use, {})} | changes))


def delayed(use: str, rows: int = 2000, seed: int = 1, back: int = 3) -> TrainJob:
    """Rows whose label is what a feature was some rows before, with noise: no single row tells it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    y = 0.2 * (np.roll(x[:, 0], back) + 0.3 * rng.normal(size=rows))
    times_ns = np.arange(rows, dtype=np.int64) * 100 * MS
    return TrainJob(told(use), FEATURES.hash, NAMES, times_ns, x, y, 3)


@pytest.fixture(scope="module")
def payloads() -> dict[str, bytes]:
    return {use: fit(delayed(use)) for use in KINDS}


def said_by(model: Remembering, rows: npt.NDArray[Any]) -> list[float]:
    found = []
    for row in rows.astype(np.float64):
        found.append(model.predict_one(row) or 0.0)
        model.observe_one(row)
    return found


@pytest.mark.parametrize(
    ("use", "hidden", "options", "heads"),
    [
        ("lstm", (24,), SequenceOptions(), 1),
        ("lstm", (12, 12), SequenceOptions(dropout=0.5), 3),
        ("conv", (16,), ConvOptions(), 1),
        ("conv", (16, 8, 8), ConvOptions(taps=3), 2),
    ],
)
def test_the_kernel_says_what_torch_says(
    use: str, hidden: tuple[int, ...], options: SequenceOptions, heads: int
) -> None:
    torch.manual_seed(5)
    net, layers, shape = make_net(use, WIDTH, heads, hidden, options)
    net.eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    net.mean, net.inverse_deviation = torch.randn(WIDTH), torch.rand(WIDTH) + 0.5
    net.label_scale = torch.rand(heads) + 0.1
    rows = np.concatenate([probe(WIDTH), np.random.default_rng(2).normal(size=(300, WIDTH)).astype(np.float32)])
    with torch.no_grad():
        expected = net(torch.from_numpy(rows)).numpy()
    job = delayed(use, rows=50)
    job = msgspec.structs.replace(job, y=np.zeros((50, heads)))
    card = card_of(job, use, hidden=layers, shape=shape, validation={}, export_difference=0.0)
    check_tensors(net.weights(), KINDS[use].shapes(card))
    found = run(KINDS[use].cell(card, net.weights()), rows)
    assert np.abs(expected).max() > 0.1 and np.std(expected[64:]) > 0.05
    assert difference(found, expected) < TOLERANCE


@pytest.mark.parametrize("use", KINDS)
def test_it_learns_what_no_single_row_tells(use: str, payloads: dict[str, bytes]) -> None:
    job, unseen = delayed(use), delayed(use, rows=500, seed=2)
    model = KINDS[use](job.settings, NAMES)
    assert model.predict_one(np.zeros(WIDTH)) is None
    model.swap(payloads[use], FEATURES.hash)
    assert np.corrcoef(said_by(model, unseen.x), unseen.y)[0, 1] > 0.8
    card = unpack(payloads[use], FEATURES.hash).card
    assert card.validation["ic"] > 0.8 and card.export_difference < TOLERANCE


@pytest.mark.parametrize("use", KINDS)
def test_the_same_job_gives_the_same_bytes(use: str, payloads: dict[str, bytes]) -> None:
    assert fit(delayed(use)) == payloads[use]
    short = delayed(use, rows=60)
    assert fit(short) != fit(msgspec.structs.replace(short, seed=4))


@pytest.mark.parametrize("use", KINDS)
def test_only_observing_moves_the_state(use: str, payloads: dict[str, bytes]) -> None:
    model = KINDS[use](told(use), NAMES)
    model.swap(payloads[use], FEATURES.hash)
    rows = delayed(use, rows=40).x.astype(np.float64)
    first = [model.predict_one(row) for row in rows]
    assert [model.predict_one(row) for row in rows] == first
    for row in rows[:10]:
        model.observe_one(row)
    moved = model.predict_one(rows[10])
    assert moved != first[10]
    again = KINDS[use](told(use), NAMES)
    again.swap(payloads[use], FEATURES.hash)
    for row in rows[:10]:  # with predictions between, of whatever rows
        again.predict_one(rows[30])
        again.predict_one(row)
        again.observe_one(row)
        again.predict_one(rows[31])
    assert again.predict_one(rows[10]) == moved


@pytest.mark.parametrize("use", KINDS)
def test_a_swap_refills_the_memory_from_the_rows_observed_last(use: str, payloads: dict[str, bytes]) -> None:
    rows = delayed(use, rows=150).x
    early, late = KINDS[use](told(use), NAMES), KINDS[use](told(use), NAMES)
    early.swap(payloads[use], FEATURES.hash)
    for row in rows[:100].astype(np.float64):
        late.observe_one(row)
    for row in rows[36:100].astype(np.float64):  # all that the ring of 64 rows holds
        early.observe_one(row)
    late.swap(payloads[use], FEATURES.hash)
    assert said_by(late, rows[100:]) == said_by(early, rows[100:])


@pytest.mark.parametrize("use", KINDS)
def test_a_saved_memory_goes_on_to_the_last_bit(use: str, payloads: dict[str, bytes]) -> None:
    rows = delayed(use, rows=200).x
    model, other = KINDS[use](told(use), NAMES), KINDS[use](told(use), NAMES)
    said_by(model, rows[:30])
    other.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    assert other.predict_one(np.zeros(WIDTH)) is None
    model.swap(payloads[use], FEATURES.hash)
    said_by(model, rows[30:130])
    other.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    assert said_by(other, rows[130:]) == said_by(model, rows[130:])
    with pytest.raises(ModelError, match="start without it"):
        KINDS[use](told(use, options={**OPTIONS[use], "prime": 65}), NAMES).load(model.save())


@pytest.mark.parametrize("use", KINDS)
def test_what_is_missing_or_absurd_spoils_no_state(use: str, payloads: dict[str, bytes]) -> None:
    model = KINDS[use](told(use), NAMES)
    model.swap(payloads[use], FEATURES.hash)
    rows = delayed(use, rows=60).x.astype(np.float64)
    rows[5], rows[6], rows[7], rows[8] = np.nan, np.inf, -np.inf, 1e300
    assert np.isfinite(said_by(model, rows)).all()
    model.swap(payloads[use], FEATURES.hash)
    assert np.isfinite(said_by(model, rows)).all()


def test_several_labels_and_weights_are_learned_over_time() -> None:
    job = delayed("conv", rows=1200)
    two = told("conv", labels=("return@1s", "return@2s"))
    both = msgspec.structs.replace(job, settings=two, y=np.column_stack([job.y, -2.0 * job.y]), weights=np.ones(1200))
    model = Conv(two, NAMES)
    model.swap(fit(both), FEATURES.hash)
    said = []
    for row in job.x[:300].astype(np.float64):
        said.append(model.predict_all(row))
        model.observe_one(row)
    first, second = np.array(said, np.float64).T
    assert np.corrcoef(first, second)[0, 1] < -0.7 and np.std(second) > 1.3 * np.std(first)


def with_card(payload: bytes, **changes: Any) -> bytes:
    blob = msgspec.msgpack.decode(payload)
    blob["card"].update(changes)
    return msgspec.msgpack.encode(blob)


def without_tensor(payload: bytes) -> bytes:
    blob = msgspec.msgpack.decode(payload)
    weights = safetensors.numpy.load(blob["weights"])
    weights.pop("head")
    blob["weights"] = safetensors.numpy.save(weights)
    return msgspec.msgpack.encode(blob)


@pytest.mark.parametrize("use", KINDS)
def test_a_bad_payload_is_refused_and_the_old_network_goes_on(use: str, payloads: dict[str, bytes]) -> None:
    model, good = KINDS[use](told(use), NAMES), payloads[use]
    model.swap(good, FEATURES.hash)
    rows = delayed(use, rows=20).x
    said_by(model, rows[:10])
    before = model.save()
    other = payloads["conv" if use == "lstm" else "lstm"]
    bad: list[tuple[bytes, str]] = [
        (good[:-9], "expected a trained network"),
        (other, "expected a network of the kind"),
        (without_tensor(good), "expected the tensors"),
        (with_card(good, hidden=[]), "expected layers"),
        (with_card(good, hidden=[10**9]), "expected"),
        (with_card(good, hidden=[16] * 40), "expected"),
        (with_card(good, heads=0), "expected 1 outputs, one a label, found 0"),
        (with_card(good, names=["a"]), "expected features"),
        (with_card(good, shape={"taps": 10**6}), "expected") if use == "conv" else (b"", "expected"),
    ]
    for payload, text in bad:
        with pytest.raises(ModelError, match=text):
            model.swap(payload, FEATURES.hash)
        assert model.save() == before
    with pytest.raises(ModelError, match="expected a network of the kind mlp"):
        Mlp(told("mlp"), NAMES).swap(good, FEATURES.hash)


@pytest.mark.parametrize(
    ("use", "changes", "text"),
    [
        ("lstm", {"hidden": (8, 4)}, "layers of one size"),
        ("lstm", {"options": {"taps": 2}}, "unknown field `taps`"),
        ("conv", {"options": {"taps": 1}}, r"Expected `int` >= 2"),
        ("conv", {"options": {"loss": "absolute"}}, "Invalid enum value 'absolute'"),
    ],
)
def test_a_wrong_shape_is_told(use: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        fit(msgspec.structs.replace(delayed(use, rows=60), settings=told(use, **changes)))


def test_a_run_observes_every_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def observe(self: Spy, x: Sequence[float]) -> None:
        seen.append(list(x))
        self.diary.append(("observe", 0.0))

    monkeypatch.setattr(Spy, "observe_one", observe)
    models = Models(INSTRUMENTS, [settings("tests.learning:Spy")])
    drive(models, walk(900))
    spy = models.slot("m").model
    assert isinstance(spy, Spy)
    words = [what for what, _ in spy.diary if what in ("predict", "observe")]
    assert words == ["predict", "observe"] * (len(words) // 2) and len(seen) > 50
