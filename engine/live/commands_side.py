"""``papertape side test``: one payload of a side stream, read and judged, to write its schema by."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from engine.core.events import Observed

SHOWN = 50
"""Rows on the screen."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="Side streams: data beside the markets.", no_args_is_help=True)
    group.command("test")(judge)
    group.command("list")(list_)
    app.add_typer(group, name="side")


def list_(
    config: Annotated[Path, typer.Argument(help="A TOML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
) -> None:
    """The side streams of a config and the features that models can name."""
    from engine.features.side import StreamFamily

    sections = _sections(config)
    found = [
        {"stream": one.name, "source": one.source, "features": list(StreamFamily(one.schema_of().stream()).names)}
        for one in sections
    ]
    if as_json:
        typer.echo(json.dumps({"side": found}))
        return
    for stream in found:
        typer.echo(f"side:{stream['stream']}  from {stream['source']}: {', '.join(stream['features'])}")


def judge(
    config: Annotated[Path, typer.Argument(help="A TOML file.")],
    name: Annotated[str, typer.Argument(help="The stream's name in it.")],
    payload: Annotated[
        Path | None, typer.Option("--from", help="A file that holds a payload; the source is not asked.")
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for the source.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
) -> None:
    """Get one payload of a stream and say what would be made of each row; 0 when one would be accepted."""
    from adapters.side.validate import Validator
    from engine.live.side import parser_of

    sections = _sections(config)
    known = [section.name for section in sections]
    if name not in known:
        _fail(f"{config}: side: expected one of {', '.join(known) or 'no stream'}, found {name!r}", 2)
    number = known.index(name)
    try:
        data = payload.read_bytes() if payload is not None else asyncio.run(_fetched(config, number, wait_s))
    except OSError as error:
        _fail(f"{payload}: expected a file that can be read, found {error.strerror or error}", 2)
    validator = Validator(sections[number].schema_of())
    now_ns = time.time_ns()
    rows: list[dict[str, Any]] = []
    for row, is_history in validator.in_order(parser_of(sections[number]).rows(data)):
        verdict = validator.take(row, now_ns, is_history)
        seen = [item for item in verdict.says if isinstance(item, Observed)]
        rows.append(
            {
                "reason": verdict.reason,
                "found": verdict.found,
                "row": row.shown,
                **({"event_ns": seen[0].event_ns, "values": seen[0].values} if seen else {}),
            }
        )
    told = {"stream": name, "bytes": len(data), "accepted": validator.accepted, "rejected": dict(validator.rejected)}
    if as_json:
        typer.echo(json.dumps({**told, "rows": rows}))
    else:
        _show(rows, now_ns)
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(validator.rejected.items()))
        typer.echo(f"{len(data)} bytes, {len(rows)} rows: {validator.accepted} accepted; refused: {refused or 'none'}")
    raise typer.Exit(0 if validator.accepted else 1)


def _sections(config: Path) -> list[Any]:
    """The streams of a sound config; ends with every mistake otherwise."""
    from engine.live.config import ConfigError, load_config
    from engine.live.config_side import schema_problems, source_problems
    from engine.live.scorers import scorer_problems

    try:
        found = load_config(config)
    except ConfigError as error:
        _fail(str(error), 2)
    problems = schema_problems(found.side) + scorer_problems(found.side)
    problems += source_problems(found.side, redis=found.redis.url, has_http=found.http.enabled)
    if problems:
        _fail("\n".join(f"{config}: {problem}" for problem in problems), 2)
    return found.side


async def _fetched(config: Path, number: int, wait_s: float) -> bytes:
    """The first payload of a stream's source; ends where there is none."""
    from adapters.side.sources.contract import SourceError
    from engine.live.config import ConfigError, load_config
    from engine.live.side import source_of

    found = load_config(config)
    try:
        source = source_of(found.side[number], os.environ, number=number, redis=found.redis.url)
    except ConfigError as error:
        _fail(f"{config}: {error}", 2)
    payloads = source.payloads()
    try:
        async with asyncio.timeout(wait_s):
            return await anext(payloads)
    except (SourceError, TimeoutError) as error:
        reason = str(error) or f"nothing within {wait_s:g} s"
        _fail(f"{found.side[number].name}: {reason}; --from FILE tests a payload without the source", 1)
    finally:
        await payloads.aclose()
        await source.close()


def _show(rows: list[dict[str, Any]], now_ns: int) -> None:
    for row in rows[:SHOWN]:
        if row["reason"]:
            typer.secho(f"{row['reason']:>11}  {row['found']}  in {row['row'][:120]}", fg=typer.colors.RED)
            continue
        values = "  ".join(f"{name} {value:g}" for name, value in row["values"].items())
        age = f"  {(now_ns - row['event_ns']) / 1e9:.1f} s old" if row["event_ns"] else ""
        typer.echo(f"   accepted  {values}{age}")
    if len(rows) > SHOWN:
        typer.echo(f"… and {len(rows) - SHOWN} more")


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"papertape: {text}", err=True)
    raise typer.Exit(code)
