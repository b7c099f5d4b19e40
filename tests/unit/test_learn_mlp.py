"""The network: it learns, its export is what torch said, equal jobs give equal bytes, bad payloads are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper

from engine.core.events import ModelReady
from engine.core.records import ModelRefused, ModelSwapped
from engine.features.set import HELD, FeatureSet
from engine.learn.contract import ModelError, ModelSettings
from engine.learn.holdout import split
from engine.learn.jobs import TrainJob
from engine.learn.models import Models
from engine.learn.networks.graph import build_graph, forward
from engine.learn.networks.mlp import Mlp
from engine.learn.networks.mlp_fit import MlpNet
from engine.learn.networks.payload import TOLERANCE, Network, difference, pack, probe, unpack
from engine.learn.networks.session import Session
from engine.learn.trainer import Worker, fit
from tests.frames import MS, SECOND
from tests.learning import INSTRUMENTS, settings

FEATURES = FeatureSet(ticks=[1], warm_up_ns=SECOND, trades=HELD)


def planted(rows: int = 2500, seed: int = 1, **changes: Any) -> TrainJob:
    """Rows whose label is half linear and half a product of two features, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(FEATURES.names))).astype(np.float32)
    x[:, 5] = 7.0  # never moves
    y = 0.1 * (x[:, 0].astype(np.float64) * x[:, 1] + x[:, 2] + 0.5 * rng.normal(size=rows))
    times_ns = np.arange(rows, dtype=np.int64) * 100 * MS
    return TrainJob(
        settings("mlp", hidden=(32,), epochs=25, learning_rate=3e-3, **changes),
        FEATURES.hash,
        FEATURES.names,
        times_ns,
        x,
        y,
        3,
    )


@pytest.fixture(scope="module")
def job() -> TrainJob:
    return planted()


@pytest.fixture(scope="module")
def payload(job: TrainJob) -> bytes:
    return fit(job)


def test_it_learns_what_is_linear_and_what_is_not(job: TrainJob, payload: bytes) -> None:
    model = Mlp(job.settings, job.names)
    assert model.predict_one(job.x[0].astype(np.float64)) is None
    model.swap(payload, FEATURES.hash)
    unseen = planted(rows=600, seed=2)
    said = [model.predict_one(row) or 0.0 for row in unseen.x.astype(np.float64)]
    assert np.corrcoef(said, unseen.y)[0, 1] > 0.8  # the linear part alone gives 0.67
    card = unpack(payload, FEATURES.hash).card
    assert card.validation["ic"] > 0.8 and card.rows == 2500 and 0 < card.epochs <= 25


@pytest.mark.parametrize(
    ("sizes", "skip"),
    [((23, 40, 20, 1), False), ((23, 200, 1), True), ((23, 16, 16, 16, 3), True), ((23, 8, 8, 2), False)],
)
def test_the_export_says_what_torch_says(sizes: tuple[int, ...], skip: bool) -> None:
    torch.manual_seed(5)
    net = MlpNet(sizes, skip=skip, dropout=0.5)
    net.eval()
    torch.nn.init.normal_(net.layers[-1].get_parameter("weight"))
    if net.skip is not None:
        torch.nn.init.normal_(net.skip)
    net.mean, net.inverse_deviation = torch.randn(23), torch.rand(23) + 0.5
    net.label_scale = torch.rand(sizes[-1]) + 0.1
    rows = probe(23, 256)
    with torch.no_grad():
        expected = net(torch.from_numpy(rows)).numpy()
    assert np.abs(expected).max() > 0.1
    assert difference(Session(build_graph(net.weights()))(rows), expected) < TOLERANCE
    assert difference(forward(net.weights(), rows), expected) < TOLERANCE


def test_several_labels_have_an_output_each(job: TrainJob) -> None:
    both = np.column_stack([job.y, -100.0 * job.y, np.zeros(len(job.y))])
    three = msgspec.structs.replace(job.settings, labels=("return@1s", "return@2s", "direction@1s"))
    model = Mlp(three, job.names)
    assert model.predict_all(job.x[0].astype(np.float64)) == (None, None, None)
    model.swap(fit(msgspec.structs.replace(job, settings=three, y=both)), FEATURES.hash)
    unseen = planted(rows=300, seed=2)
    said = np.array([model.predict_all(row) for row in unseen.x.astype(np.float64)], np.float64)
    assert [model.predict_one(row) for row in unseen.x[:9].astype(np.float64)] == said[:9, 0].tolist()
    assert np.corrcoef(said[:, 0], unseen.y)[0, 1] > 0.75 and np.corrcoef(said[:, 1], -unseen.y)[0, 1] > 0.75
    assert np.std(said[:, 1]) > 30 * np.std(said[:, 0]) and np.abs(said[:, 2]).max() < 0.3


def test_rows_that_weigh_nothing_teach_nothing(job: TrainJob) -> None:
    wrong = np.arange(len(job.y)) % 2 == 0
    y = np.where(wrong, -3.0 * job.y, job.y)
    weighted = msgspec.structs.replace(job, y=y, weights=np.where(wrong, 0.0, 1.0))
    said = {}
    for name, one in (("weighted", weighted), ("all", msgspec.structs.replace(job, y=y))):
        model = Mlp(job.settings, job.names)
        model.swap(fit(one), FEATURES.hash)
        said[name] = [model.predict_one(row) or 0.0 for row in job.x[:300].astype(np.float64)]
    assert float(np.dot(said["all"], job.y[:300])) <= 0.0
    assert np.corrcoef(said["weighted"], job.y[:300])[0, 1] > 0.7


def test_the_ways_of_training_are_settings(job: TrainJob) -> None:
    quick = msgspec.structs.replace(job.settings, epochs=2)
    ways: list[dict[str, Any]] = [
        {},
        {"dropout": 0.3},
        {"loss": "squared"},
        {"huber_delta": 0.1},
        {"weight_decay": 0.5},
    ]
    ways += [{"schedule": "cosine"}, {"gradient_norm": 0.01}, {"skip": False}]
    payloads = [fit(msgspec.structs.replace(job, settings=msgspec.structs.replace(quick, options=way))) for way in ways]
    assert len({unpack(one, FEATURES.hash).weights["weight.0"].tobytes() for one in payloads}) == len(ways)
    with pytest.raises(ModelError, match=r"options: Expected `float` < 1.0 - at `\$.dropout`; expected loss,"):
        Mlp(msgspec.structs.replace(quick, options={"dropout": 1.0}), job.names)


def test_the_best_weights_are_kept_and_patience_ends_it(job: TrainJob) -> None:
    hasty = msgspec.structs.replace(job.settings, epochs=200, patience=3, learning_rate=0.05)
    card = unpack(fit(msgspec.structs.replace(job, settings=hasty)), FEATURES.hash).card
    again = msgspec.structs.replace(hasty, epochs=max(1, card.epochs))
    assert 0 < card.epochs < 150
    assert unpack(fit(msgspec.structs.replace(job, settings=again)), FEATURES.hash).card.validation == card.validation


def test_the_same_job_gives_the_same_bytes_here_and_in_another_process(job: TrainJob, payload: bytes) -> None:
    threads = torch.get_num_threads()
    before = torch.random.get_rng_state()
    assert fit(job) == payload
    assert torch.get_num_threads() == threads and torch.equal(torch.random.get_rng_state(), before)
    assert fit(msgspec.structs.replace(job, seed=4)) != payload
    worker = Worker()
    assert worker.fit(job, 60.0) == (payload, job.seen)
    worker.stop()


def test_a_training_that_fails_harms_nobody(job: TrainJob, payload: bytes) -> None:
    with pytest.raises(ModelError, match="expected at least 2 rows"):
        fit(planted(rows=12))  # too few before the validation, once the overlapping ones are purged
    models = Models(INSTRUMENTS, [settings("mlp", hidden=(32,))])
    (taken,) = models.swap(ModelReady(1, "m", hashlib.sha256(payload).hexdigest(), payload))
    (failed,) = models.swap(ModelReady(2, "m", "", b""))
    assert isinstance(taken, ModelSwapped)
    assert isinstance(failed, ModelRefused) and "training failed" in failed.reason
    assert models.summary()[0]["version"] == taken.version


def test_rows_whose_label_sees_the_validation_are_purged() -> None:
    times_ns = np.cumsum(np.random.default_rng(1).integers(1, 100, 500))
    ends, begins = split(times_ns, horizon_ns=300)
    assert times_ns[ends - 1] + 300 <= times_ns[begins] < times_ns[ends] + 300
    assert begins == 400


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_window_with_a_hole_is_refused(job: TrainJob, bad: float) -> None:
    x = job.x.copy()
    x[17, 3] = bad
    with pytest.raises(ModelError, match="finite"):
        fit(msgspec.structs.replace(job, x=x))


def test_a_market_that_never_moved_gives_a_network_that_says_nothing_moves(job: TrainJob) -> None:
    quiet = fit(msgspec.structs.replace(job, y=np.zeros_like(job.y), x=np.zeros_like(job.x)))
    model = Mlp(job.settings, job.names)
    model.swap(quiet, FEATURES.hash)
    assert abs(model.predict_one(np.ones(len(job.names))) or 0.0) < 0.5


def tampered(payload: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    blob = msgspec.msgpack.decode(payload)
    change(blob)
    return msgspec.msgpack.encode(blob)


def with_weight(payload: bytes, name: str, value: float) -> bytes:
    def change(blob: dict[str, Any]) -> None:
        weights = safetensors.numpy.load(blob["weights"])
        weights[name].flat[0] = value
        blob["weights"] = safetensors.numpy.save(weights)

    return tampered(payload, change)


def without_weight(blob: dict[str, Any]) -> None:
    weights = safetensors.numpy.load(blob["weights"])
    del weights["mean"]
    blob["weights"] = safetensors.numpy.save(weights)


def misshapen(blob: dict[str, Any]) -> None:
    weights = safetensors.numpy.load(blob["weights"])
    weights["mean"] = weights["mean"][:-1]
    blob["weights"] = safetensors.numpy.save(weights)


def set_to(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda blob: blob.update(values)


def set_card(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda blob: blob["card"].update(values)


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda p: p[:-100], "expected a trained network"),
    "empty map": (lambda p: b"\x80", "expected a trained network"),
    "foreign": (lambda p: b"\xff\xd8\xff\xe0 a picture", "expected a trained network"),
    "other format": (lambda p: tampered(p, set_to(format="papertape network 0")), "expected the format"),
    "other features": (lambda p: tampered(p, set_card(features="f" * 64)), "train it again"),
    "other names": (lambda p: tampered(p, set_card(names=[f"n{i}" for i in range(23)])), "expected features"),
    "other horizon": (lambda p: tampered(p, set_card(horizon_ns=5)), "expected a horizon of 1000000000 ns, found 5"),
    "nan": (lambda p: with_weight(p, "weight.0", np.nan), "tensor weight.0: expected finite numbers, found 1"),
    "infinite": (lambda p: with_weight(p, "label_scale", np.inf), "tensor label_scale: expected finite"),
    "no tensors": (lambda p: tampered(p, set_to(weights=b"\x00" * 50)), "expected weights as safetensors"),
    "tensor missing": (lambda p: tampered(p, without_weight), "expected the tensors"),
    "tensor misshapen": (lambda p: tampered(p, misshapen), r"tensor mean: expected float32 \(23,\)"),
    "no graph": (lambda p: tampered(p, set_to(graph=b"not a graph")), "expected an ONNX graph"),
    "graph of others": (lambda p: with_weight(p, "weight.0", 3.0), "expected a graph that agrees with its weights"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_payload_is_refused_and_the_old_network_goes_on(job: TrainJob, payload: bytes, case: str) -> None:
    spoil, text = BAD[case]
    bad = spoil(payload)
    model = Mlp(job.settings, job.names)
    model.swap(payload, FEATURES.hash)
    x = job.x[0].astype(np.float64)
    before = model.predict_one(x)
    with pytest.raises(ModelError, match=text):
        model.swap(bad, FEATURES.hash)
    assert before is not None and model.predict_one(x) == before


def test_a_graph_of_another_shape_is_refused(payload: bytes) -> None:
    network = unpack(payload, FEATURES.hash)
    narrow = {"mean": np.zeros(2, np.float32), "inverse_deviation": np.ones(2, np.float32)}
    narrow |= {"label_scale": np.ones(1, np.float32)}
    narrow |= {"weight.0": np.ones((1, 2), np.float32), "bias.0": np.ones(1, np.float32)}
    model = Mlp(settings("mlp"), FEATURES.names)
    with pytest.raises(ModelError, match="expected a graph of 23 features, found 2"):
        model.swap(pack(network.card, network.weights, build_graph(narrow)), FEATURES.hash)


def foreign_graph(kind: str) -> bytes:
    """Well-formed graphs that are not ours."""
    shape: list[str | int] = ["rows", 23] if kind != "flat" else ["rows"]
    number = TensorProto.DOUBLE if kind == "double" else TensorProto.FLOAT
    node = {"wide": helper.make_node("Identity", ["x"], ["y"]), "breaks": helper.make_node("MatMul", ["x", "x"], ["y"])}
    graph = helper.make_graph(
        [node["breaks" if kind == "breaks" else "wide"]],
        "foreign",
        [helper.make_tensor_value_info("x", number, shape)],
        [helper.make_tensor_value_info("y", number, ["rows", "any"] if kind == "breaks" else shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["double", "flat", "wide", "breaks"])
def test_a_foreign_graph_is_refused(payload: bytes, kind: str) -> None:
    network = unpack(payload, FEATURES.hash)
    with pytest.raises(ModelError, match=r"expected a graph|expected an ONNX graph"):
        Mlp(settings("mlp"), FEATURES.names).swap(
            pack(network.card, network.weights, foreign_graph(kind)), FEATURES.hash
        )


def test_every_cut_of_a_payload_is_refused_in_words(job: TrainJob, payload: bytes) -> None:
    model = Mlp(job.settings, job.names)
    for end in range(0, len(payload), 97):
        with pytest.raises(ModelError):
            model.swap(payload[:end], FEATURES.hash)


def test_a_network_is_saved_and_taken_back(job: TrainJob, payload: bytes) -> None:
    model, other = Mlp(job.settings, job.names), Mlp(job.settings, job.names)
    other.load(model.save())
    x = job.x[0].astype(np.float64)
    assert other.predict_one(x) is None
    model.swap(payload, FEATURES.hash)
    other.load(model.save())
    assert other.predict_one(x) == model.predict_one(x)


def test_a_model_that_learns_online_is_not_trained() -> None:
    online = ModelSettings(name="m", symbol="sim:X")
    with pytest.raises(ModelError, match="learns from each label and is not trained"):
        fit(msgspec.structs.replace(planted(rows=50), settings=online))


def test_a_warm_start_begins_from_the_last_weights_and_an_anchor_holds_them(job: TrainJob, payload: bytes) -> None:
    """One epoch of a small step from good weights is better than one from nothing; held, it moves less."""
    short = msgspec.structs.replace(job.settings, epochs=1, learning_rate=1e-3)

    def trained(sign: float = 1.0, **options: Any) -> tuple[Network, bytes]:
        settings = msgspec.structs.replace(short, options=options)
        parent = payload if options else b""
        made = fit(msgspec.structs.replace(job, settings=settings, parent=parent, y=sign * job.y))
        return unpack(made, FEATURES.hash), made

    before = unpack(payload, FEATURES.hash)
    cold, _ = trained()
    warm, made = trained(warm_start=True)
    moved, _ = trained(-1.0, warm_start=True)
    anchored, _ = trained(-1.0, warm_start=True, anchor=1e3)
    assert (cold.card.shape["warm"], warm.card.shape["warm"]) == (0, 1)
    assert warm.card.validation["r2"] > cold.card.validation["r2"] + 0.05
    assert 0.0 < apart(anchored, before) < 0.7 * apart(moved, before)
    model = Mlp(job.settings, job.names)
    model.swap(made, FEATURES.hash)
    assert model.parent() == b"", "a model that is not told so begins each training from nothing"
    told = msgspec.structs.replace(job.settings, options={"warm_start": True})
    warmed = Mlp(told, job.names)
    warmed.swap(made, FEATURES.hash)
    assert warmed.parent() == made


def apart(one: Network, other: Network) -> float:
    return sum(float(((one.weights[name] - other.weights[name]) ** 2).sum()) for name in one.weights if "." in name)


def test_weights_that_no_longer_fit_their_inputs_are_not_begun_from(job: TrainJob, payload: bytes) -> None:
    settings = msgspec.structs.replace(job.settings, epochs=1, options={"warm_start": True})
    for change in (job.x * 10.0, np.where(np.arange(job.x.shape[1]) == 5, job.x[:, :1], job.x)):
        other = msgspec.structs.replace(job, settings=settings, parent=payload, x=change.astype(np.float32))
        assert unpack(fit(other), FEATURES.hash).card.shape["warm"] == 0
    foreign = msgspec.structs.replace(job, settings=settings, parent=payload[:100])
    assert unpack(fit(foreign), FEATURES.hash).card.shape["warm"] == 0


def test_rows_of_long_ago_are_trained_on_and_never_validated_on() -> None:
    times_ns = np.arange(100) * 10
    assert split(times_ns, horizon_ns=30, kept=0) == (78, 80)
    assert split(times_ns, horizon_ns=30, kept=50) == (88, 90)


def test_a_network_that_remembers_rows_takes_none_of_long_ago() -> None:
    with pytest.raises(ModelError, match="memory_rows: expected 0 for lstm, which needs rows in a row, found 640"):
        Models(INSTRUMENTS, [settings("lstm", memory_rows=640)])
