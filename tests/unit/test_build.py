"""From a config to an engine: one strategy a symbol, and what each instance gets."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.features.set import FeatureSet
from engine.live.build import build_engine, offline_problems, strategy_factories
from engine.live.build_instruments import override
from engine.live.config import ConfigError, InstrumentSection, parse_config
from strategies.learner import Learner, LearnerConfig
from tests.market import BTC, ETH

SATS = msgspec.structs.replace(BTC, symbol="ETHBTC", base="ETH", quote="BTC")


def test_a_star_makes_one_a_symbol_with_its_own_model_and_its_currencys_size() -> None:
    sizes = {"*": 500, "BTC": "0.01"}
    section = {"name": "l", "use": "learner", "symbol": "*", "model": "m@{symbol}", "notional": sizes}
    config = parse_config({"strategy": [section]}, "test")
    factories = strategy_factories(config, (BTC, SATS))
    assert list(factories) == ["l@v:BTCUSDT", "l@v:ETHBTC"]
    built = [factory() for factory in factories.values()]
    assert all(isinstance(one, Learner) for one in built)
    assert [one.config for one in built] == [
        LearnerConfig(symbol="v:BTCUSDT", model="m@v:BTCUSDT", notional=Decimal(500)),
        LearnerConfig(symbol="v:ETHBTC", model="m@v:ETHBTC", notional=Decimal("0.01")),
    ]


@pytest.mark.parametrize(
    ("strategy", "place"),
    [
        ({"use": "nope"}, "strategy.0.use"),
        ({"use": "hold", "symbol": "DOGE"}, "strategy.0.symbol"),
        ({"use": "hold", "symbol": "BTCUSDT", "size": 1}, "strategy.0"),
        ({"use": "hold", "symbol": "BTCUSDT", "notional": "much"}, "strategy.0"),
    ],
)
def test_a_strategy_that_cannot_be_built_names_its_place(strategy: dict[str, object], place: str) -> None:
    config = parse_config({"strategy": [strategy]}, "test")
    with pytest.raises(ConfigError) as caught:
        build_engine(config, (BTC, ETH), inline_training=False)
    assert caught.value.problems[0].startswith(place)


def test_a_model_or_venue_that_does_not_exist_is_found_without_a_network() -> None:
    data = {
        "venue": {"x": {"use": "nope", "symbols": ["BTCUSDT"]}},
        "model": [{"name": "m", "symbol": "x:BTCUSDT", "use": "nope"}],
    }
    problems = offline_problems(parse_config(data, "test"))
    assert [problem.split(":")[0] for problem in problems] == ["venue.x.use", "model"]


def test_a_model_says_what_it_sees() -> None:
    model = {"name": "m", "symbol": "BTCUSDT", "features": ["book", "leaders"], "leaders": ["ETHBTC"], "trades": "held"}
    config = parse_config(
        {"model": [model | {"prepare": "rank", "reduce": "pca", "components": 3}, {"name": "n", "symbol": "*"}]}, "test"
    )
    models = build_engine(config, (BTC, SATS), inline_training=False).models
    told, plain = models.slot("m"), models.slot("n@v:BTCUSDT")
    assert told.settings.features == ("book", "leaders") and told.settings.leaders == ("v:ETHBTC",)
    assert told.features.features.trades == "held" and told.features.preparation.method == "rank"
    assert told.features.names == ("component_1", "component_2", "component_3", "component_error")
    assert (
        plain.features.names == FeatureSet(ticks=[1], features="standard").names
        and plain.features.preparation.method == "none"
    )
    assert offline_problems(config) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"features": ["books"]}, "model: model m: features: expected a set"),
        ({"leaders": ["DOGE"]}, "model.0.leaders: "),
        ({"masks": True}, "model: model m: masks: expected prepare"),
        ({"reduce": "map"}, "model: model m: reduce: expected prepare"),
        ({"reduce": "autoencoder", "prepare": "z"}, "model: model m: reduce: expected none, pca or map, found"),
        ({"use": "mlp", "features": "wide"}, "model: model m: prepare: expected z, robust or rank beside features"),
    ],
)
def test_inputs_that_cannot_be_had_are_refused(wrong: dict[str, object], message: str) -> None:
    config = parse_config({"model": [{"name": "m", "symbol": "BTCUSDT"} | wrong]}, "test")
    with pytest.raises(ConfigError) as caught:
        build_engine(config, (BTC, SATS), inline_training=False)
    assert caught.value.problems[0].startswith(message)


@pytest.mark.parametrize("place", ["gate", "rules"])
def test_a_paper_section_of_no_venue_is_found_without_a_network(place: str) -> None:
    data = {"venue": {"sim": {"use": "binance-spot", "symbols": ["BTCUSDT"]}}, "paper": {place: {"simm": {}}}}
    (problem,) = offline_problems(parse_config(data, "test"))
    assert problem.startswith(f"paper.{place}.simm: expected a venue of th") and "sim" in problem


@pytest.mark.parametrize(
    ("paper", "line"),
    [
        ({"queue": {"model": "luck"}}, "t: paper.queue.model: expected a queue model among "),
        ({"queue": {"twins": ["luck"]}}, "t: paper.queue.twins: expected a queue model among "),
        ({"gate": {"v": {"reject_rate": 2}}}, "t: paper.gate.v.reject_rate: expected less than or equal to 1, found 2"),
        (
            {"rules": {"v": {"volatility_step": "0s"}}},
            "t: paper.rules.v.volatility_step: expected greater than 0, found '0s'",
        ),
        (
            {"calibration": {"report": "5ms"}},
            "t: paper.calibration.report: expected greater than or equal to 1s, found '5ms'",
        ),
        ({"margin": {"mode": "half"}}, "t: paper.margin.mode: expected one of none, cross, isolated, found 'half'"),
        ({"rules": {"family": "okx"}}, "t: paper.rules.family: expected a section with keys of its own, found 'okx'"),
        (
            {"fees": {"v": {"schedule": "binance-spot", "tier": "VIP 99"}}},
            "t: paper.fees.v: expected a tier of binance-spot among Regular, ",
        ),
    ],
)
def test_a_mistake_below_paper_is_one_line_in_words(paper: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"paper": paper}, "t")
    (problem,) = caught.value.problems
    assert problem.startswith(line)


def test_the_config_overrides_what_the_venue_says() -> None:
    section = InstrumentSection(tick=Decimal("0.5"), price_decimals=3, base="XBT")
    changed = override(BTC, section, "here")
    assert (changed.tick, changed.price_decimals, changed.base, changed.source) == (500, 3, "XBT", "config")
    assert override(BTC, None, "here") is BTC
    with pytest.raises(ConfigError, match="here: expected at most 2 decimals"):
        override(BTC, InstrumentSection(tick=Decimal("0.001")), "here")
    lots = msgspec.structs.replace(BTC, size_decimals=2, lot=10, min_size=20)
    finer = override(lots, InstrumentSection(size_decimals=3), "here")
    assert (finer.lot, finer.min_size) == (100, 200)


def test_a_models_labels_and_the_fee_of_its_venue_come_from_the_config() -> None:
    data = {
        "paper": {"taker_fee": "0.0004"},
        "model": [
            {"name": "one", "symbol": "BTCUSDT", "label": "direction", "label_options": {"band_bps": 2.5}},
            {"name": "two", "symbol": "*", "labels": ["return@500ms", "fill_bid@5s"]},
        ],
    }
    models = build_engine(parse_config(data, "t"), [BTC, ETH], inline_training=False).models
    one, two = models.slot("one").settings, models.slot(f"two@{ETH.name}").settings
    assert (one.label, one.horizon_ns, one.label_options.band_bps) == ("direction", 10**9, 2.5)
    assert (two.label, two.horizon_ns, two.labels) == ("return", 500_000_000, ("return@500ms", "fill_bid@5s"))
    assert one.taker_fee_bps == two.taker_fee_bps == 4.0


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({"labels": ["returns@5s"]}, "labels: label 'returns@5s': expected one of return, scaled_return"),
        ({"label": "profit"}, "model m: label: expected one of return, scaled_return"),
        (
            {"label_options": {"barrier": "ticks"}},
            "label_options.barrier: expected one of volatility, bps, found 'ticks'",
        ),
    ],
)
def test_a_label_that_cannot_be_had_is_one_line_in_words(model: dict[str, object], line: str) -> None:
    data = {"model": [{"name": "m", "symbol": "BTCUSDT", **model}]}
    with pytest.raises(ConfigError) as caught:
        build_engine(parse_config(data, "t"), [BTC], inline_training=False)
    assert any(line in problem for problem in caught.value.problems), caught.value.problems
