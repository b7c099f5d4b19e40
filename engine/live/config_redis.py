"""The ``[redis]`` section: where Redis is, and what a run does with it when one machine is too small."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.live.config_section import Section
from engine.live.durations import Duration


class RedisSection(Section):
    """Optional. A ``url`` with a password belongs into the environment variable PAPERTAPE_REDIS_URL.

    ``rediss://`` is TLS; a user of an ACL and options stand in the address:
    ``rediss://USER:PASSWORD@HOST:6379/0?ssl_ca_certs=/etc/ssl/redis.pem``. The rest is for the roles of
    ``papertape run --role`` (engine/live/shards/README.md): ``market_length``: entries kept of each symbol's stream,
    about; ``market_waiting``: batches that a feed keeps while Redis is away; ``lease``: within how long a shard
    whose owner died has another; ``away``: what an engine does while Redis is: ``go-on`` with the orders that it has,
    or ``halt``; ``trainers``: models are trained by ``--role trainer``, not in a process of each engine's own;
    ``cash``: whether ``[paper] cash`` is of all shards together and ``divided`` between them, or of ``each``.
    """

    url: str = Field(default="", pattern=r"^(|rediss?://.+|unix://.+)$")
    prefix: str = Field(default="papertape", min_length=1)
    market_length: int = Field(default=100_000, ge=1_000)
    market_waiting: int = Field(default=200_000, ge=1_000)
    lease: Duration = Field(default=5_000_000_000, ge=500_000_000, le=600_000_000_000)
    away: Literal["go-on", "halt"] = "go-on"
    trainers: bool = False
    cash: Literal["divided", "each"] = "divided"

    @property
    def lease_ms(self) -> int:
        """When a lease runs out without a word of its owner, ms; a fifth of ``lease`` is left for who takes over."""
        return self.lease * 4 // 5_000_000
