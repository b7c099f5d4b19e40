"""One feed from start to stop: the lease, the venues, the connections, and the end when one of its parts ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable
from functools import partial

import structlog

from adapters.connection import Connection
from adapters.contract import AdapterError
from adapters.entry import Entry
from adapters.feed import Feed
from engine.live.clock import Clock
from engine.live.config import AppConfig
from engine.live.shards.feed import Doubts, Publisher, beat, doubter, listing, tell
from engine.live.shards.lease import Lease
from engine.live.shards.link import Link
from engine.live.shards.names import Keys, owner_name
from engine.live.shards.rights import check
from engine.live.shards.share import family
from engine.live.statedir import StateDir
from engine.live.venues import MarketChild, Reached, StartError, numbered, reach
from engine.live.warm import warm_up

log = structlog.get_logger("papertape.feed")

LAST_WORD_S = 2.0


class FeedFailed(Exception):
    """A part of the feed ended by itself; the text names it."""


async def serve_feed(config: AppConfig, state: StateDir, run_s: float | None) -> None:
    """Hand the venues' batches on until a signal, or the end of the time.

    Raises:
        ConfigError, StartError: a venue cannot be had.
        Refused: Redis will not have us.
        LeaseHeld: another feed of the run is at work.
        LeaseLost, StaleOwner: another one took its place.
        FeedFailed: a part of it failed.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if run_s is not None:
        loop.call_later(run_s, stop.set)
    serving = _Serving(config)
    try:
        state.write("daemon.json", json.dumps({"pid": os.getpid(), "url": ""}))
        await serving.start()
        await serving.until(stop)
    finally:
        await serving.close()


class _Serving:
    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self._link = Link(config.redis.url)
        self._keys = Keys.of(config)
        self._lease = Lease(self._link, self._keys, "feed", owner_name(), config.redis.lease_ms)
        self._children: list[MarketChild] = []
        self._reached: list[Reached] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._publisher: Publisher | None = None

    async def start(self) -> None:
        config = self._config
        await check(self._link, self._keys, self._lease.owner)
        for name, section in config.venue.items():
            child = None
            if section.market is not None:
                child = await MarketChild.start(section)
                self._children.append(child)
            self._reached.append(await reach(name, section, child))
        instruments = numbered(self._reached)
        if not instruments:
            raise StartError("expected at least one [venue.NAME] with symbols, found none")
        warm_up(one.venue for one in self._reached)
        await self._lease.acquire(patience_s=self._lease.ttl_ms / 1000 + 1.0)
        clock, redis = Clock(), config.redis
        publisher = self._publisher = Publisher(
            *(self._link, self._lease, self._keys, instruments, clock.now_ns),
            length=redis.market_length,
            waiting=redis.market_waiting,
        )
        places = {instrument.name: index for index, instrument in enumerate(instruments)}
        connections = {}
        for one in self._reached:
            mine = {symbol: (places[item.name], item) for symbol, item in one.instruments.items()}
            connections[one.name] = Connection(
                Feed(one.name, one.venue, mine, one.rest_url),
                one.transport,
                clock.now_ns,
                publisher.put,
                _untaped,
                ws_url=one.ws_url,
                chance=random.Random(f"{config.run.seed} {one.name}"),
                notice=partial(_notice, one.name),
                measured=partial(publisher.measured, one.name),
            )
        rules = {name: family(section) for name, section in config.venue.items()}
        text = listing((one.name, rules[one.name], one.instruments) for one in self._reached)
        doubts = Doubts(self._link, self._keys, instruments, publisher.mark, doubter(connections, instruments))
        self._spawn("lease", self._lease.keep())
        self._spawn("publisher", publisher.run())
        self._spawn("beat", beat(publisher))
        self._spawn("instruments", tell(self._link, self._lease, self._keys, text))
        self._spawn("doubts", doubts.run())
        for name, connection in connections.items():
            self._spawn(f"connection {name}", _keep(connection))
        log.info("feeding", symbols=len(instruments), token=self._lease.token)

    async def until(self, stop: asyncio.Event) -> None:
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        for task in done:
            if task is not waiting:
                task.result()  # what is said in full already goes on as it is
                raise FeedFailed(f"feed: {task.get_name()}: expected it to go on, found that it ended")

    async def close(self) -> None:
        """Say what waits, give the lease back, and hang up."""
        publishers = [task for task in self._tasks if task.get_name() == "publisher"]
        for task in self._tasks:
            if task not in publishers:
                task.cancel()
        if self._publisher is not None:
            try:
                async with asyncio.timeout(LAST_WORD_S):
                    await self._publisher.drained()
            except TimeoutError:
                log.warning("batches left behind", waiting=self._publisher.waiting)
        for task in publishers:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lease.token:
            await self._lease.release()
        for one in self._reached:
            await one.transport.close()
        for child in self._children:
            await child.stop()
        await self._link.close()

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.append(task)


async def _keep(connection: Connection) -> None:
    try:
        await connection.run()
    except AdapterError as error:
        # As in a daemon: the other venues go on.
        log.error("venue stopped for good", venue=connection.feed.name, error=str(error))
        await asyncio.Event().wait()


def _untaped(entry: Entry) -> None:
    """What goes on a tape are the batches, in each shard; raw frames are recorded by ``papertape record``."""
    del entry


def _notice(venue: str, kind: str, text: str) -> None:
    log.warning("connection", venue=venue, kind=kind, text=text)
