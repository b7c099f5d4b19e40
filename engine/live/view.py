"""What people and machines see of a running daemon, as plain values that JSON can hold; it changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import dropwhile
from typing import Any, NamedTuple

from adapters.feed import Feed
from engine.core.account.holding import Entry
from engine.core.account.money import to_decimal, to_text
from engine.core.types import ContractKind
from engine.learn.models import Models
from engine.live.heard import Heard
from engine.live.runner import Runner
from engine.live.why import book_reason, reasons, why

HISTORY = 3600
"""Samples kept, one a second."""

LAG_NS = 2_000_000_000
"""The loop does not keep up when the engine has not looked at the bus for so long."""

SHOWN = 50
"""Fills and notable facts in a state."""

LEVELS = 5
"""Levels of each side of a book in a state."""

TRUTH = ("truth", "band", "markouts", "execution", "calibration")
"""Keys of a summary that say how true the fills are."""


class Sample(NamedTuple):
    """One moment of the history; ``ms`` UTC, profit by currency, mid by symbol, information coefficient by model.

    ``low`` and ``high`` are the ends of the hedged profit's band over all queue models.
    """

    ms: int
    profit: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    mid: dict[str, float]
    ic: dict[str, float]


class View:
    """Reads the runner, its engine, the models and the feeds. Call it on the loop; what it returns is its caller's.

    ``remembered`` gives what is shown of journal, recovery and black boxes; a run without a journal has nothing.
    """

    def __init__(
        self, runner: Runner, models: Models | None, feeds: Mapping[str, Feed], run_name: str, started_ns: int
    ) -> None:
        self.runner = runner
        self.models = models
        self.feeds = feeds
        self.run_name = run_name
        self.started_ns = started_ns
        self.remembered: Callable[[], dict[str, Any]] = dict
        self.heard = Heard()
        self.history: deque[Sample] = deque(maxlen=HISTORY)
        runner.sinks.append(self.heard)

    def sample(self) -> None:
        """Remember this moment; called once a second."""
        engine = self.runner.engine
        band = engine.honesty.twins.band(engine.ledger)
        self.history.append(
            Sample(
                ms=self.runner.clock.now_ns() // 1_000_000,
                profit={currency: float(one["own"]) for currency, one in band.items()},
                low={currency: float(one["hedged_low"]) for currency, one in band.items()},
                high={currency: float(one["hedged_high"]) for currency, one in band.items()},
                mid={
                    book.symbol: book.mid / 10**book.instrument.price_decimals
                    for book in engine.book_views
                    if book.is_ready
                },
                ic=self.models.ics() if self.models is not None else {},
            )
        )

    def ready(self) -> tuple[bool, list[str]]:
        """Whether the daemon may trade: books, connections and loop; and each thing that is in the way."""
        problems = [
            f"book {book.symbol}: {book_reason(self, index)}"
            for index, book in enumerate(self.runner.engine.book_views)
            if not book.is_ready
        ]
        problems += [f"venue {name}: not connected" for name in self.feeds if not self.is_open(name)]
        if (lag_ns := self.lag_ns()) > LAG_NS:
            problems.append(f"loop: the engine has not looked at the bus for {lag_ns / 1e9:.1f} s")
        return not problems, problems

    def is_open(self, venue: str) -> bool:
        """Whether the venue's connection is open."""
        connection = self.runner.connections.get(venue)
        return connection is not None and connection.is_open

    def lag_ns(self) -> int:
        """How long ago the engine last looked at the bus."""
        return max(self.runner.clock.now_ns() - self.runner.turned_ns, 0)

    def uptime_s(self) -> float:
        return round((self.runner.clock.now_ns() - self.started_ns) / 1e9, 3)

    def model_summaries(self) -> list[dict[str, Any]]:
        return self.models.summary() if self.models is not None else []

    def contests(self) -> list[dict[str, Any]]:
        """Who speaks for each contest, and how far the evidence for the others is."""
        return [one.summary() for one in self.models.contests.values()] if self.models is not None else []

    def summary(self) -> dict[str, Any]:
        """The run so far: the line that ends ``run --json``."""
        told = self.runner.engine.summary()
        return {
            "run": self.run_name,
            "uptime_s": self.uptime_s(),
            "digest": told["digest"],
            "records": told["records"],
            "venues": self._venues(),
            "books": told["books"],
            "orders": told["orders"],
            "fills": told["fills"],
            "profit": told["profit"],
            "fees": told["fees"],
            "strategies": told["strategies"],
            **{what: told[what] for what in TRUTH},
            "halted": told["halted"],
            "models": self.model_summaries(),
            "contests": self.contests(),
            "latency_us": self._latency(),
            "missed": self.runner.missed,
            "training": self._training(),
            **self.remembered(),
            "why": reasons(self),
        }

    def state(self, since_ms: int | None = None) -> dict[str, Any]:
        """Everything that the page shows; with ``since_ms`` (UTC) also the history that is newer than that."""
        runner, engine = self.runner, self.runner.engine
        is_ready, problems = self.ready()
        status = engine.status()
        history = {} if since_ms is None else {"history": self._history(since_ms)}
        return {
            **self.summary(),
            "started_ns": self.started_ns,
            "now_ns": runner.clock.now_ns(),
            "engine_ns": engine.now_ns,
            "ready": is_ready,
            "reasons": problems,
            "book_tops": [
                book | {"levels": self._levels(index), "mid": self._mid(index)}
                for index, book in enumerate(status["book_tops"])
            ],
            "positions": self.positions(),
            "working_orders": status["working_orders"],
            "cash": status["cash"],
            "by_strategy": why(self)["strategies"],
            "bus": {
                "depth": len(runner.bus),
                "capacity": runner.bus.capacity,
                "overflows": runner.bus.overflows,
                "refused": runner.bus.refused,
            },
            "inputs": runner.processed,
            "longest_turn_ms": round(runner.longest_turn_ns / 1e6, 3),
            "venue_latency": self.latencies(),
            "recent_fills": self.fills(),
            "notable": self.notable(),
            **history,
        }

    def fills(self) -> list[dict[str, Any]]:
        """The last fills, oldest first."""
        return list(self.runner.recent_fills)[-SHOWN:]

    def notable(self) -> list[dict[str, Any]]:
        """The last facts that a person should know of, with commands and strategies' notes, oldest first."""
        return sorted([*self.runner.notable, *self.heard.words], key=lambda fact: int(fact["ns"]))[-SHOWN:]

    def positions(self) -> list[dict[str, Any]]:
        """Open positions by strategy, with their average price and what they won so far; exact text."""
        engine = self.runner.engine
        rows = []
        for entry in engine.ledger.entries():
            if not entry.size:
                continue
            instrument = engine.instruments[entry.symbol]
            rows.append(
                {
                    "strategy": entry.strategy,
                    "symbol": instrument.name,
                    "size": instrument.size_text(entry.size),
                    "average": self._average(entry),
                    "mark": self._mark(entry.symbol),
                    "unrealised": to_text(engine.ledger.unrealised_of(entry)),
                    "realised": to_text(entry.realised),
                    "fees": to_text(entry.fees),
                    "profit": to_text(engine.ledger.profit_of(entry)),
                    "currency": engine.ledger.currency_of(entry.symbol),
                }
            )
        return rows

    def latencies(self) -> list[dict[str, Any]]:
        """By venue: what the paper venue assumes of latencies, in ms, and the round trip measured lately, if any."""
        lines, now_ns = self.runner.engine.desk.lines, self.runner.engine.now_ns
        names = ("out_ms", "back_ms", "feed_ms")
        return [
            {
                "venue": venue,
                "kind": lines.model.settings.kind,
                **{name: ns / 1e6 for name, ns in zip(names, lines.in_use(venue, now_ns), strict=True)},
                "round_trip_ms": lines.model.round_trip_ns(line) / 1e6 or None,
                "feed_delay_ms": lines.model.feed_delay_ns(line) / 1e6,
            }
            for venue, line in lines.venues.items()
        ]

    def truth(self) -> dict[str, Any]:
        """How true the fills are: score, band by currency and strategy, markouts, execution."""
        told = self.runner.engine.summary()
        by_strategy = {name: one["band"] for name, one in told["strategies"].items()}
        return {**{what: told[what] for what in TRUTH}, "strategies": by_strategy}

    def why(self) -> dict[str, Any]:
        """Why there is no trade."""
        return why(self)

    def _average(self, entry: Entry) -> str:
        """What the open position cost by unit, as a price with two decimals more than the instrument's."""
        instrument = self.runner.engine.instruments[entry.symbol]
        worth = Decimal(entry.size).scaleb(-instrument.size_decimals) * instrument.contract_size
        cost = to_decimal(entry.cost)
        if instrument.kind is ContractKind.INVERSE:
            price = abs(worth / cost) if cost else Decimal(0)
        else:
            price = abs(cost / worth)
        return format(price.quantize(Decimal(1).scaleb(-instrument.price_decimals - 2)), "f")

    def _mark(self, symbol: int) -> str | None:
        """The mid at which positions are valued; None before the first."""
        instrument = self.runner.engine.instruments[symbol]
        twice = self.runner.engine.ledger.mark2(symbol)
        return None if not twice else format(Decimal(twice).scaleb(-instrument.price_decimals) / 2, "f")

    def _mid(self, symbol: int) -> float | None:
        book = self.runner.engine.book_views[symbol]
        return book.mid / 10**book.instrument.price_decimals if book.mid else None

    def _levels(self, symbol: int) -> dict[str, list[tuple[str, str]]]:
        book = self.runner.engine.book_views[symbol]
        price_text, size_text = book.instrument.price_text, book.instrument.size_text
        return {
            f"{side}s": [(price_text(price), size_text(size)) for price, size in book.levels(side, LEVELS)]
            for side in ("bid", "ask")
        }

    def _venues(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "frames": (stats := feed.stats).frames,
                "gaps": stats.gaps,
                "reconnects": stats.reconnects,
                "malformed": stats.malformed,
                "unknown": stats.unknown,
                "open": self.is_open(name),
            }
            for name, feed in self.feeds.items()
        }

    def _latency(self) -> dict[str, dict[str, float]]:
        return {"tick_to_decision": self.runner.decision.summary(), "tick_to_order": self.runner.order.summary()}

    def _training(self) -> dict[str, Any]:
        training = self.runner.training
        if training is None:
            return {"running": 0, "started": 0, "failed": 0}
        return {
            "running": training.running,
            "started": training.started,
            "failed": training.failed,
            "late": training.late,
            "failures": dict(sorted(training.failures.items())),
            "progress": {name: round(share, 3) for name, share in training.progress().items()},
            "seconds": {name: round(took, 2) for name, took in sorted(training.seconds.items())},
        }

    def _history(self, since_ms: int) -> dict[str, Any]:
        """Columns: ``ms``, and by currency, symbol and model a list as long, None where nothing was known."""
        samples = list(dropwhile(lambda sample: sample.ms <= since_ms, self.history))
        columns: dict[str, Any] = {"ms": [sample.ms for sample in samples]}
        for what in ("profit", "low", "high", "mid", "ic"):
            rows: list[dict[str, float]] = [getattr(sample, what) for sample in samples]
            names = dict.fromkeys(name for row in rows for name in row)
            columns[what] = {name: [row.get(name) for row in rows] for name in names}
        return columns
