"""The benchmark of shadow accounts: what an input costs with and without them, models and strategy included."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.roster import Factory
from engine.core.settings import EngineSettings
from engine.learn.contest import ContestSettings
from engine.learn.contract import ModelSettings
from engine.learn.models import Models
from engine.learn.shadows import Listeners, ShadowedEngine
from engine.research.bench_data import BTC, START_NS, change_tape
from engine.research.bench_row import Row, row
from strategies.learner import Learner, LearnerConfig

SEED: Final = 7
LEARNER: Final = LearnerConfig(symbol=BTC.name, model="best", cost_bps=0.0, notional=Decimal(100))
SETTINGS: Final = EngineSettings(
    risk=RiskSettings(max_orders_per_window=0, allow_short=True, allow_debt=True), cash={"USDT": Decimal(10**9)}
)


def shadows(data: Path | None, scale: float) -> Iterator[Row]:
    """One frame in, 400 a second: alone, and with the accounts of two models of a contest, each asked ten times a
    second; and the same frames in blocks of 1,000, as a replay hears them."""
    del data
    count = max(2_000, round(40_000 * scale))
    snapshot, tape = change_tape(np.random.default_rng(SEED), count)
    for size in (1, 1_000):
        blocks = [tape[at : at + size] for at in range(0, count, size)]
        for accounts in (False, True):
            words = "two shadow accounts" if accounts else "no shadow accounts"
            yield row(f"a frame of {size:,}, {words}", _samples(snapshot, blocks, accounts=accounts), "us")


def _samples(snapshot: Batch, blocks: list[Batch], *, accounts: bool) -> list[float]:
    engine = _engine(accounts=accounts)
    engine.process(Command(START_NS, "start"))
    engine.process(snapshot)
    samples = []
    for block in blocks:
        begin = time.perf_counter_ns()
        engine.process(block)
        samples.append((time.perf_counter_ns() - begin) / 1000 / len(block))
    return samples


def _engine(*, accounts: bool) -> Engine:
    names = ("a", "b")
    contest = ContestSettings(
        name="best", symbol=BTC.name, champion="a", challengers=("b",), horizon_ns=10**9, accounts=accounts
    )
    models = Models(
        (BTC,), [ModelSettings(name=name, use="last", symbol=BTC.name) for name in names], contests=[contest]
    )

    def listeners() -> Mapping[str, Factory]:
        return {"learner": partial(Learner, LEARNER)}

    if accounts:
        return ShadowedEngine((BTC,), listeners(), SETTINGS, models, lambda _: Listeners(listeners()))
    return Engine((BTC,), listeners(), SETTINGS, models)
