"""The command that measures detectors of drift on a tape: ``drift``.

Heavy imports wait until the command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine.live.commands_research import AsJson, clear_errors, fail, line
from engine.live.durations import parse_duration
from engine.live.terminal import console

if TYPE_CHECKING:
    from engine.research.drift import Comparison, Macro
    from engine.research.drift_adapting import Adapted


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(drift)


def drift(
    tapes: Annotated[list[Path], typer.Argument(help="A tape, or the files of one recording in their order.")],
    horizon: Annotated[str, typer.Option(help="How far ahead the watched model predicts.")] = "1s",
    every: Annotated[str, typer.Option(help="How often a sample is taken.")] = "100ms",
    streams: Annotated[int, typer.Option(min=1, help="Drawn streams for each drift.")] = 60,
    rows: Annotated[int, typer.Option(min=100, help="Values in a stream; the drift begins in its middle.")] = 20_000,
    judged: Annotated[
        int, typer.Option(min=1000, help="Values without drift for thresholds, and as many for false alarms.")
    ] = 1_000_000,
    alarms: Annotated[float, typer.Option(min=0.001, help="Budget: false alarms in 100,000 values.")] = 1.0,
    detectors: Annotated[str, typer.Option(help="Only these, several with commas; else all.")] = "",
    adapting: Annotated[
        bool,
        typer.Option(
            "--adapting",
            help="Also score ways to adapt after a flip, after doubled volatility and after nothing, over --streams.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how soon detectors find drifts put into a tape, at how many false alarms."""
    from engine.research.drift import compare
    from engine.research.drift_line_up import LINE_UP

    try:
        horizon_ns, every_ns = parse_duration(horizon), parse_duration(every)
    except ValueError as error:
        fail(f"--horizon, --every: {error}, found {horizon!r} and {every!r}", 2)
    if min(horizon_ns, every_ns) <= 0:
        fail(f"--horizon, --every: expected durations above 0, found {horizon!r} and {every!r}", 2)
    named = {one.strip() for one in detectors.split(",")} - {""}
    unknown = named - {entry.name for entry in LINE_UP}
    if unknown:
        known = ", ".join(dict.fromkeys(entry.name for entry in LINE_UP))
        fail(f"--detectors: expected some of {known}, found {', '.join(sorted(unknown))}", 2)
    with _telling() as told, clear_errors():
        found = compare(
            tapes,
            horizon_ns=horizon_ns,
            every_ns=every_ns,
            streams=streams,
            rows=rows,
            judged=judged,
            alarms=alarms,
            line_up=[entry for entry in LINE_UP if not named or entry.name in named],
            told=told,
        )
        ways = []
        if adapting:
            from engine.research.drift_adapting import adapt

            ways = adapt(tapes, horizon_ns=horizon_ns, every_ns=every_ns, streams=streams, judged=judged, told=told)
    if as_json:
        told_all = {field: getattr(found, field) for field in found.__struct_fields__}
        line(told_all | ({"adapting": ways} if adapting else {}))
        return
    screen = console()
    for one in found.macro:
        screen.print(_title(one), highlight=False, soft_wrap=True)
        screen.print(_table(found, one))
    if ways:
        screen.print(_adapting(ways))
    for text in found.skipped:
        screen.print(f"[yellow]note[/] {text}", highlight=False, soft_wrap=True)


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Shows on standard error what is being measured: a line that changes at a terminal, else a line each."""
    if not sys.stderr.isatty():
        yield lambda text: typer.echo(text, err=True)
        return
    with console(stderr=True).status("working") as status:
        yield status.update


def _title(one: Macro) -> str:
    tuned = f", threshold {one.threshold:g}" if one.tuned else ", as it comes"
    told = f"macro-F1 {one.macro_f1:.3f}, {one.false_alarms_per_100k:.2f} false alarms in 100,000"
    return f"{one.symbol}: {one.detector} on {one.signal}{tuned}: {told}"


def _table(found: Comparison, one: Macro) -> Table:
    table = Table("drift", box=None, pad_edge=False)
    for column in ("missed %", "median delay", "F1"):
        table.add_column(column, justify="right")
    for row in found.rows:
        if (row.symbol, row.detector, row.signal, row.tuned) == (one.symbol, one.detector, one.signal, one.tuned):
            delay = "-" if row.median_delay is None else f"{row.median_delay:,.0f}"
            table.add_row(row.drift, f"{row.missed_pct:.0f}", delay, f"{row.f1:.3f}")
    return table


def _adapting(ways: list[Adapted]) -> Table:
    table = Table("symbol", "way", "drift", title="the 5,000 samples before and after a drift", title_justify="left")
    table.box, table.pad_edge = None, False
    for column in ("IC before", "IC after", "R² % before", "R² % after", "kept %"):
        table.add_column(column, justify="right")
    for one in ways:
        scores = (f"{one.ic_before:.3f}", f"{one.ic_after:.3f}", f"{one.r2_before_pct:.1f}", f"{one.r2_after_pct:.1f}")
        table.add_row(one.symbol, one.way, one.drift, *scores, "-" if one.kept_pct is None else f"{one.kept_pct:.0f}")
    return table
