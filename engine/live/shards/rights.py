"""Whether Redis lets a process in and lets it do what a part of a run does, found out before it begins.

Without this a user that lacks one right owns a shard, reads the market and never acknowledges it. ``COMMANDS`` is all
that any part uses; the user in deploy/README.md may do that and no more.
"""

from __future__ import annotations

from typing import Final

from engine.live.config import AppConfig
from engine.live.redis_fence import Words
from engine.live.shards.link import AWAY, Link
from engine.live.shards.names import Keys, owner_name

KEY: Final = "KEY"
"""Stands for a key of the check's own, which is gone afterwards."""

COMMANDS: Final[tuple[Words, ...]] = (
    ("PING",),
    ("TIME",),
    ("EVAL", "return 1", 0),
    ("SET", KEY, 1, "PX", 10_000),
    ("GET", KEY),
    ("MGET", KEY),
    ("DEL", KEY),
    ("HSET", KEY, "f", 1),
    ("HGET", KEY, "f"),
    ("HGETALL", KEY),
    ("PEXPIRE", KEY, 10_000),
    ("PUBLISH", KEY, 1),
    ("DEL", KEY),
    ("XGROUP", "CREATE", KEY, "g", "0", "MKSTREAM"),
    ("PEXPIRE", KEY, 10_000),
    ("XADD", KEY, "1-1", "f", 1),
    ("XREAD", "COUNT", 1, "STREAMS", KEY, "0"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", KEY, ">"),
    ("XAUTOCLAIM", KEY, "g", "c", 0, "0-0", "COUNT", 1),
    ("XCLAIM", KEY, "g", "c", 0, "1-1"),
    ("XACK", KEY, "g", "1-1"),
    ("XDEL", KEY, "1-1"),
    ("XINFO", "CONSUMERS", KEY, "g"),
    ("XGROUP", "DELCONSUMER", KEY, "g", "c"),
    ("DEL", KEY),
)
"""Each command that a part of a run sends, by itself or in a script, once and without an effect that stays."""


async def check(link: Link, keys: Keys, who: str) -> None:
    """Do each of ``COMMANDS`` once on a key of ``who``; while Redis is away nothing is known, and nothing said.

    Raises:
        Refused: Redis is there and will not have us.
    """
    key = keys.key("rights", who)
    try:
        for command in COMMANDS:
            await link.do(*(key if word == KEY else word for word in command))
    except AWAY as error:
        link.heed(error)


async def admitted(config: AppConfig) -> None:
    """The same for a process that begins by waiting.

    Raises:
        Refused: Redis is there and will not have us.
    """
    link = Link(config.redis.url)
    try:
        await check(link, Keys.of(config), owner_name())
    finally:
        await link.close()
