"""The commands about the truth of paper fills: ``ghosts`` predicts, ``fidelity`` scores.

Heavy imports wait until a command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(ghosts)


def ghosts(
    tape: Annotated[Path, typer.Argument(help="Level sizes and trades, as a paper venue sees them (parquet).")],
    probes: Annotated[Path, typer.Argument(help="Where and when each ghost rests (parquet).")],
    out: Annotated[Path, typer.Option(help="Write the predictions there, as parquet.")],
    model: Annotated[str | None, typer.Option(help="The queue model; the default one without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put ghost orders into a tape and write what the paper venue says became of them."""
    from engine.research.fill_files import GHOST_SCHEMA, clean_ghosts, read_table, read_tape, write_table
    from engine.research.ghosts import DEFAULT_MODEL, predict

    with clear_errors():
        rows, odd_rows = read_tape(tape)
        orders, odd_orders = clean_ghosts(read_table(probes, GHOST_SCHEMA, "probes"), str(probes), rows.height)
        said = predict(rows, orders, model or DEFAULT_MODEL)
        write_table(said, out)
    filled = int((said["filled_size"] > 0).sum())
    notes = odd_rows | odd_orders
    if as_json:
        name = said["model"][0] if said.height else model or DEFAULT_MODEL
        line({"out": str(out), "model": name, "orders": said.height, "filled": filled, "notes": notes})
        return
    _notes(notes)
    typer.echo(f"wrote {out}: {filled:,} of {said.height:,} ghosts filled")


def _notes(notes: Mapping[str, int]) -> None:
    for what, count in notes.items():
        typer.echo(f"note: {count:,} {what}", err=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """One clear line and the right exit code for whatever a file or a name may have wrong."""
    from engine.research.fill_files import FillFileError
    from engine.research.ghosts import UnknownModel

    try:
        yield
    except UnknownModel as error:
        fail(str(error), 2)
    except (FillFileError, OSError) as error:
        fail(str(error), 1)


def line(value: Any) -> None:
    """One JSON line on standard output."""
    typer.echo(msgspec.json.encode(value).decode())


def fail(text: str, code: int) -> NoReturn:
    """One line on standard error, and the end."""
    typer.echo(f"papertape: {text}", err=True)
    raise typer.Exit(code)
