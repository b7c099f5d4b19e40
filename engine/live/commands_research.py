"""The commands that look back: ``replay``, ``report``, ``bench``; and ``doctor``, which looks before.

Heavy imports wait until a command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.table import Table

from engine.live.terminal import console, money, score

if TYPE_CHECKING:
    from engine.research.replay import ReplayResult

AsJson = Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")]
MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]failed[/]"}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(replay)
    app.command()(report)
    app.command()(doctor)
    app.command()(bench)


def replay(
    tapes: Annotated[
        list[Path],
        typer.Argument(
            help="A tape, a daemon's folder for its latest one, or the files of one recording in their order."
        ),
    ],
    config: Annotated[Path | None, typer.Option(help="Instead of the tape's own, or configs/replay.toml.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the run's tables there, as parquet.")] = None,
    block: Annotated[
        int, typer.Option(min=1, help="Frames handed to the engine at once; changes only speed.")
    ] = 65_536,
    torn: Annotated[bool, typer.Option("--torn", help="Accept a tape without an end, of a killed daemon.")] = False,
    latency: Annotated[
        str,
        typer.Option(
            help="Other latencies: 5ms,50ms for each leg; 1ms:2ms:3ms for out, back, feed; 5ms~0.5 jitters; measured."
        ),
    ] = "",
    fees: Annotated[
        str, typer.Option(help="Other fees, maker:taker: 0.0001:4bps,-0.5bps:5bps; or SCHEDULE or SCHEDULE/TIER.")
    ] = "",
    fill_model: Annotated[str, typer.Option(help="Other queue models: risk_averse,power2.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=USE: another model in its place, trained on the tape anew.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Of a black box: run its own source of modules that are not here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a tape: deterministic, as fast as it goes; print the report and the digest.

    With --latency, --fees or --fill-model: once under each assumption, and say on which one the edge rests. A black box
    is played to its incident, and exit 0 says that the same facts led there; with --config or --model its tapes are
    played otherwise. A black box holds a program's state: play those whose origin you know.
    """
    from engine.live.blackbox.index import is_box
    from engine.live.commands_blackbox import clear_box_errors, models_of, replay_box

    others = models_of(model or [])
    if len(tapes) == 1 and is_box(tapes[0]):
        if latency or fees or fill_model:
            fail(
                "--latency, --fees and --fill-model: expected a tape, found a black box: unzip it and name its tape/", 2
            )
        if config is None and not others:
            with progressing(as_json) as progress, clear_errors():
                replay_box(tapes[0], trust=trust, as_json=as_json, progress=progress)
        from engine.live.blackbox.rerun import rerun_otherwise

        with progressing(as_json) as progress, clear_errors(), clear_box_errors():
            result = rerun_otherwise(
                tapes[0], config=config, models=others, out=out, block=block, trust=trust, progress=progress
            )
        _tell(result, as_json)
        return
    if latency or fees or fill_model:
        from engine.live.commands_counterfactual import compare

        with clear_errors():
            compare(tapes, config, out, torn, as_json, latency=latency, fees=fees, fill_model=fill_model)
        return
    from engine.research.replay import replay as run

    with progressing(as_json) as progress, clear_errors():
        result = run(tapes, config=config, models=others, out=out, block=block, allow_torn=torn, progress=progress)
    _tell(result, as_json)


def report(
    run: Annotated[Path, typer.Argument(help="A daemon's folder (var/NAME) or what replay --out wrote.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the page; report.html in the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the tearsheet of a run as one HTML file."""
    from engine.research.report_run import report_run

    with progressing(as_json) as progress, clear_errors():
        path = report_run(run, out, progress)
    if as_json:
        line({"report": str(path)})
    else:
        typer.echo(f"wrote {path}")


def doctor(
    state_dir: Annotated[Path, typer.Option(help="Where the daemon keeps its state.")] = Path("var"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The daemon's port.")] = 8600,
    as_json: AsJson = False,
) -> None:
    """Check the machine: Python, packages, disk, clock, port, cores."""
    from engine.live.doctor import examine, passed

    checks = examine(state_dir, port)
    if as_json:
        line({"passed": passed(checks), "checks": checks})
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in checks:
            table.add_row(check.name, MARKS[check.verdict], check.found, check.advice)
        console().print(table)
    raise typer.Exit(0 if passed(checks) else 1)


def bench(
    name: Annotated[
        str | None, typer.Argument(help="wire, replay, orders, decide, features, train, journal; none: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the engine costs on this machine."""
    from engine.research.bench import Result, UnknownBench, recordings_folder, run_bench
    from engine.research.bench_cases import BENCHES

    results: list[Result] = []
    with progressing(as_json):
        for one in [name] if name else list(BENCHES):
            try:
                results.append(run_bench(one, recordings_folder()))
            except UnknownBench as error:
                fail(str(error), 2)
            if as_json:
                line(results[-1])
    if not as_json:
        screen = console()
        for result in results:
            screen.print(_bench_table(result.bench, [msgspec.structs.asdict(row) for row in result.rows]))
        screen.print(", ".join(f"{key}: {value}" for key, value in results[0].machine.items()), style="dim")


def _bench_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("case", title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("median", "p10", "p90"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        figures = [f"{row[key]:,.0f}" if row[key] >= 1000 else f"{row[key]:.2f}" for key in ("median", "p10", "p90")]
        table.add_row(row["case"], *figures, row["unit"].replace("us", "µs"))
    return table


def _tell(result: ReplayResult, as_json: bool) -> None:
    if as_json:
        line(result.summary)
    else:
        _show(result)


def _show(result: ReplayResult) -> None:
    """The human report: what came in, what was decided, what came of it."""
    summary = result.summary
    screen = console()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, venue in summary["venues"].items():
        counts = ", ".join(f"{count:,} {what}" for what, count in venue.items() if count or what == "frames")
        table.add_row(f"venue {name}", counts)
    books, orders = summary["books"], summary["orders"]
    table.add_row("books ready", f"{books['ready']} of {books['total']}")
    refused = ", ".join(f"{rule} {count:,}" for rule, count in orders["refused"].items())
    table.add_row("orders", f"{orders['sent']:,} sent, {orders['filled']:,} filled, {orders['cancelled']:,} cancelled")
    if refused:
        table.add_row("refused by risk", refused)
    table.add_row("fills", f"{summary['fills']:,}")
    for currency, profit in summary["profit"].items():
        table.add_row(
            f"profit, {currency}", f"{money(profit)} after fees of {money(summary['fees'].get(currency, '0'))}"
        )
    for model in summary["models"]:
        count = model["predictions"]
        scores = f"{count:,} predictions, {model['learned']:,} learned, {model['swaps']} swaps"
        ic, rmse = (score(model[key], count, 4) for key in ("ic", "rmse"))
        table.add_row(f"model {model['name']}", f"{scores}, IC {ic}, RMSE {rmse} bps")
    rate = result.entries / result.seconds if result.seconds else 0.0
    table.add_row("speed", f"{result.entries:,} entries in {result.seconds:.2f} s, {rate:,.0f} a second")
    table.add_row("configuration", result.config)
    if result.out:
        table.add_row("tables", result.out)
    screen.print(table, highlight=False)
    for why in summary["why"]:
        screen.print(f"[yellow]note[/] {why}", highlight=False, soft_wrap=True)
    screen.print(f"digest {result.digest}", highlight=False)


@contextmanager
def progressing(quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Shows the entries played while a person waits at a terminal; nothing else ever sees it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("working") as status:
        yield lambda entries: status.update(f"{entries:,} entries")


@contextmanager
def clear_errors() -> Iterator[None]:
    """One clear line and the right exit code for whatever a tape, a config or a folder may have wrong."""
    from adapters.registry import UnknownVenue
    from adapters.tape import TapeError
    from engine.learn.contract import ModelError
    from engine.live.config import ConfigError
    from engine.research.counterfactual import CounterfactualError
    from engine.research.loading import ReplayError
    from engine.research.outputs import OutputError
    from engine.research.report_data import ReportError
    from engine.research.scan import ScanError

    try:
        yield
    except ConfigError as error:
        fail(str(error), 2)
    except CounterfactualError as error:
        fail(str(error), error.code)
    except (TapeError, ScanError, ReplayError, OutputError, ReportError, UnknownVenue, ModelError, OSError) as error:
        fail(str(error), 1)


def line(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())


def fail(text: str, code: int) -> NoReturn:
    typer.echo(f"papertape: {text}", err=True)
    raise typer.Exit(code)
