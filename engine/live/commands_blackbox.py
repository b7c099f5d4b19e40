"""``papertape blackbox``, and ``replay`` of such a file.

Heavy imports wait until a command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.live.commands_ask import tell_slowly
from engine.live.commands_live import Json, fail
from engine.live.statedir import is_held

if TYPE_CHECKING:
    from engine.live.blackbox.rerun import Rerun

VAR = Path("var")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(blackbox)


def blackbox(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A daemon's folder, or its name below var/.")],
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "asked for",
    out: Annotated[Path | None, typer.Option(help="The file to write; default: RUN/blackbox/STAMP-REASON.ptb.")] = None,
    json_: Json = False,
) -> None:
    """Pack all that is needed to see a run's last moments again; ``papertape replay FILE`` plays it.

    The file holds the run's configuration without secrets, its market data, and its strategies' source.
    """
    from engine.live.blackbox.index import BoxError
    from engine.live.blackbox.pack import Order, pack

    folder = next((one for one in (run, VAR / run) if (one / "journal").is_dir()), None)
    if folder is None:
        fail(f"{run}: expected a daemon's folder with a journal, or a run's name below {VAR}/, found neither", 1)
    if out is not None and out.exists():
        fail(f"{out}: expected a file that does not exist yet; a black box is never overwritten", 2)
    if is_held(folder):
        answer = Path(tell_slowly(folder, "blackbox", {"reason": reason})["path"])
        path = folder / "blackbox" / answer.name  # the daemon may say it from another working directory
        if out is not None:
            import shutil

            try:
                shutil.copyfile(path, out)
            except OSError as error:
                fail(f"{out}: expected to copy {path} here, found: {error.strerror or error}", 1)
            path = out
    else:
        try:
            path = pack(Order(folder=str(folder), reason="asked", detail=reason, out=str(out or "")))
        except BoxError as error:
            fail(str(error), 1)
    typer.echo(json.dumps({"path": str(path)}) if json_ else f"wrote {path}; papertape replay {path} plays it")


def replay_box(path: Path, *, trust: bool, as_json: bool, progress: Callable[[int], None] | None) -> None:
    """Play a box, say what was found, and end with 0 where it is the same."""
    from engine.live.blackbox.rerun import plain, rerun

    with clear_box_errors():
        found = rerun(path, trust=trust, progress=progress)
    if as_json:
        typer.echo(json.dumps(plain(found)))
    else:
        _say(path, found)
    raise typer.Exit(0 if found.is_same else 1)


@contextmanager
def clear_box_errors() -> Iterator[None]:
    """One clear line for what a box may have wrong."""
    from engine.live.blackbox.index import BoxError

    try:
        yield
    except BoxError as error:
        fail(str(error), 1)


def models_of(words: list[str]) -> dict[str, str]:
    """``NAME=USE`` options by name; wrong usage ends with code 2.

    >>> models_of(["linear=zero"])
    {'linear': 'zero'}
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, use = word.partition("=")
        if not (name and equals and use):
            fail(f"--model: expected NAME=USE such as linear=zero, found {word!r}", 2)
        found[name] = use
    return found


def _say(path: Path, found: Rerun) -> None:
    lines: list[Any] = [f"{path}: {found.reason}: {found.detail}", f"from {found.begin}, {found.inputs:,} inputs"]
    more = f", and {found.more:,} more followed that it did not have yet" if found.more else ""
    if found.was:
        lines.append(f"the same up to here ({found.facts:,} facts), then:")
        lines += [f"then: {found.was}", f"now:  {found.now}"]
    elif found.is_same:
        end = f", ends with {found.ends}" if found.ends else ""
        lines.append(f"same: {found.facts:,} facts{end}{more}")
    else:
        lines.append(f"not the same: {found.facts:,} facts followed again, but the incident did not{more}")
        if found.ends:
            lines.append(f"now:  {found.ends}")
    lines += [f"note: {note}" for note in found.notes]
    typer.echo("\n".join(lines))
