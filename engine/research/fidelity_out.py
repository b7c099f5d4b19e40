"""What a fidelity run leaves on disk, and as one JSON line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.research.fidelity import Choice, Row, Source, tables
from engine.research.fidelity_page import render
from engine.research.fill_files import FillFileError, write_table


def write(folder: Path, rows: Sequence[Row], choices: Sequence[Choice], sources: Sequence[Source]) -> None:
    """The tables, the page, and tape and probes of what was built from an order tape, for ``papertape ghosts``.

    Raises:
        FillFileError: the folder cannot be written to.
    """
    for name, table in tables(rows).items():
        write_table(table, folder / f"{name}.parquet")
    for source in sources:
        if source.is_built:
            write_table(source.tape, folder / f"{source.name}.tape.parquet")
            write_table(source.probes, folder / f"{source.name}.probes.parquet")
    path = folder / "fidelity.html"
    try:
        path.write_text(render(rows, choices, sources), encoding="utf-8")
    except OSError as error:
        raise FillFileError(f"{path}: expected a place to write to, found: {error.strerror or error}") from error


def summarise(
    rows: Sequence[Row], choices: Sequence[Choice], sources: Sequence[Source], out: Path | None
) -> dict[str, Any]:
    """The run as plain values."""
    return {
        "sources": [
            {"name": one.name, "rows": one.tape.height, "orders": one.probes.height, "notes": one.notes}
            for one in sources
        ],
        "scores": msgspec.to_builtins(rows),
        "choices": msgspec.to_builtins(choices),
        "out": "" if out is None else str(out),
    }
