"""The commands of the models: ``models`` (running, on disk, one card, verify, export) and ``compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.live.commands_ask import HERE, Run, Url, ask_card, list_models
from engine.live.commands_live import Json, fail
from engine.live.statedir import is_held
from engine.live.terminal import console

if TYPE_CHECKING:
    from engine.live.registry.shelf import Shelf


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(models)
    app.command()(compare)


def models(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[VERSION|MODEL|verify|export]",
            help="The first digits of a version, or a model's name: its card. Left out: all models.",
            show_default=False,
        ),
    ] = "",
    url: Url = "",
    run: Run = HERE,
    all_: Annotated[bool, typer.Option("--all", help="All versions on disk, not the models at work.")] = False,
    mlflow: Annotated[str, typer.Option(help="With export: a folder for an MLflow store, or the address of one.")] = "",
    json_: Json = False,
) -> None:
    """Models at work; of a run that stopped, or with --all, every version; one card; verify; export."""
    if mlflow and what != "export":
        fail(f"--mlflow: expected models export --mlflow DIR, found models {what}".rstrip(), 2)
    if what == "verify":
        _verify(run, json_)
    elif what == "export":
        _export(run, mlflow, json_)
    elif what:
        _card(what, url, run, json_)
    elif all_ or (not url and (run / "models").is_dir() and not is_held(run)):
        _versions(run, json_)
    else:
        list_models(url, run, json_)


def compare(
    a: Annotated[str, typer.Argument(help="The first digits of a version, or a model's name: the one that answers.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    run: Run = HERE,
    other: Annotated[
        Path | None, typer.Option("--with", help="The folder of the run where B is; default: --run.")
    ] = None,
    json_: Json = False,
) -> None:
    """Two versions, or two models, side by side: what they were made of, how they did, how far weights are apart."""
    with _clear_errors():
        from engine.live.registry.compare import compare as side_by_side

        shelf = _shelf(run)
        told = side_by_side(shelf, a, b, None if other is None else _shelf(other))
    if json_:
        typer.echo(json.dumps(told))
        return
    from engine.live.registry.words import comparison_markdown

    typer.echo(comparison_markdown(told))


def _versions(run: Path, json_: bool) -> None:
    with _clear_errors():
        shelf = _shelf(run)
        rows = shelf.rows()
    for problem in shelf.problems:
        typer.echo(f"papertape: {problem}", err=True)
    if json_:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("none")
        return
    from engine.live.registry.words import versions_table

    console().print(versions_table(rows), highlight=False)


def _card(text: str, url: str, run: Path, json_: bool) -> None:
    told: dict[str, Any]
    if url:
        told = ask_card(url, run, text)
    else:
        with _clear_errors():
            from engine.live.registry.shelf import told as of

            told = of(run / "models", text)
    if json_:
        typer.echo(json.dumps(told))
        return
    from engine.live.registry.words import card_markdown, lineage_markdown

    typer.echo(card_markdown(told) if "version" in told else lineage_markdown(told))


def _verify(run: Path, json_: bool) -> None:
    import msgspec

    with _clear_errors(), _progress(json_) as progress:
        from engine.live.registry.verify import verify

        found = verify(run / "models", progress)
    if json_:
        typer.echo(json.dumps({"ok": found.is_whole, **msgspec.to_builtins(found)}))
    else:
        for remark in found.remarks:
            typer.echo(remark)
        for problem in found.problems:
            typer.echo(f"papertape: {problem}", err=True)
        verdict = "whole" if found.is_whole else f"not whole: {len(found.problems)} of it"
        typer.echo(
            f"{found.folder}: {verdict}; {found.payloads:,} payloads of {found.size:,} bytes, {found.cards:,} cards, "
            f"{found.lineages:,} lineages, {found.events:,} events"
        )
    raise typer.Exit(0 if found.is_whole else 1)


def _export(run: Path, out: str, json_: bool) -> None:
    if not out:
        fail("--mlflow: expected a folder for an MLflow store, or the address of one, found none", 2)
    with _clear_errors(), _progress(json_) as progress:
        from engine.live.registry.mlflow_export import export

        done = export(_shelf(run), out, progress)
    if json_:
        typer.echo(json.dumps(done._asdict()))
    else:
        typer.echo(f"wrote {done.uri}: {done.runs:,} runs, {done.there:,} were there already")


def _shelf(run: Path) -> Shelf:
    from engine.live.registry.shelf import Shelf

    return Shelf(run / "models")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """One clear line for whatever is not there."""
    from engine.live.registry.shelf import RegistryError

    try:
        yield
    except RegistryError as error:
        fail(str(error), 1)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Shows how far it is while a person waits at a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("reading") as status:
        yield lambda count: status.update(f"{count:,} versions")
