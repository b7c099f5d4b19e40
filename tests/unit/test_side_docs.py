"""The tutorial of side streams says what is so: its tables, its examples, its map."""

from __future__ import annotations

import re
from typing import Any

from adapters.side.schema import REASONS
from adapters.side.scorer import Scorer
from engine.live.build import offline_problems
from engine.live.config import AppConfig, parse_config
from engine.live.config_side import SideSection
from tests.data import ROOT
from tests.sides import STREAM

FOLDER = ROOT / "adapters" / "side"
TEXT = (FOLDER / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def test_the_examples_of_the_tutorial_are_sound() -> None:
    import tomllib

    whole, text = blocks("toml")
    settings: dict[str, Any] = tomllib.loads(whole + text)
    assert not offline_problems(parse_config(settings, "README"))
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    scorer = names["Mine"]()
    assert isinstance(scorer, Scorer) and scorer.score("to the moon") == 1.0 and scorer.score("x") is None


def test_its_tables_are_the_code() -> None:
    reasons = TEXT.partition("## Which rows")[2].partition("## Texts")[0]
    assert re.findall(r"^\| `([a-z]+)` \| ", reasons, re.MULTILINE) == [*REASONS]
    sources = SideSection.model_fields["source"].annotation
    told = re.findall(r"^ +\| `([a-z]+)` \| ", TEXT.partition("1. **Where.**")[2].partition("2. **Secrets**")[0], re.M)
    assert tuple(told) == getattr(sources, "__args__")  # noqa: B009 - of a Literal
    assert "side" in AppConfig.model_fields
    for field in ("", "_change"):
        assert f"`side_{STREAM.name}_rate{field}`" in TEXT


def test_every_file_is_in_its_map() -> None:
    files = {path.name for path in FOLDER.rglob("*.py")} - {"__init__.py"}
    assert {name for name in files if f"`{name}`" not in TEXT} == set()
