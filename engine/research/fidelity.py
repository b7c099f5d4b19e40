"""``papertape fidelity``: ghosts on any order tape, every queue model at every feed speed, the scores, a choice.

A model is told nothing but level sizes and trades; ``by ids`` beside them is strict first-in-first-out with the real
orders known, which no level feed can reach: the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from engine.research.bitstamp_log import WARM_UP_NS, is_bitstamp_log, read_bitstamp_log
from engine.research.fidelity_score import Fidelity, Score, score
from engine.research.fill_files import (
    FATE_SCHEMA,
    GHOST_SCHEMA,
    FillFileError,
    clean_ghosts,
    clean_tape,
    read_table,
    read_tape,
)
from engine.research.ghosts import predict
from engine.research.level3 import ORDER_SCHEMA, Haunted, haunted
from engine.research.market_orders import market_orders
from engine.research.slow_feed import moved, slowed

BY_IDS: Final = "by ids"
MARKET_WARM_UP_NS: Final = 5_000_000_000
ORACLE_SCHEMA: Final = {"oracle_filled": pl.Int64, "oracle_t_first_ns": pl.Int64}
PARQUET: Final = b"PAR1"
XZ: Final = b"\xfd7zXZ"


class Source(msgspec.Struct, frozen=True):
    """One tape with its probes: their places, their fates, and perhaps the oracle; ``is_built``: from an order tape."""

    name: str
    tape: pl.DataFrame
    probes: pl.DataFrame
    notes: dict[str, int]
    is_built: bool = False


class Row(msgspec.Struct, frozen=True):
    """The scores of one model on one source at one feed speed (ns between level updates; 0: every change)."""

    source: str
    feed_ns: int
    model: str
    fidelity: Fidelity

    @property
    def all(self) -> Score:
        return self.fidelity.buckets["all"]


class Choice(msgspec.Struct, frozen=True):
    """The model to use at a feed speed: the best mean correlation over the sources; ``alike`` lie in its interval."""

    feed_ns: int
    model: str
    mcc: float
    bias: float
    alike: list[str]


def open_pair(tape: Path, probes: Path) -> Source:
    """A tape and its probes as files.

    Raises:
        FillFileError: one of them is not what it should be.
    """
    rows, notes = read_tape(tape)
    fates = read_table(probes, {**GHOST_SCHEMA, **FATE_SCHEMA}, "probes with their fates")
    if set(ORACLE_SCHEMA) <= set(pl.read_parquet_schema(probes)):
        fates = fates.hstack(read_table(probes, ORACLE_SCHEMA, "probes with what their ids say"))
    return _source(tape.name.removesuffix(".parquet").removesuffix(".tape"), rows, fates, notes)


def open_orders(path: Path, warm_up_ns: int | None = None) -> Source:
    """Tape and ghosts of an order tape (parquet) or of a Bitstamp log, told apart by content.

    Raises:
        FillFileError: neither.
    """
    if not path.is_file():
        raise FillFileError(f"{path}: expected an order tape or a Bitstamp log, found no such file")
    with path.open("rb") as file:
        start = file.read(64)
    name = path.name.split(".")[0]
    if start.startswith(PARQUET):
        columns = pl.read_parquet_schema(path)
        if "order_id" not in columns and "kind" in columns:
            raise FillFileError(f"{path}: expected orders one by one, found a tape of levels: give its --probes")
        orders = read_table(path, ORDER_SCHEMA, "an order tape")
        return _built(name, haunted(orders, warm_up_ns or 0))
    if start.startswith(XZ) or is_bitstamp_log(start):
        return _built(name, haunted(read_bitstamp_log(path), WARM_UP_NS if warm_up_ns is None else warm_up_ns))
    raise FillFileError(
        f"{path}: expected an order tape (parquet) or a Bitstamp log, found neither: FIDELITY.md has the formats"
    )


def open_market(seed: int, seconds: int) -> Source:
    """Tape and ghosts of the simulated exchange in virtual time."""
    return _built(f"market-{seed}", haunted(market_orders(seed, seconds), MARKET_WARM_UP_NS))


def _built(name: str, found: Haunted) -> Source:
    tape, notes = clean_tape(found.tape, name)
    return _source(name, tape, found.probes, found.notes | notes, is_built=True)


def _source(
    name: str, tape: pl.DataFrame, probes: pl.DataFrame, notes: Mapping[str, int], is_built: bool = False
) -> Source:
    if not probes.height:
        raise FillFileError(f"{name}: expected orders near the touch to put ghosts before, found none: a longer tape?")
    clean, odd = clean_ghosts(probes, name, tape.height)
    return Source(name, tape, clean, {**notes, **odd}, is_built)


def measure(
    sources: Sequence[Source],
    models: Sequence[str],
    feeds_ns: Iterable[int],
    progress: Callable[[str], None] | None = None,
) -> list[Row]:
    """Score every model on every source at every feed speed.

    Raises:
        UnknownModel: a model that the kernel does not have.
        FillFileError: nothing to score.
    """
    rows = []
    for source in sources:
        for feed_ns in feeds_ns:
            tape, row_map = slowed(source.tape, feed_ns)
            probes = moved(source.probes, row_map)
            for model in models:
                if progress is not None:
                    progress(f"{source.name}, {model}")
                said = predict(tape, probes, model)
                # Markouts by the full tape: what the market did does not depend on who looks.
                rows.append(Row(source.name, feed_ns, model, score(source.probes, said, source.tape)))
        if "oracle_filled" in source.probes.columns:
            rows.append(Row(source.name, 0, BY_IDS, score(source.probes, _by_ids(source.probes), source.tape)))
    return rows


def _by_ids(probes: pl.DataFrame) -> pl.DataFrame:
    return probes.select(
        "order_id",
        filled_size="oracle_filled",
        t_first_fill_ns="oracle_t_first_ns",
        p_fill=pl.lit(None, pl.Float64),
        grade=pl.lit(None, pl.String),
        model=pl.lit(BY_IDS),
    )


def choose(rows: Sequence[Row]) -> list[Choice]:
    """The model to use at each feed speed; of equals the one with the smaller bias, then the first named."""
    answer = []
    for feed_ns in sorted({row.feed_ns for row in rows}):
        here = [row for row in rows if row.feed_ns == feed_ns and row.model != BY_IDS]
        models = list(dict.fromkeys(row.model for row in here))
        if not models:
            continue
        mean = {model: _mean([row.all.mcc or 0.0 for row in here if row.model == model]) for model in models}
        bias = {model: _mean([row.all.bias for row in here if row.model == model]) for model in models}
        best = max(models, key=lambda model: (round(mean[model], 4), -abs(bias[model])))
        floor = _mean([row.all.mcc_low or 0.0 for row in here if row.model == best])
        alike = [model for model in models if model != best and mean[model] >= floor]
        answer.append(Choice(feed_ns, best, mean[best], bias[best], alike))
    return answer


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def tables(rows: Sequence[Row]) -> dict[str, pl.DataFrame]:
    """All figures as flat tables: scores by bucket, the reliability table, the truth of grades."""
    parts: dict[str, list[dict[str, Any]]] = {"fidelity": [], "reliability": [], "grades": []}
    for row in rows:
        key = {"source": row.source, "feed_ns": row.feed_ns, "model": row.model}
        for bucket, one in row.fidelity.buckets.items():
            parts["fidelity"].append(key | {"bucket": bucket} | msgspec.structs.asdict(one))
        parts["reliability"] += [key | msgspec.structs.asdict(one) for one in row.fidelity.reliability]
        parts["grades"] += [key | msgspec.structs.asdict(one) for one in row.fidelity.grades]
    schemas = {"fidelity": {"bucket": pl.String} | _types(Score), "reliability": BIN_TYPES, "grades": GRADE_TYPES}
    keys = {"source": pl.String, "feed_ns": pl.Int64, "model": pl.String}
    return {name: pl.DataFrame(part, schema=keys | schemas[name]) for name, part in parts.items()}


def _types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: pl.Int64 if name == "n" else pl.Float64 for name in struct.__struct_fields__}


BIN_TYPES: Final = {"low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "said": pl.Float64, "true": pl.Float64}
GRADE_TYPES: Final = {"grade": pl.String, "n": pl.Int64, "share": pl.Float64, "true": pl.Float64}
