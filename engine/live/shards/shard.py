"""What a daemon is as a shard: its market comes from Redis, it owns a lease, and it ends when it does not any more."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from adapters.entry import Entry, EntryKind
from adapters.redis_batches import RedisBatches
from engine.live.bus import BusFull
from engine.live.config import AppConfig
from engine.live.latency import Latency
from engine.live.redis_bus import RedisSettings
from engine.live.runner import Runner
from engine.live.shards.feed import Listed
from engine.live.shards.jobs import RemoteFit
from engine.live.shards.lease import Holding, Lease, LeaseLost
from engine.live.shards.link import Link, StaleOwner
from engine.live.shards.market import Reader, RedisTransport
from engine.live.shards.names import Keys, Share
from engine.live.shards.portfolio import AWAY_REASON, Portfolio
from engine.live.shards.standby import StandIn
from engine.live.venues import Reached

log = structlog.get_logger("papertape.shard")


DISOWNED = (LeaseLost, StaleOwner)
"""Errors that say that another process owns this part now: nothing more may be decided here."""


class Shard:
    """One shard's ties to Redis for the time of a daemon; ``config`` is its own part of the run's.

    ``reach`` gives the venues; ``attach`` comes before the first input, ``work`` are the tasks that must run, and
    ``close`` the end.
    """

    def __init__(
        self,
        run: AppConfig,
        config: AppConfig,
        share: Share,
        listed: Mapping[str, Listed],
        owner: str,
        token: int,
        holding: Holding | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        self.config = config
        self.share = share
        self.readers: dict[str, Reader] = {}
        self.hop = Latency()
        """From the feed's receipt of a frame to here, of all venues, by the two machines' clocks."""
        self._run = run
        self._listed = listed
        self._keys = Keys.of(run)
        self._link = Link(run.redis.url)
        self.lease = Lease(self._link, self._keys, share.name, owner, run.redis.lease_ms, token)
        self._holding = holding
        self._stand_in = stand_in
        self._runner: Runner | None = None
        self._is_there = True
        self._portfolio = Portfolio(self._link, self.lease, self._keys, run.risk.max_total_notional)

    def reach(self, clock: Callable[[], int]) -> list[Reached]:
        """The venues of this shard, as the feed told them; ``clock`` gives ns UTC."""
        reached = []
        for name, section in self.config.venue.items():
            reader = Reader(self._link, self.lease, self._keys, name, list(section.symbols), clock)
            reader.hop = self.hop
            self.readers[name] = reader
            instruments = {symbol: self._listed[name].instruments[symbol] for symbol in section.symbols}
            reached.append(Reached(name, RedisBatches, RedisTransport(reader), "", "", instruments))
        return reached

    def attach(self, runner: Runner) -> None:
        """Hear what the runner wrote down, and tell it what the feed measured."""
        self._runner = runner
        self._portfolio.attach(runner)
        for reader in self.readers.values():
            reader.measured = runner.measured
            runner.committed.append(reader.committed)

    def written(self, entry: Entry) -> None:
        """An input went to the tape and the journal."""
        if entry.kind is EntryKind.RECEIVED and (reader := self.readers.get(entry.source)) is not None:
            reader.taken()

    def plain(self) -> dict[str, Any]:
        """Whose the shard is, and how far behind the market streams; for the metrics."""
        return {
            "shard": self.share.name,
            "owned": not self.lease.is_lost,
            "token": self.lease.token,
            "lease_seconds": time.monotonic() - self.lease.renewed_s,
            "hop": self.hop,
            "venues": {
                name: {
                    "waiting": len(reader.waiting),
                    "unacknowledged": reader.unacknowledged,
                    "claims_total": reader.claims,
                }
                for name, reader in self.readers.items()
            },
        }

    def settings(self) -> RedisSettings:
        """Where this shard publishes: below its own name."""
        return RedisSettings(
            url=self._run.redis.url, prefix=self._run.redis.prefix, run=f"{self._run.run.name}:{self.share.name}"
        )

    def trainers(self) -> RemoteFit | None:
        """Who trains the models, where it is not a process of our own."""
        return RemoteFit(self._link, self.lease, self._keys) if self._run.redis.trainers else None

    def work(self) -> list[tuple[str, Awaitable[None]]]:
        """The tasks of the shard: each runs until cancelled, and ends with an error when the shard is lost."""
        if self._holding is not None:
            self._holding.stop()
        tasks: list[tuple[str, Awaitable[None]]] = [("lease", self.lease.keep(self._contact))]
        assert self._runner is not None
        tasks.append(("portfolio", self._portfolio.run(self._runner)))
        tasks += [(f"acknowledge {name}", reader.acknowledge()) for name, reader in self.readers.items()]
        if self._stand_in is not None:
            tasks.append(("stand-in", self._stand_in.run()))
        return tasks

    async def close(self, *, is_ours: bool) -> None:
        """Acknowledge what was committed, give the shard back if it is still ours, and hang up."""
        if is_ours:
            for reader in self.readers.values():
                await reader.flush()
            await self.lease.release()
        await self._link.close()

    def _contact(self, is_there: bool) -> None:
        """Redis answered, or did not: said once, and obeyed if an engine shall halt meanwhile."""
        if is_there == self._is_there or self._runner is None:
            return
        self._is_there = is_there
        halts = self._run.redis.away == "halt"
        if is_there:
            log.info("redis is back")
        else:
            log.warning("redis is away", then="halted" if halts else "going on with the orders that there are")
        try:
            if halts and not is_there and not self._runner.engine.halted:
                self._portfolio.command(self._runner, "halt", AWAY_REASON)  # when it is back, its key says what holds
        except BusFull as error:
            self._is_there = not is_there  # tried again with the next word of Redis
            log.warning("command refused", error=str(error))
