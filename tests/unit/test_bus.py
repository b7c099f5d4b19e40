"""The bus between connections and the engine: one order for all, and a policy for each kind when there is no room."""

from __future__ import annotations

import asyncio

import pytest

from engine.core.events import CLOCK, MARK, Command, ModelReady, row
from engine.live.bus import Bus, BusFull
from engine.live.clock import Clock

FRAME = row(MARK, symbol=0, recv_ns=1)
TIME = row(CLOCK, symbol=0, recv_ns=2)
MODEL = ModelReady(3, "net", "0" * 64, b"")


def test_inputs_of_all_kinds_leave_in_the_order_they_came() -> None:
    bus = Bus()
    bus.put_clock(TIME)
    bus.put_market(FRAME, 1)
    bus.put_command(Command(2, "halt"))
    bus.put_model(MODEL)
    payloads = [item.payload for item in iter(bus.pop, None)]
    assert payloads[0] is TIME and payloads[1] is FRAME
    assert payloads[2:] == [Command(2, "halt"), MODEL]
    assert bus.put == 4 and len(bus) == 0 and bus.pop() is None


def test_market_data_over_the_bound_is_kept_and_the_connection_told_to_go() -> None:
    """It is on the tape already: dropping it would make the replay see what the engine did not."""
    bus = Bus(capacity=2)
    assert [bus.put_market(FRAME, 1) for _ in range(3)] == [True, True, False]
    assert len(bus) == 3 and bus.overflows == 1


def test_a_clock_row_is_not_needed_while_something_waits() -> None:
    bus = Bus()
    assert bus.put_clock(TIME)
    assert not bus.put_clock(TIME)
    bus.pop()
    bus.put_market(FRAME, 1)
    assert not bus.put_clock(TIME)
    assert len(bus) == 1


def test_a_command_without_room_is_refused_and_counted() -> None:
    bus = Bus(capacity=1)
    bus.put_market(FRAME, 1)
    with pytest.raises(BusFull, match="try again"):
        bus.put_command(Command(2, "halt"))
    assert bus.refused == 1 and len(bus) == 1


async def test_a_model_waits_for_room() -> None:
    bus = Bus(capacity=1)
    bus.put_market(FRAME, 1)
    waiting = asyncio.create_task(bus.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.pop()
    await waiting
    assert bus.has_room()


async def test_waiting_ends_with_the_first_input_or_with_silence() -> None:
    bus = Bus()
    assert not await bus.wait(0.0)
    waiting = asyncio.create_task(bus.wait(60.0))
    await asyncio.sleep(0)
    bus.put_market(FRAME, 1)
    assert await waiting
    assert await bus.wait(0.0)


def test_the_clock_never_runs_back_when_the_wall_clock_does() -> None:
    walls = iter([1_000, 10])
    ticks = iter(range(100, 200, 7))
    clock = Clock(wall=lambda: next(walls), monotonic=lambda: next(ticks))
    times = [clock.now_ns() for _ in range(5)]
    assert times == sorted(times) and times[0] > 1_000
