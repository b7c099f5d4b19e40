"""``[[side]]`` in a config: every mistake with its key path, no secret on a tape, and the commands to write it by."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adapters.side.sources.file import Lines, Whole
from adapters.side.sources.poll import Poll
from adapters.side.sources.redis_stream import RedisStream
from adapters.side.sources.socket import Websocket
from adapters.side.sources.webhook import Webhook
from engine.live.build import build_engine, offline_problems
from engine.live.commands_side import register
from engine.live.config import AppConfig, ConfigError, load_config, parse_config
from engine.live.plugins import PluginError
from engine.live.scorers import scorer_of
from engine.live.side import source_of, sources_of
from tests.data import ROOT
from tests.recovering import BTC, CONFIG

RATE = {"rate": {"path": "$.rate"}}
FILE: dict[str, Any] = {"name": "x", "source": "file", "path": "x.jsonl", "format": "jsonl", "fields": RATE}


def config(*sections: dict[str, Any], **more: Any) -> AppConfig:
    return parse_config({**CONFIG, "side": list(sections), **more}, "test")


def changed(**changes: Any) -> dict[str, Any]:
    return {**FILE, **changes}


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ([changed(), changed()], "side.1.name: expected a name used once, found 'x' twice"),
        (
            [changed(fields={})],
            "side.0.fields: expected at least one [side.fields.NAME] or [side.text] of x, found none",
        ),
        ([changed(fields={"Rate": {"path": "$.a"}})], "side.0.fields.Rate: expected a name of small letters"),
        (
            [changed(fields={"a": {"path": "$.a", "low": 2, "high": 1}})],
            "side.0.fields.a.high: expected at least low = 2",
        ),
        ([changed(fields={"a": {"path": "a.b"}})], "side.0.fields.a.path: expected a JSON path such as"),
        ([changed(time={"event": "$.["})], "side.0.time.event: expected a JSON path"),
        ([changed(rows="items")], "side.0.rows: expected a JSON path"),
        ([changed(format="csv", rows="$.x[*]")], "side.0.rows: expected none for csv"),
        ([changed(format="json")], 'side.0.format: expected "jsonl" or "csv" for a file that grows by lines'),
        ([changed(path="")], "side.0.path: expected the path of a file, found none"),
        ([changed(source="poll")], "side.0.url: expected an address with http:// or https://, found none"),
        (
            [changed(source="poll", url="ftp://k3y")],
            "side.0.url: expected an address with http:// or https://, found an",
        ),
        ([changed(source="websocket", url="https://x")], "side.0.url: expected an address with ws:// or wss://"),
        ([changed(source="redis", url="redis://x")], "side.0.redis_key: expected the key of a stream of Redis"),
        ([changed(source="webhook")], "side.0.secret: expected the name of an environment variable"),
        (
            [changed(text={"path": "$.t", "scorer": "nobody"})],
            "side.0.text.scorer: expected module:Class or one of lexicon",
        ),
        ([changed(text={"path": "$.t", "field": "rate"})], "side.0.text.field: expected a name that no field has"),
        (
            [changed(name="a", fields={"b_c": {"path": "$.x"}}), changed(name="a_b", fields={"c": {"path": "$.x"}})],
            "side: expected features with names of their own, found side_a_b_c, side_a_b_c_change twice",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(sections: list[dict[str, Any]], problem: str) -> None:
    found = offline_problems(config(*sections))
    assert len(found) == 1 and found[0].startswith(problem), found
    assert "k3y" not in found[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Funding"}, "side.0.name"),
        ({"source": "mail"}, "side.0.source"),
        ({"every": "0s"}, "side.0.every"),
        ({"fields": {"rate": {"path": "$.a", "units": "bps"}}}, "found the unknown key 'units'"),
        ({"max_bytes": "1"}, "side.0.max_bytes"),
        ({"least_quality": 0.95}, "side.0.least_quality"),
    ],
)
def test_a_value_that_does_not_fit_is_told(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match="test: ") as caught:
        config(changed(**changes))
    assert problem in str(caught.value)


def test_a_model_that_names_a_stream_that_is_not_there_is_told() -> None:
    model = {**CONFIG["model"][0], "features": ["side:y"]}
    (found,) = offline_problems(config(changed(), model=[model]))
    assert "side:x" in found and "found 'side:y'" in found
    assert not offline_problems(config(changed(), model=[{**model, "features": ["standard", "side:x"]}]))


def test_no_address_and_no_secret_is_on_a_tape_and_a_replay_needs_none() -> None:
    secret = changed(
        source="poll",
        url="https://x.example/?key=k3y",
        headers={"X-Plain": "h1dden"},
        secret_headers={"X-Key": "FUNDING_KEY"},
        hello=["l0gin"],
    )
    settings = config(secret, changed(name="hook", source="webhook", secret="HOOK_SECRET"))
    plain = json.dumps(settings.plain())
    assert not any(word in plain for word in ("k3y", "h1dden", "FUNDING_KEY", "l0gin", "HOOK_SECRET"))
    again = parse_config(settings.plain(), "tape")
    streams = build_engine(again, [BTC], inline_training=False).engine.side.streams
    assert streams == build_engine(settings, [BTC], inline_training=False).engine.side.streams


def test_secrets_come_from_the_environment() -> None:
    section = config(
        changed(source="poll", url="https://x.example/?key=${KEY}", secret_headers={"X-Key": "OTHER"})
    ).side[0]
    source = source_of(section, {"KEY": "k3y", "OTHER": "0ther"}, number=0)
    assert isinstance(source, Poll) and source._url.endswith("k3y") and source._headers == {"X-Key": "0ther"}
    with pytest.raises(ConfigError, match=r"side\.0\.url: expected the environment variable KEY to be set, found none"):
        source_of(section, {"OTHER": "x"}, number=0)
    with pytest.raises(ConfigError, match=r"side\.0\.secret_headers\.X-Key"):
        source_of(section, {"KEY": "x"}, number=0)


def test_each_kind_of_source_is_made_of_its_section() -> None:
    kinds: list[tuple[dict[str, Any], type[Any]]] = [
        (changed(source="poll", url="http://x"), Poll),
        (changed(source="websocket", url="ws://x"), Websocket),
        (changed(source="redis", redis_key="k"), RedisStream),
        (changed(source="webhook", secret="S"), Webhook),
        (changed(), Lines),
        (changed(mode="replace", format="parquet", fields={"rate": {"path": "rate"}}), Whole),
    ]
    for section, kind in kinds:
        settings = config(section, redis={"url": "redis://localhost"})
        assert not offline_problems(settings)
        assert type(source_of(settings.side[0], {"S": "x"}, number=0, redis=settings.redis.url)) is kind


def test_sides_are_refused_whole_where_one_cannot_be_had() -> None:
    with pytest.raises(ConfigError, match=r"side\.0\.path") as caught:
        sources_of(config(changed(path=""), changed(name="y", text={"path": "$.t", "scorer": "nobody"})), {})
    assert len(caught.value.problems) == 2


class NoScorer:
    """Has no score."""


class Needy:
    """Wants an argument."""

    def __init__(self, much: int) -> None:
        self.much = much


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tests.unit.test_side_config:NoScorer", "expected a class with score"),
        ("tests.unit.test_side_config:Needy", "built without arguments"),
        ("tests.unit.test_side_config:Missing", "expected a class at"),
        ("nobody", "expected module:Class or one of lexicon"),
    ],
)
def test_what_is_no_scorer_says_why(name: str, text: str) -> None:
    with pytest.raises(PluginError, match=text):
        scorer_of(name)


def asked(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    result = CliRunner().invoke(app, ["side", *words], env={**os.environ, "COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_example_is_sound_and_its_streams_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert not offline_problems(load_config("configs/side.toml"))
    code, text = asked("test", "configs/side.toml", "funding", "--json")
    told = json.loads(text)
    assert (code, told["accepted"], told["rows"][0]["values"]) == (0, 3, {"rate": 1.0})
    code, text = asked("test", "configs/side.toml", "news")
    assert code == 0 and "accepted  sentiment -1" in text and "3 accepted; refused: none" in text
    code, text = asked("list", "configs/side.toml")
    assert code == 0 and "side:news  from file: side_news_sentiment" in text


def test_a_payload_can_be_tried_without_its_source(tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text(
        '[[side]]\nname = "x"\nsource = "poll"\nurl = "http://127.0.0.1:9/"\n'
        '[side.fields.rate]\npath = "$.rate"\nhigh = 10.0\n'
    )
    payload = tmp_path / "payload.json"
    payload.write_text('{"rate": 11}')
    code, text = asked("test", str(toml), "x", "--from", str(payload))
    assert code == 1 and "range  rate: expected -inf to 10, found 11" in text
    code, text = asked("test", str(toml), "x", "--wait", "5")
    assert code == 1 and "expected an answer, found ClientConnectorError; --from FILE tests" in text
    code, text = asked("test", str(toml), "y")
    assert code == 2 and "expected one of x, found 'y'" in text
    toml.write_text('[[side]]\nname = "x"\nsource = "file"\n')
    code, text = asked("test", str(toml), "x")
    assert code == 2 and "side.0.path" in text and "side.0.fields" in text
