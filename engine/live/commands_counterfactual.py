"""``papertape replay`` under other assumptions: its table for people, its JSON line, its files."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import typer
from rich.progress import Progress
from rich.table import Table as Grid

from engine.live.terminal import console
from engine.research.counterfactual import Table, counterfactual
from engine.research.counterfactual_page import cells, check_folder, write


def compare(
    tapes: list[Path],
    config: Path | None,
    out: Path | None,
    torn: bool,
    as_json: bool,
    *,
    latency: str,
    fees: str,
    fill_model: str,
) -> None:
    """Replay under each assumption, print the table and the sentence, and write both where asked."""
    if out is not None:
        check_folder(out)  # before minutes of work, not after
    quiet = as_json or not sys.stderr.isatty()
    with Progress(console=console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("replays", total=None)
        table = counterfactual(
            tapes,
            config=config,
            latency=latency,
            fees=fees,
            fill_model=fill_model,
            allow_torn=torn,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if out is not None:
        write(table, ", ".join(path.name for path in tapes), out)
    if as_json:
        typer.echo(msgspec.json.encode(table).decode())
    else:
        _show(table, out)


def _show(table: Table, out: Path | None) -> None:
    screen = console()
    for currency in sorted({currency for row in table.rows for currency in row.profit}) or [""]:
        grid = Grid("assumption", box=None, pad_edge=False)
        for head in ("orders", "fills", "maker", f"profit {currency}".rstrip(), "difference", "markout 1 s bps"):
            grid.add_column(head, justify="right")
        for row in table.rows:
            grid.add_row(row.assumption, *cells(row, currency))
        screen.print(grid, highlight=False)
    screen.print(table.sentence, highlight=False, soft_wrap=True)
    if out is not None:
        screen.print(f"tables {out}", highlight=False)
