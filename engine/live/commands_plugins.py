"""The commands for authors of plug-ins: ``new`` writes a working start, ``conform`` checks it by the rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Any, NoReturn, cast

import msgspec
import typer

from engine.core.conformance import CardResult
from engine.live import plugins
from engine.live.plugins import PluginError


class Kind(StrEnum):
    """What can be plugged in."""

    STRATEGY = "strategy"
    VENUE = "venue"
    MODEL = "model"


class Suite(msgspec.Struct, frozen=True):
    """Where a kind is registered, what it must derive from, and who checks it; imported only when needed."""

    group: str
    base: str
    check: str


SUITES = {
    Kind.STRATEGY: Suite(
        "papertape.strategies", "engine.core.strategy:Strategy", "strategies.conformance:check_strategy"
    ),
    Kind.VENUE: Suite("papertape.venues", "adapters.contract:Venue", "adapters.conformance:check_venue"),
    Kind.MODEL: Suite("papertape.models", "engine.learn.contract:Model", "engine.learn.conformance:check_model"),
}

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


class NotWritten(OSError):
    """The files of a new plug-in cannot be written; nothing was."""


def load(where: str) -> Any:
    """Import ``module:Name``; modules in the current folder count.

    Raises:
        PluginError: there is no such thing, or its module raises.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return plugins.resolve("", where)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(
            f"expected a module that imports at {where!r}, found {type(error).__name__}: {error}"
        ) from error


def resolve(target: str, only: Kind | None = None) -> tuple[Kind, type[Any]]:
    """The kind and class of a registered name or ``module:Class``.

    Raises:
        PluginError: nothing of that name, or a class of no kind.

    >>> kind, cls = resolve("hold")
    >>> kind.value, cls.__name__
    ('strategy', 'Hold')
    """
    kinds = [only] if only is not None else list(Kind)
    if ":" in target.strip(":"):
        cls = load(target)
        for kind in kinds:
            if isinstance(cls, type) and issubclass(cls, load(SUITES[kind].base)):
                return kind, cls
        raise PluginError(f"expected a class derived from {' or '.join(SUITES[k].base for k in kinds)}, found {cls!r}")
    registered = {kind: {entry.name: entry for entry in entry_points(group=SUITES[kind].group)} for kind in kinds}
    found = [kind for kind in kinds if target in registered[kind]]
    if len(found) != 1:
        names = ", ".join(sorted(name for entries in registered.values() for name in entries))
        problem = "it is of several kinds: say which with --kind" if found else "there is none"
        raise PluginError(f"expected one of {names} or module:Class, found {target!r}: {problem}")
    return found[0], load(registered[found[0]][target].value)


def check(kind: Kind, cls: type[Any]) -> list[CardResult]:
    """Run the conformance suite of a kind on a class."""
    suite = cast("Callable[[type[Any]], list[CardResult]]", load(SUITES[kind].check))
    return suite(cls)


def write(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write a working plug-in and its test; both pass as they are.

    Raises:
        NotWritten: a file is there already, or the folder cannot be written.
    """
    module = name.replace("-", "_")
    words = {
        "name": module,
        "dashed": module.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in module.split("_")),
    }
    templates = files("engine.live") / "templates"
    texts = {
        folder / path: Template((templates / template).read_text("utf-8")).substitute(words)
        for path, template in ((f"{module}.py", f"{kind}.py.txt"), (f"test_{module}.py", f"{kind}_test.py.txt"))
    }
    taken = [str(path) for path in texts if path.exists()]
    if taken:
        raise NotWritten(f"expected new files, found {', '.join(taken)}: choose another name or --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise NotWritten(f"expected a folder to write in, found {folder}: {error.strerror}") from error
    return list(texts)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""

    @app.command()
    def new(
        kind: Annotated[Kind, typer.Argument(help="What to write.")],
        name: Annotated[str, typer.Argument(help="Its name, such as my_idea.")],
        folder: Annotated[Path, typer.Option("--dir", help="Where to write it.")] = Path(),
        as_json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
    ) -> None:
        """Write a new strategy, venue or model that works, with its test."""
        if NAME.fullmatch(name) is None:
            _fail(f"expected a name of small letters, digits and _ that starts with a letter, found {name!r}", 2)
        try:
            paths = write(kind, name, folder)
        except NotWritten as error:
            _fail(str(error), 1)
        module = paths[0].stem
        use = f"{module}:{''.join(part.capitalize() for part in module.split('_'))}"
        if as_json:
            _line({"kind": kind, "use": use, "files": [str(path) for path in paths]})
            return
        for path in paths:
            typer.echo(f"wrote {path}")
        typer.echo(f"test it:  cd {folder} && pytest {paths[1].name} && papertape conform {use}")
        typer.echo(f'use it:   use = "{use}" in the [{_SECTIONS[kind]}] section of a config in that folder')

    @app.command()
    def conform(
        target: Annotated[str, typer.Argument(help="A registered name or module:Class.")],
        kind: Annotated[Kind | None, typer.Option(help="What it is, where the name does not say.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
    ) -> None:
        """Hold a strategy, venue or model against the rules of its kind."""
        try:
            found, cls = resolve(target, kind)
            results = check(found, cls)
        except PluginError as error:
            _fail(str(error), 2)
        failed = sum(not result.passed for result in results)
        if as_json:
            _line({"target": target, "kind": found, "passed": not failed, "cards": results})
        else:
            for result in results:
                typer.secho(result.line(), fg=None if result.passed else typer.colors.RED)
            typer.echo(f"{len(results) - failed} of {len(results)} cards passed")
        raise typer.Exit(1 if failed else 0)


_SECTIONS = {Kind.STRATEGY: "[strategy]", Kind.VENUE: "venue.NAME", Kind.MODEL: "[model]"}


def _line(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"papertape: {text}", err=True)
    raise typer.Exit(code)
