"""What a tape's header keeps of a config decides the same run; and the shipped configs pass their own check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.live.build import offline_problems
from engine.live.config import load_config, parse_config

CONFIGS = sorted(Path(__file__).resolve().parents[2].joinpath("configs").glob("*.toml"))

TEXT = """
[venue.sim]
use = "binance-spot"
symbols = ["BTCUSDT"]
[paper]
maker_fee = 0.0001
[[strategy]]
name = "lean"
use = "lean"
symbol = "sim:BTCUSDT"
notional = 500.5
enter = 0.25
"""


def test_plain_values_through_json_then_the_same_config_and_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(TEXT)
    config = load_config(file)
    again = parse_config(json.loads(json.dumps(config.plain())), "header")
    assert again == config
    assert again.strategy[0].own["enter"] == 0.25
    assert offline_problems(again) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_config_when_checked_then_no_problem(path: Path) -> None:
    assert offline_problems(load_config(path)) == []


@pytest.mark.parametrize("symbol", ["*", "X", "v:X"])
def test_config_without_venues_when_a_strategy_has_an_unknown_key_then_it_is_named(tmp_path: Path, symbol: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f'[[strategy]]\nname = "s"\nuse = "lean"\nsymbol = "{symbol}"\nlimit_x = 2\n')
    (problem,) = offline_problems(load_config(file))
    assert problem.startswith("strategy.0: ") and "limit_x" in problem
