"""An engine whose orders wait in a book that was seen once, and then nobody listens for a minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from engine.core.engine import Engine
from engine.core.events import Command
from engine.core.order_facts import Assumed
from engine.core.records import Fill
from engine.core.settings import EngineSettings
from engine.core.strategy import Context
from tests.market import BTC, LOOSE, NO_LATENCY, Script, snapshot

S = 1_000_000_000
START = 1_700_000_000 * S
BIDS, ASKS = [(10_000, 50), (9_990, 80)], [(10_010, 50), (10_020, 80)]

Begin = Callable[[Context], Any]


class Away:
    """What a strategy begins with when it first sees the book, and what becomes of it in its absence."""

    def __init__(self, *begins: Begin) -> None:
        self._begins = list(begins)
        settings = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"USDT": Decimal(10**9), "BTC": Decimal(10**3)})
        self.engine = Engine([BTC], {"s": lambda: Script({"book": self._once})}, settings)
        self.records = self.engine.process(Command(START, "start"))
        self.records += self.engine.process(snapshot(START + 1, BIDS, ASKS))

    def _once(self, _: Any, ctx: Context) -> None:
        while self._begins:
            self._begins.pop(0)(ctx)

    def back(
        self, prints: Sequence[tuple[float, int, int, int]] = (), bars: Sequence[tuple[float, int, int]] = ()
    ) -> None:
        """The venue tells what traded, seconds after the start; then a minute is over."""
        now_ns = START + S
        args = {
            "symbol": BTC.name,
            "prints": [[START + int(s * S), price, size, side] for s, price, size, side in prints],
            "bars": [[START + int(s * S), low, high] for s, low, high in bars],
        }
        self.records += self.engine.process(Command(now_ns, "missed", args))
        self.records += self.engine.process(Command(now_ns, "away", {"until_ns": START + 60 * S}))
        self.records += self.engine.process(Command(START + 60 * S, "resume"))

    def facts(self, kind: type) -> list[Any]:
        return [record.fact for record in self.records if isinstance(record.fact, kind)]

    @property
    def fills(self) -> list[tuple[int, int, int]]:
        return [(fill.order, fill.price, fill.size) for fill in self.facts(Fill)]

    @property
    def told(self) -> list[tuple[int, int, int, int]]:
        return [(one.size, one.price, one.best, one.worst) for one in self.facts(Assumed)]
