"""The daemon as its user meets it: started as a process on the simulated market, asked, told, stopped, replayed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERTAPE = [sys.executable, "-c", "from engine.live.cli import main; main()"]
PATIENCE_S = 90.0

RUN_KEYS = {"digest", "venues", "books", "orders", "fills", "profit", "models", "latency_us"}
MODEL_KEYS = {"name", "predictions", "learned", "retrains", "swaps", "drift_alarms", "ic"}


def config(folder: Path, **changes: str) -> Path:
    """The demo's config with its state below ``folder``, a free port, and a quick first training."""
    text = (ROOT / "configs" / "demo.toml").read_text()
    values = {"state_dir": f'"{folder}"', "retrain_every": '"3s"', "min_rows": "30", **changes}
    for key, value in values.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    text = text.replace('retrain_every = "3s"', 'warm_up = "2s"\nretrain_every = "3s"')
    path = folder / "config.toml"
    path.write_text(text + f"\n[http]\nport = {changes.get('port', '0')}\n")
    return path


def papertape(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [*PAPERTAPE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=cwd, check=False)


class Daemon:
    """A running daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "demo"
        self.log = (folder / "stderr").open("w")
        words = [*PAPERTAPE, "run", str(self.config(folder)), "--json"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT)
        self.url = str(self.wait(lambda: json.loads((self.state / "daemon.json").read_text())["url"]))

    def config(self, folder: Path) -> Path:
        return config(folder)

    def wait(self, look: Any) -> Any:
        """Look until there is an answer; a daemon that ended meanwhile fails the test at once."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "stderr").read_text()
            try:
                found = look()
            except (OSError, ValueError, KeyError):
                found = None
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no answer in {PATIENCE_S} s: {(self.folder / 'stderr').read_text()}")

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())

    def stop(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """A signal, and the line that ends the run."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, (self.folder / "stderr").read_text()
        summary: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return summary


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    started = Daemon(tmp_path_factory.mktemp("daemon"))
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()
    started.log.close()


def test_it_becomes_ready_and_says_so(daemon: Daemon) -> None:
    assert daemon.wait(lambda: daemon.ask("/ready"))["ready"] is True
    assert daemon.wait(lambda: daemon.ask("/health"))
    state = daemon.ask("/state")
    assert state["books"]["ready"] == 2
    assert all(book["bid"] and book["ask"] for book in state["book_tops"])


def test_a_second_daemon_on_the_same_folder_is_refused(daemon: Daemon) -> None:
    done = papertape("run", daemon.folder / "config.toml")
    assert done.returncode == 1
    assert f"in use by process {daemon.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_clear_line(daemon: Daemon, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = papertape("run", config(tmp_path, port=str(port)))
    assert done.returncode == 1
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "demo" / "tape").iterdir()) == [], "a start that failed is no run"


def test_it_answers_the_commands(daemon: Daemon) -> None:
    for name in ("status", "positions", "orders", "fills", "models", "why"):
        done = papertape(name, "--url", daemon.url, "--json")
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
        assert papertape(name, "--run", daemon.state).returncode == 0


def test_it_obeys_halt_and_resume(daemon: Daemon) -> None:
    assert papertape("halt", "--url", daemon.url, "--reason", "test").returncode == 0
    daemon.wait(lambda: daemon.ask("/state")["halted"])
    assert papertape("resume", "--url", daemon.url, "--json").returncode == 0
    daemon.wait(lambda: not daemon.ask("/state")["halted"])
    assert papertape("reload", "--url", daemon.url).stdout == "reload: done\n"
    assert json.loads(papertape("reload", "--url", daemon.url, "--json").stdout)["obeyed"] is True
    assert papertape("flatten", "--url", daemon.url).returncode == 0


def test_it_trades_learns_and_swaps_without_missing_a_tick_and_its_tape_repeats_it(daemon: Daemon) -> None:
    daemon.wait(lambda: all(model["learned"] for model in daemon.ask("/models")))
    daemon.wait(lambda: any(model["swaps"] for model in daemon.ask("/models")))
    daemon.wait(lambda: daemon.ask("/state")["fills"])
    summary = daemon.stop()
    assert summary.keys() >= RUN_KEYS
    assert summary["books"] == {"ready": 2, "total": 2, "doubts": 0}
    venue = summary["venues"]["sim"]
    assert venue["frames"] > 100 and venue["gaps"] == 0 and venue["reconnects"] == 0
    assert summary["missed"] == 0
    assert summary["orders"]["sent"] > 0 and summary["fills"] > 0
    assert all(model.keys() >= MODEL_KEYS for model in summary["models"])
    assert summary["latency_us"]["tick_to_decision"]["samples"] > 100
    assert json.loads((daemon.state / "run.json").read_text())["digest"] == summary["digest"]
    for block in ("1", "65536"):
        done = papertape("replay", summary["tape"], "--block", block, "--json")
        assert done.returncode == 0, done.stderr
        again = json.loads(done.stdout)
        assert again["digest"] == summary["digest"]
        assert (again["orders"], again["fills"]) == (summary["orders"], summary["fills"])


def test_sigint_stops_cleanly_and_for_ends_by_itself(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.wait(lambda: daemon.ask("/ready"))
    assert daemon.stop(signal.SIGINT)["books"]["total"] == 2
    daemon.log.close()
    done = papertape("run", tmp_path / "config.toml", "--for", "2s", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1


def test_what_a_user_gets_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[paper]\nout = 5\n[risk]\nmax_ordr = 1\n[[strategy]]\nuse = "nope"\n')
    done = papertape("run", wrong)
    assert done.returncode == 2
    assert "paper.out" in done.stderr and "risk.max_ordr" in done.stderr and "Traceback" not in done.stderr
    done = papertape("check", wrong, "--json")
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == 2
    assert papertape("run", tmp_path / "absent.toml").returncode == 2
    assert papertape("run", ROOT / "configs" / "demo.toml", "--for", "soon").returncode == 2
    (tmp_path / "file").write_text("")
    text = (ROOT / "configs" / "demo.toml").read_text().replace('"var"', f'"{tmp_path}/file/below"')
    wrong.write_text(text)
    done = papertape("run", wrong)
    assert done.returncode == 1
    assert "folder that can be written" in done.stderr and "Traceback" not in done.stderr
    assert papertape("status", "--run", tmp_path).returncode == 1


@pytest.mark.parametrize("name", ["demo", "binance"])
def test_the_shipped_configs_are_sound(name: str) -> None:
    done = papertape("check", ROOT / "configs" / f"{name}.toml")
    assert (done.returncode, os.path.basename(done.stdout.split(":")[0])) == (0, f"{name}.toml")
