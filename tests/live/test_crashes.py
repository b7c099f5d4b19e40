"""A daemon that is killed while it trades: what it showed is there afterwards, once, and the whole run replays."""

from __future__ import annotations

from pathlib import Path

from engine.research.crashes import campaign


def test_what_a_killed_daemon_showed_is_there_afterwards(tmp_path: Path) -> None:
    found = campaign(kills=4, seed=3, folder=tmp_path, snapshot_every="1s")
    assert found.holds, found
    assert found.shown_orders > 100 and found.shown_fills > 20, found
    assert found.orders_per_s > 100, found
