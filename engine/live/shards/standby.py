"""Takes over: watches the leases of a run's shards and starts a process for one whose owner is gone.

The process begins as every engine does, from the shard's folder, by recovery. So the folder must be here: on the same
machine, or on a file system that both machines have, with locks that hold between them (flock; NFS from version 4 on).
An owner that is only cut off from Redis still holds the lock of its folder; nobody else writes there meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from engine.live.config import AppConfig
from engine.live.shards.link import AWAY, Link
from engine.live.shards.names import Keys, Share, owner_name

log = structlog.get_logger("papertape.standby")

PROGRAM: Final = (sys.executable, "-c", "from engine.live.cli import main; main()")
STOP_S: Final = 20.0
CLAIM_MS: Final = 60_000
"""How long another stand-in leaves a shard alone that one has begun to start."""


class StandIn:
    """Watches ``shares`` until cancelled; the processes that it started end with it."""

    def __init__(self, config: AppConfig, source: Path, shares: Sequence[Share]) -> None:
        self.started: dict[str, asyncio.subprocess.Process] = {}
        self._config = config
        self._source = source
        self._shares = list(shares)
        self._keys = Keys.of(config)
        self._every_s = config.redis.lease / 1e9 / 10

    async def run(self) -> None:
        """Look, and start what is missing."""
        link = Link(self._config.redis.url)
        me = owner_name()
        try:
            while True:
                await asyncio.sleep(self._every_s)
                for share in self._shares:
                    try:
                        if await self._is_free(link, share, me):
                            await self._start(share)
                    except AWAY as error:
                        log.warning("redis is away", error=str(error))
                        break
        finally:
            await asyncio.shield(self._stop())
            await link.close()

    async def _is_free(self, link: Link, share: Share, me: str) -> bool:
        """Whether a shard had an owner and has none now, and we are the one to start it."""
        running = self.started.get(share.name)
        if running is not None and running.returncode is None:
            return False
        owner, token = await link.do("MGET", self._keys.lease(share.name), self._keys.fence(share.name))
        if owner is not None or token is None:
            return False
        claim = self._keys.key("claim", share.name, token.decode())
        return bool(await link.do("SET", claim, me, "NX", "PX", CLAIM_MS))

    async def _start(self, share: Share) -> None:
        words = ("run", str(self._source), "--role", "engine", "--shard", f"{share.index}/{share.count}")
        self.started[share.name] = process = await asyncio.create_subprocess_exec(
            *PROGRAM, *words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        log.warning("took over", shard=share.name, process=process.pid)

    async def _stop(self) -> None:
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
    """Own nothing and watch all shards, until a signal or the end of the time."""
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
