"""What a family of features is, and the two loops that every family runs in.

A family is a module of constants and kernels. Its loops are compiled the first time that a set names it, so that a run
pays for no other, neither in compiling nor a frame.

A family's module has

- ``FEATURES``: name and unit of each feature, in the order of ``out``;
- ``MEMORY``: the number of its float64 slots a symbol, all zero before ``start``;
- ``WARM_UP_S``: how long a book must have been usable before the numbers mean something: one for all, or one each;
- ``start``, ``update`` and ``read``: kernels as described at the functions of those names below.

One that looks at other symbols too has, instead of these three, ``absorb`` and ``read_row``: the loops themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, Frames
from engine.core.jit import borrowed, specialised

Vector: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.void]

HEAD: tuple[tuple[Any, ...], ...] = (
    ("ready", "i8"),  # 1: the last frame's book may be used
    ("since_ns", "i8"),  # of the first frame since the book became usable
    ("doubts", "i8"),  # how often the book went from usable to not
    ("seen_ns", "i8"),  # engine time of the newest frame
    ("tick", "f8"),  # the price step, price units
    ("unit", "f8"),  # one price unit in quote currency
    ("last", FRAME),  # the frame before; its recv_ns is what the features stand at
)
"""What every symbol's row begins with; the memory of each family follows."""

READY, SINCE_NS, DOUBTS, SEEN_NS, TICK, UNIT = range(6)
"""The places of the first fields in a row, in words of 8 bytes."""

PLAN = np.dtype(
    [
        ("step", "i8"),  # SKIP, START or UPDATE
        ("was", "i8"),  # the index of the symbol's frame before; -1: it is in the symbol's row
        ("seconds", "f8"),  # since that frame, at least 0
    ]
)
"""What each frame of a block means to its symbol."""

SKIP, START, UPDATE = range(3)
LEADERS, TWINS = range(2)
"""Rows of ``others[symbol]``: those that lead it, and the same base and quote elsewhere; -1 where there are no more."""


def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book: reset every slot. The frame's own trades are not counted."""


def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take the frame ``now``, ``seconds`` after ``last``; what ``last`` shows held until now. O(1) or O(levels)."""


def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write every feature as it stands ``seconds`` after the last frame, at engine time ``now_ns``; change nothing.

    A number not yet known or undefined is nan.
    """


def absorb(
    frames: Frames, plan: Rows, lasts: Frames, flat: Vector, row: int, at: int, size: int, others: Indices
) -> None:
    """Hand a block of frames to a family; its memory is at ``flat[symbol * row + at:]``, ``size`` slots long."""
    own = borrowed(flat)
    for i in range(frames.shape[0]):
        step = plan[i]["step"]
        if step == SKIP:
            continue
        now = frames[i]
        symbol = now["symbol"]
        memory = own[symbol * row + at : symbol * row + at + size]
        if step == START:
            start(now, memory)
        else:
            was = plan[i]["was"]
            last = frames[was] if was >= 0 else lasts[symbol]
            update(last, now, plan[i]["seconds"], memory)


def read_row(
    lasts: Frames, symbol: int, now_ns: int, flat: Vector, row: int, at: int, size: int, others: Indices, out: Vector
) -> None:
    """Write a family's features of a symbol at ``now_ns``."""
    own = borrowed(flat)
    last = lasts[symbol]
    seconds = max(0, now_ns - last["recv_ns"]) * 1e-9
    memory = own[symbol * row + at : symbol * row + at + size]
    read(last, own[symbol * row + TICK], seconds, now_ns, memory, out)


class Family:
    """A family by name, with its loops compiled on demand; ``looks_around``: its numbers depend on other symbols too.

    >>> from engine.features import returns
    >>> one = Family("returns", returns)
    >>> one.names[0], one.units[0], one.memory
    ('return_250ms_bps', 'bps of mid above its average', 8)
    """

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.names: tuple[str, ...] = tuple(each for each, _ in module.FEATURES)
        self.units: tuple[str, ...] = tuple(unit for _, unit in module.FEATURES)
        self.memory: int = module.MEMORY
        warm_up_s = np.broadcast_to(np.asarray(module.WARM_UP_S, np.float64), (len(self.names),))
        self.warm_up_ns: Indices = (warm_up_s * 1e9).round().astype(np.int64)
        self.meaning = meaning(module)
        self.looks_around = hasattr(module, "absorb")
        self._module = module
        self._loops: tuple[Callable[..., None], Callable[..., None]] | None = None

    @property
    def loops(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """The compiled ``absorb`` and ``read_row``."""
        if self._loops is None:
            own = self._module
            if self.looks_around:
                self._loops = own.absorb, own.read_row
            else:
                self._loops = (
                    specialised(absorb, self.name, start=own.start, update=own.update),
                    specialised(read_row, self.name, read=own.read),
                )
        return self._loops


def meaning(module: ModuleType) -> dict[str, Any]:
    """The public constants of a family's module, as plain values: half-lives, levels, features and the rest."""
    found = {name: value for name, value in sorted(vars(module).items()) if name.isupper() and name[0] != "_"}
    return {name: value for name, value in found.items() if isinstance(value, int | float | str | tuple)}
