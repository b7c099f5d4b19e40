"""What the metrics say of the side streams: rows by what became of them, quality, age, failures of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.side.schema import REASONS

Samples = list[tuple[tuple[str, ...], float]]


def side_streams(streams: Sequence[dict[str, Any]], values: dict[str, Samples]) -> None:
    """Add the samples of streams that are live; what is not known yet is left out."""
    for one in streams:
        stream = str(one["stream"])
        if "received" in one:
            rows = values.setdefault("side_rows_total", [])
            rows.append(((stream, "accepted"), float(one["accepted"])))
            rows += [((stream, reason), float(one["rejected"].get(reason, 0))) for reason in REASONS]
            values.setdefault("side_failures_total", []).append(((stream,), float(one["failures"])))
        values.setdefault("side_quality", []).append(((stream,), float(one["quality"])))
        values.setdefault("side_usable", []).append(((stream,), float(one["state"] == "good")))
        if one["age_s"] is not None:
            values.setdefault("side_age_seconds", []).append(((stream,), float(one["age_s"])))
