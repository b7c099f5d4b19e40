"""What a running daemon packs by itself: incidents only, once a minute and kind, beside the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.records import AnyFact, DriftAlarm, Record, RiskAction, StrategyStopped
from engine.live.beside import BesideError
from engine.live.blackbox import watch as watches
from engine.live.blackbox.index import BoxError
from engine.live.blackbox.pack import Order, Packed
from engine.live.blackbox.watch import Watch
from tests.recovering import Life, config


class Packer:
    """Stands in for the process; remembers its orders, and whether the journal was held meanwhile."""

    def __init__(self, life: Life) -> None:
        self.orders: list[Order] = []
        self.was_held: list[bool] = []
        self.error: str | None = None
        self._life = life

    async def __call__(self, module: str, order: bytes) -> bytes:
        if self.error == "gone":
            raise BesideError("it ended")
        self.orders.append(msgspec.json.decode(order, type=Order))
        self.was_held.append(not self._life.keeper.is_due())
        return msgspec.json.encode(Packed(path="x.ptb", error=self.error or ""))


@pytest.fixture
def life(tmp_path: Path) -> Any:
    life = Life(tmp_path)
    life.live(5)
    yield life
    life.stop()


@pytest.fixture
def packer(life: Life, monkeypatch: pytest.MonkeyPatch) -> Packer:
    packer = Packer(life)
    monkeypatch.setattr(watches, "beside", packer)
    return packer


def records(*facts: AnyFact) -> list[Record]:
    return [Record(7 + at, 1_700_000_000_000_000_000, fact) for at, fact in enumerate(facts)]


def watching(life: Life, **section: Any) -> Watch:
    return Watch(life.state, config(blackbox=section), life.keeper, lambda: ["abc"])


STOPPED = StrategyStopped("bad", "on_timer raised ValueError: x")


async def test_incidents_are_packed_once_a_minute_and_kind(life: Life, packer: Packer) -> None:
    watch = watching(life, most="2MiB", keep=3, window="5s")
    watch(records(STOPPED, STOPPED, RiskAction("drawdown", "all", "lost 10"), STOPPED))
    await watch.close()
    assert [order.reason for order in packer.orders] == ["strategy_stopped", "drawdown"]
    first = packer.orders[0]
    assert (first.seq, first.detail) == (7, "bad: on_timer raised ValueError: x")
    assert "StrategyStopped" in first.fact and first.versions == ["abc"]
    assert (first.most_bytes, first.keep, first.window_ns) == (2 << 20, 3, 5 * 10**9)
    assert first.end == tuple(life.journal.position)
    assert packer.was_held == [True, True] and life.keeper.is_due(), "held only as long as it is read"
    assert (watch.packed, watch.failed, watch.last) == (2, 0, "x.ptb")


async def test_daily_work_is_not_packed(life: Life, packer: Packer) -> None:
    watch = watching(life)
    watch(
        records(
            RiskAction("stop_loss", "s", "x"),
            RiskAction("kill_switch", "all", "a user's word"),
            RiskAction("resume", "all", "command"),
            DriftAlarm("m", "v:BTC", "adwin", 1.0),
        )
    )
    await watch.close()
    assert packer.orders == []


async def test_switched_off_it_packs_only_what_is_asked_for(life: Life, packer: Packer) -> None:
    watch = watching(life, enabled=False)
    watch(records(STOPPED))
    assert await watch.ask("why not") == "x.ptb"
    assert [(order.reason, order.detail) for order in packer.orders] == [("asked", "why not")]
    with pytest.raises(BoxError, match="at most one black box a minute"):
        await watch.ask("again")


@pytest.mark.parametrize("error", ["no space", "gone"])
async def test_what_cannot_be_packed_is_said_and_disturbs_nothing(life: Life, packer: Packer, error: str) -> None:
    packer.error = error
    watch = watching(life)
    watch(records(STOPPED))
    await watch.close()
    assert (watch.packed, watch.failed) == (0, 1)
    with pytest.raises(BoxError):
        await watch.ask("x")
