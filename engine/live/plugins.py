"""Plug-ins by name: a registered entry point, or ``module:Class``."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from engine.core.strategy import Strategy


class PluginError(LookupError):
    """What is named is not registered, cannot be imported, or is not of the kind that is wanted."""


def names(group: str) -> list[str]:
    """The registered names of ``papertape.GROUP``, sorted.

    >>> "hold" in names("strategies")
    True
    """
    return sorted({entry.name for entry in entry_points(group=f"papertape.{group}")})


def target(group: str, name: str) -> str:
    """The ``module:Class`` behind a name.

    >>> target("strategies", "hold")
    'strategies.hold:Hold'

    Raises:
        PluginError: no such name.
    """
    if ":" in name:
        return name
    for entry in entry_points(group=f"papertape.{group}"):
        if entry.name == name:
            return entry.value
    raise PluginError(f"expected module:Class or one of {', '.join(names(group))}, found {name!r}")


def look_beside() -> None:
    """Let what lies in the working directory be imported: a strategy beside the config is named like any other."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def resolve(group: str, name: str, *, fresh: bool = False) -> Any:
    """The class behind a name; ``fresh`` reads its module anew from disk.

    Raises:
        PluginError: no such name, module or class.
    """
    module_name, _, attribute = target(group, name).partition(":")
    look_beside()
    try:
        if fresh and module_name in sys.modules:
            module = importlib.reload(sys.modules[module_name])
        else:
            module = importlib.import_module(module_name)
        return getattr(module, attribute)
    except Exception as error:
        # Importing runs the user's module, which may raise anything; all of it means the same to the caller.
        raise PluginError(f"expected a class at {name!r}, found {type(error).__name__}: {error}") from error


def strategy_class(name: str, *, fresh: bool = False) -> type[Strategy[Any]]:
    """A strategy's class by registered name or ``module:Class``.

    Raises:
        PluginError: nothing such, or not a strategy.
    """
    found = resolve("strategies", name, fresh=fresh)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise PluginError(f"expected a subclass of engine.Strategy at {name!r}, found {found!r}")
    return found
