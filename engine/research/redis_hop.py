"""What the way through Redis adds: from a batch in a feed's hands to the same batch in an engine's.

    python -m engine.research.redis_hop --url redis://127.0.0.1:6379/9 --rate 1000 --json

A child process hands batches of ten rows to a ``Publisher`` at an even rate, as a feed does; this one reads them as a
shard does, through the socket of its connection, and acknowledges them. Both have the machine's clock, so the time
between is real: two scripts of Redis, two event loops, no parsing on either side. The keys of the run ``hop`` are
removed in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from adapters.redis_batches import ROWS, unpack
from engine.core.events import LAST, LEVEL, rows
from engine.core.types import Instrument
from engine.live.latency import Latency
from engine.live.shards.feed import Publisher
from engine.live.shards.lease import Lease
from engine.live.shards.link import Link
from engine.live.shards.market import Reader, RedisTransport
from engine.live.shards.names import Keys, owner_name

KEYS: Final = Keys("papertape-bench", "hop")
X: Final = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=2)
WARM: Final = 200
"""Batches that are not counted: connections and caches are new."""


async def publish(url: str, rate: float, count: int) -> None:
    """The child: ``count`` batches at ``rate`` a second."""
    link = Link(url)
    lease = Lease(link, KEYS, "feed", owner_name(), 60_000)
    await lease.acquire(patience_s=1.0)
    publisher = Publisher(link, lease, KEYS, [X], time.time_ns, length=100_000, waiting=100_000)
    running = asyncio.create_task(publisher.run())
    batch = rows(10)
    batch["kind"] = LEVEL
    batch["flags"][-1] = LAST
    begun = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        publisher.put(batch, time.time_ns())
    await publisher.drained()
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await lease.release()
    await link.close()


async def measure(url: str, rate: float, count: int) -> Latency:
    """Read what a child publishes; the time that each batch took."""
    link = Link(url)
    hop = Latency()
    lease = Lease(link, KEYS, "shard-0-of-1", owner_name(), 60_000)
    await lease.acquire(patience_s=1.0)
    reader = Reader(link, lease, KEYS, "v", ["X"], time.time_ns)
    socket = await RedisTransport(reader).open("", 5.0)
    acknowledging = asyncio.create_task(reader.acknowledge())
    words = [sys.executable, "-m", "engine.research.redis_hop", "--url", url, "--publish"]
    child = subprocess.Popen([*words, "--rate", str(rate), "--count", str(count + WARM)])
    try:
        for number in range(count + WARM):
            async with asyncio.timeout(30.0):
                told = unpack(await socket.receive())
            took_ns = time.time_ns() - told.sent_ns
            reader.taken()
            reader.committed()
            if number >= WARM and told.kind == ROWS:
                hop.observe(took_ns)
    finally:
        await asyncio.to_thread(child.wait, 10)
        acknowledging.cancel()
        await asyncio.gather(acknowledging, return_exceptions=True)
        await reader.flush()
        await socket.close()
        keys = (KEYS.market("v", "X"), KEYS.doubts, *(f(what) for f in (KEYS.lease, KEYS.fence) for what in PARTS))
        await link.do("DEL", *keys)
        await link.close()
    return hop


PARTS: Final = ("feed", "shard-0-of-1")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.redis_hop", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=1000.0, help="batches a second")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    if asked.publish:
        asyncio.run(publish(asked.url, asked.rate, asked.count))
        return 0
    hop = asyncio.run(measure(asked.url, asked.rate, asked.count))
    plain: dict[str, Any] = {"rate": asked.rate, **{f"{name}_us": value for name, value in hop.summary().items()}}
    plain["samples"] = plain.pop("samples_us")
    if asked.json:
        sys.stdout.write(json.dumps(plain) + "\n")
    else:
        sys.stdout.writelines(f"{name:10} {value}\n" for name, value in plain.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
