"""Side streams for tests: schemas, rows, a source that plays a script, an engine whose model remembers what it saw."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from adapters.side.parse import Parser
from adapters.side.quarantine import Quarantine
from adapters.side.schema import FieldSpec, Schema, TimeSpec
from adapters.side.scorer import Scorer
from adapters.side.sources.contract import SourceError
from adapters.side.stream import Stream
from adapters.side.validate import Before, Validator
from engine.core.engine import Engine
from engine.core.events import Judged, Observed
from engine.core.settings import EngineSettings
from engine.core.side import SideStream
from engine.learn.contract import Model, ModelSettings
from engine.learn.models import Models
from tests.market import BTC, LOOSE, NO_LATENCY, Script
from tests.scripted import VirtualTime

NS = 1_700_000_000_000_000_000
S = 10**9
MS = 10**6

FUNDING = Schema(
    name="funding",
    fields=(FieldSpec("rate", "$.data[*].rate", "bps", -100.0, 100.0),),
    event=TimeSpec("$.data[*].ts", "ms"),
    stale_ns=10 * S,
)
STREAM = FUNDING.stream()


def page(*rows: tuple[Any, Any]) -> bytes:
    """A payload of FUNDING: rows of event time in ms and rate."""
    return json.dumps({"data": [{"ts": ts, "rate": rate} for ts, rate in rows]}).encode()


def ms(ns: int) -> int:
    return ns // MS


class ScriptedSource:
    """Plays payloads and errors; after the last of them it waits for ever."""

    def __init__(self, script: Iterable[bytes | SourceError], wait: Any) -> None:
        self.script = list(script)
        self.attempts = 0
        self.closed = 0
        self._wait = wait

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        self.attempts += 1
        while self.script:
            step = self.script.pop(0)
            if isinstance(step, SourceError):
                raise step
            yield step
        await self._wait()

    async def close(self) -> None:
        self.closed += 1


class Played:
    """A stream over a script, under virtual time, and what it said."""

    def __init__(
        self,
        folder: Path,
        script: Iterable[bytes | SourceError],
        schema: Schema = FUNDING,
        *,
        before: Before | None = None,
        scorer: Scorer | None = None,
        quota: int = 1 << 20,
        is_patient: bool = False,
    ) -> None:
        self.time = VirtualTime(NS)
        self.said: list[Observed | Judged] = []
        self.notices: list[str] = []
        self.source = ScriptedSource(script, lambda: self.time.sleep(1e6))
        self.path = folder / "side" / f"{schema.name}.jsonl"
        self.stream = Stream(
            self.source,
            Parser(schema, scorer),
            Validator(schema, before),
            Quarantine(self.path, quota),
            room=self._room,
            say=self.said.append,
            clock=self.time.clock,
            sleep=self.time.sleep,
            aside=_at_once,
            disk=_at_once,
            notice=self.notices.append,
            is_patient=is_patient,
        )

    async def _room(self) -> None:
        return None

    @property
    def values(self) -> list[dict[str, float]]:
        return [one.values for one in self.said if isinstance(one, Observed)]

    @property
    def refused(self) -> list[tuple[str, str]]:
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [(line["reason"], line["row"]) for line in lines]


async def _at_once(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


class Probe(Model):
    """Predicts 0 and remembers every row that it was asked with."""

    seen: ClassVar[list[list[float]]] = []

    def predict_one(self, x: Any) -> float | None:
        Probe.seen.append(x.tolist())
        return float(x[0]) if x[0] == x[0] else 0.0

    def save(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        del state


def engine_of(
    features: Sequence[str] = ("side:funding",), streams: Sequence[SideStream] = (STREAM,), script: Script | None = None
) -> tuple[Engine, Models]:
    """An engine with one book and a probe that reads side features every 100 ms, from the first frame on."""
    probe = ModelSettings(
        name="probe",
        use="tests.sides:Probe",
        symbol=BTC.name,
        features=tuple(features),
        every_ns=100 * MS,
        horizon_ns=100 * MS,
        warm_up_ns=0,
        stale_ns=3600 * S,
    )
    models = Models([BTC], [probe], streams=streams)
    settings = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"USDT": Decimal(1_000_000)}, book_depth=64)
    used = script or Script()
    return Engine([BTC], {"s": lambda: used}, settings, models, streams=streams), models


def bare_engine(script: Script | None = None) -> Engine:
    """An engine with one stream and no model."""
    used = script or Script()
    settings = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"USDT": Decimal(1_000_000)}, book_depth=64)
    return Engine([BTC], {"s": lambda: used}, settings, streams=[STREAM])
