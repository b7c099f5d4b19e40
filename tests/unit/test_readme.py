"""The README's example runs, and its commands are the ones that exist."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from typer.main import get_command

from engine.live.cli import app
from tests.market import Rig, clock, depth, snapshot

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_example_strategy_trades() -> None:
    block = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(compile(block[1], "README.md", "exec"), names)
    strategy = names["Dip"](names["DipConfig"](symbol="v:BTCUSDT", notional=Decimal(5)))
    rig = Rig(strategy)
    rig.feed(snapshot(1, [(100_00, 900)], [(101_00, 100)]), depth(2, [(99_00, 5)]), clock(3))
    assert rig.engine.ledger.position(0, "s") == 49
    rig.feed(depth(4, asks=[(101_00, 5000)]), clock(5))
    assert rig.engine.ledger.position(0, "s") == 0


def test_the_commands_it_lists_are_the_commands_there_are() -> None:
    section = README.split("## Commands")[1].split("Each takes")[0]
    listed = set(re.findall(r"`([a-z]+)`", section))
    assert listed == set(getattr(get_command(app), "commands", {}))


def test_the_commands_it_shows_exist() -> None:
    commands = set(getattr(get_command(app), "commands", {}))
    shown = set(re.findall(r"papertape ([a-z]+)", README))
    assert shown <= commands
