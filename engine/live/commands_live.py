"""The commands that run something: run, check, record, market, serve."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from engine.live.durations import parse_duration

if TYPE_CHECKING:
    from engine.live.config import AppConfig
    from engine.live.shards.shard import Shard
    from engine.live.view import View

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.toml"
LOG_EVERY = 10

ConfigPath = Annotated[Path, typer.Argument(help="A TOML file; the default needs no network.")]
For = Annotated[str, typer.Option("--for", help='How long, such as "60s"; until stopped when left out.')]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON line on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(run)
    app.command()(check)
    app.command()(record)
    app.command()(market)
    app.command()(serve)


def fail(text: str, code: int) -> NoReturn:
    """One clear line a problem on standard error, and the code: 1 failed, 2 wrong usage or config."""
    for one in text.splitlines():
        typer.echo(f"papertape: {one}", err=True)
    raise typer.Exit(code)


def seconds(text: str) -> float | None:
    """A duration option in seconds, None when it was left out."""
    if not text:
        return None
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        fail(f"--for: {error}, found {text!r}", 2)


def read(path: Path) -> AppConfig:
    """A checked config, or the end with code 2."""
    from engine.live.config import ConfigError, load_config

    try:
        return load_config(path)
    except ConfigError as error:
        fail(str(error), 2)


def run(
    config: ConfigPath = DEMO,
    for_: For = "",
    json_: Json = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set an earlier run of this name aside, in old/.")] = False,
    role: Annotated[str, typer.Option(help="all; or with Redis between machines: feed, engine, trainer.")] = "all",
    shard: Annotated[str, typer.Option(help="Of the role engine: i/n, such as 0/2.")] = "",
    standby: Annotated[
        bool, typer.Option("--standby", help="Own nothing; start a shard (of --shard's n) whose owner is gone.")
    ] = False,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Own --shard, and start another one whose owner is gone.")
    ] = False,
) -> None:
    """Trade paper money on live books until stopped; a run that was stopped or killed goes on."""
    if role == "all" and not (shard or standby or stand_in):
        daemon(read(config), seconds(for_), as_json=json_, source=config, is_fresh=fresh)
        return
    from engine.live.shards.roles import Asked, run_role

    asked = Asked(role, shard, standby, stand_in, seconds(for_), json_, fresh, config)
    run_role(read(config), asked, daemon, fail)


def record(
    config: ConfigPath = DEMO,
    for_: For = "",
    out: Annotated[Path | None, typer.Option(help="The tape to write; default: the run's own folder.")] = None,
    json_: Json = False,
) -> None:
    """Record raw frames to a tape, trading nothing."""
    settings = read(config)
    quiet = settings.model_copy(
        update={
            "strategy": [],
            "model": [],
            "http": settings.http.model_copy(update={"enabled": any(one.source == "webhook" for one in settings.side)}),
            "record": settings.record.model_copy(update={"enabled": True}),
            "journal": settings.journal.model_copy(update={"enabled": False}),
        }
    )
    if out is not None and out.exists():
        fail(f"{out}: expected a file that does not exist yet; a tape is never overwritten", 2)
    tape = daemon(quiet, seconds(for_), as_json=json_, source=config)
    if out is not None:
        shutil.move(tape, out)
        typer.echo(f"tape: {out}", err=True)
    else:
        typer.echo(f"tape: {tape}", err=True)


def check(
    config: Annotated[Path | None, typer.Argument(help="A TOML file.")] = None,
    json_: Json = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the config.")] = False,
) -> None:
    """Check a config: every mistake with its place, what was expected and what was found."""
    from engine.live.build import offline_problems
    from engine.live.config import AppConfig, ConfigError, load_config

    if schema:
        typer.echo(json.dumps(AppConfig.model_json_schema(), indent=1))
        return
    if config is None:
        fail("check: expected a config file or --schema, found neither", 2)
    try:
        problems = [f"{config}: {problem}" for problem in offline_problems(load_config(config))]
    except ConfigError as error:
        problems = error.problems
    if json_:
        typer.echo(json.dumps({"config": str(config), "ok": not problems, "problems": problems}))
    elif not problems:
        typer.echo(f"{config}: ok")
    if problems and not json_:
        fail("\n".join(problems), 2)
    if problems:
        raise typer.Exit(2)


def market(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
    speed: Annotated[float, typer.Option(help="Seconds of the market a second of ours.")] = 1.0,
    symbols: Annotated[str, typer.Option(help="Comma-separated.")] = "BTCUSDT,ETHUSDT",
    regime_change: Annotated[str, typer.Option(help="turn or storm: what becomes of all its regimes.")] = "",
    regime_change_after: Annotated[float, typer.Option(help="Seconds of the market after it opened.")] = 0.0,
    json_: Json = False,
) -> None:
    """Serve the simulated exchange by the Binance spot protocol."""
    from adapters import market_server

    words = ["--host", host, "--port", str(port), "--seed", str(seed), "--speed", str(speed), "--symbols", symbols]
    words += ["--regime-change", regime_change, "--regime-change-after", str(regime_change_after)]
    raise typer.Exit(market_server.main([*words, *(["--json"] if json_ else [])]))


def serve(
    tapes: Annotated[list[Path], typer.Argument(help="Tapes of one venue, in order.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    speed: Annotated[
        str, typer.Option(help='Seconds of the tape a second of ours; "max" for as fast as it goes.')
    ] = "1",
    json_: Json = False,
) -> None:
    """Play tapes as a local venue, so that the real adapters connect to it."""
    from adapters import serve as server

    raise typer.Exit(server.main(tapes, host=host, port=port, speed=speed, as_json=json_))


def daemon(
    config: AppConfig,
    run_s: float | None,
    *,
    as_json: bool,
    source: Path,
    is_fresh: bool = False,
    shard: Shard | None = None,
    patience_s: float = 0.0,
) -> str:
    """Run the daemon to its end; the path of its tape. It waits so long for a folder that another one holds."""
    from adapters.tape import TapeNotWritten
    from engine.live.blackbox.watch import pack_refused
    from engine.live.config import ConfigError
    from engine.live.http import HttpError
    from engine.live.journal import JournalDamaged, JournalNotWritten
    from engine.live.logs import Logs
    from engine.live.recovery.state import RecoveryError
    from engine.live.statedir import StateDir, StateDirError
    from engine.live.status import farewell
    from engine.live.venues import StartError

    lost = (JournalDamaged, JournalNotWritten, RecoveryError)
    try:
        with StateDir.waited_for(config.run.state_dir / config.run.name, patience_s) as state:
            watched = sys.stderr.isatty() and not as_json
            if is_fresh and (aside := state.set_aside(time.strftime("%Y%m%dT%H%M%S", time.gmtime()))) is not None:
                typer.echo(f"papertape: the run before is in {aside}", err=True)
            logs = Logs(state.path / "log.jsonl", to_stderr=not watched)
            try:
                summary, left_behind = _serve(config, run_s, state=state, watched=watched, shard=shard)
            except (JournalDamaged, RecoveryError) as error:
                if (box := pack_refused(state.path, config, error)) is not None:
                    typer.echo(f"papertape: what was refused is in {box}", err=True)
                raise
            finally:
                logs.close()
    except ConfigError as error:
        fail("\n".join(f"{source}: {problem}" for problem in error.problems), 2)
    except (StateDirError, StartError, HttpError, TapeNotWritten, *lost) as error:
        fail(str(error), 1)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(farewell(summary), err=True)
    if left_behind:  # a thread of it may hang still, and the interpreter would wait for it
        typer.echo(f"papertape: {summary['failed']}", err=True)
        sys.stdout.flush()
        os._exit(1)
    if summary.get("failed"):
        fail(summary["failed"], 1)
    return str(summary.get("tape", ""))


def _serve(
    config: AppConfig, run_s: float | None, *, state: Any, watched: bool, shard: Shard | None
) -> tuple[dict[str, Any], list[str]]:
    """The summary, and the stages of the stop that were left behind."""
    import structlog
    from rich.console import Console
    from rich.live import Live

    from engine.live import status
    from engine.live.app import App

    log = structlog.get_logger("papertape.status")
    console = Console(stderr=True)
    screen = Live(console=console, auto_refresh=False, screen=False) if watched else None
    ticks = 0

    def each_second(view: View) -> Callable[[], None] | None:
        nonlocal ticks
        ticks += 1
        if screen is not None:
            return partial(screen.update, status.render(view.state(), app.url), refresh=True)
        return partial(log.info, "status", **status.line(view.state())) if ticks % LOG_EVERY == 0 else None

    app = App(config, state, each_second, shard)
    first = "the first start on a machine compiles, up to a minute"
    typer.echo(f"papertape: starting {config.run.name}; state in {state.path}; {first}", err=True)
    if screen is not None:
        screen.start()
    try:
        run_loop(app.run(run_s), lambda: bool(app.left_behind))
    finally:
        if screen is not None:
            screen.stop()
    return app.summary(), app.left_behind


def run_loop(work: Coroutine[Any, Any, None], is_hanging: Callable[[], bool] = lambda: False) -> None:
    """Use uvloop where the platform has it; a loop with work that was left behind is not waited for."""
    import asyncio

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    runner = asyncio.Runner(loop_factory=factory)
    try:
        runner.run(work)
    finally:
        if not is_hanging():
            runner.close()
