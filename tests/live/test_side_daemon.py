"""Side streams of a daemon as its user meets them: a file that grows, a webhook, a kill, a replay of all of it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from adapters.side.sources.webhook import SIGNATURE, signature
from tests.data import ROOT
from tests.live.test_daemon import PATIENCE_S, Daemon, papertape

SECRET = "shared by both"
HOOK = """
[http]
port = 0

[[side]]
name = "hook"
source = "webhook"
secret = "TEST_HOOK_SECRET"
[side.fields.interest]
path = "$.interest"
[side.time]
event = "$.ts"
unit = "s"
"""


def toml(folder: Path) -> Path:
    """The example with its state and its files below ``folder``, and a webhook."""
    text = (ROOT / "configs" / "side.toml").read_text().replace('state_dir = "var"', f'state_dir = "{folder}"')
    for name in ("funding.csv", "headlines.jsonl"):
        (folder / name).write_text((ROOT / "configs" / "side" / name).read_text())
        text = text.replace(f"configs/side/{name}", str(folder / name))
    path = folder / "config.toml"
    path.write_text(text.replace('every = "1s"', 'every = "50ms"') + HOOK)
    return path


def side(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {one["stream"]: one for one in daemon.ask("/state")["side"]}


def post(daemon: Daemon, ts: int, interest: float) -> int:
    body = json.dumps({"ts": ts, "interest": interest}).encode()
    headers = {SIGNATURE: signature(SECRET.encode(), body)}
    request = urllib.request.Request(f"{daemon.url}/side/hook", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_rows_come_in_survive_a_kill_and_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    config = toml(tmp_path)
    first = Daemon(tmp_path, config, "side")
    try:
        first.wait(lambda: first.ask("/ready"))
        first.wait(lambda: side(first)["funding"]["observations"] == 3 and side(first)["news"]["observations"] == 3)
        assert post(first, 1_700_000_000, 5.0) == 202
        first.wait(lambda: side(first)["hook"]["values"] == {"interest": 5.0})
        with (tmp_path / "funding.csv").open("a") as file:
            file.write("2026-01-06T00:00:00Z,0.0002\n2026-01-06T08:00:00Z,9\n")
        first.wait(lambda: side(first)["funding"]["rejected"] == {"range": 1})
        assert side(first)["funding"]["values"] == {"rate": 2.0}
        first.wait(lambda: (tmp_path / "side" / "side" / "funding.jsonl").exists())
        first.wait(lambda: first.ask("/models")[0]["predictions"])
    finally:
        first.process.kill()
        first.process.communicate(timeout=PATIENCE_S)
        first.log.close()
    (tmp_path / "side" / "daemon.json").unlink()  # it says where the killed one was
    again = Daemon(tmp_path, config, "side")
    try:
        again.wait(lambda: again.ask("/ready"))
        again.wait(lambda: side(again)["funding"]["received"] == 5)
        told = side(again)
        assert told["funding"]["observations"] == 4 and told["funding"]["rejected"] == {"duplicate": 4, "range": 1}
        assert told["hook"]["observations"] == 1
        assert post(again, 1_700_000_000, 5.0) == 202
        again.wait(lambda: side(again)["hook"]["rejected"] == {"duplicate": 1})
        again.wait(lambda: again.ask("/models")[0]["predictions"])
        summary = again.stop()
    finally:
        if again.process.poll() is None:
            again.process.kill()
            again.process.communicate()
        again.log.close()
    done = papertape("replay", tmp_path / "side", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1])["digest"] == summary["digest"]


def test_a_secret_that_is_not_set_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_HOOK_SECRET", raising=False)
    done = papertape("run", toml(tmp_path))
    assert done.returncode == 2
    assert "side.2.secret: expected the environment variable TEST_HOOK_SECRET to be set, found none" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "side" / "tape").iterdir()) == [], "a start that failed is no run"
