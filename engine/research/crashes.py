"""Kill a busy daemon again and again, and hold what it showed to the world against what is left.

    python -m engine.research.crashes --kills 200 --json

A simulated exchange of its own process goes on while the daemon dies by SIGKILL at random instants: in the middle of
its work, and some of them while it starts. A watcher asks it over HTTP all the time and remembers each order and fill
that it was shown. In the end the daemon is stopped cleanly, and:

* every fact in the journal is there once, numbered without a gap;
* every order and fill that was shown is in the journal, with the same price and size;
* a replay of all tapes, undisturbed and in one go, reaches the digest of the daemon.

Exit code 1: one of them does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from engine.core.order_facts import Sent
from engine.core.records import Fill
from engine.live.journal import Kind, decode_record, read
from engine.research.replay import replay

PAPERTAPE: Final = (sys.executable, "-c", "from engine.live.cli import main; main()")
PATIENCE_S: Final = 180.0
LOOK_S: Final = 0.05
EARLY: Final = 0.15
"""Share of the kills that come before the daemon is ready."""

CONFIG: Final = """
[run]
name = "crash"
state_dir = "{folder}"

[venue.sim]
use = "binance-spot"
symbols = ["BTCUSDT", "ETHUSDT"]
ws_url = "{ws_url}"
rest_url = "{rest_url}"

[paper]
out = "5ms"
back = "5ms"
feed = "1ms"
cash = {{ USDT = "10000000", BTC = "100", ETH = "1000" }}

[risk]
max_orders_per_window = 0
max_open_orders = 2000
max_position_notional = "0"
drawdown_fraction = "0"
allow_short = true
allow_debt = true

[journal]
snapshot_every = "{snapshot_every}"

[http]
port = 0

[[strategy]]
name = "busy"
use = "engine.research.crash_strategy:Busy"
symbol = "*"

[[model]]
name = "linear"
use = "river-linear"
symbol = "sim:BTCUSDT"
horizon = "1s"
every = "100ms"
"""


class Found(msgspec.Struct):
    """What a campaign of kills found; the counts of what is wrong are all zero where it holds."""

    kills: int = 0
    early: int = 0
    seconds: float = 0.0
    lived_s: float = 0.0
    orders: int = 0
    fills: int = 0
    orders_per_s: float = 0.0
    facts: int = 0
    shown_orders: int = 0
    shown_fills: int = 0
    lost_orders: int = 0
    lost_fills: int = 0
    changed: int = 0
    doubled: int = 0
    gaps: int = 0
    went_back: int = 0
    digest: str = ""
    replayed: str = ""
    recovered_s_median: float = 0.0
    recovered_s_most: float = 0.0
    ready_s_median: float = 0.0
    torn_tails: int = 0
    unused_snapshots: int = 0
    completed_facts: int = 0
    slow_looks: int = 0
    failed: list[str] = []

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or changed, and the digests agree."""
        wrong = [self.lost_orders, self.lost_fills, self.changed, self.doubled, self.gaps, self.went_back]
        wrong.append(self.unused_snapshots)  # a start that had to play all again lost nothing, but took its time
        return not any(wrong) and not self.failed and self.digest == self.replayed != ""


class Watcher:
    """Remembers what a daemon showed."""

    def __init__(self) -> None:
        self.orders: dict[int, str] = {}
        self.fills: dict[tuple[int, int], tuple[str, str, str]] = {}
        self.records = 0
        self.went_back = 0
        self.slow_looks = 0

    def look(self, url: str) -> bool:
        """Ask once; whether it answered that it is ready."""
        with urllib.request.urlopen(f"{url}/state", timeout=2.0) as answer:
            state = json.load(answer)
        self.went_back += state["records"] < self.records
        self.records = max(self.records, state["records"])
        for order in state["working_orders"]:
            self.orders[order["id"]] = order["symbol"]
        for fill in state["recent_fills"]:
            self.fills[fill["order"], fill["number"]] = fill["side"], fill["price"], fill["size"]
        return bool(state["ready"])


def campaign(
    kills: int, seed: int, folder: Path, snapshot_every: str = "5s", progress: Callable[[str], None] | None = None
) -> Found:
    """Kill a daemon ``kills`` times in ``folder``, stop it, and look."""
    chance, found, watcher = random.Random(seed), Found(), Watcher()
    started = time.perf_counter()
    with _market(seed) as told:
        config = folder / "crash.toml"
        config.write_text(CONFIG.format(folder=folder, snapshot_every=snapshot_every, **told))
        ready_s: list[float] = []
        for number in range(kills):
            is_early = chance.random() < EARLY
            found.early += is_early
            try:
                with _killed(_start(config, folder)) as daemon:
                    begun = time.perf_counter()
                    if is_early:
                        time.sleep(chance.uniform(0.0, 3.0))
                    else:
                        url = _ready(daemon, folder, watcher)
                        ready_s.append(time.perf_counter() - begun)
                        lives_s = chance.uniform(0.2, 3.0)
                        _watch(watcher, url, lives_s)
                        found.lived_s += lives_s
            except (OSError, RuntimeError) as error:
                found.failed.append(f"kill {number}: {error}")
            found.kills += 1
            if progress is not None:
                progress(f"{number + 1} kills, {watcher.records:,} facts shown")
            if len(found.failed) > 3:
                break
        with _killed(_start(config, folder)) as daemon:
            _watch(watcher, _ready(daemon, folder, watcher), 1.0)
            daemon.send_signal(signal.SIGINT)
            daemon.wait(PATIENCE_S)
    found.seconds = time.perf_counter() - started
    found.ready_s_median = median(ready_s) if ready_s else 0.0
    _judge(folder / "crash", watcher, found)
    return found


@contextmanager
def _market(seed: int) -> Iterator[dict[str, str]]:
    """A simulated exchange in a process of its own; its addresses."""
    words = [*PAPERTAPE, "market", "--json", "--seed", str(seed)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as market:
        try:
            assert market.stdout is not None
            told = json.loads(market.stdout.readline())
            yield {name: told[name] for name in ("ws_url", "rest_url")}
        finally:
            market.kill()


@contextmanager
def _killed(daemon: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Whatever happens, it ends by SIGKILL."""
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()


def _watch(watcher: Watcher, url: str, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0:
        try:
            watcher.look(url)
        except TimeoutError:  # a machine with other work: what was not shown can be neither lost nor changed
            watcher.slow_looks += 1
        time.sleep(min(LOOK_S, left))


def _start(config: Path, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "crash" / "daemon.json").unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*PAPERTAPE, "run", str(config)], stdout=log, stderr=log, env=os.environ)


def _ready(daemon: subprocess.Popen[bytes], folder: Path, watcher: Watcher) -> str:
    """Wait until the daemon trades; its address.

    Raises:
        RuntimeError: it ended, or takes too long.
    """
    deadline = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < deadline:
        if daemon.poll() is not None:
            raise RuntimeError(f"the daemon ended with code {daemon.returncode}; see {folder / 'log'}")
        try:
            url = str(json.loads((folder / "crash" / "daemon.json").read_text())["url"])
            if watcher.look(url):
                return url
        except (OSError, ValueError):
            pass
        time.sleep(LOOK_S)
    raise RuntimeError(f"the daemon is not ready after {PATIENCE_S:g} s; see {folder / 'log'}")


def _judge(run: Path, watcher: Watcher, found: Found) -> None:
    """Hold what was shown against the journal, and the run against its replay."""
    sent: Counter[int] = Counter()
    fills: Counter[tuple[int, int]] = Counter()
    values: dict[tuple[int, int], tuple[str, str, str]] = {}
    last = 0
    summary = json.loads((run / "run.json").read_text())
    units = {one["name"]: one for one in replay([run]).summary["instruments"]}
    for frame in read(run / "journal"):
        if frame.kind is not Kind.FACT:
            continue
        record = decode_record(frame.payload)
        found.gaps += record.seq != last + 1
        last = record.seq
        fact = record.fact
        if isinstance(fact, Sent):
            sent[fact.order] += 1
        elif isinstance(fact, Fill):
            key = fact.order, fact.number
            fills[key] += 1
            unit = units[fact.symbol]
            price = format_units(fact.price, unit["price_decimals"])
            values[key] = "buy" if fact.side > 0 else "sell", price, format_units(fact.size, unit["size_decimals"])
    found.facts, found.orders, found.fills = last, len(sent), len(fills)
    found.orders_per_s = found.orders / (found.lived_s + 1.0)  # the last session lives for a second
    found.shown_orders, found.shown_fills = len(watcher.orders), len(watcher.fills)
    found.lost_orders = sum(1 for order in watcher.orders if not sent[order])
    found.lost_fills = sum(1 for key in watcher.fills if not fills[key])
    found.changed = sum(1 for key, shown in watcher.fills.items() if fills[key] and values[key] != shown)
    found.doubled = sum(count - 1 for count in (*sent.values(), *fills.values()) if count > 1)
    found.went_back = watcher.went_back
    found.slow_looks = watcher.slow_looks
    found.digest = summary["digest"]
    found.replayed = replay([run]).digest
    seconds = []
    for line in (run / "log.jsonl").read_text().splitlines():
        told = json.loads(line)
        if told.get("event") == "recovered":
            seconds.append(told["seconds"])
            found.completed_facts += told["completed"]
        if told.get("event") == "recovery":
            is_torn = "cut off" in told["found"]
            found.torn_tails += is_torn
            found.unused_snapshots += not is_torn
    found.recovered_s_median = median(seconds) if seconds else 0.0
    found.recovered_s_most = max(seconds, default=0.0)


def format_units(value: int, decimals: int) -> str:
    """An exact number of units as the page shows it.

    >>> format_units(600123, 2), format_units(5, 3)
    ('6001.23', '0.005')
    """
    text = f"{value:0{decimals + 1}d}"
    return f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the run here; a temporary folder without it")
    parser.add_argument("--snapshot-every", default="5s")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="papertape-crash-") as place:
        folder = asked.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        found = campaign(asked.kills, asked.seed, folder, asked.snapshot_every, _say)
    plain: dict[str, Any] = msgspec.to_builtins(found) | {"holds": found.holds}
    if asked.json:
        sys.stdout.write(json.dumps(plain) + "\n")
    else:
        sys.stdout.writelines(f"{name:20} {value}\n" for name, value in plain.items())
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
