"""What is shown of a run's memory: its session, what a start brought back, journal, snapshots, black boxes."""

from __future__ import annotations

from typing import Any

from engine.live.blackbox.watch import Watch
from engine.live.recovery.keeper import Keeper
from engine.live.recovery.state import Recovered


def remembered(
    keeper: Keeper | None, past: Recovered | None, started_ns: int, watch: Watch | None = None
) -> dict[str, Any]:
    """Plain values under ``journal``, ``recovery`` (None: a new run) and ``blackbox``; nothing without a journal.

    ``started_ns``: when this session began, ns UTC.
    """
    if keeper is None:
        return {}
    told: dict[str, Any] = {"journal": keeper.plain(), "recovery": None}
    if past is not None:
        told["recovery"] = {
            **past.told._asdict(),
            "seconds": round(past.told.seconds, 3),
            "away_s": round(max(started_ns - past.last_ns, 0) / 1e9, 3),
        }
    packed = {"packed": watch.packed, "failed": watch.failed, "last": watch.last} if watch is not None else {}
    return told | {"blackbox": {"packed": 0, "failed": 0, "last": ""} | packed}
