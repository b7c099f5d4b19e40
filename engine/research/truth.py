"""The truth of the simulated market: orders placed for real beside the same orders on paper.

    python -m engine.research.truth --orders 10000 [--seed 1] [--pace-ms 100] [--view 10] [--json]

One market of one seed runs in virtual time. A strategy decides, again and again, on an order or a few; the paper venue
matches them on the feed of that market, through all latencies, as a live run would. Each time, the market is copied the
moment before the order arrives, chance and all, and in the copy the order is really placed by a visitor: it stands in
the queue, it takes what others wanted, and agents react to it. What became of it there is the truth for that one order;
the market that the paper orders see goes on without it. With ``--view`` the feed shows so many levels only, so that
large orders reach beyond what is displayed. Each setting of the paper venue is a block of the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from adapters.market import SymbolMarket, spec_of
from engine.core import events as ev
from engine.core.engine import Engine
from engine.core.events import Command
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Fill, Record
from engine.core.settings import EngineSettings
from engine.core.venue.impact import ImpactSettings
from engine.core.venue.paper_settings import PaperSettings
from engine.research.truth_market import Fate, Truth, copied, play
from engine.research.truth_orders import CYCLE, MS, ORDERS, Plan, Tester, Trial, TruthConfig
from engine.research.truth_paired import paired
from engine.research.truth_score import Pair, Row, plain, rows, table
from engine.research.virtual_market import NO_LIMITS, VirtualFeed

SECOND: Final = 1_000_000_000
WARM_S: Final = 30
"""Of the market's own time before the first decision."""

DEFAULT: Final = PaperSettings(out_ns=4 * MS, back_ns=6 * MS, feed_ns=3 * MS)

IMPACT: Final = ImpactSettings(enabled=True, scale=0.2, decay_ns=450 * MS, decay_quarters=4)
"""The law as this market shows it: what a visitor moves is 0.2 of it at once and half that after half a second."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``pace_ns`` 0 is a feed tick by tick; ``view`` 0 shows all levels; ``papers`` by name.

    Of so many trials as ``paired`` says, the orders are also put on paper in the very copy in which they are real.
    """

    orders: int
    seed: int = 1
    symbol: str = "BTCUSDT"
    pace_ns: int = 0
    view: int = 0
    sweep: int = 0
    gap_ns: int = 3_013 * MS + 457
    life_ns: int = 2_000 * MS
    paired: int = 0
    papers: dict[str, PaperSettings] = msgspec.field(default_factory=lambda: _papers([]))


class Outcome(msgspec.Struct, frozen=True):
    """All pairs by the name of the paper setting, and what they are counted in."""

    experiment: Experiment
    pairs: dict[str, list[Pair]]
    tick: int
    market_s: float

    def rows(self) -> dict[str, list[Row]]:
        return {name: rows(pairs, self.tick) for name, pairs in self.pairs.items()}

    def plain(self) -> dict[str, Any]:
        one = self.experiment
        told = {"orders": one.orders, "seed": one.seed, "symbol": one.symbol, "pace_ms": one.pace_ns / MS,
                "view": one.view, "market_s": self.market_s}  # fmt: skip
        return {**told, "rows": plain(self.rows())}


class _Paper:
    """One setting of the paper venue, its engine, and what its orders did."""

    def __init__(self, feed: VirtualFeed, settings: PaperSettings, plan: Plan, start_ns: int) -> None:
        self.trials: list[Trial] = []
        self.fills: dict[int, list[tuple[int, int, int, bool]]] = {}
        self._feed_ns = settings.feed_ns
        tester = Tester(TruthConfig(plan=plan), self.trials.append)
        cash = {feed.instrument.quote: Decimal(10) ** 15}
        engine_settings = EngineSettings(paper=settings, risk=NO_LIMITS, cash=cash)
        self.engine = Engine([feed.instrument], {"tester": lambda: tester}, engine_settings)
        self.hear(self.engine.process(Command(start_ns, "start")))

    def hear(self, records: Sequence[Record]) -> None:
        for record in records:
            fact = record.fact
            if isinstance(fact, Fill):
                told = (fact.matched_ns - self._feed_ns, fact.price, fact.size, fact.maker)
                self.fills.setdefault(fact.order, []).append(told)

    def fates(self, trial: Trial) -> list[Fate]:
        """Takes a trial's fills away: they are complete a while after its end."""
        return [Fate(self.fills.pop(number, [])) for number in trial.orders]


def run(experiment: Experiment) -> Outcome:
    """Both runs of all orders; deterministic, and in bounded memory but for one pair an order and setting."""
    first = next(iter(experiment.papers.values()))
    if any((one.out_ns, one.feed_ns) != (first.out_ns, first.feed_ns) for one in experiment.papers.values()):
        raise ValueError("expected the same latencies in all paper settings, found different ones")
    market = SymbolMarket(spec_of(experiment.symbol), experiment.seed, 1_700_000_000 * SECOND)
    market.advance(market.now_ns + WARM_S * SECOND)
    feed = VirtualFeed(market, feed_ns=first.feed_ns, pace_ns=experiment.pace_ns, view=experiment.view)
    start_ns = market.now_ns
    plan = Plan(
        first_ns=start_ns + SECOND + 37 * MS + 1, gap_ns=experiment.gap_ns, trials=_trials(experiment.orders),
        life_ns=experiment.life_ns, sweep=experiment.sweep,
    )  # fmt: skip
    papers = {name: _Paper(feed, one, plan, start_ns) for name, one in experiment.papers.items()}
    _feed(papers, feed.opening(), start_ns + first.feed_ns)
    pairs: dict[str, list[Pair]] = {name: [] for name in papers}
    pace = experiment.pace_ns or 1
    for number in range(plan.trials):
        decided_ns = plan.first_ns + number * plan.gap_ns
        looks_ns = decided_ns + first.out_ns // 2
        _feed(papers, feed.advance(looks_ns), looks_ns + first.feed_ns)
        trial = next(iter(papers.values())).trials[number]
        end_ns = -(-(decided_ns + plan.life_ns + first.out_ns + 100 * MS) // pace) * pace
        one = feed.instrument
        before = copied(market) if number < experiment.paired else None
        truth = play(copied(market), trial, first.out_ns, one.tick, one.lot, end_ns)
        # The fills of the paper orders reach their owner by then; the judging price is the undisturbed market's.
        _feed(papers, feed.advance(end_ns), end_ns + first.feed_ns)
        mark2 = market.book.mid2 * one.tick
        _feed(papers, ev.rows(0), end_ns + first.feed_ns + first.back_ns + first.out_ns + 200 * MS)
        if before is not None:
            truth_there, there = paired(before, trial, first, end_ns)
            pairs.setdefault("paired", []).extend(_pairs(trial, truth_there, there, truth_there.mid2, one.tick))
        for name, paper in papers.items():
            if paper.trials[number].wanted != trial.wanted:
                raise RuntimeError(f"expected the same decision {number} of all settings, found another of {name}")
            pairs[name] += _pairs(trial, truth, paper.fates(paper.trials[number]), mark2, one.tick)
    return Outcome(experiment, pairs, feed.instrument.tick, (market.now_ns - start_ns) / SECOND)


def _pairs(trial: Trial, truth: Truth, fates: Sequence[Fate], mark2: int, tick: int) -> list[Pair]:
    return [
        Pair(trial.kind, wanted.side, wanted.size, real, told, mark2, truth.mid2, spread * tick)
        for wanted, real, told, spread in zip(trial.wanted, truth.fates, fates, truth.spreads, strict=True)
    ]


def _trials(orders: int) -> int:
    """So many trials give at least that many orders."""
    trials = count = 0
    while count < orders:
        count += ORDERS[CYCLE[trials % len(CYCLE)]]
        trials += 1
    return trials


def _feed(papers: Mapping[str, _Paper], batch: ev.Batch, until_ns: int) -> None:
    """Let every engine see a batch, and that time went on to ``until_ns`` of the received stream."""
    clock = ev.row(ev.CLOCK, symbol=0, recv_ns=until_ns)
    whole = np.concatenate([batch, clock]) if len(batch) else clock
    for paper in papers.values():
        paper.hear(paper.engine.process(whole))


def _papers(models: Sequence[str]) -> dict[str, PaperSettings]:
    """The default, the impact law, and the default under each queue model named.

    Raises:
        UnknownQueueModel: with the names that there are.
    """
    papers = {"default": DEFAULT, "impact": msgspec.structs.replace(DEFAULT, impact=IMPACT)}
    for name in models:
        papers[name] = msgspec.structs.replace(DEFAULT, queue=QueueSettings(model=name))
    return papers


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or with ``--json`` one line; 0 done, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--pace-ms", type=int, default=0, help="of the depth stream; 0: tick by tick")
    parser.add_argument("--view", type=int, default=0, help="levels a side that the feed shows; 0: all")
    parser.add_argument("--sweep", type=int, default=0, help="large orders of that many tenths of the visible side")
    parser.add_argument("--paired", type=int, default=0, help="trials also on paper where they are real")
    parser.add_argument("--fill-model", default="", help="queue models, with commas: a block of the table for each")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.orders < 1 or asked.pace_ms < 0 or asked.view < 0 or (asked.view and not asked.pace_ms):
        parser.error("expected --orders of at least 1, and --pace-ms where there is a --view")
    experiment = Experiment(
        orders=asked.orders,
        seed=asked.seed,
        symbol=asked.symbol,
        pace_ns=asked.pace_ms * MS,
        view=asked.view,
        sweep=asked.sweep,
        paired=asked.paired,
        papers=_papers([name for name in asked.fill_model.split(",") if name]),
    )
    outcome = run(experiment)
    sys.stdout.write((msgspec.json.encode(outcome.plain()).decode() if asked.json else table(outcome.rows())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
