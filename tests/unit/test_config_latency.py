"""``[paper.latency]``: what may be said, what becomes of it, and what a file of latencies must hold."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.core.venue.latency import LatencyTape
from engine.core.venue.rate_limits import LIMITS
from engine.live.config import ConfigError, parse_config
from engine.live.config_latency import LatencyFileError, parse_latencies
from engine.live.config_paper import PaperSection, paper_settings
from tests.data import ROOT


def settings_of(**latency: Any) -> Any:
    config = parse_config({"paper": {"out": "7ms", "latency": latency}}, "t")
    again = parse_config(json.loads(json.dumps(config.plain())), "header")
    assert again == config  # a tape's header keeps it
    return paper_settings(again.paper)


def problem(**latency: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_config({"paper": {"latency": latency}}, "t")
    return str(raised.value)


def test_the_old_keys_alone_are_constants() -> None:
    settings = paper_settings(PaperSection.model_validate({"out": "7ms", "back": "3ms"}))
    assert (settings.out_ns, settings.back_ns, settings.feed_ns) == (7_000_000, 3_000_000, 5_000_000)
    assert settings.latency is None


def test_the_section_stands_over_the_old_keys_and_names_the_jitter() -> None:
    settings = settings_of(kind="jitter", back="2ms", cancel_out="1ms", spread=0.5, shape="gamma", cap="80ms", seed=9)
    assert (settings.out_ns, settings.back_ns) == (7_000_000, 2_000_000)
    latency = settings.latency
    assert (latency.kind, latency.shape, latency.spread, latency.seed) == ("jitter", "gamma", 0.5, 9)
    assert (latency.cancel_out_ns, latency.amend_out_ns, latency.cap_ns) == (1_000_000, None, 80_000_000)


def test_measured_keeps_a_configured_feed() -> None:
    assert settings_of(kind="measured").latency.is_feed_set is False
    settings = settings_of(kind="measured", feed="4ms", draw="sample", window=8, processing="300us")
    assert (settings.feed_ns, settings.latency.is_feed_set, settings.latency.window) == (4_000_000, True, 8)
    assert settings.latency.processing_ns == 300_000


def test_a_file_of_latencies_is_kept_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "latency.parquet"
    pl.DataFrame({"ns": [1, 2], "out_ns": [10, 30], "back_ns": [5, 6], "feed_ns": [7, 8]}).write_parquet(path)
    config = parse_config({"paper": {"latency": {"kind": "tape", "file": str(path)}}}, "t")
    assert config.paper.latency is not None
    assert config.paper.latency.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    latency = paper_settings(config.paper).latency
    assert latency is not None and latency.tape == LatencyTape([1, 2], [10, 30], [5, 6], [7, 8])
    path.write_bytes(b"out_ns,back_ns\n1,2\n")
    with pytest.raises(ConfigError, match=r"paper.latency: expected .*SHA-256 .*, found other content"):
        parse_config(config.plain(), "header")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ns,out_ns\n1,2\n", "columns out_ns and back_ns"),
        (b"out_ns,back_ns\n", "1 to 2000000 rows"),
        (b"out_ns,back_ns\n1.5,2\n", "whole nanoseconds in column out_ns"),
        (b"out_ns,back_ns\n-1,2\n", "latencies of 0 to"),
        (b"ns,out_ns,back_ns\n5,1,1\n5,1,1\n", "times that rise"),
        (b"req_ts,exch_ts,resp_ts\n10,5,20\n", "latencies of 0 to"),
        (b"PAR1", "CSV or parquet"),
    ],
)
def test_a_bad_file_of_latencies_is_refused_in_words(content: bytes, said: str) -> None:
    with pytest.raises(LatencyFileError, match=said):
        parse_latencies(content, "x")


def test_mistakes_are_told_with_their_place() -> None:
    assert "t: paper.latency.kind: expected 'constant', 'jitter', 'measured' or 'tape'" in problem(kind="fast")
    assert "the unknown key 'jiter'" in problem(jiter=1)
    assert "paper.latency: expected a file of latencies" in problem(kind="tape")
    assert "paper.latency: expected a readable file of latencies, found nowhere.csv" in problem(
        kind="tape", file="nowhere.csv"
    )
    assert "a spread of at most 1 with gamma, found 1.5" in problem(kind="jitter", shape="gamma", spread=1.5)
    assert "no out and back" in problem(kind="measured", out="1ms")


def test_the_settings_that_the_document_shows_are_settings() -> None:
    text = (ROOT / "engine" / "core" / "venue" / "LATENCY.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    config = parse_config(tomllib.loads("\n".join(blocks), parse_float=Decimal), "LATENCY.md")
    settings = paper_settings(config.paper)
    assert settings.latency is not None and settings.latency.cancel_out_ns == 3_000_000
    assert len(settings.gates["usdm"].outages) == 2
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE)) == set(LIMITS)
