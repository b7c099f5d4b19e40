"""What a state depends on besides its bytes: the program's own code, the strategies' and the libraries' versions."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import engine

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
        file = getattr(sys.modules.get(module), "__file__", None)
        prints[module] = _of([Path(file)] if file else [])
    prints |= {library: version(library) for library in LIBRARIES}
    return prints | {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}


def _of(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
