"""The registry of a daemon that is killed and started again: it tells of every swap that the journal has, once."""

from __future__ import annotations

import json
from pathlib import Path

from engine.live.registry.shelf import Shelf
from tests.live.test_daemon import Daemon, papertape


def test_a_kill_loses_nothing_that_the_journal_has(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    try:
        daemon.wait(lambda: any(model["swaps"] >= 2 for model in daemon.ask("/models")))
        (net,) = (model for model in daemon.ask("/models") if model["swaps"])
        card = daemon.ask(f"/models/{net['version']}")
        assert (card["card"]["model"], card["has_payload"]) == (net["name"], True)
        asked = papertape("models", net["version"][:10], "--url", daemon.url)
        assert asked.returncode == 0 and net["version"] in asked.stdout
        live = papertape("models", "--all", "--run", daemon.state, "--json")
        assert net["version"] in {row["version"] for row in json.loads(live.stdout)}
    finally:
        daemon.process.kill()
        daemon.process.communicate()
        daemon.log.close()
    assert papertape("models", "verify", "--run", daemon.state).returncode == 0
    again = papertape("run", tmp_path / "config.toml", "--for", "6s", "--json")
    assert again.returncode == 0, again.stderr
    verdict = papertape("models", "verify", "--run", daemon.state, "--json")
    assert verdict.returncode == 0, verdict.stdout
    facts = papertape("journal", "cat", daemon.state, "--kind", "ModelSwapped", "--json").stdout.splitlines()
    swaps = [(fact["seq"], fact["fact"]["version"]) for fact in map(json.loads, facts)]
    events = Shelf(daemon.state / "models").log.events
    assert [(event.seq, event.version) for event in events if event.what == "swapped"] == swaps and len(swaps) > 1
    assert "found" not in {event.what for event in events}
    replayed = papertape("replay", daemon.state, "--json")
    assert json.loads(replayed.stdout.splitlines()[-1])["digest"] == json.loads(again.stdout)["digest"]
