"""What a report shows, computed from the tables of a run. Floats: a report is for the eye, the tables are exact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from engine.research.charts import Floats, Ints
from engine.research.outputs import SUMMARY
from engine.research.tables import LAYOUTS

MAX_BUCKETS: Final = 60
BUCKET_PAIRS: Final = 100
"""Scored predictions that a span of time should hold, so that its correlation says something."""


class ReportError(Exception):
    """There is nothing to report on; the text says what was expected and what to do."""


@dataclass(slots=True)
class Run:
    """The summary and the tables of a finished run or replay."""

    summary: dict[str, Any]
    tables: dict[str, pl.DataFrame]

    @property
    def span(self) -> tuple[int, int]:
        """First and last receive time of the market data, ns UTC."""
        times = [self.tables["bbo"]["recv_ns"], self.tables["trades"]["recv_ns"], self.tables["ledger"]["ns"]]
        known = [(one.min(), one.max()) for one in times if len(one)]
        lows = [low for low, _ in known if isinstance(low, int)]
        highs = [high for _, high in known if isinstance(high, int)]
        return (min(lows), max(highs)) if lows and highs else (0, 1)


def load_run(folder: Path) -> Run:
    """Read what ``replay --out`` wrote.

    Raises:
        ReportError: the folder is not the whole output of a replay.
    """
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ReportError(f"{folder}: expected the output of a replay (with {SUMMARY}), found: {error}") from error
    tables = {}
    for name in LAYOUTS:
        path = folder / f"{name}.parquet"
        if not path.exists():
            raise ReportError(f"{folder}: expected {name}.parquet beside {SUMMARY}, found none: replay the tape again")
        try:
            tables[name] = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            found = str(error).splitlines()[0]
            raise ReportError(f"{path}: expected a table, found: {found}: replay the tape again") from error
    return Run(summary, tables)


@dataclass(slots=True)
class Curve:
    """A value in time; ``ns`` UTC."""

    name: str
    ns: Ints
    values: Floats


def equity(run: Run) -> dict[str, list[Curve]]:
    """By currency: the whole account's gain and, where there is more than one, each strategy's."""
    curves: dict[str, list[Curve]] = {}
    rows = run.tables["ledger"].with_columns(pl.col("equity").cast(pl.Float64))
    start_ns, _ = run.span
    for (currency,), part in rows.group_by("currency", maintain_order=True):
        by_strategy = [
            _from_zero(str(strategy), start_ns, one)
            for (strategy,), one in part.group_by("strategy", maintain_order=True)
        ]
        if not any(np.any(curve.values) for curve in by_strategy):
            continue
        found = [_from_zero("all strategies", start_ns, part.group_by("ns", maintain_order=True).agg(pl.sum("equity")))]
        traded = [curve for curve in by_strategy if np.any(curve.values)]
        if len(by_strategy) > 1:
            found += sorted(traded, key=lambda curve: -abs(float(curve.values[-1])))[:5]
        curves[str(currency)] = found
    return curves


def _from_zero(name: str, start_ns: int, rows: pl.DataFrame) -> Curve:
    ns = np.concatenate(([start_ns], rows["ns"].to_numpy())).astype(np.int64)
    return Curve(name, ns, np.concatenate(([0.0], rows["equity"].to_numpy())))


def drawdown(curve: Curve) -> Curve:
    """How far below its highest point so far the curve is; never above 0."""
    return Curve(curve.name, curve.ns, curve.values - np.maximum.accumulate(curve.values))


def mids(run: Run, symbol: str) -> Curve:
    """The mid price of a ready book, in quote currency."""
    rows = run.tables["bbo"].filter((pl.concat_str("venue", pl.lit(":"), "symbol") == symbol) & pl.col("ready"))
    mid = (rows["bid"].cast(pl.Float64) + rows["ask"].cast(pl.Float64)) / 2
    kept = mid.is_not_null()
    return Curve(symbol, rows["recv_ns"].filter(kept).to_numpy(), mid.filter(kept).to_numpy())


def positions(run: Run, symbol: str) -> list[Curve]:
    """Each strategy's position after each of its fills, in size."""
    start_ns, end_ns = run.span
    found = []
    for (strategy,), part in fills_of(run, symbol).group_by("strategy", maintain_order=True):
        size = part["signed"].to_numpy().cumsum()
        ns = np.concatenate(([start_ns], part["ns"].to_numpy(), [end_ns])).astype(np.int64)
        found.append(Curve(str(strategy), ns, np.concatenate(([0.0], size, size[-1:]))))
    return found


def fills_of(run: Run, symbol: str) -> pl.DataFrame:
    """The fills of one instrument, with the signed size as a float."""
    sign = pl.when(pl.col("side") == "buy").then(1.0).otherwise(-1.0)
    rows = run.tables["fills"].filter(pl.concat_str("venue", pl.lit(":"), "symbol") == symbol)
    return rows.with_columns(signed=pl.col("size").cast(pl.Float64) * sign)


def symbols(run: Run) -> list[str]:
    """The instruments, those with the most fills first, then those with the most book frames."""
    count: dict[str, tuple[int, int]] = {}
    for table, weight in (("bbo", (0, 1)), ("fills", (1, 0))):
        names = run.tables[table].group_by("venue", "symbol").len()
        for venue, symbol, rows in names.iter_rows():
            fills, frames = count.get(f"{venue}:{symbol}", (0, 0))
            count[f"{venue}:{symbol}"] = (fills + weight[0] * rows, frames + weight[1] * rows)
    return sorted(count, key=lambda name: (-count[name][0], -count[name][1], name))


def strategies(run: Run) -> list[dict[str, Any]]:
    """One row a strategy: orders, fills, maker share, fees and profit by currency."""
    orders, fills, ledger = run.tables["orders"], run.tables["fills"], run.tables["ledger"]
    names = dict.fromkeys([*run.summary.get("strategies", {}), *orders["strategy"], *fills["strategy"]])
    rows = []
    for name in names:
        mine = orders.filter(pl.col("strategy") == name)
        sent = mine.filter(pl.col("arrives_ns").is_not_null())
        done = fills.filter(pl.col("strategy") == name)
        last = ledger.filter(pl.col("strategy") == name).group_by("currency", maintain_order=True).last()
        money = [row for row in last.to_dicts() if any(float(row[key]) for key in ("equity", "fees", "realised"))]
        rows.append(
            {
                "name": name,
                "requested": mine.height,
                "sent": sent.height,
                "refused": int((mine["state"] == "refused").sum()),
                "fills": done.height,
                "fill_ratio": _ratio(int((sent["filled"] > 0).sum()), sent.height),
                "maker_share": _ratio(int(done["maker"].sum()), done.height),
                "money": money,
                "stopped": (run.summary.get("strategies", {}).get(name) or {}).get("stopped"),
            }
        )
    return rows


def refusals(run: Run) -> list[tuple[str, int, str]]:
    """Rule, how often, and an example, the most frequent first."""
    refused = run.tables["orders"].filter(pl.col("state") == "refused")
    grouped = (
        refused.group_by("reason").agg(pl.len(), pl.first("detail")).sort("len", "reason", descending=[True, False])
    )
    return [(str(rule), int(count), str(detail)) for rule, count, detail in grouped.iter_rows()]


def score_curves(run: Run) -> dict[str, list[Curve]]:
    """By model: the information coefficient and the RMSE in bps, in equal spans of time."""
    start_ns, end_ns = run.span
    labels = run.tables["labels"]
    pairs = labels.height // max(1, labels["model"].n_unique())
    width = max(1, (end_ns - start_ns) // min(MAX_BUCKETS, max(2, pairs // BUCKET_PAIRS)) + 1)
    rows = labels.with_columns(bucket=(pl.col("ns") - start_ns) // width)
    error = pl.col("prediction") - pl.col("label")
    scores = (
        rows.group_by("model", "bucket")
        .agg(
            pairs=pl.len(),
            ic=pl.corr("prediction", "label"),
            rmse=error.pow(2).mean().sqrt(),
        )
        .filter((pl.col("pairs") >= BUCKET_PAIRS // 4) & pl.col("ic").is_finite())
        .sort("model", "bucket")
    )
    found: dict[str, list[Curve]] = {}
    for (model,), part in scores.group_by("model", maintain_order=True):
        ns = (start_ns + (part["bucket"].to_numpy() + 0.5) * width).astype(np.int64)
        found[str(model)] = [
            Curve("information coefficient", ns, part["ic"].to_numpy()),
            Curve("root mean squared error, bps", ns, part["rmse"].to_numpy()),
        ]
    return found


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
