"""``papertape replay TAPE --latency … --fees … --fill-model …``: the same tape under other assumptions, side by side.

First the run as it was, then each assumption changed alone, then all of their combinations. Nothing else differs: the
market, the commands and the models are the tape's. What a strategy decides may differ, as it hears of other fills.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal, InvalidOperation, localcontext
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.registry import UnknownVenue
from adapters.tape import TapeError
from engine.core.honesty.markouts import HORIZONS_NS
from engine.core.records import Fill, Record
from engine.learn.contract import ModelError
from engine.live.config import AppConfig, ConfigError, parse_config
from engine.live.durations import parse_duration
from engine.research.edge import rests_on
from engine.research.loading import ReplayError, read_config
from engine.research.replay import replay
from engine.research.scan import ScanError

BASE: Final = "as it was"
MOST: Final = 200
"""Combinations in one command; more is a mistake."""

SECOND: Final = 1 + HORIZONS_NS.index(1_000_000_000)

Change = Mapping[str, Any]
"""What becomes of ``[paper]``, as plain values."""


class CounterfactualError(Exception):
    """The assumptions cannot be used, or a run failed; ``code`` is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Row(msgspec.Struct, frozen=True):
    """A run under one assumption: profit and its difference to the base are exact text by currency.

    ``maker_share`` of the fills; ``markout_bps``: mean move of the mid in our favour a second after a fill, basis
    points, None where none was measured.
    """

    assumption: str
    changes: dict[str, str]
    digest: str
    orders: int
    fills: int
    maker_share: float | None
    profit: dict[str, str]
    fees: dict[str, str]
    markout_bps: float | None
    difference: dict[str, str] = {}


class Table(msgspec.Struct, frozen=True):
    """All rows, the base first, and the sentence that says on which assumption the edge rests."""

    rows: list[Row]
    currency: str
    sentence: str


class Job(msgspec.Struct, frozen=True):
    """What one process does."""

    paths: list[Path]
    config: Path | None
    paper: dict[str, Any]
    allow_torn: bool
    assumption: str
    changes: dict[str, str]


class Failure(msgspec.Struct, frozen=True):
    """Why a process could not do it, in words that cross to its parent."""

    text: str
    code: int


def latency_changes(text: str) -> list[tuple[str, Change]]:
    """``5ms,50ms``: each leg takes so long; ``5ms:7ms:1ms``: out, back and feed; ``measured``: by the tape's pings.

    ``~0.5`` after any of them but the last: lognormal around it with that spread.

    >>> latency_changes("5ms")[0][1]["latency"]
    {'kind': 'constant', 'out': '5ms', 'back': '5ms', 'feed': '5ms'}
    >>> latency_changes("5ms:1ms:0s~0.5")[0][1]["latency"]
    {'kind': 'jitter', 'out': '5ms', 'back': '1ms', 'feed': '0s', 'spread': 0.5}

    Raises:
        CounterfactualError: another text.
    """
    found: list[tuple[str, Change]] = []
    for one in _words(text, "--latency"):
        if one == "measured":
            found.append((one, {"latency": {"kind": "measured"}}))
            continue
        words, tilde, spread = one.partition("~")
        legs = words.split(":")
        try:
            if len(legs) not in (1, 3):
                raise ValueError('expected one duration or three, "out:back:feed"')
            for leg in legs:
                parse_duration(leg)
            if tilde and not spread.replace(".", "", 1).isdecimal():
                raise ValueError('expected a spread such as "0.5" after ~')
            jitter = {"spread": float(spread)} if tilde else {}
        except ValueError as error:
            raise CounterfactualError(f"--latency: {error}, or measured; found {one!r}", 2) from error
        out, back, feed = legs * 3 if len(legs) == 1 else legs
        kind = "jitter" if jitter else "constant"
        found.append((one, {"latency": {"kind": kind, "out": out, "back": back, "feed": feed, **jitter}}))
    return found


def fee_changes(text: str, venues: Sequence[str]) -> list[tuple[str, Change]]:
    """``maker:taker`` as fractions or with ``bps``; or a schedule of fee_schedules.py, ``NAME`` or ``NAME/TIER``.

    >>> fee_changes("-0.5bps:0.0004", [])
    [('-0.5bps:0.0004', {'fees': {}, 'maker_fee': '-0.00005', 'taker_fee': '0.0004'})]

    Raises:
        CounterfactualError: another text.
    """
    found: list[tuple[str, Change]] = []
    for one in _words(text, "--fees"):
        maker, colon, taker = one.partition(":")
        if colon:
            try:
                rates = {"maker_fee": _rate(maker), "taker_fee": _rate(taker)}
            except InvalidOperation as error:
                raise CounterfactualError(
                    f"--fees: expected MAKER:TAKER such as 0.0001:4bps, found {one!r}", 2
                ) from error
            found.append((one, {"fees": {}, **rates}))
        else:
            name, _, tier = one.partition("/")
            section = {"schedule": name} | ({"tier": tier} if tier else {})
            found.append((one, {"fees": dict.fromkeys(venues, section)}))
    return found


def model_changes(text: str) -> list[tuple[str, Change]]:
    """Names of queue models.

    >>> model_changes("risk_averse,power2")[1]
    ('power2', {'queue': {'model': 'power2'}})
    """
    return [(one, {"queue": {"model": one}}) for one in _words(text, "--fill-model")]


def counterfactual(
    paths: Sequence[Path],
    *,
    config: Path | None = None,
    latency: str = "",
    fees: str = "",
    fill_model: str = "",
    allow_torn: bool = False,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Replay a tape under each assumption; ``progress`` hears how many of how many runs are done.

    Raises:
        CounterfactualError: an assumption that cannot be used, or a run that failed.
        TapeError, ConfigError: the tape or its configuration.
    """
    settings, venues = read_config(paths, config, allow_torn)
    jobs = list(_jobs(paths, config, allow_torn, settings, dimensions(venues, latency, fees, fill_model)))
    rows: list[Row | None] = [None] * len(jobs)
    workers = min(len(jobs), processes or os.cpu_count() or 1)
    for done, (at, outcome) in enumerate(_outcomes(jobs, workers), 1):
        if isinstance(outcome, Failure):
            raise CounterfactualError(f"{jobs[at].assumption}: {outcome.text}", outcome.code)
        rows[at] = outcome
        if progress is not None:
            progress(done, len(jobs))
    return table([row for row in rows if row is not None])


def dimensions(venues: Sequence[str], latency: str, fees: str, fill_model: str) -> dict[str, list[tuple[str, Change]]]:
    """By the name of an assumption: what it is changed to.

    Raises:
        CounterfactualError: a text that says nothing of the kind.
    """
    found: dict[str, list[tuple[str, Change]]] = {}
    if latency:
        found["latency"] = latency_changes(latency)
    if fees:
        found["fees"] = fee_changes(fees, venues)
    if fill_model:
        found["fill model"] = model_changes(fill_model)
    return found


def _jobs(
    paths: Sequence[Path],
    config: Path | None,
    allow_torn: bool,
    settings: AppConfig,
    found: Mapping[str, list[tuple[str, Change]]],
) -> Iterator[Job]:
    """The base, each change alone, then every combination; one that comes to a config seen before is left out."""
    singles = [((name, one),) for name, options in found.items() for one in options]
    grid = product(*([(name, one) for one in options] for name, options in found.items())) if len(found) > 1 else ()
    combinations: list[tuple[tuple[str, tuple[str, Change]], ...]] = [(), *singles, *grid]
    if len(combinations) > MOST:
        raise CounterfactualError(f"expected at most {MOST} runs, found {len(combinations)}: name fewer values", 2)
    seen: list[AppConfig] = []
    for combination in combinations:
        changes = {name: word for name, (word, _) in combination}
        paper: dict[str, Any] = {}
        for _, (_, change) in combination:
            paper.update(change)
        assumption = ", ".join(f"{name} {word}" for name, word in changes.items()) or BASE
        changed = changed_config(settings, paper, assumption)
        if changed in seen:
            continue
        seen.append(changed)
        yield Job(list(paths), config, paper, allow_torn, assumption, changes)


def changed_config(settings: AppConfig, paper: Change, source: str) -> AppConfig:
    """A configuration with other keys in ``[paper]``.

    Raises:
        ConfigError: what does not fit there.
    """
    plain = settings.plain()
    return parse_config({**plain, "paper": {**plain.get("paper", {}), **paper}}, source)


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, Row | Failure]]:
    if workers <= 1:
        for at, job in enumerate(jobs):
            yield at, run_job(job)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_job, job) for job in jobs]
        try:
            for at, future in enumerate(futures):  # in their order, so that of two failures the first is told
                yield at, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_job(job: Job) -> Row | Failure:
    """One run; what a tape or a config has wrong comes back as words."""
    makers = 0

    def hear(records: Sequence[Record]) -> None:
        nonlocal makers
        makers += sum(1 for record in records if isinstance(record.fact, Fill) and record.fact.maker)

    try:
        result = replay(job.paths, config=job.config, paper=job.paper, allow_torn=job.allow_torn, on_records=hear)
    except ConfigError as error:
        return Failure(str(error), 2)
    except (TapeError, ReplayError, ScanError, ModelError, UnknownVenue, OSError) as error:
        return Failure(str(error), 1)
    summary = result.summary
    return Row(
        assumption=job.assumption,
        changes=job.changes,
        digest=result.digest,
        orders=summary["orders"]["sent"],
        fills=summary["fills"],
        maker_share=makers / summary["fills"] if summary["fills"] else None,
        profit=summary["profit"],
        fees=summary["fees"],
        markout_bps=_markout(summary["markouts"]),
    )


def _markout(groups: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean over all fills whose mid a second later is known."""
    known = [(group["counted"][SECOND], group["bps"][SECOND]) for group in groups if group["counted"][SECOND]]
    count = sum(number for number, _ in known)
    return sum(number * bps for number, bps in known) / count if count else None


def table(rows: Sequence[Row]) -> Table:
    """Differences to the base, and what they say."""
    base = rows[0]
    told = []
    for row in rows:
        currencies = sorted({*base.profit, *row.profit})
        differences = {
            currency: _difference(row.profit.get(currency, "0"), base.profit.get(currency, "0"))
            for currency in currencies
        }
        told.append(msgspec.structs.replace(row, difference=differences))
    currency = max(base.profit, key=lambda one: abs(Decimal(base.profit[one])), default="")
    profits = [(row.assumption, row.changes, Decimal(row.profit.get(currency, "0"))) for row in told]
    return Table(told, currency, rests_on(profits, currency))


def _difference(profit: str, base: str) -> str:
    """Exact, as money has more digits than a Decimal keeps by default."""
    with localcontext(prec=120):
        return format((Decimal(profit) - Decimal(base)).normalize(), "f")


def _words(text: str, option: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise CounterfactualError(f"{option}: expected values between commas, found {text!r}", 2)
    return words


def _rate(text: str) -> str:
    number, is_bps = text.removesuffix("bps"), text.endswith("bps")
    return format(Decimal(number).scaleb(-4 if is_bps else 0), "f")
