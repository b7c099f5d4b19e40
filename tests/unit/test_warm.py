"""Warming up lives through what a run will live through."""

from __future__ import annotations

import pytest

from adapters.binance import BinanceSpot
from engine.core.engine import Engine
from engine.core.events import Input
from engine.core.records import Accepted, Cancelled, Fill, LabelScored, Record, Signal
from engine.live.warm import warm_up


def test_warming_up_meets_orders_cancels_predictions_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Record] = []
    process = Engine.process

    def listen(self: Engine, item: Input) -> list[Record]:
        records = process(self, item)
        seen.extend(records)
        return records

    monkeypatch.setattr(Engine, "process", listen)
    warm_up([BinanceSpot])
    assert {type(record.fact) for record in seen} >= {Accepted, Fill, Cancelled, Signal, LabelScored}
    assert {fact.maker for fact in (record.fact for record in seen) if isinstance(fact, Fill)} == {True, False}
