"""What a configuration says of drift, and of a market that changes, reaches those who act on it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.learn.drift.settings import DriftSettings
from engine.live.build import build_models, offline_problems
from engine.live.config import AppConfig, ConfigError, parse_config
from tests.market import BTC

SECOND = 10**9
MODEL = {"name": "m", "symbol": BTC.name}


def config(**model: Any) -> AppConfig:
    return parse_config({"model": [MODEL | model]}, "test")


def settings(**model: Any) -> DriftSettings:
    return build_models(config(**model), [BTC], inline_training=False).slot("m").settings.drift


def test_a_model_that_says_nothing_of_drift_is_watched_by_scans_at_one_false_alarm_a_day() -> None:
    found = settings()
    assert found == DriftSettings()
    assert (found.detector, found.answers, found.labels_per_alarm(SECOND // 10)) == (
        "scans",
        ("alert", "retrain"),
        864_000,
    )


def test_what_it_says_is_what_it_gets() -> None:
    found = settings(
        drift="cusums",
        drift_budget="2 per 6h",
        drift_also=["label", "feature:spread_bps"],
        on_drift=["begin-anew", "shrink"],
        drift_options={"past": 700, "grade": 400, "size": 0.25},
    )
    assert (found.detector, found.alarms, found.span_ns) == ("cusums", 2.0, 6 * 3600 * SECOND)
    assert (found.also, found.answers) == (("label", "feature:spread_bps"), ("begin-anew", "shrink"))
    assert (found.past, found.grade, found.size, found.late) == (700, 400, 0.25, DriftSettings().late)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"drift_budget": "often"}, 'expected alarms in a span such as "1 per day" or "2 per 6h", found \'often\''),
        ({"drift_budget": "1 per fortnight"}, "expected a duration with a unit"),
        ({"drift_budget": "1 per 30d"}, "expected an alarm in 3,000 to 2,500,000 labels, found one in 25,920,000"),
        ({"drift": "oracle"}, "drift: expected one of scans, cusums, adwin"),
        ({"on_drift": ["panic"]}, "on_drift: expected some of alert, retrain"),
        ({"drift_also": ["feature:nothing"]}, "expected a feature that the model reads, found 'nothing'"),
        ({"drift_also": ["joint"], "features": "wide"}, "joint: expected at most 64 features, found"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_was_expected(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_models(config(**wrong), [BTC], inline_training=False)
    assert text in str(caught.value) and len(caught.value.problems) == 1


def test_a_market_may_turn_and_nothing_else() -> None:
    venue = {"use": "binance-spot", "symbols": ["BTCUSDT"]}
    market = {"regime_change": "turn", "regime_change_after": "900s"}
    found = parse_config({"venue": {"sim": venue | {"market": market}}}, "test")
    told = found.venue["sim"].market
    assert told is not None and (told.regime_change, told.regime_change_after) == ("turn", 900 * SECOND)
    assert parse_config(found.plain(), "header") == found and offline_problems(found) == []
    with pytest.raises(ConfigError, match="regime_change: expected 'turn' or 'storm', found 'crash'"):
        parse_config({"venue": {"sim": venue | {"market": {"regime_change": "crash"}}}}, "test")


def test_numbers_of_a_models_own_options_are_numbers_live_and_in_a_replay() -> None:
    model = MODEL | {"use": "sklearn:linear_model.Ridge", "options": {"arguments": {"alpha": Decimal("0.5")}}}
    live = parse_config({"model": [model]}, "test")
    for one in (live, parse_config(live.plain(), "header")):
        options = build_models(one, [BTC], inline_training=False).slot("m").settings.options
        assert type(options["arguments"]["alpha"]) is float
