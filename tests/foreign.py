"""What tests of ``papertape import`` share: a tape read back, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from adapters.entry import Entry, EntryKind
from adapters.tape import read_tape
from engine.live import commands_import


def entries_of(path: Path) -> list[Entry]:
    return list(read_tape(path)[1])


def frames_of(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return [(one.ns, json.loads(one.data)) for one in entries_of(path) if one.kind is EntryKind.RECEIVED]


def papertape(*words: object) -> Result:
    app = typer.Typer()
    commands_import.register(app)
    app.command()(lambda: None)  # a second command, so that the first is called by its name
    return CliRunner().invoke(app, ["import", *map(str, words)])
