"""The command that compares models on a tape: ``validate``.

Heavy imports wait until the command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from engine.live.commands_research import AsJson, clear_errors, fail, line, progressing
from engine.live.durations import parse_duration
from engine.live.terminal import console

if TYPE_CHECKING:
    from engine.research.validate import Row


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(validate)


def validate(
    tapes: Annotated[list[Path], typer.Argument(help="A tape, or the files of one recording in their order.")],
    warm: Annotated[
        list[Path] | None, typer.Option(help="An earlier recording to learn from before; once for each of its files.")
    ] = None,
    horizons: Annotated[str, typer.Option(help="How far ahead, several with commas.")] = "1s,5s,30s",
    every: Annotated[str, typer.Option(help="How often a sample is taken.")] = "100ms",
    models: Annotated[
        str, typer.Option(help="Models by name, several with commas; baselines and primary are always among them.")
    ] = "",
    leaks: Annotated[bool, typer.Option("--leaks", help="Also look for answers that leak into the features.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score models over a tape as if it were live: each predicts, is scored on the label, and only then learns."""
    from engine.research.validate import DEFAULT_MODELS
    from engine.research.validate import validate as run

    try:
        horizons_ns = [parse_duration(one) for one in horizons.split(",")]
        every_ns = parse_duration(every)
    except ValueError as error:
        fail(f"--horizons, --every: {error}, found {horizons!r} and {every!r}", 2)
    if min(*horizons_ns, every_ns) <= 0:
        fail(f"--horizons, --every: expected durations above 0, found {horizons!r} and {every!r}", 2)
    named = tuple(one.strip() for one in models.split(",")) if models else DEFAULT_MODELS
    with progressing(as_json) as progress, clear_errors():
        found = run(tapes, warm=warm or (), horizons_ns=horizons_ns, every_ns=every_ns, models=named, progress=progress)
        told = None
        if leaks:
            from engine.research.leak_check import check_tape

            told = check_tape(tapes, horizons_ns=horizons_ns, every_ns=every_ns)
    if as_json:
        rows = [msgspec.structs.asdict(row) for row in found.rows]
        line({"rows": rows, "digest": found.digest} | ({"leaks": told} if told is not None else {}))
        return
    screen = console()
    screen.print(_table(found.rows))
    if pooled := found.pooled():
        screen.print(_table(pooled))
    for row in found.rows:
        if row.refused:
            screen.print(f"[yellow]note[/] {row.model} {row.horizon} {row.symbol}: {row.refused}", highlight=False)
    if told is not None:
        screen.print(f"leaks: {'; '.join(told) if told else 'none found'}", highlight=False)
    screen.print(f"{found.seconds:.1f} s, digest {found.digest}", highlight=False)


def _table(rows: list[Row]) -> Table:
    table = Table("symbol", "horizon", "model", box=None, pad_edge=False)
    for column in ("n", "IC", "95 %", "Spearman", "R² %", "95 %", "hit", "µs"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.symbol,
            row.horizon,
            row.model,
            f"{row.n:,}",
            _told(row.ic, 3),
            _span(row.ic_lo, row.ic_hi, 3),
            _told(row.spearman, 3),
            _told(row.r2_pct, 2),
            _span(row.r2_lo, row.r2_hi, 2),
            _told(row.hit, 3),
            f"{row.us_per_sample:.1f}",
        )
    return table


def _told(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _span(low: float | None, high: float | None, digits: int) -> str:
    return "-" if low is None or high is None else f"{low:.{digits}f} … {high:.{digits}f}"
