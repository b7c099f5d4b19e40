"""A trainer that dies, hangs, wants too much memory, diverges or returns nonsense, while the daemon trades."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.live.test_daemon import ROOT, Daemon, papertape

WORDS = ("good", "killed", "hangs", "memory", "raises", "nan", "truncated", "good")
REASONS = ["died", "hung", "memory", "failed"]


class Troubled(Daemon):
    """The demo with a model whose trainings go wrong in each way, one after the other."""

    def config(self, folder: Path) -> Path:
        text = (ROOT / "configs" / "demo.toml").read_text()
        text = re.sub(r"^state_dir = .*$", f'state_dir = "{folder}"', text, flags=re.MULTILINE)
        text = re.sub(
            r"^retrain_every = .*$", 'retrain_every = "500ms"\nretrain_timeout = "5s"', text, flags=re.MULTILINE
        )
        text = re.sub(r"^min_rows = .*$", 'min_rows = 30\nwarm_up = "2s"', text, flags=re.MULTILINE)
        text = text.replace('use = "mlp"', 'use = "tests.misbehaving:Misbehaving"')
        options = f"[model.options]\nwords = {json.dumps(WORDS)}\ncounter = {json.dumps(str(folder / 'words'))}\n"
        text = text.replace("\n[[contest]]", f"\n{options}\n[[contest]]")
        path = folder / "config.toml"
        path.write_text(text + '\n[http]\nport = 0\n\n[training]\nmemory = "2GiB"\n')
        return path

    def net(self) -> dict[str, Any]:
        return next(one for one in self.ask("/models") if one["name"] == "net")


def test_no_tick_is_missed_the_last_good_model_goes_on_and_the_next_training_works(tmp_path: Path) -> None:
    daemon = Troubled(tmp_path)
    try:
        daemon.wait(lambda: daemon.net()["swaps"] == 2)
        told = daemon.net()
        state = daemon.ask("/state")
        summary = daemon.stop()
    finally:
        daemon.process.kill()
        daemon.log.close()
    assert told["refused"] >= 6 and not told["stopped"]
    failures = state["training"]["failures"]
    assert {reason: failures[reason] for reason in REASONS} == dict.fromkeys(REASONS, 1)
    assert summary["missed"] == 0 and summary["fills"] > 0
    lines = [json.loads(line) for line in (daemon.state / "log.jsonl").read_text().splitlines()]
    said = [line["reason"] for line in lines if line["event"] == "training failed"]
    assert said == REASONS, "one clear line each, and no traceback"
    refused = [line["reason"] for line in lines if line["event"] == "ModelRefused"]
    assert sum("training failed" in reason for reason in refused) == 4
    assert any("expected finite weights" in reason for reason in refused)
    assert any("expected a whole payload" in reason for reason in refused)
    again = papertape("replay", daemon.state, "--json")
    assert json.loads(again.stdout.strip().splitlines()[-1])["digest"] == summary["digest"]


def test_training_ends_with_the_daemon(tmp_path: Path) -> None:
    """Nothing of the shared windows is left behind by a daemon that stops; other daemons may have theirs."""
    daemon = Troubled(tmp_path)
    try:
        daemon.wait(lambda: daemon.ask("/ready")["ready"])
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        shared = {Path(line.split()[-1]) for line in maps.splitlines() if " /dev/shm/psm_" in line}
        assert shared and all(path.exists() for path in shared)
        daemon.stop()
    finally:
        daemon.process.kill()
        daemon.log.close()
    assert not any(path.exists() for path in shared)
