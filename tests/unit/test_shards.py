"""A run cut into shards: every symbol once, strategies and models where their symbols are, a folder for each."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from engine.core.types import Instrument
from engine.live.build import build_engine
from engine.live.config import AppConfig, ConfigError, parse_config
from engine.live.shards.feed import Listed
from engine.live.shards.market import Reader
from engine.live.shards.names import Keys, Share
from engine.live.shards.shard import Shard
from engine.live.shards.share import divided, family, share_of
from engine.live.shards.standby import StandIn
from tests.unit.test_metrics import SHARD

NAMES = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "DOGEUSDT")


def config(**changes: Any) -> AppConfig:
    told: dict[str, Any] = {
        "run": {"name": "r"},
        "venue": {"sim": {"use": "binance-spot", "symbols": list(NAMES)}},
        "http": {"port": 8600},
        "strategy": [{"name": "hold", "use": "hold", "symbol": "*"}],
        "model": [{"name": "linear", "symbol": "*"}],
    }
    return parse_config(told | changes, "test")


def listed() -> dict[str, Listed]:
    made = {
        name: Instrument(venue="sim", symbol=name, base=name[:-4], quote="USDT", price_decimals=2, size_decimals=5)
        for name in NAMES
    }
    return {"sim": Listed("binance-spot", made)}


def test_every_symbol_is_in_one_shard_with_what_trades_it() -> None:
    found = []
    for index in range(2):
        own = share_of(config(), listed(), Share(index, 2))
        found += own.venue["sim"].symbols
        instruments = [listed()["sim"].instruments[name] for name in own.venue["sim"].symbols]
        engine = build_engine(own, instruments, inline_training=False).engine
        assert {f"hold@{one.name}" for one in instruments} == set(engine.roster.slots)
        assert str(own.run.state_dir / own.run.name) == f"var/r/shard-{index}-of-2"
        assert own.http.port == 8600 + index
        assert own.paper.rules["sim"].family == "binance-spot"
    assert sorted(found) == sorted(NAMES)


def test_what_is_on_another_shard_is_left_out() -> None:
    share = next(Share(index, 2) for index in range(2) if Share(index, 2).owns("sim:BTCUSDT"))
    other = share.others()[0]
    told = config(
        strategy=[{"name": "one", "use": "hold", "symbol": "BTCUSDT"}],
        model=[{"name": "m", "symbol": "sim:BTCUSDT"}],
        paper={"margin": {"leverages": {"sim:BTCUSDT": 2}}},
    )
    mine, others = share_of(told, listed(), share), share_of(told, listed(), other)
    assert [len(mine.strategy), len(mine.model), len(mine.paper.margin.leverages)] == [1, 1, 1]
    assert [len(others.strategy), len(others.model), len(others.paper.margin.leverages)] == [0, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_all_shards_together_have_the_cash_of_the_run(count: int) -> None:
    shares = [Share(index, count) for index in range(count)]
    cash = {"USDT": Decimal("1000.01"), "BTC": Decimal("0.00000003"), "BNB": Decimal(7)}
    parts = [divided(cash, listed()["sim"].instruments.values(), share) for share in shares]
    for currency, total in cash.items():
        assert sum(part.get(currency, Decimal(0)) for part in parts) == total
    assert ["BTC" in part for part in parts] == [share.owns("sim:BTCUSDT") for share in shares]
    for share, part in zip(shares, parts, strict=True):
        mine = sum(share.owns(f"sim:{name}") for name in NAMES)
        assert abs(part.get("USDT", Decimal(0)) - cash["USDT"] * mine / len(NAMES)) <= Decimal("1e-8")


def test_the_cash_of_a_shard_is_its_part() -> None:
    told, everything = config(paper={"cash": {"USDT": "1000"}}), listed()["sim"].instruments.values()
    for share in (Share(0, 2), Share(1, 2)):
        assert share_of(told, listed(), share).paper.cash == divided({"USDT": Decimal(1000)}, everything, share)


def test_a_lease_runs_out_so_early_that_the_next_look_of_a_stand_in_is_within_it() -> None:
    told = config(redis={"url": "redis://127.0.0.1:1/0", "lease": "5s"})
    look_s = StandIn(told, Path("c.toml"), [Share(0, 2)])._every_s
    assert told.redis.lease_ms / 1000 + look_s < 5.0


def test_each_shard_has_all_of_the_cash_where_that_is_said() -> None:
    told = config(paper={"cash": {"USDT": "1000"}}, redis={"cash": "each"})
    assert [share_of(told, listed(), Share(index, 2)).paper.cash for index in range(2)] == [{"USDT": 1000}] * 2


def test_symbols_of_two_shards_in_one_place_are_refused() -> None:
    told = config(strategy=[{"name": "pair", "use": "hold", "symbol": "BTCUSDT", "other": "XRPUSDT"}])
    with pytest.raises(ConfigError, match=r"strategy.0: expected symbols of one shard, found sim:BTCUSDT, sim:XRPUSDT"):
        share_of(told, listed(), Share(0, 2))
    told = config(model=[{"name": "m", "symbol": "BTCUSDT", "leaders": ["XRPUSDT"]}])
    with pytest.raises(ConfigError, match=r"model.0: .*sim:BTCUSDT on [01]/2, sim:XRPUSDT on [01]/2"):
        share_of(told, listed(), Share(1, 2))


def test_a_shard_without_a_symbol_is_refused() -> None:
    empty = next(Share(index, 9) for index in range(9) if not any(Share(index, 9).owns(f"sim:{n}") for n in NAMES))
    with pytest.raises(ConfigError, match="expected symbols of its own, found none"):
        share_of(config(), listed(), empty)


def test_the_rules_of_a_venue_are_those_that_its_adapter_names() -> None:
    told = config(venue={"a": {"use": "binance-usdm", "symbols": ["X"]}, "b": {"use": "plain", "symbols": ["X"]}})
    assert [family(section) for section in told.venue.values()] == ["binance-futures", "plain"]
    told = config(venue={"s": {"use": "binance-spot", "symbols": ["X"], "market": {}}})
    assert family(told.venue["s"]) == "plain"


class Acks:
    """A Redis that takes acknowledgements, unless it is away."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.is_away = False

    async def fenced(self, lease: object, commands: list[tuple[object, ...]]) -> None:
        if self.is_away:
            raise ConnectionError("away")
        self.heard += commands


async def test_what_a_shard_is_behind_is_counted_until_redis_knows() -> None:
    run = config(redis={"url": "redis://127.0.0.1:1/0"})
    shard = Shard(run, run, Share(0, 2), {}, "me", 3)
    acks = Acks()
    link = cast(Any, acks)
    reader = shard.readers["v"] = Reader(link, shard.lease, Keys("p", "r"), "v", ["BTC"], lambda: 0)
    reader.waiting.extend([("s", b"1-0", b""), ("s", b"2-0", b""), ("s", b"3-0", b"")])
    for _ in range(2):
        reader.pop()
        reader.taken()
    told = shard.plain()
    assert set(told) == set(SHARD) and set(told["venues"]["v"]) == set(SHARD["venues"]["v"])
    assert (told["shard"], told["owned"], told["token"]) == ("shard-0-of-2", True, 3)
    assert told["venues"]["v"] == {"waiting": 1, "unacknowledged": 2, "claims_total": 0}
    safe = reader.committed()
    await reader.flush()
    assert acks.heard == [], "written down, and not safe yet"
    safe()
    acks.is_away = True
    await reader.flush()
    assert shard.plain()["venues"]["v"]["unacknowledged"] == 2
    acks.is_away = False
    await reader.flush()
    assert acks.heard == [("XACK", "s", "shard-0-of-2", b"1-0", b"2-0")]
    assert shard.plain()["venues"]["v"]["unacknowledged"] == 0


@pytest.mark.parametrize(("symbols", "count"), [(1, 5_000), (50, 100), (1_000, 16)])
async def test_an_answer_keeps_the_loop_no_longer_with_more_symbols(symbols: int, count: int) -> None:
    heard: list[tuple[object, ...]] = []
    is_asked = asyncio.Event()

    class Silent:
        timeout_s = 5.0

        async def do(self, *words: object, timeout_s: float | None = None) -> object:
            del timeout_s
            if words[0] == "XREADGROUP":
                heard.append(words)
                is_asked.set()
                await asyncio.Event().wait()
            return [b"0-0", []] if words[0] == "XAUTOCLAIM" else []

    run = config(redis={"url": "redis://127.0.0.1:1/0"})
    shard = Shard(run, run, Share(0, 2), {}, "me", 3)
    names = [f"S{number}" for number in range(symbols)]
    reader = Reader(cast(Any, Silent()), shard.lease, Keys("p", "r"), "v", names, lambda: 0)
    reading = asyncio.create_task(reader.read())
    async with asyncio.timeout(10):
        await is_asked.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert heard[0][heard[0].index("COUNT") + 1] == count
