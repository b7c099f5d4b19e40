"""The commands about the truth of paper fills: ``ghosts`` predicts, ``fidelity`` scores.

Heavy imports wait until a command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.table import Table

from engine.live.terminal import console

if TYPE_CHECKING:
    from engine.research.fidelity import Choice, Row, Source
    from engine.research.truth import Outcome

AsJson = Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(ghosts)
    app.command()(fidelity)


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


def fidelity(
    tapes: Annotated[
        list[Path] | None, typer.Argument(help="Order tapes (parquet), Bitstamp logs, or tapes with --probes.")
    ] = None,
    probes: Annotated[list[Path] | None, typer.Option(help="The probes of each tape, in their order.")] = None,
    market: Annotated[list[int] | None, typer.Option(help="The simulated exchange with this seed.")] = None,
    seconds: Annotated[int, typer.Option(min=30, max=86_400, help="How long the simulated exchange runs.")] = 600,
    orders: Annotated[
        int, typer.Option(min=0, max=100_000, help="With --market: place so many for real beside the paper ones too.")
    ] = 0,
    models: Annotated[str | None, typer.Option(help="Queue models, with commas; all of them without it.")] = None,
    feed: Annotated[str, typer.Option(help="Time between level updates, with commas: 0,10ms,100ms,1s.")] = "0",
    warm_up: Annotated[str | None, typer.Option(help="How long an order tape's book is not trusted: 60s.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the page, the tables, and tapes and probes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how true paper fills are: ghosts before real orders, every model, the scores and a picture."""
    from engine.research.fidelity import choose, measure, open_market, open_orders, open_pair
    from engine.research.fidelity_out import summarise, write
    from engine.research.ghosts import MODELS
    from engine.research.truth_score import table

    if orders and not market:
        fail("expected --market SEED with --orders, found none: real orders need a market that matches them", 2)
    feeds_ns = _feeds(feed)
    warm_up_ns = None if warm_up is None else _duration(warm_up, "--warm-up")
    paths, pairs = tapes or [], probes or []
    if not paths and not market:
        fail("expected a tape, or --market SEED; found neither", 2)
    if pairs and len(pairs) != len(paths):
        fail(f"expected --probes for each of {len(paths)} tapes, found {len(pairs)}", 2)
    with clear_errors():
        sources = [open_pair(tape, its) for tape, its in zip(paths, pairs, strict=True)] if pairs else []
        sources += [open_orders(path, warm_up_ns) for path in paths] if not pairs else []
        sources += [open_market(seed, seconds) for seed in market or []]
        names = [one.strip() for one in models.split(",")] if models else list(MODELS)
        with _progress(as_json) as progress:
            rows = measure(sources, names, feeds_ns, progress)
        choices = choose(rows)
        truths = {seed: _placed(seed, orders) for seed in market or [] if orders}
        if out is not None:
            write(out, rows, choices, sources)
    if as_json:
        line(summarise(rows, choices, sources, out) | {"placed": [one.plain() for one in truths.values()]})
        return
    _show(rows, choices, sources, out)
    for seed, truth in truths.items():
        typer.echo(f"\norders placed for real beside the same on paper, simulated exchange of seed {seed}")
        typer.echo(table(truth.rows()))


def _placed(seed: int, orders: int) -> Outcome:
    from engine.research.truth import Experiment, run

    return run(Experiment(orders=orders, seed=seed))


def _feeds(text: str) -> list[int]:
    return sorted({_duration(one.strip(), "--feed") for one in text.split(",")})


def _duration(text: str, option: str) -> int:
    from engine.live.durations import parse_duration

    if text == "0":
        return 0
    try:
        return parse_duration(text)
    except ValueError as error:
        fail(f"{option}: {error}, found {text!r}", 2)


def _show(rows: Sequence[Row], choices: Sequence[Choice], sources: Sequence[Source], out: Path | None) -> None:
    """The human report: a table for each tape and feed speed, and the choice."""
    from engine.research.fidelity_page import SCORE_HEAD, feed_text, score_cells

    screen = console()
    for source in sources:
        _notes({f"{what} ({source.name})": count for what, count in source.notes.items()})
        for feed_ns in sorted({row.feed_ns for row in rows}):
            here = [row for row in rows if row.source == source.name and row.feed_ns == feed_ns]
            title = f"{source.name}, levels {feed_text(feed_ns)}"
            table = Table(title=title, title_justify="left", box=None, pad_edge=False)
            for at, name in enumerate(SCORE_HEAD):
                table.add_column(name, justify="right" if at else "left")
            for row in sorted(here, key=lambda row: -(row.all.mcc or 0.0)):
                table.add_row(*score_cells(row))
            screen.print(table, highlight=False)
            for row in here:
                grades = ", ".join(f"{one.grade} {one.share:.1%}: {one.true:.2%} true" for one in row.fidelity.grades)
                if grades:
                    screen.print(f"{row.model}: {grades}", highlight=False)
    for one in choices:
        alike = f"; as good within its interval: {', '.join(one.alike)}" if one.alike else ""
        screen.print(f"levels {feed_text(one.feed_ns)}: use {one.model}, MCC {one.mcc:.3f}{alike}", highlight=False)
    if out is not None:
        screen.print(f"wrote {out / 'fidelity.html'}", highlight=False, soft_wrap=True)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Shows what is measured while a person waits at a terminal; nothing else ever sees it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("working") as status:
        yield status.update


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
