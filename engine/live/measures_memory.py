"""The metrics of what a run writes down: journal, snapshots, what a start brought back, and the digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = dict[str, list[tuple[tuple[str, ...], float]]]

DIGITS = 13
"""Hexadecimal digits of the digest that a metric holds: 52 bits, all that a float keeps."""


def memory(told: Mapping[str, Any], digest: str, values: Values) -> None:
    """Add the metrics to ``values``; ``told`` as ``engine.live.recovery.shown.remembered`` gives it.

    >>> values: Values = {}
    >>> memory({}, "00000000000ff" + 19 * "7", values)
    >>> values
    {'digest': [((), 255.0)]}
    """
    plain: dict[str, float] = {"digest": int(digest[:DIGITS], 16)}
    if told:
        journal, back = told["journal"], told["recovery"] or {}
        plain |= {
            "session": journal["session"],
            "journal_bytes_total": journal["bytes"],
            "journal_unsynced_bytes": journal["unsynced_bytes"],
            "journal_fsync_seconds": journal["longest_sync_ms"] / 1e3,
            "snapshots_total": journal["snapshots"],
            "snapshots_failed_total": journal["failed"],
            "snapshot_seconds": journal["longest_freeze_ms"] / 1e3,
            "snapshot_bytes": journal["snapshot_bytes"],
            "recovered_inputs": back.get("inputs", 0),
            "recovery_seconds": back.get("seconds", 0.0),
            "away_seconds": back.get("away_s", 0.0),
            "blackboxes_total": told["blackbox"]["packed"],
            "blackboxes_failed_total": told["blackbox"]["failed"],
        }
        if journal["snapshot_age_s"] is not None:
            plain["snapshot_age_seconds"] = journal["snapshot_age_s"]
    values.update({name: [((), float(value))] for name, value in plain.items()})
