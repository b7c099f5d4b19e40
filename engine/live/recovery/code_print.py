"""What a state depends on besides its bytes: the program's own code, the strategies' and the libraries' versions."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import engine
from engine.live.config import AppConfig
from engine.live.plugins import PluginError, look_beside, target

PURE: Final = ("engine/core", "engine/features", "engine/learn", "adapters")
"""Folders whose code decides what follows from an input."""

LIBRARIES: Final = ("numpy", "numba", "msgspec", "river", "onnxruntime")


def code_print(modules: Iterable[str] = ()) -> dict[str, str]:
    """A print of each part by its name; ``modules``: those of the strategies, by their import names.

    >>> sorted(code_print(["strategies.hold"]))[:2]
    ['adapters', 'engine/core']
    """
    root = Path(engine.__file__).resolve().parent.parent
    prints = {part: _of(sorted((root / part).rglob("*.py"))) for part in PURE}
    for module in sorted(set(modules)):
        prints[module] = module_print(module)
    prints |= {library: version(library) for library in LIBRARIES}
    return prints | {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}


def modules_of(config: AppConfig) -> list[str]:
    """The modules of the strategies, venues and models that the config names; those beside the config too."""
    look_beside()
    found = []
    for group, sections in (
        ("strategies", [section.use for section in config.strategy]),
        ("venues", [section.use for section in config.venue.values()]),
        ("models", [section.use for section in config.model]),
    ):
        for use in sections:
            try:
                found.append(target(group, use).partition(":")[0])
            except PluginError:
                continue  # not a plug-in by this name: a kind of our own
    return [module for module in found if module not in ("river", "sklearn")]


def packages_of(modules: Iterable[str]) -> tuple[str, ...]:
    """The packages that modules are of.

    >>> packages_of(["mine.one", "mine.two", "other"])
    ('mine', 'other')
    """
    return tuple(sorted({module.partition(".")[0] for module in modules}))


def module_file(module: str) -> Path | None:
    """Where a module's source lies, whether or not it was imported; None where there is none.

    >>> module_file("strategies.hold").name, module_file("no_such_module")
    ('hold.py', None)
    """
    loaded = sys.modules.get(module)
    try:
        origin = getattr(loaded, "__file__", None) if loaded is not None else getattr(find_spec(module), "origin", None)
    except (ImportError, ValueError):
        return None
    return Path(origin) if origin and origin.endswith(".py") else None


def module_print(module: str) -> str:
    """A print of one module's source as it is now on disk."""
    file = module_file(module)
    return _of([file] if file is not None else [])


def _of(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
