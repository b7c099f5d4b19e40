"""The tables and the tutorial of the two README files are what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engine.core.records import Signal
from engine.features.families import FAMILIES
from engine.learn.conformance import check_model
from engine.learn.contract import ModelSettings, model_class
from engine.learn.ensemble.ensemble import Ensemble, EnsembleOptions
from engine.learn.models import Models
from engine.live.build import build_models
from engine.live.config import load_config
from tests.frames import walk
from tests.learning import INSTRUMENTS, drive, settings

ENGINE = Path(__file__).parents[2] / "engine"


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE)


def test_the_table_of_features_is_what_the_families_say() -> None:
    text = (ENGINE / "features/README.md").read_text().partition("## All features")[2]
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| ([^|]+) \| [^|]{5,} \|$", text, re.MULTILINE)
    told = {"−1 … 1": "[-1, 1]", "0 … 1": "[0, 1]"}
    assert [(name, told.get(unit, unit)) for name, unit in rows] == [
        pair for one in FAMILIES.values() for pair in zip(one.names, one.units, strict=True)
    ]
    sections = re.findall(r"^### `([a-z_]+)`: (\d+)$", text, re.MULTILINE)
    assert sections == [(name, str(len(one.names))) for name, one in FAMILIES.items()]


def test_the_table_of_settings_is_the_struct() -> None:
    text = (ENGINE / "learn/README.md").read_text().partition("## Settings")[2]
    assert sorted(first_column(text)) == sorted(field.name for field in msgspec.structs.fields(ModelSettings))


def test_the_model_of_the_tutorial_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (ENGINE / "learn/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    (tmp_path / "my_models.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    models = Models(INSTRUMENTS, [settings("my_models:LastReturn")])
    drive(models, walk(1500))
    (summary,) = models.summary()
    assert summary["predictions"] > 100 and summary["learned"] > 100 and not summary["stopped"]
    results = check_model(model_class("my_models:LastReturn"))
    assert [result.line() for result in results if not result.passed] == []


def test_the_ensemble_of_the_config_in_its_readme_works(tmp_path: Path) -> None:
    text = (ENGINE / "learn/ensemble/README.md").read_text()
    path = tmp_path / "mixture.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0])
    models = build_models(load_config(path), INSTRUMENTS[:1], inline_training=True)
    told = [fact for _, fact in drive(models, walk(4500))]
    (summary,) = models.summary()
    assert summary["predictions"] > 300 and summary["learned"] > 300 and not summary["stopped"]
    assert summary["swaps"] >= 1 and summary["refused"] == 0
    name = "mixture@sim:X"
    widths = [fact.value for fact in told if isinstance(fact, Signal) and fact.name == f"{name}/width"]
    assert len(widths) > 200 and min(widths) > 0.0
    model = models.slot(name).model
    assert isinstance(model, Ensemble)
    assert list(model.weights) == ["zero", "microprice", "rolling-ridge", "clipped-linear", "quick", "mlp"]


def test_the_table_of_the_ensembles_options_is_the_struct() -> None:
    text = (ENGINE / "learn/ensemble/README.md").read_text().partition("## Settings")[2].partition("## Which")[0]
    assert first_column(text) == [field.name for field in msgspec.structs.fields(EnsembleOptions)]


@pytest.mark.parametrize(
    "folder",
    ["features", "learn", "learn/linear", "learn/networks", "learn/foreign", "learn/ensemble", "learn/experts"],
)
def test_every_file_is_in_the_map(folder: str) -> None:
    text = (ENGINE / folder / "README.md").read_text()
    files = {path.name for path in (ENGINE / folder).glob("*.py")} - {"__init__.py", "decay.py"}
    assert {name for name in files if f"`{name}`" not in text} == set()
