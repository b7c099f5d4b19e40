"""A state taken anywhere in a recording goes on to the same end: with every kind of model, networks too."""

from __future__ import annotations

from typing import Any

import pytest

from engine.live.build import build_engine
from engine.live.config import AppConfig, parse_config
from engine.live.recovery.codec import freeze, thaw
from engine.research.loading import load_tape
from engine.research.player import Player
from tests.data import recordings

CUTS = (200, 4_500)
ENTRIES = 5_000
USES = (
    *("linear", "river-linear", "elastic-net", "weighted-least-squares", "rolling-ridge", "microprice", "primary"),
    *("mlp", "lstm", "conv", "lightgbm", "ensemble", "river:tree.HoeffdingAdaptiveTreeRegressor"),
)


def config(source: AppConfig) -> AppConfig:
    plain = source.plain()
    models: list[dict[str, Any]] = [
        {"name": use.replace(":", "-"), "use": use, "symbol": "*", "horizon": "1s", "every": "100ms"} for use in USES
    ]
    for model in models:
        if model["use"] in ("mlp", "lstm", "conv", "lightgbm"):
            model |= {"retrain_every": "20s", "min_rows": 60}
    return parse_config({**plain, "model": models}, "test")


@pytest.mark.parametrize("name", ["spot-btcusdt_20240808.gz"])
def test_a_state_taken_anywhere_goes_on_to_the_same_end(name: str) -> None:
    tape = load_tape([recordings() / "binance" / name])
    settings = config(tape.settings)
    venues = {venue: feed.venue_class for venue, feed in tape.feeds.items()}
    built = build_engine(settings, tape.instruments, inline_training=True, venues=venues)
    player = Player(built.engine, tape.feeds, block=64)
    entries = [entry for entry, _ in zip(tape.entries(), range(ENTRIES), strict=False)]
    taken = {}
    for number, entry in enumerate(entries):
        if number in CUTS:
            player.flush()
            taken[number] = freeze((built.engine, built.models, player))
        player.apply(entry)
    player.finish()
    swaps = sum(one["swaps"] for one in built.models.summary())
    assert swaps >= 3, "no network was trained: the test would show nothing"
    for number, data in taken.items():
        engine, models, again = thaw(data)
        for entry in entries[number:]:
            again.apply(entry)
        again.finish()
        assert engine.digest == built.engine.digest, number
        assert models.summary() == built.models.summary()
