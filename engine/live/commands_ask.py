"""The commands that ask or tell a running daemon, over its own page on loopback."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.live.commands_live import Json, fail

TIMEOUT_S = 5.0

Url = Annotated[str, typer.Option(help="The daemon's page; default: found through --run.")]
Run = Annotated[Path, typer.Option("--run", help="The daemon's folder.")]
HERE = Path("var/demo")
Only = Annotated[str, typer.Option("--strategy", help="One strategy; all when left out.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for ask in (status, positions, orders, fills, models, why):
        app.command()(ask)
    for tell in (halt, resume, flatten, reload):
        app.command()(tell)


def status(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Books, positions, profit and models of a running daemon."""
    state = _ask(_find(url, run), "/state")
    if json_:
        typer.echo(json.dumps(state))
        return
    from rich.console import Console

    from engine.live.status import render

    Console().print(render(state, _find(url, run)))


def positions(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Open positions, by strategy."""
    _table(_ask(_find(url, run), "/positions"), json_)


def orders(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Working orders."""
    _table(_ask(_find(url, run), "/orders"), json_)


def fills(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Recent fills."""
    _table(_ask(_find(url, run), "/fills"), json_)


def models(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Models and their scores."""
    _table(_ask(_find(url, run), "/models"), json_)


def why(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Why nothing is traded."""
    answer = _ask(_find(url, run), "/why")
    if json_:
        typer.echo(json.dumps(answer))
        return
    typer.echo("\n".join(answer["reasons"]) or "nothing stands in the way")
    for name, heard in answer["strategies"].items():
        typer.echo(f"{name}: asked {heard['requests']}, refused {heard['refused']}, fills {heard['fills']}")


def halt(
    url: Url = "",
    run: Run = HERE,
    reason: Annotated[str, typer.Option(help="Said in the records.")] = "command",
    json_: Json = False,
) -> None:
    """Take all orders back and let none leave until resumed."""
    _tell(_find(url, run), "halt", {"reason": reason}, json_)


def resume(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Lift the halt and the blocks of risk limits."""
    _tell(_find(url, run), "resume", {}, json_)


def flatten(url: Url = "", run: Run = HERE, strategy: Only = "", json_: Json = False) -> None:
    """Take orders back and close positions at the market."""
    _tell(_find(url, run), "flatten", {"strategy": strategy} if strategy else {}, json_)


def reload(url: Url = "", run: Run = HERE, strategy: Only = "", json_: Json = False) -> None:
    """Read the strategies' code anew; their state is carried over."""
    _tell(_find(url, run), "reload", {"strategy": strategy} if strategy else {}, json_)


def _find(url: str, run: Path) -> str:
    if url:
        return url.rstrip("/")
    path = run / "daemon.json"
    try:
        found = json.loads(path.read_text())["url"]
    except (OSError, ValueError, KeyError) as error:
        fail(f"{path}: expected the address of a running daemon, found: {error}; start one or name --url or --run", 1)
    if not found:
        fail(f"{path}: expected a daemon with a page, found http.enabled = false", 1)
    return str(found).rstrip("/")


def _ask(url: str, path: str) -> Any:
    return _request(urllib.request.Request(url + path))


def _tell(url: str, name: str, args: dict[str, str], json_: bool) -> None:
    body = json.dumps(args).encode()
    headers = {"Content-Type": "application/json"}
    answer = _request(urllib.request.Request(f"{url}/command/{name}", body, headers, method="POST"))
    typer.echo(json.dumps(answer) if json_ else f"{name}: taken")


def _request(request: urllib.request.Request) -> Any:
    if not request.full_url.startswith(("http://", "https://")):
        fail(f"--url: expected http:// or https://, found {request.full_url!r}", 2)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        fail(f"{request.full_url}: the daemon answered {error.code}: {error.read(500).decode(errors='replace')}", 1)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        fail(f"{request.full_url}: expected a running daemon, found: {error}", 1)


def _table(rows: list[dict[str, Any]], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("none")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in rows[0]))
    Console().print(table)
