"""The commands that ask or tell a running daemon, over its own page on loopback."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from engine.live.commands_live import Json, fail
from engine.live.statedir import is_held

TIMEOUT_S = 5.0
SLOW_S = 180.0
OBEYED_S = 5.0
"""How long a reload may take before it is called taken and no more."""

Url = Annotated[str, typer.Option(help="The daemon's page; default: found through --run.")]
Run = Annotated[Path, typer.Option("--run", help="The daemon's folder.")]
HERE = Path("var/demo")
Only = Annotated[str, typer.Option("--strategy", help="One strategy; all when left out.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for ask in (status, positions, orders, fills, truth, why):
        app.command()(ask)
    for tell in (halt, resume, flatten, reload, promote, rollback):
        app.command()(tell)


def status(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Books, positions, profit and models of a running daemon."""
    state = _ask(_find(url, run), "/state", dict)
    if json_:
        typer.echo(json.dumps(state))
        return
    from engine.live.status import render
    from engine.live.terminal import console

    screen = console()
    screen.print(render(state, _find(url, run), fills=screen.is_terminal))


def positions(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Open positions, by strategy."""
    _list("positions", _find(url, run), json_)


def orders(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Working orders."""
    _list("orders", _find(url, run), json_)


def fills(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Recent fills."""
    _list("fills", _find(url, run), json_)


def truth(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """How true the fills are: grades, score, profit under every queue model, markouts, shortfall."""
    told = _ask(_find(url, run), "/truth", dict)
    if json_:
        typer.echo(json.dumps(told))
        return
    from engine.live.listing import table
    from engine.live.status import truth_lines
    from engine.live.terminal import console

    screen = console()
    for line in truth_lines(told):
        screen.print(line, highlight=False)
    for name in ("markouts", "execution"):
        if told[name]:
            screen.print(f"\n{name}", style="bold")
            screen.print(table(name, told[name]), highlight=False)


def why(url: Url = "", run: Run = HERE, json_: Json = False) -> None:
    """Why nothing is traded."""
    answer = _ask(_find(url, run), "/why", dict)
    if json_:
        typer.echo(json.dumps(answer))
        return
    from engine.live.why import counts

    typer.echo("\n".join(answer["reasons"]) or "nothing stands in the way")
    for name, heard in answer["strategies"].items():
        refused = f"{sum(heard['refused'].values())} refused"
        if heard["refused"]:
            refused += f" ({counts(heard['refused'])}; the last: {heard['last_refusal']})"
        typer.echo(f"{name}: {heard['requests']} asked, {refused}, {heard['fills']} fills")
    for name, told in answer["drift"].items():
        typer.echo(f"{name}: {told}")


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


def promote(
    contest: Annotated[str, typer.Argument(help="The name of a [[contest]].")],
    model: Annotated[str, typer.Argument(help="Who speaks for it from now on.")],
    url: Url = "",
    run: Run = HERE,
    json_: Json = False,
) -> None:
    """Make a model the champion of a contest, by your word instead of by evidence."""
    _tell(_find(url, run), "promote", {"contest": contest, "model": model}, json_)


def rollback(
    contest: Annotated[str, typer.Argument(help="The name of a [[contest]].")],
    url: Url = "",
    run: Run = HERE,
    json_: Json = False,
) -> None:
    """Bring the champion before the present one back."""
    _tell(_find(url, run), "rollback", {"contest": contest}, json_)


def reload(url: Url = "", run: Run = HERE, strategy: Only = "", json_: Json = False) -> None:
    """Read the strategies' code anew; their state is carried over."""
    found = _find(url, run)
    since_ns = _tell(found, "reload", {"strategy": strategy} if strategy else {}, json_=False, quiet=True)["ns"]
    deadline = time.monotonic() + OBEYED_S
    while not (obeyed := _ask(found, "/state", dict)["engine_ns"] >= since_ns) and time.monotonic() < deadline:
        time.sleep(0.05)
    failed = {
        name: one["reload_failed"]
        for name, one in _ask(found, "/why", dict)["strategies"].items()
        if one["reload_failed"] and strategy in ("", name)
    }
    if json_:
        typer.echo(json.dumps({"taken": "reload", "obeyed": obeyed, "failed": failed}))
    elif not failed:
        typer.echo("reload: done" if obeyed else "reload: taken, and not yet done: the engine is busy")
    if failed:
        fail("\n".join(f"{name} goes on with its old code: {problem}" for name, problem in failed.items()), 1)


def _find(url: str, run: Path) -> str:
    if url:
        return url.rstrip("/")
    path = run / "daemon.json"
    try:
        found = json.loads(path.read_text())["url"]
    except OSError as error:
        fail(f"{path}: expected the address of a running daemon, found: {error.strerror}; {_advice(run)}", 1)
    except (ValueError, KeyError, TypeError) as error:
        fail(f"{path}: expected the address of a running daemon, found: {error}; {_advice(run)}", 1)
    if not is_held(run):  # its port may be another daemon's by now
        fail(f"{path}: expected a running daemon, found the address of one that ended; {_advice(run)}", 1)
    if not found:
        fail(f"{path}: expected a daemon with a page, found http.enabled = false", 1)
    return str(found).rstrip("/")


def _advice(run: Path) -> str:
    """Where a daemon runs instead, as far as its folder lies beside this one."""
    for path in sorted(run.parent.glob("*/daemon.json")):
        if is_held(path.parent):
            return f"one runs with --run {path.parent}"
    return "start one with `papertape run`, or name one with --url or --run"


def _ask(url: str, path: str, kind: type[Any]) -> Any:
    answer = _request(url, path)
    if not isinstance(answer, kind):
        fail(f"{url}{path}: expected a Papertape daemon, found another program", 1)
    return answer


def _tell(url: str, name: str, args: dict[str, str], json_: bool, *, quiet: bool = False) -> Any:
    answer = _request(url, f"/command/{name}", json.dumps(args).encode())
    if not quiet:
        typer.echo(json.dumps(answer) if json_ else f"{name}: taken")
    return answer


def tell_slowly(run: Path, name: str, args: dict[str, str]) -> Any:
    """What a daemon answers to a word that takes it a while."""
    return _request(_find("", run), f"/{name}", json.dumps(args).encode(), SLOW_S)


def list_models(url: str, run: Path, json_: bool) -> None:
    """The models that a daemon has at work, and their scores."""
    _list("models", _find(url, run), json_)


def ask_card(url: str, run: Path, text: str) -> Any:
    """What a daemon tells of a version, or of a model."""
    return _ask(_find(url, run), f"/models/{quote(text, safe='')}", dict)


def _request(url: str, path: str, body: bytes | None = None, timeout_s: float = TIMEOUT_S) -> Any:
    """What the daemon answers; with a body it is told something."""
    if not url.startswith(("http://", "https://")):
        fail(f"--url: expected http:// or https://, found {url!r}", 2)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url + path, body, headers, method="GET" if body is None else "POST")
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        _refused(url + path, error)
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        words = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
        fail(f"{url}{path}: expected a running daemon, found: {words}", 1)


def _refused(url: str, error: urllib.error.HTTPError) -> NoReturn:
    """The daemon's own words; a wrong argument is wrong usage."""
    try:
        with error:
            told = json.loads(error.read(2000))["error"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        fail(f"{url}: expected a Papertape daemon, found another program that answers {error.code}", 1)
    fail(str(told), 2 if error.code == HTTPStatus.BAD_REQUEST else 1)


def _list(name: str, url: str, json_: bool) -> None:
    rows = _ask(url, f"/{name}", list)
    if json_:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("none")
        return
    from engine.live.listing import table
    from engine.live.terminal import console

    console().print(table(name, rows), highlight=False)
