"""The commands that read the truth on disk: ``journal verify, cat, tail, export`` and ``diff``.

Heavy imports wait until the command needs them, so that ``papertape --help`` stays quick.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from engine.live.commands_live import fail
from engine.live.statedir import is_held
from engine.live.terminal import console

if TYPE_CHECKING:
    from engine.live.journal import Cut, Frame, Position

POLL_S = 0.2
VAR = Path("var")

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A daemon's folder, its name below var/, or a journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, one object a line.")]

group = typer.Typer(no_args_is_help=True, help="Read and check the journal of a run: all that it was told and said.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (verify, cat, tail, export):
        group.command()(command)
    app.add_typer(group, name="journal")
    app.command()(diff)


def verify(run: Run, as_json: AsJson = False) -> None:
    """Check every byte: exit 0 when it is whole, 1 with the file, the byte and what can be done when it is not."""
    from engine.live.journal import JournalDamaged
    from engine.live.journal.verify import verify as check

    folder = journal_of(run)
    with _progress(as_json, "frames") as progress:
        try:
            found = check(folder, progress)
        except JournalDamaged as error:
            if as_json:
                told = {"path": error.path, "offset": error.offset, "expected": error.expected, "found": error.found}
                _line({"ok": False, **told, "advice": error.advice})
                raise typer.Exit(1) from error
            fail(str(error), 1)
        except OSError as error:
            fail(f"{folder}: expected a journal that can be read, found: {error.strerror or error}", 1)
    if as_json:
        _line({"ok": True, **msgspec.to_builtins(found)})
        return
    plural = "" if found.segments == 1 else "s"
    compacted = f", {found.compacted} of them compacted" if found.compacted else ""
    typer.echo(
        f"{folder}: whole; {found.segments} segment{plural}{compacted}, {found.bytes:,} bytes, {found.frames:,} frames"
    )
    facts = f"facts {found.first_seq:,} to {found.last_seq:,}, none missing" if found.facts else "no facts"
    older = "; older ones were deleted" if found.first_seq > 1 else ""
    typer.echo(f"{found.inputs:,} inputs, {found.facts:,} facts, {found.marks:,} marks; {facts}{older}")
    if found.cut is not None and not is_held(folder.parent):
        typer.echo(f"torn tail, which the next start cuts off: {found.cut}")


def cat(
    run: Run,
    from_: Annotated[int, typer.Option("--from", min=0, help="The first fact's number.")] = 0,
    to: Annotated[int, typer.Option("--to", min=0, help="The last fact's number; 0: to the end.")] = 0,
    kind: Annotated[str, typer.Option("--kind", help="Only these facts: Fill,Refusal.")] = "",
    inputs: Annotated[bool, typer.Option("--inputs", help="What came in too, between the facts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the facts, one a line."""
    show = _Shown(_kinds(kind), inputs=inputs, as_json=as_json)
    with _clear_errors():
        from engine.live.journal import Kind, read, seq_of

        folder, seq = journal_of(run), 0
        for frame in read(folder, on_cut=_torn(folder)):
            if frame.kind is Kind.FACT:
                seq = seq_of(frame.payload)
            if to and seq > to:
                break
            # an input belongs to the fact that follows it
            if seq >= from_ or (frame.kind is Kind.INPUT and seq + 1 >= from_):
                show(frame)


def tail(
    run: Run,
    count: Annotated[int, typer.Option("-n", min=1, help="How many facts.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what the daemon writes.")] = False,
    kind: Annotated[str, typer.Option("--kind", help="Only these facts: Fill,Refusal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the last facts; with --follow, those that come."""
    folder = journal_of(run)
    show = _Shown(_kinds(kind), inputs=False, as_json=as_json)
    with _clear_errors():
        last, end = _last(folder, count, show)
        for frame in last:
            show(frame)
        while follow:
            sys.stdout.flush()
            time.sleep(POLL_S)
            end = _new(folder, end, show)


def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="The folder to write; an earlier export is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write the facts as parquet tables, one a kind of fact."""
    with _clear_errors(), _progress(as_json, "facts") as progress:
        from engine.live.journal.export import export as write

        rows = write(journal_of(run), out, progress)
    if as_json:
        _line({"out": str(out), "rows": rows})
    else:
        typer.echo(f"wrote {out}: " + (", ".join(f"{count:,} {name}" for name, count in rows.items()) or "no facts"))


def diff(
    a: Annotated[Path, typer.Argument(help="A daemon's folder, its name below var/, or a journal.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Name the first fact at which two runs part: exit 0 when they are the same, 1 when they are not."""
    with _clear_errors(), _progress(as_json, "facts") as progress:
        from engine.live.journal.diff import diff as compare

        found = compare(journal_of(a), journal_of(b), progress)
    is_same = found.verdict == "same"
    if as_json:
        _line(found)
    elif is_same:
        typer.echo(f"the same: {found.compared:,} facts from {found.first_seq:,} on")
    else:
        typer.echo(f"the same up to fact {found.seq - 1:,} ({found.compared:,} facts compared), then:")
        typer.echo(f"a: {found.a or f'{a} ends here; it is the beginning of b'}")
        typer.echo(f"b: {found.b or f'{b} ends here; it is the beginning of a'}")
    raise typer.Exit(0 if is_same else 1)


def journal_of(run: Path) -> Path:
    """The journal of a daemon's folder, of the run of this name, or the folder itself; the end with code 1 if none."""
    for folder in (run / "journal", run, VAR / run / "journal"):
        if folder.is_dir() and (folder.name == "journal" or any(folder.glob("*.ptj*"))):
            break
    else:
        fail(f"{run}: expected a daemon's folder with a journal, or a run's name below {VAR}/, found neither", 1)
    return folder


class _Shown:
    """Prints frames: facts of some kinds, inputs if wanted."""

    def __init__(self, kinds: frozenset[str], *, inputs: bool, as_json: bool) -> None:
        self._kinds = kinds
        self._inputs = inputs
        self._as_json = as_json

    def wants(self, frame: Frame) -> bool:
        from engine.live.journal import Kind, decode_record

        if frame.kind is not Kind.FACT:
            return self._inputs and frame.kind is Kind.INPUT
        return not self._kinds or type(decode_record(frame.payload).fact).__name__ in self._kinds

    def __call__(self, frame: Frame) -> None:
        from engine.live.journal import Kind, decode_record
        from engine.live.journal.words import plain, words

        if not self.wants(frame):
            return
        if frame.kind is Kind.INPUT:
            text = frame.payload.decode("utf-8", "backslashreplace")
            line = msgspec.json.encode({"input": text}).decode() if self._as_json else f"<  {text}"
        else:
            record = decode_record(frame.payload)
            line = msgspec.json.encode(plain(record)).decode() if self._as_json else words(record)
        typer.echo(line)


def _last(folder: Path, count: int, show: _Shown) -> tuple[deque[Frame], Position | None]:
    """The last facts that are wanted, from as few of the last segments as hold them, and where they end."""
    from engine.live.journal import Kind, Position, read
    from engine.live.journal.segments import segments

    found: deque[Frame] = deque()
    end: Position | None = None
    for segment in reversed(segments(folder)):
        frames: deque[Frame] = deque(maxlen=count)
        begin = Position(segment.number, 0)
        for frame in read(folder, begin, on_cut=_torn(folder) if end is None else None):
            if frame.position.segment != segment.number and end is not None:
                break
            if frame.kind is Kind.FACT and show.wants(frame):
                frames.append(frame)
            if end is None or frame.position >= end:
                end = frame.end
        found.extendleft(reversed(frames))
        if len(found) >= count:
            break
    while len(found) > count:
        found.popleft()
    return found, end


def _new(folder: Path, end: Position | None, show: _Shown) -> Position | None:
    """Show what came since; a frame that is still being written waits for the next look."""
    from engine.live.journal import read

    for frame in read(folder, end):
        show(frame)
        end = frame.end
    return end


def _kinds(text: str) -> frozenset[str]:
    from engine.live.journal.words import FACT_NAMES

    kinds = frozenset(filter(None, (word.strip() for word in text.split(","))))
    if unknown := sorted(kinds - set(FACT_NAMES)):
        fail(f"--kind: expected some of {', '.join(FACT_NAMES)}, found {', '.join(unknown)}", 2)
    return kinds


def _torn(folder: Path) -> Callable[[Cut], None]:
    """Says that the tail is torn, unless a daemon is at work: then its last frame may just be on its way."""

    def tell(cut: Cut) -> None:
        if not is_held(folder.parent):
            typer.echo(f"papertape: {folder}: torn tail, which the next start cuts off: {cut}", err=True)

    return tell


@contextmanager
def _clear_errors() -> Iterator[None]:
    """One clear line for whatever a journal may have wrong; a reader that goes away, or Ctrl-C, is no fault."""
    from engine.live.journal import JournalDamaged
    from engine.live.journal.export import ExportError

    try:
        yield
    except (JournalDamaged, ExportError) as error:
        fail(str(error), 1)
    except (BrokenPipeError, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError):  # or the interpreter would meet it once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except OSError as error:
        fail(f"{error.filename or 'the journal'}: expected to read it, found: {error.strerror or error}", 1)


@contextmanager
def _progress(quiet: bool, what: str) -> Iterator[Callable[[int], None] | None]:
    """Shows how far it is while a person waits at a terminal; nothing else ever sees it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("reading") as status:
        yield lambda count: status.update(f"{count:,} {what}")


def _line(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())
