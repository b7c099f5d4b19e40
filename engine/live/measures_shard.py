"""The metrics of a shard: whose it is, and how far it is behind the market streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.live.latency import Latency

Values = dict[str, list[tuple[tuple[str, ...], float]]]


def hop(told: Mapping[str, Any]) -> dict[str, Latency]:
    """The histogram of the way through Redis, as a copy; ``told`` as ``Shard.plain`` gives it, empty without a shard.

    >>> hop({})
    {}
    """
    return {"shard_hop_seconds": told["hop"].copy()} if told else {}


def shard(told: Mapping[str, Any], values: Values) -> None:
    """Add the metrics to ``values``; ``told`` as ``Shard.plain`` gives it, empty without a shard.

    >>> values: Values = {}
    >>> shard({}, values)
    >>> values
    {}
    """
    if not told:
        return
    for name in ("owned", "token", "lease_seconds"):
        values[f"shard_{name}"] = [((told["shard"],), float(told[name]))]
    for name in ("waiting", "unacknowledged", "claims_total"):
        values[f"shard_{name}"] = [((venue,), float(one[name])) for venue, one in told["venues"].items()]
