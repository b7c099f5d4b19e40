"""Takes over: watches the leases of a run's shards and starts a process for one whose owner is gone.

The process begins as every engine does, from the shard's folder, by recovery. So the folder must be here: on the same
machine, or on a file system that both machines have, with locks that hold between them (flock; NFS from version 4 on).
An owner that is only cut off from Redis still holds the lock of its folder; nobody else writes there meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from engine.live.config import AppConfig
from engine.live.shards.lease import Lease, LeaseHeld
from engine.live.shards.link import AWAY, Link, Refused
from engine.live.shards.names import Keys, Share, owner_name
from engine.live.shards.rights import admitted

log = structlog.get_logger("papertape.standby")

PROGRAM: Final = (sys.executable, "-c", "from engine.live.cli import main; main()")
STOP_S: Final = 20.0
STARTING_S: Final = 20.0
"""How long the lease is kept for a process that was started; it begins to keep it when it has read its config."""

LEASE: Final = "PAPERTAPE_LEASE"
"""In the environment of such a process: the owner and the token that it begins with."""


class StandIn:
    """Watches ``shares`` until cancelled; the processes that it started end with it."""

    def __init__(self, config: AppConfig, source: Path, shares: Sequence[Share]) -> None:
        self.started: dict[str, asyncio.subprocess.Process] = {}
        self._holding: set[asyncio.Task[None]] = set()
        self._config = config
        self._source = source
        self._shares = list(shares)
        self._keys = Keys.of(config)
        self._every_s = config.redis.lease / 1e9 / 10

    async def run(self) -> None:
        """Look, and start what is missing.

        When Redis was away all leases have run out: for the time of one nothing is taken, so that owners that live can
        say so first.
        """
        link = Link(self._config.redis.url)
        there_since: float | None = None
        is_watching = False
        try:
            while True:
                await asyncio.sleep(self._every_s)
                for share in self._shares:
                    try:
                        free = await self._is_free(link, share)
                        there_since = time.monotonic() if there_since is None else there_since
                        if time.monotonic() - there_since <= self._config.redis.lease / 1e9:
                            continue
                        if not is_watching:
                            log.info("watching", shards=[one.name for one in self._shares])
                        is_watching = True
                        if free:
                            await self._take(link, share)
                    except AWAY as error:
                        there_since, is_watching = None, False
                        log.warning("redis is away", error=str(error))
                        break
        finally:
            await asyncio.shield(self._stop())
            await link.close()

    async def _is_free(self, link: Link, share: Share) -> bool:
        """Whether a shard had an owner and has none."""
        owner, token = await link.do("MGET", self._keys.lease(share.name), self._keys.fence(share.name))
        running = self.started.get(share.name)
        is_ours = running is not None and running.returncode is None
        return owner is None and token is not None and not is_ours

    async def _take(self, link: Link, share: Share) -> None:
        """Own a shard and start its process."""
        lease = Lease(link, self._keys, share.name, owner_name(), self._config.redis.lease_ms)
        try:
            await lease.acquire(patience_s=0.0)
        except LeaseHeld:
            return  # another one was quicker
        except Refused as error:
            log.error("cannot take over", shard=share.name, error=str(error))
            return
        words = ("run", str(self._source), "--role", "engine", "--shard", f"{share.index}/{share.count}")
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, LEASE: f"{lease.owner} {lease.token}"},
        )
        self.started[share.name] = process
        log.warning("took over", shard=share.name, token=lease.token, process=process.pid)
        task = asyncio.create_task(self._hold(lease, process))
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)

    async def _hold(self, lease: Lease, process: asyncio.subprocess.Process) -> None:
        """Keep the lease for a process that is starting; it keeps it itself as soon as it can."""
        keeping = asyncio.create_task(lease.keep())
        ending = asyncio.create_task(process.wait())
        await asyncio.wait([keeping, ending], timeout=STARTING_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, ending):
            task.cancel()
        await asyncio.gather(keeping, ending, return_exceptions=True)
        if process.returncode is not None:
            log.error("a process that took over ended", shard=lease.what, code=process.returncode)
            await lease.release()

    async def _stop(self) -> None:
        for task in list(self._holding):
            task.cancel()
        alive = [one for one in self.started.values() if one.returncode is None]
        for process in alive:
            process.terminate()
        for process in alive:
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def stand_by(config: AppConfig, source: Path, count: int, run_s: float | None) -> None:
    """Own nothing and watch all shards, until a signal or the end of the time.

    Raises:
        Refused: Redis will not have us.
    """
    await admitted(config)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if run_s is not None:
        loop.call_later(run_s, stop.set)
    watching = asyncio.create_task(StandIn(config, source, [Share(index, count) for index in range(count)]).run())
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([watching, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, waiting):
        task.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    try:
        await watching
    except asyncio.CancelledError:
        return
