"""What is in a payload: one network, several of an ensemble, or something of another make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.learn.ensemble import parcel
from engine.learn.networks.payload import card_of, pack
from engine.live.registry.cards import CardError, encode, read_card
from engine.live.registry.cards import card_of as registered
from engine.live.registry.payloads import distances, parts
from tests.registry import job

FEATURES = "f" * 64


def network(value: float, width: int = 2, **more: float) -> bytes:
    card = card_of(job(), "mlp", shape={}, epochs=3, validation={"ic": value}, export_difference=0.0)
    weights = {"weight": np.full((2, width), value, np.float32)}
    return pack(card, weights | {name: np.full(1, one, np.float32) for name, one in more.items()})


def ensemble() -> bytes:
    entries = [parcel.trained("net", member, network(0.1 * (1 + member))) for member in range(2)]
    return parcel.pack([*entries, parcel.failed("trees", 0, "too few rows")])


def test_the_parts_of_an_ensemble_are_told_one_by_one() -> None:
    assert [(one.name, one.holdout, one.why) for one in parts(ensemble(), FEATURES)] == [
        *(("net 0", {"ic": 0.1}, ""), ("net 1", {"ic": 0.2}, "")),
        ("trees", {}, "the training failed: too few rows"),
    ]
    card = registered(job(), job().seen, ensemble(), code={})
    assert card.holdout == {} and len(card.parts) == 3
    assert read_card(encode(card)) == card


def test_a_network_is_one_part_and_its_scores_are_the_cards() -> None:
    asked, later, changed = job(rows=9), job(rows=9, seed=2), job(epochs=7)
    told: dict[str, Any] = {"trigger": "drift", "parent": "a" * 64, "seconds": 1.23456}
    card = registered(asked, asked.seen, network(0.5), code={}, **told)
    assert card.holdout == {"ic": 0.5} and [part.kind for part in card.parts] == ["mlp"]
    assert (card.window.rows, card.window.first_ns, card.window.last_ns) == (9, 10**9, 9 * 10**9)
    assert (card.trigger, card.parent, card.seconds) == ("drift", "a" * 64, 1.235)
    assert card.settings_sha256 != registered(changed, changed.seen, network(0.5), code={}).settings_sha256
    assert card.window.sha256 != registered(later, later.seen, network(0.5), code={}).window.sha256


@pytest.mark.parametrize("payload", [b"", b"1.5", network(0.5)[:-9], ensemble()[:-9], b"\xff" * 100])
def test_what_is_cut_or_of_another_make_has_no_parts(payload: bytes) -> None:
    assert parts(payload, FEATURES) == ()
    assert registered(job(), job().seen, payload, code={}).holdout == {}


def test_a_network_of_other_features_is_no_part_of_this_training() -> None:
    assert parts(network(0.5), "0" * 64) == ()


def test_distances_are_relative_and_other_shapes_have_none() -> None:
    both = (FEATURES, FEATURES)
    (same,), alone = distances(network(2.0), network(3.0), both)
    assert same.tensor == "weight" and same.relative == pytest.approx(0.5) and not alone
    (other,), alone = distances(network(2.0), network(2.0, width=3, skip=1.0), both)
    assert (other.relative, other.shapes, alone) == (None, ((2, 2), (2, 3)), ["skip"])
    found, alone = distances(ensemble(), network(2.0), both)
    assert found == [] and alone == ["net 0/weight", "net 1/weight", "weight"]
    (nothing,), _ = distances(network(0.0), network(1.0), both)
    assert nothing.relative is None, "there is no distance relative to nothing"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format":"papertape model card 2"}', b"\xff\x00"])
def test_what_is_no_card_says_so(data: bytes) -> None:
    with pytest.raises(CardError, match="expected"):
        read_card(data)
