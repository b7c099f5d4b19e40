"""The commands that ask a daemon: what they show a person, and what they say when there is none to ask."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from engine.live.cli import app
from engine.live.listing import LISTS, table
from engine.live.statedir import StateDir
from engine.live.status import render
from engine.live.why import last_alarm

POSITION = {
    "strategy": "maker@sim:BTCUSDT",
    "symbol": "sim:BTCUSDT",
    "size": "0.01666000",
    "average": "60007.000000",
    "mark": None,
    "unrealised": "0.162435",
    "realised": "2.107045",
    "fees": "0.40987723445",
    "profit": "1.85960276555",
    "currency": "USDT",
}
FILL = {
    "ns": 1_795_250_485_141_670_908,
    "order": 336,
    "strategy": "maker",
    "symbol": "sim:BTCUSDT",
    "side": "buy",
    "price": "59971.5000",
    "size": "0.00833000",
    "maker": True,
    "fee": "-0.002497812975",
    "fee_currency": "USDT",
    "grade": "certain",
    "graded": "back",
    "chance": 0.962,
}
MARKOUT: dict[str, Any] = {
    "strategy": "maker",
    "symbol": "sim:BTCUSDT",
    "place": "middle",
    "grade": "ambiguous",
    "fills": 1234,
    "ticks": [0.5, 0.25, -0.125, -1.5, None],
}
EXECUTION: dict[str, Any] = {
    "strategy": "maker",
    "symbol": "sim:BTCUSDT",
    "currency": "USDT",
    "orders": 4321,
    "missed": 3000,
    "fill_ratio": 0.2856,
    "maker_share": 1.0,
    "shortfall": "-0.0123456",
    "shortfall_bps": -0.0321,
    "missed_bps": [0.1, None, 0.31, None],
}
MODEL = {
    "name": "net",
    "symbol": "sim:ETHUSDT",
    "horizon_s": 1.0,
    "predictions": 0,
    "learned": 37,
    "swaps": 1,
    "ic": 0.0,
    "rmse": 0.0,
    "drift_alarms": 1,
    "drift": {
        "last": {"number": 1, "signal": "residual", "reason": "scan of residual over 400 labels"},
        "last_graded": {"alarm": {"number": 1}, "grade": "harmless", "reason": "lost 0.9"},
    },
    "stopped": "",
    "training": False,
}
ORDER = {
    "id": 421,
    "strategy": "maker",
    "symbol": "sim:BTCUSDT",
    "side": "buy",
    "kind": "stop_limit",
    "time_in_force": "gtc",
    "price": "60015.5000",
    "trigger": "60010.0000",
    "size": "0.00833000",
    "filled": "0.00000000",
    "state": "open",
}


def shown(name: str, row: dict[str, Any], width: int) -> str:
    console = Console(width=width)
    with console.capture() as caught:
        console.print(table(name, [row]), highlight=False)
    return caught.get()


def ask(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_every_list_is_whole_at_any_width() -> None:
    rows: dict[str, dict[str, Any]] = {"positions": POSITION, "orders": ORDER, "fills": FILL, "models": MODEL}
    rows |= {"markouts": MARKOUT, "execution": EXECUTION}
    for name, row in rows.items():
        wide = shown(name, row, 1000).splitlines()[1].split()
        narrow = shown(name, row, 80)
        assert "…" not in narrow
        letters = "".join(narrow.split())
        assert all(letter in letters for word in wide for letter in word)
        assert all(len(line) <= 80 for line in narrow.splitlines())
    assert set(LISTS) == set(rows)


def test_a_list_is_for_the_eye() -> None:
    assert shown("fills", FILL, 200).splitlines()[1].split() == [
        *("08:41:25", "maker", "sim:BTCUSDT", "buy", "59971.5", "0.00833", "maker", "-0.002498", "USDT"),
        *("certain", "(back)", "96", "%"),
    ]
    assert shown("markouts", MARKOUT, 200).splitlines()[1].split()[-5:] == ["+0.50", "+0.25", "-0.12", "-1.50", "–"]
    assert shown("execution", EXECUTION, 200).splitlines()[1].split()[-2:] == ["3,000", "+0.31"]
    assert shown("positions", POSITION, 200).splitlines()[1].split()[-3:] == ["0.4099", "1.86", "USDT"]
    assert shown("models", MODEL, 200).splitlines()[1].split()[6:8] == ["–", "–"], "nothing was scored"
    assert "1 residual, harmless active" in " ".join(shown("models", MODEL, 200).split())


def test_the_last_alarm_of_a_model_is_told_with_its_grade() -> None:
    told = "alarm 1, scan of residual over 400 labels"
    assert last_alarm(MODEL) == f"{told}; harmless: lost 0.9"
    ungraded = {"last": {"number": 1, "reason": "scan of residual over 400 labels"}, "last_graded": None}
    assert last_alarm({"drift": ungraded}) == f"{told}; not judged yet"
    assert last_alarm({"drift": {"last": None, "last_graded": None}}) == ""


def test_no_daemon_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    asks = ("status", "positions", "orders", "fills", "models", "truth", "why")
    for command in (*asks, "halt", "resume", "flatten", "reload"):
        for json_ in ((), ("--json",)):
            done = ask(command, "--run", tmp_path / "a", *json_)
            assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (1, 1, "")
            assert "found: No such file or directory; start one with `papertape run`" in done.stderr


def test_a_daemon_that_ended_is_not_taken_for_the_one_that_has_its_port_now(tmp_path: Path) -> None:
    with StateDir(tmp_path / "a") as state:
        state.write("daemon.json", '{"pid": 1, "url": "http://127.0.0.1:1"}')
    done = ask("halt", "--run", tmp_path / "a")
    assert done.exit_code == 1
    assert "expected a running daemon, found the address of one that ended" in done.stderr
    with StateDir(tmp_path / "b") as state:
        state.write("daemon.json", '{"pid": 1, "url": "http://127.0.0.1:1"}')
        assert f"one runs with --run {tmp_path / 'b'}" in ask("halt", "--run", tmp_path / "a").stderr
        refused = ask("halt", "--run", tmp_path / "b")
    assert refused.exit_code == 1
    assert "expected a running daemon, found: Connection refused" in refused.stderr


@pytest.mark.parametrize("text", ["", "[1]", '{"pid": 1}', "{"])
def test_a_file_that_is_no_address_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    done = ask("status", "--run", tmp_path)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("url", "code"),
    [("localhost:8600", 2), ("ftp://a", 2), ("http://[bad", 1), ("http://", 2), ("http://a b", 1), ("http://a:x", 1)],
)
def test_a_wrong_address_is_one_line(url: str, code: int) -> None:
    done = ask("status", "--url", url)
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)


class Answer(http.server.BaseHTTPRequestHandler):
    """Another program: it answers everything with the same."""

    status, body = 200, b"[]"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_request(self, *args: object) -> None:
        pass


@pytest.fixture
def another() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (200, b"[]", 1, "expected a Papertape daemon, found another program"),
        (200, b"<html>", 1, "expected a running daemon, found: "),
        (404, b"<html>\n\n</html>", 1, "found another program that answers 404"),
        (400, b'{"error":"strategy: expected one of a, b, found \'c\'"}', 2, "strategy: expected one of a, b"),
        (503, b'{"error":"expected room for a command"}', 1, "expected room for a command"),
    ],
)
def test_what_is_answered_is_one_line(
    another: str, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, code: int, words: str
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    monkeypatch.setattr(Answer, "body", body)
    done = ask("status", "--url", another)
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr


def test_the_screen_names_a_stopped_strategy_and_leaves_out_models_that_are_not_there() -> None:
    state: dict[str, Any] = {
        "run": "r",
        "halted": False,
        "ready": True,
        "uptime_s": 3,
        "positions": [],
        "book_tops": [],
        "models": [],
        "contests": [],
        "strategies": {"a": {"stopped": "on_timer raised X"}, "b": {"stopped": None}},
        "profit": {},
        "fills": 0,
        "orders": {"sent": 0, "refused": {}, "cancelled": 0},
        "latency_us": {"tick_to_decision": {"p50": 0, "p99": 0}},
        "truth": {"fills": 0},
        "calibration": [],
    }
    console = Console(width=80)
    with console.capture() as caught:
        console.print(render(json.loads(json.dumps(state)), "http://x"))
    assert "strategy a is stopped: on_timer raised X" in caught.get()
    assert "strategy b" not in caught.get()
    assert "predictions" not in caught.get()
