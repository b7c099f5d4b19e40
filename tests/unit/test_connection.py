"""The connection under scripted faults, in virtual time: no socket, no waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from adapters.binance import BinanceSpot
from adapters.connection import Connection
from adapters.contract import SubscriptionRefused
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.transport import TransportError
from engine.core.events import DOWN, GAP, LEVEL, OVERFLOW, READY, REASONS, SILENCE, UP, Batch
from engine.core.types import Instrument
from tests.scripted import ScriptedTransport, VirtualTime, settle

BTC = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
SNAPSHOT = b'{"lastUpdateId":10,"bids":[["99.00","1.0"]],"asks":[["101.00","1.0"]]}'


def difference(first: int, last: int) -> bytes:
    return (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000100,"s":"BTCUSDT",'
        b'"U":%d,"u":%d,"b":[["99.50","2.0"]],"a":[]}}' % (first, last)
    )


class Rig:
    """A connection with everything around it under the test's hand."""

    def __init__(
        self,
        pages: Callable[[str], bytes] = lambda url: SNAPSHOT,
        refusals: int = 0,
        venue: type[BinanceSpot] = BinanceSpot,
        pong_s: float | None = None,
    ) -> None:
        self.time = VirtualTime()
        self.trips: list[int] = []
        self.delays: list[int] = []
        self.transport = ScriptedTransport(pages, refusals, self.time.clock)
        self.transport.pong = None if pong_s is None else lambda: self._pong(pong_s)
        self.feed = Feed("b", venue, {"BTCUSDT": (0, BTC)})
        self.entries: list[Entry] = []
        self.log: list[str] = []  # "tape" and "take" in their order
        self.batches: list[Batch] = []
        self.has_room = True
        self.connection = Connection(
            self.feed,
            self.transport,
            self.time.clock,
            self._take,
            self._tape,
            sleep=self.time.sleep,
            chance=random.Random(7),
            measured=self._measured,
        )

    def _measured(self, rtt_ns: int, delay_ns: int) -> None:
        self.trips.append(rtt_ns)
        self.delays.append(delay_ns)

    async def _pong(self, seconds: float) -> None:
        if seconds < 0:
            raise TransportError("broken by the script")
        await self.time.sleep(seconds)

    def _tape(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.log.append("tape")

    def _take(self, batch: Batch, recv_ns: int) -> bool:
        self.batches.append(batch)
        self.log.append("take")
        return self.has_room

    def kinds(self) -> list[int]:
        return [int(kind) for batch in self.batches for kind in batch["kind"]]

    def tape_kinds(self) -> list[EntryKind]:
        return [entry.kind for entry in self.entries if entry.kind is not EntryKind.TICKED]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.connection.run())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def make_ready(self) -> None:
        self.transport.sockets[-1].feed(difference(9, 12))
        await self.time.run(0.5)


async def test_a_session_when_the_snapshot_comes_then_the_book_is_ready() -> None:
    rig = Rig()
    async with rig.running():
        await rig.make_ready()
    assert rig.transport.fetched == ["https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"]
    assert rig.kinds()[0] == UP and rig.kinds()[-1] == READY
    assert rig.tape_kinds() == [EntryKind.OPENED, EntryKind.RECEIVED, EntryKind.REPLIED]


async def test_a_frame_when_it_comes_then_it_is_taped_before_it_is_used_and_stamped_once() -> None:
    rig = Rig()
    async with rig.running():
        await rig.make_ready()
        rig.log.clear()
        rig.transport.sockets[-1].feed(difference(13, 14))
        await settle()
    assert rig.log == ["tape", "take"]
    assert rig.entries[-1].data == difference(13, 14)
    assert int(rig.batches[-1]["recv_ns"][0]) == rig.entries[-1].ns


@pytest.mark.parametrize(("frame_ns", "most"), [(300_000, 4), (2_000_000, 1), (0, 64)])
async def test_a_burst_when_frames_take_long_then_others_get_a_turn_after_a_millisecond(
    frame_ns: int, most: int
) -> None:
    rig = Rig()
    heard: list[int] = []

    async def other() -> None:
        while True:
            heard.append(len(rig.entries))
            await asyncio.sleep(0)

    async with rig.running():
        await rig.make_ready()
        tape = rig.connection._tape

        def slow(entry: Entry) -> None:
            tape(entry)
            rig.time.now_ns += frame_ns

        rig.connection._tape = slow
        beside = asyncio.create_task(other())
        rig.transport.sockets[-1].feed(*(difference(2 * at, 2 * at + 1) for at in range(10, 210)))
        await settle()
        while len(rig.entries) < 203:
            await settle()
        beside.cancel()
    assert max(after - before for before, after in pairwise(heard)) == most


async def test_the_backoff_when_opening_fails_then_it_doubles_with_jitter_and_is_capped() -> None:
    rig = Rig(refusals=12)
    async with rig.running():
        await rig.time.run(600.0)
    pauses = [(later - earlier) / 1e9 for earlier, later in pairwise(rig.transport.opened_ns)][:12]
    assert len(pauses) == 12
    for number, pause in enumerate(pauses):
        longest = min(60.0, 0.5 * 2.0**number)
        assert longest / 2 <= pause <= longest


async def test_the_backoff_when_no_data_flowed_then_it_does_not_reset() -> None:
    rig = Rig()
    async with rig.running():
        for _ in range(6):  # six sessions that say nothing and close at once
            rig.transport.sockets[-1].feed(None)
            before = len(rig.transport.sockets)
            while len(rig.transport.sockets) == before:
                await rig.time.run(1.0)
        started_ns = rig.time.now_ns
        rig.transport.sockets[-1].feed(None)
        before = len(rig.transport.sockets)
        while len(rig.transport.sockets) == before:
            await rig.time.run(0.5)
    assert rig.time.now_ns - started_ns >= 15e9  # the seventh pause: between 16 s and 32 s


async def test_the_backoff_when_a_long_session_had_data_then_it_resets() -> None:
    rig = Rig(refusals=5)
    async with rig.running():
        await rig.time.run(40.0)
        await rig.make_ready()
        await rig.time.run(12.0)
        sockets = len(rig.transport.sockets)
        rig.transport.sockets[-1].feed(None)
        await rig.time.run(0.6)
        assert len(rig.transport.sockets) == sockets + 1
    assert rig.feed.stats.reconnects == 1
    assert rig.kinds().count(DOWN) == 1


async def test_the_watchdog_when_the_venue_is_silent_then_the_connection_is_lost() -> None:
    rig = Rig()
    async with rig.running():
        await rig.make_ready()
        await rig.time.run(BinanceSpot.spec.silence_s + 3.0)
    lost = [entry for entry in rig.entries if entry.kind is EntryKind.LOST]
    assert [entry.token for entry in lost] == [REASONS[SILENCE]]
    assert rig.transport.sockets[0].is_closed


class ShortLived(BinanceSpot):
    spec = msgspec.structs.replace(BinanceSpot.spec, max_age_s=100.0)


async def test_the_age_when_the_venue_would_close_soon_then_it_reconnects_first() -> None:
    rig = Rig(venue=ShortLived)
    async with rig.running():
        for _ in range(5):
            rig.transport.sockets[-1].feed(b'{"result":null,"id":1}')
            await rig.time.run(20.0)
    first, second = rig.transport.opened_ns[:2]
    assert 98.0 <= (second - first) / 1e9 < 100.0


async def test_overflow_when_there_is_no_room_then_nothing_more_is_used_and_it_reconnects() -> None:
    rig = Rig()
    async with rig.running():
        await rig.make_ready()
        rig.has_room = False
        rig.transport.sockets[-1].feed(difference(13, 14), difference(15, 16))
        await settle()
        rig.has_room = True
        lost = [entry for entry in rig.entries if entry.kind is EntryKind.LOST]
        assert [entry.token for entry in lost] == [REASONS[OVERFLOW]]
        assert int(rig.batches[-1]["kind"][0]) == DOWN and int(rig.batches[-1]["reason"][0]) == OVERFLOW
        assert rig.entries[-2].data == difference(13, 14)
        await rig.time.run(1.0)
        await rig.make_ready()
        assert rig.kinds()[-1] == READY


async def test_a_page_when_it_fails_then_it_is_asked_again_later_and_later() -> None:
    failures = iter(range(3))

    def pages(url: str) -> bytes:
        if next(failures, None) is not None:
            raise TransportError("busy", retry_after_s=5.0)
        return SNAPSHOT

    rig = Rig(pages)
    async with rig.running():
        rig.transport.sockets[-1].feed(difference(9, 12))
        await rig.time.run(4.0)
        assert len(rig.transport.fetched) == 1
        for _ in range(20):
            await rig.time.run(1.0)
        assert len(rig.transport.fetched) == 4
    assert [entry.data for entry in rig.entries if entry.kind is EntryKind.REPLIED] == [b"", b"", b"", SNAPSHOT]
    assert rig.kinds()[-1] == READY


async def test_a_gap_when_a_frame_is_missing_then_the_book_is_brought_in_step_again() -> None:
    pages = iter([SNAPSHOT, SNAPSHOT.replace(b":10,", b":25,")])
    rig = Rig(lambda url: next(pages))
    async with rig.running():
        await rig.make_ready()
        rig.transport.sockets[-1].feed(difference(20, 26))
        await rig.time.run(2.0)
    kinds = rig.kinds()
    assert kinds.count(GAP) == 1 and kinds[-1] == READY and LEVEL in kinds
    assert rig.feed.stats.gaps == 1


async def test_doubt_when_the_engine_finds_a_book_wrong_then_a_snapshot_is_fetched() -> None:
    rig = Rig()
    async with rig.running():
        rig.connection.doubt(0)  # not in step yet: it is being fetched anyway
        await rig.make_ready()
        rig.connection.doubt(0)
        await rig.time.run(2.0)
        assert len(rig.transport.fetched) == 2
    assert EntryKind.DOUBTED in rig.tape_kinds()


async def test_a_refused_symbol_when_the_venue_says_so_then_run_ends_with_it() -> None:
    rig = Rig(lambda url: b'{"code":-1121,"msg":"Invalid symbol."}')
    async with rig.running() as task:
        rig.transport.sockets[-1].feed(difference(9, 12))
        await rig.time.run(1.0)
        assert task.done()
        with pytest.raises(SubscriptionRefused, match="BTCUSDT"):
            task.result()
    assert rig.tape_kinds()[-1] is EntryKind.LOST


async def test_cancellation_when_the_daemon_stops_then_everything_is_closed() -> None:
    rig = Rig()
    async with rig.running() as task:
        await rig.make_ready()
    assert task.cancelled()
    assert rig.transport.sockets[-1].is_closed and not rig.connection.is_open


async def test_a_replay_of_the_tape_when_it_is_applied_then_it_gives_the_same_batches() -> None:
    rig = Rig()
    async with rig.running():
        await rig.make_ready()
        rig.transport.sockets[-1].feed(b"{broken", difference(13, 14), None)
        await rig.time.run(3.0)
        await rig.make_ready()
    feed = Feed("b", BinanceSpot, {"BTCUSDT": (0, BTC)})
    replayed = [out for entry in rig.entries for out in feed.apply(entry) if isinstance(out, np.ndarray)]
    assert [batch.tobytes() for batch in replayed] == [batch.tobytes() for batch in rig.batches]
    assert feed.stats == rig.feed.stats and feed.stats.malformed == 1


async def test_a_round_trip_when_the_venue_answers_then_it_is_measured_every_five_seconds() -> None:
    rig = Rig(pong_s=0.02)
    async with rig.running():
        await rig.make_ready()
        await rig.time.run(10.5)
    assert rig.trips == [20_000_000] * 3
    assert rig.delays[0] == 0 and min(rig.delays) >= 0


async def test_a_ping_when_the_socket_breaks_then_the_connection_is_lost() -> None:
    rig = Rig(pong_s=-1.0)
    async with rig.running():
        await settle()
    assert rig.tape_kinds() == [EntryKind.OPENED, EntryKind.LOST]
