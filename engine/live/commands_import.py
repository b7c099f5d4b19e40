"""The command that brings foreign recordings in: ``import``.

Heavy imports wait until the command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.table import Table

from engine.live.terminal import console


class FormatName(StrEnum):
    """The names of engine/research/import_tape.py, which is too heavy to import for them."""

    CCAPI = "ccapi"
    LEAN = "lean"
    DEEP_ORDERBOOK = "deep-orderbook"


class HoursName(StrEnum):
    """The names of engine/research/import_lean.py."""

    REGULAR = "regular"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("import")(import_)


def import_(
    form: Annotated[
        FormatName,
        typer.Argument(
            metavar="FORMAT",
            help="ccapi: csv of best prices and trades; lean: zips of US equity ticks; deep-orderbook: Binance JSON.",
        ),
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Files of one recording, or its folder; pairs find each other."),
    ],
    out: Annotated[Path, typer.Option(help="The tape to write; it must not be there yet.")],
    hours: Annotated[
        HoursName | None, typer.Option(help="lean: 09:30 to 16:00 New York (regular, the default), or all.")
    ] = None,
    off_exchange: Annotated[
        bool, typer.Option("--off-exchange", help="lean: keep the trades that dealers report (FINRA).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
) -> None:
    """Bring a recording of others to a tape that every command reads."""
    from adapters.tape import TapeNotWritten
    from engine.research.import_lean import Hours
    from engine.research.import_source import SourceError
    from engine.research.import_tape import Format, import_tape

    if form is not FormatName.LEAN and (hours is not None or off_exchange):
        _fail(f"expected --hours and --off-exchange with the format lean, found them with {form.value}", 2)
    chosen = Hours((hours or HoursName.REGULAR).value)
    try:
        with _progress(as_json) as progress:
            summary = import_tape(
                Format(form.value), sources, out, hours=chosen, off_exchange=off_exchange, progress=progress
            )
    except (SourceError, TapeNotWritten, OSError) as error:
        _fail(str(error), 1)
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
    else:
        _show(summary)


def _show(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("tape", summary["tape"])
    table.add_row("of", f"{summary['venue']}: {', '.join(summary['symbols'])}")
    table.add_row("from", f"{_moment(summary['first_ns'])} to {_moment(summary['last_ns'])}")
    table.add_row("holds", f"{summary['entries']:,} entries: {summary['books']:,} books, {summary['trades']:,} trades")
    if summary["locked_or_crossed"]:
        count = summary["locked_or_crossed"]
        table.add_row("", f"{count:,} books are locked or crossed: a replay uses none of them")
    for reason, count in summary["left_out"].items():
        table.add_row("left out", f"{count:,} {reason.replace('_', ' ')}")
    if summary.get("gaps"):
        table.add_row("gaps", f"{summary['gaps']:,}")
    for one in summary.get("snapshots", ()):
        levels = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in one.items() if what != "file")
        table.add_row("snapshot", f"{one['file']}, levels: {levels}")
    console().print(table, highlight=False)


def _moment(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Shows the entries written while a person waits at a terminal; nothing else ever sees it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("working") as status:
        yield lambda entries: status.update(f"{entries:,} entries")


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"papertape: {text}", err=True)
    raise typer.Exit(code)
