"""Latent codes against plain numpy, against eigenvectors, and the autoencoder's kernel against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features import autoencoder, latent
from engine.features.latent import CELLS, COMPONENTS, WARM, Latent, sides
from engine.features.set import FeatureSet
from engine.learn.autoencoder import Autoencoder, fit_autoencoder, scales
from engine.learn.contract import ModelError
from tests.recorded import SPOT
from tests.streams import Vector, usable

KEPT = 0.5 ** (1 / latent.HALF_LIFE)
CODES_AT = COMPONENTS + 4


class Plain:
    """The definitions in numpy: no loops over numbers, no memory layout."""

    def __init__(self, width: int, components: int = COMPONENTS, cells: int = CELLS) -> None:
        self.count = 0
        self.mean, self.variance, self.weight = np.zeros(width), np.zeros(width), np.zeros(width)
        self.components, self.basis = np.zeros((components, width)), np.zeros((components, width))
        self.units, self.sides = np.zeros((cells, width)), np.array(sides(cells))
        self.places = np.array([divmod(k, sides(cells)[1]) for k in range(cells)], np.float64).reshape(cells, 2)

    def standardised(self, x: Vector) -> Vector:
        moves = (self.variance > 1e-12 * self.mean**2) & np.isfinite(x)
        z = (np.where(moves, x, 0) - self.mean) / np.sqrt(np.where(moves, self.variance, 1))
        return np.asarray(np.where(moves, np.clip(z, -autoencoder.BOUND, autoencoder.BOUND), 0), np.float64)

    def learn(self, x: Vector) -> None:
        self.count += 1
        known = np.isfinite(x)
        change = np.where(known, x, 0) - self.mean
        if self.count > WARM - 1:
            limit = np.where(self.variance > 0, autoencoder.BOUND * np.sqrt(self.variance), np.inf)
            change = np.clip(change, -limit, limit)
        self.weight = np.where(known, self.weight * KEPT + 1, self.weight)
        share = np.where(known, 1 / np.maximum(self.weight, 1), 0)
        self.mean = self.mean + share * change
        self.variance = (1 - share) * (self.variance + share * change**2)
        z = self.standardised(x)
        self.turn(z)
        if self.count >= WARM and len(self.units):
            self.move(z)

    def turn(self, z: Vector) -> None:
        rest, weight = z.copy(), (1 - KEPT) / (1 - KEPT**self.count)
        for k in range(len(self.components)):
            own = self.components[k]
            length = np.linalg.norm(own)
            own += weight * ((rest @ own / length if length > 0 else 1.0) * rest - own)
            length = np.linalg.norm(own)
            if length > 0:
                rest = rest - (rest @ own) / length**2 * own
                if rest @ rest <= 1e-20 * (z @ z):
                    rest = np.zeros(len(z))
            basis = own.copy()
            for before in self.basis[:k]:
                basis -= (basis @ before) * before
            left = np.linalg.norm(basis)
            sign = 1 if basis[np.abs(basis).argmax()] > 0 else -1
            self.basis[k] = basis * (sign / left if left > 1e-9 * length else 0)

    def move(self, z: Vector) -> None:
        age = self.count - WARM
        if age == 0:
            spread = np.sqrt(np.linalg.norm(self.components[:2], axis=1))
            self.units = ((self.places - (self.sides - 1) / 2)[:, : len(spread)] * spread) @ self.basis[:2]
        rate = max(latent.MAP_RATE_FLOOR, latent.MAP_RATE * np.exp(-age / latent.MAP_SAMPLES))
        radius = max(latent.MAP_RADIUS_FLOOR, latent.MAP_RADIUS * np.exp(-age / latent.MAP_SAMPLES))
        best = int(((self.units - z) ** 2).sum(axis=1).argmin())
        apart = ((self.places - self.places[best]) ** 2).sum(axis=1)
        self.units += (rate * np.exp(-apart / (2 * radius**2)))[:, None] * (z - self.units)

    def encoded(self, x: Vector) -> Vector:
        z = self.standardised(x)
        along = self.basis @ z
        rest = z - along @ self.basis
        error = np.sqrt((rest**2).mean())
        if not len(self.units):
            return np.asarray([*along, error], np.float64)
        distances = np.sqrt(((self.units - z) ** 2).mean(axis=1))
        place = self.places[int(distances.argmin())]
        row, column = np.where(self.sides > 1, place * 2 / np.maximum(self.sides - 1, 1) - 1, 0.0)
        return np.asarray([*along, error, row, column, distances.min()], np.float64)


def rows_of(count: int, width: int, seed: int) -> Vector:
    """Rows of a few common factors with their own noise, of different sizes, some numbers missing."""
    rng = np.random.default_rng(seed)
    loads = rng.normal(size=(3, width)) * np.array([[3.0], [1.5], [0.8]])
    common = rng.normal(size=(count, 3)) @ loads + 0.5 * rng.normal(size=(count, width))
    rows: Vector = np.asarray(common * 10.0 ** rng.uniform(-3, 3, width) + rng.normal(size=width), np.float64)
    rows[rng.random((count, width)) < 0.01] = np.nan
    return rows


def encoded(one: Latent, x: Vector) -> Vector:
    out = one.vector()
    one.encode(0, x, out)
    return out


def assert_plain(rows: Vector, components: int = COMPONENTS, cells: int = CELLS) -> None:
    one, plain = Latent(rows.shape[1], components=components, cells=cells), Plain(rows.shape[1], components, cells)
    for index, x in enumerate(rows):
        if index >= WARM and index % 7 == 0:
            told = plain.encoded(x)
            np.testing.assert_allclose(encoded(one, x)[: len(told)], told, rtol=1e-9, atol=1e-9)
        one.learn(0, x)
        plain.learn(x)


@pytest.mark.parametrize(("width", "seed"), [(2, 1), (5, 2), (23, 3), (40, 4)])
def test_codes_are_their_definitions(width: int, seed: int) -> None:
    assert_plain(rows_of(900, width, seed))


@pytest.mark.parametrize(("components", "cells"), [(1, 0), (1, 2), (7, 6), (2, 7), (12, 8)])
def test_codes_of_any_number_are_their_definitions(components: int, cells: int) -> None:
    assert_plain(rows_of(700, 9, 5), components, cells)


def base_rows(count: int) -> Vector:
    """The standard features of a recording, four times a second."""
    frames = usable(SPOT)
    features = FeatureSet(ticks=[1])
    found, out, done = [], features.vector(), 0
    for now_ns in range(int(frames["recv_ns"][0]), int(frames["recv_ns"][-1]), 250_000_000):
        upto = int(np.searchsorted(frames["recv_ns"], now_ns, side="right"))
        features.update(frames[done:upto])
        done = upto
        if features.read(0, now_ns, out):
            found.append(out.copy())
    return np.array(found[:count])


def test_codes_of_a_recording_are_their_definitions() -> None:
    rows = base_rows(1_200)
    assert len(rows) == 1_200
    assert_plain(rows)
    one = Latent(rows.shape[1])
    errors = []
    for x in rows:
        errors.append(encoded(one, x)[COMPONENTS])
        one.learn(0, x)
    # Four of 23 directions hold much of what moves together.
    assert 0.2 < np.nanmean(errors[WARM:]) < 0.9


def test_components_are_the_eigenvectors_of_the_correlations() -> None:
    rng = np.random.default_rng(5)
    # Groups of four, three and two that move together: eigenvalues near 3.7, 2.8 and 1.9, and small ones.
    groups = np.repeat(np.eye(3), [4, 3, 2], axis=1) * rng.choice([-1.0, 1.0], 9)
    rows = rng.normal(size=(6_000, 3)) @ groups + 0.3 * rng.normal(size=(6_000, 9))
    one = Latent(9)
    for x in rows:
        one.learn(0, x)
    weights = KEPT ** np.arange(6_000)[::-1]
    covariance = np.cov(rows.T, aweights=weights)
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    basis = one.basis(0)
    np.testing.assert_allclose(basis @ basis.T, np.eye(COMPONENTS), atol=1e-12)
    for k in range(3):
        assert abs(basis[k] @ vectors[:, -1 - k]) > 0.99, values
        assert basis[k][np.abs(basis[k]).argmax()] > 0


def test_the_map_tells_regimes_apart() -> None:
    rng = np.random.default_rng(6)
    centres = np.array([[4.0, 0.0, 0.0, 1.0], [-4.0, 1.0, 0.0, 0.0], [0.0, -5.0, 3.0, 0.0]])
    one, errors = Latent(4), []
    seen: dict[int, set[tuple[float, ...]]] = {0: set(), 1: set(), 2: set()}
    for step in range(3_000):
        regime = step // 50 % 3
        x = centres[regime] + 0.2 * rng.normal(size=4)
        if step > 2_000:
            out = encoded(one, x)
            seen[regime].add(tuple(out[COMPONENTS + 1 : COMPONENTS + 3].tolist()))
            errors.append(out[COMPONENTS + 3])
        one.learn(0, x)
    assert all(seen.values()) and not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])
    # One unit in the middle of everything would be off by 1.
    assert float(np.mean(errors)) < 0.5


def test_the_encoder_is_torchs() -> None:
    rows = rows_of(600, 23, 8)
    weights = fit_autoencoder(rows, seed=3, epochs=30)
    net = Autoencoder(torch.from_numpy(weights["mean"]), torch.from_numpy(weights["inverse_deviation"]))
    for index, layer in enumerate(net.layers):
        layer.load_state_dict({key: torch.from_numpy(weights[f"{key}.{index}"]) for key in ("weight", "bias")})
    one = Latent(23)
    assert np.isnan(encoded(one, rows[0])).all()
    one.load(weights)
    # The same tensors, in both in twice the digits: what differs is the code, not the rounding.
    net = net.double()
    net.mean, net.inverse_deviation = net.mean.double(), net.inverse_deviation.double()
    with torch.no_grad():
        z = net.standardised(torch.from_numpy(rows))
        codes = net.codes(z)
        errors = (net.decoded(codes) - z).pow(2).mean(dim=1).sqrt()
    found = np.array([encoded(one, x)[CODES_AT:] for x in rows])
    np.testing.assert_allclose(found[:, :-1], codes.numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, -1], errors.numpy(), rtol=0, atol=1e-9)
    with torch.no_grad():
        single = net.float()
        single.mean, single.inverse_deviation = single.mean.float(), single.inverse_deviation.float()
        codes = single.codes(single.standardised(torch.from_numpy(rows.astype(np.float32))))
    np.testing.assert_allclose(found[:, :-1], codes.numpy(), rtol=0, atol=1e-5)


def test_a_trained_autoencoder_knows_the_factors() -> None:
    rows = rows_of(2_000, 12, 9)
    one = Latent(12)
    one.load(fit_autoencoder(rows[:1_500], seed=1))
    errors = [encoded(one, x)[-1] for x in rows[1_500:]]
    # Three factors make all numbers but for noise; without codes the error would be 1.
    assert float(np.mean(errors)) < 0.45


def test_equal_windows_and_seeds_give_equal_weights() -> None:
    rows = rows_of(200, 5, 1)
    one, other, third = (fit_autoencoder(rows, seed=seed, epochs=3) for seed in (1, 1, 2))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert any(one[name].tobytes() != third[name].tobytes() for name in one)


@pytest.mark.parametrize("rows", [np.zeros(5), np.zeros((9, 3)), np.full((20, 2), np.inf)], ids=["flat", "few", "inf"])
def test_windows_that_teach_nothing_are_refused(rows: Vector) -> None:
    with pytest.raises(ModelError, match="expected at least 10 rows"):
        fit_autoencoder(rows, seed=1)


def test_what_never_moves_is_average() -> None:
    one = Latent(3)
    for _ in range(300):
        one.learn(0, np.array([1.0, np.nan, -1e9]))
    assert encoded(one, np.array([1.0, np.nan, -1e9]))[:CODES_AT].tolist() == [0.0] * 5 + [-1.0, -1.0, 0.0]
    mean, inverse = scales(np.full((5, 2), np.nan))
    assert mean.tolist() == inverse.tolist() == [0.0, 0.0]


def test_learning_and_restoring_are_exact() -> None:
    rows = rows_of(500, 6, 2)
    whole, resumed = Latent(6, symbols=2), Latent(6, symbols=2)
    whole.load(fit_autoencoder(rows, seed=1, epochs=1))
    for index, x in enumerate(rows[:350]):
        whole.learn(index % 3 // 2, x)
    resumed.restore(whole.save())
    for x in rows[350:]:
        for one in (whole, resumed):
            before = one.save()
            one.encode(1, x, one.vector())
            assert one.save() == before
            one.learn(0, x)
    assert whole.save() == resumed.save()
    assert encoded(whole, rows[0]).tobytes() == encoded(resumed, rows[0]).tobytes()
    with pytest.raises(ValueError, match="6 features"):
        resumed.restore(whole.save()[8:])


@pytest.mark.parametrize("change", ["missing", "misshapen", "nan"])
def test_weights_that_do_not_fit_are_refused(change: str) -> None:
    one = Latent(3)
    weights = fit_autoencoder(rows_of(50, 3, 1), seed=1, epochs=1)
    if change == "missing":
        del weights["bias.2"]
    elif change == "misshapen":
        weights["bias.2"] = weights["bias.2"][:-1]
    else:
        weights["bias.2"][0] = np.nan
    with pytest.raises(ValueError, match=r"tensor bias\.2: expected finite numbers of shape \(12,\)"):
        one.load(weights)
    assert np.isnan(one.weights).all()


def test_one_number_alone_shares_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2 features"):
        Latent(1)


@given(
    seed=st.integers(0, 2**32 - 1),
    wild=st.sampled_from([0.0, 1e300, -1e300, np.nan, np.inf, -np.inf, 5e-324]),
    at=st.integers(0, 299),
)
@settings(max_examples=40, deadline=None)
def test_no_number_is_too_wild(seed: int, wild: float, at: int) -> None:
    rows = rows_of(300, 4, seed)
    rows[at, 0] = wild
    one = Latent(4)
    for x in rows:
        one.learn(0, x)
    assert np.isfinite(encoded(one, rows[-1])[:CODES_AT]).all()
