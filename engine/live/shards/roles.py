"""``papertape run --role``: what each role does from its start to its end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, Protocol

import msgspec
import structlog

from engine.live.config import AppConfig, ConfigError
from engine.live.logs import Logs
from engine.live.shards.feed import Listed
from engine.live.shards.feeding import FeedFailed, serve_feed
from engine.live.shards.lease import Holding, Lease, LeaseHeld, LeaseLost
from engine.live.shards.link import AWAY, Link, Refused, StaleOwner
from engine.live.shards.names import Keys, Share, owner_name
from engine.live.shards.rights import check
from engine.live.shards.shard import Shard
from engine.live.shards.share import share_of
from engine.live.shards.standby import LEASE, StandIn, stand_by
from engine.live.shards.trainer import serve_trainer
from engine.live.statedir import StateDir, StateDirError
from engine.live.venues import StartError

log = structlog.get_logger("papertape.role")

ROLES: Final = ("all", "feed", "engine", "trainer")
FEED_PATIENCE_S: Final = 60.0
LEAVE_S: Final = 30.0
"""How long an owner that lost its lease may take to leave its folder."""

Fail = Callable[[str, int], NoReturn]


class Asked(NamedTuple):
    """The options of ``papertape run`` that roles know."""

    role: str
    shard: str
    standby: bool
    stand_in: bool
    run_s: float | None
    as_json: bool
    is_fresh: bool
    source: Path


class Daemon(Protocol):
    """Runs a daemon to its end; the path of its tape."""

    def __call__(
        self,
        config: AppConfig,
        run_s: float | None,
        *,
        as_json: bool,
        source: Path,
        is_fresh: bool = False,
        shard: Shard | None = None,
        patience_s: float = 0.0,
    ) -> str: ...


class Claimed(NamedTuple):
    """A shard that is ours, and what the feed's venues trade."""

    owner: str
    token: int
    listed: dict[str, Listed]


def run_role(config: AppConfig, asked: Asked, daemon: Daemon, fail: Fail) -> None:
    """Do what the options ask for, to its end."""
    try:
        share = _checked(config, asked)
    except ValueError as error:
        fail(f"run: {error}", 2)
    try:
        if asked.role == "feed":
            _feed(config, asked)
        elif asked.role == "trainer":
            asyncio.run(serve_trainer(config, asked.run_s))
        elif asked.standby:
            assert share is not None
            asyncio.run(stand_by(config, asked.source, share.count, asked.run_s))
        else:
            assert share is not None
            _engine(config, share, asked, daemon)
    except ConfigError as error:
        fail("\n".join(f"{asked.source}: {problem}" for problem in error.problems), 2)
    except (StartError, Refused, LeaseHeld, LeaseLost, StaleOwner, StateDirError, FeedFailed) as error:
        fail(str(error), 1)


def _checked(config: AppConfig, asked: Asked) -> Share | None:
    """The share that is asked for.

    Raises:
        ValueError: options or a configuration that do not go together.
    """
    if asked.role not in ROLES:
        raise ValueError(f"expected --role to be one of {', '.join(ROLES)}, found {asked.role!r}")
    if not config.redis.url:
        raise ValueError("expected [redis] url or PAPERTAPE_REDIS_URL for a role, found none")
    if asked.role != "engine":
        if asked.shard or asked.standby or asked.stand_in:
            raise ValueError(f"expected --shard, --standby and --stand-in with --role engine, found {asked.role!r}")
        return None
    if not config.journal.enabled:
        raise ValueError("expected [journal] enabled for --role engine (a shard is taken over by it), found it off")
    if asked.standby and asked.stand_in:
        raise ValueError("expected --standby or --stand-in, found both")
    return Share.parse(asked.shard)


def _feed(config: AppConfig, asked: Asked) -> None:
    from engine.live.commands_live import run_loop

    with StateDir.waited_for(config.run.state_dir / config.run.name / "feed", LEAVE_S) as state:
        logs = Logs(state.path / "log.jsonl", to_stderr=True)
        try:
            run_loop(serve_feed(config, state, asked.run_s))
        finally:
            logs.close()


def _engine(config: AppConfig, share: Share, asked: Asked, daemon: Daemon) -> None:
    claimed = asyncio.run(claim(config, share))
    keys, ttl_ms = Keys.of(config), config.redis.lease_ms
    lease = Lease(Link(config.redis.url), keys, share.name, claimed.owner, ttl_ms, claimed.token)
    holding = Holding(config.redis.url, lease).start()
    stand_in = StandIn(config, asked.source, share.others()) if asked.stand_in else None
    try:
        own = share_of(config, claimed.listed, share)
        shard = Shard(config, own, share, claimed.listed, claimed.owner, claimed.token, holding, stand_in)
        daemon(
            own,
            asked.run_s,
            as_json=asked.as_json,
            source=asked.source,
            is_fresh=asked.is_fresh,
            shard=shard,
            patience_s=LEAVE_S,
        )
    finally:
        holding.stop()


async def claim(config: AppConfig, share: Share) -> Claimed:
    """Own a shard: at once where it is free, else when the lease of an owner that died has run out.

    Raises:
        LeaseHeld: another process owns it and goes on to.
        StartError: no feed has told what there is.
        Refused: Redis will not have us.
    """
    link, keys, ttl_ms = Link(config.redis.url), Keys.of(config), config.redis.lease_ms
    try:
        await check(link, keys, owner_name())
        owner, _, token = os.environ.get(LEASE, "").rpartition(" ")
        if owner:  # a stand-in owns it for us
            return Claimed(owner, int(token), await _listed(link, keys))
        listed = await _listed(link, keys)
        lease = Lease(link, keys, share.name, owner_name(), ttl_ms)
        await lease.acquire(patience_s=ttl_ms / 1000 + 1.0)
        return Claimed(lease.owner, lease.token, listed)
    finally:
        await link.close()


async def _listed(link: Link, keys: Keys) -> dict[str, Listed]:
    """What the feed told; waits for one.

    Raises:
        StartError: it told nothing in time, or not what this program reads.
        Refused: Redis will not have us.
    """
    until = time.monotonic() + FEED_PATIENCE_S
    why = "none"
    while time.monotonic() < until:
        try:
            body = await link.do("GET", keys.instruments)
        except AWAY as error:
            link.heed(error)
            why = f"{type(error).__name__}: {error}"
            body = None
        if body is not None:
            try:
                return msgspec.json.decode(body, type=dict[str, Listed])
            except msgspec.DecodeError as error:
                raise StartError(
                    f"{keys.instruments}: expected a feed of this version's list of instruments, found: {error}"
                ) from error
        await asyncio.sleep(0.2)
    raise StartError(
        f"expected a feed's list of instruments in {keys.instruments} of {link.shown_url}, found {why} for "
        f"{FEED_PATIENCE_S:g} s: start papertape run --role feed with the same config"
    )
