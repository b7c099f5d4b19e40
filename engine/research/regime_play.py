"""A run of a configuration with a simulated exchange, in virtual time: no socket, no clock, the same each time.

The market is stepped as its server steps it, depth each 100 ms of its own time; ``speed`` seconds of it pass in one of
the run's, as live. Trainings are done at once and swapped in two seconds later, as in a replay of a foreign tape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters.market import SymbolMarket, spec_of
from adapters.market_server import WARM_UP_S
from adapters.market_world import Change
from engine.core.events import Batch, Command
from engine.core.records import Record
from engine.live.build import Built, build_engine
from engine.live.config import AppConfig, ConfigError
from engine.research.virtual_market import VirtualFeed

START_NS: Final = 1_700_000_000 * 10**9
STEP_NS: Final = 100_000_000
FEED_NS: Final = 5_000_000


def batches(config: AppConfig, lasts_ns: int) -> tuple[VirtualFeed, Iterator[Batch]]:
    """The feed of the only symbol of a config's only venue, and what it brings in so much of the run's time.

    Raises:
        ConfigError: more than one venue or symbol, or no simulated exchange.
    """
    sections = list(config.venue.items())
    if len(sections) != 1 or sections[0][1].market is None or len(sections[0][1].symbols) != 1:
        raise ConfigError(["expected one venue with one symbol of the simulated exchange, found another configuration"])
    (name, section), market = sections[0], sections[0][1].market
    warm_up_ns = int(WARM_UP_S * 1e9)
    change = None
    if market.regime_change is not None:
        change = Change(after_ns=warm_up_ns + market.regime_change_after, kind=market.regime_change)
    began_ns = START_NS - warm_up_ns
    one = SymbolMarket(spec_of(section.symbols[0]), market.seed, began_ns, change)
    one.advance(START_NS)
    feed = VirtualFeed(one, feed_ns=0, pace_ns=STEP_NS, venue=name)

    def play() -> Iterator[Batch]:
        yield _received(feed.opening(), market.speed)
        for step in range(1, int(lasts_ns * market.speed) // STEP_NS + 1):
            batch = feed.advance(START_NS + step * STEP_NS)
            if len(batch):
                yield _received(batch, market.speed)

    return feed, play()


def _received(batch: Batch, speed: float) -> Batch:
    """The batch with the times at which it reaches the run."""
    since = batch["venue_ns"] - START_NS
    batch["recv_ns"] = START_NS + (since / speed).astype("int64") + FEED_NS
    return batch


def play(config: AppConfig, lasts_ns: int) -> Iterator[tuple[Built, list[Record]]]:
    """The engine and what came out of it, batch by batch."""
    feed, brought = batches(config, lasts_ns)
    built = build_engine(config, [feed.instrument], inline_training=True)
    yield built, list(built.engine.process(Command(START_NS, "start")))
    for batch in brought:
        yield built, list(built.engine.process(batch))
