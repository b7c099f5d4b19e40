"""The command line: each command in a module of its own, read only when it is used."""

from __future__ import annotations

import sys

import typer

from engine.live import (
    commands_ask,
    commands_blackbox,
    commands_drift,
    commands_fidelity,
    commands_import,
    commands_journal,
    commands_live,
    commands_models,
    commands_plugins,
    commands_research,
    commands_validate,
)

app = typer.Typer(
    name="papertape",
    help="Live paper trading that tells the truth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

for module in (
    commands_live,
    commands_ask,
    commands_models,
    commands_research,
    commands_validate,
    commands_drift,
    commands_fidelity,
    commands_import,
    commands_journal,
    commands_blackbox,
    commands_plugins,
):
    module.register(app)


def main() -> None:
    """Run a command; wrong usage ends with code 2."""
    sys.exit(app())
