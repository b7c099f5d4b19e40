"""Compiled kernels on disk: never older than anything that went into them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest
from numba.core.errors import NumbaError

from engine.core.events import BATCH
from engine.core.jit import borrowing, entry_point, kernel, origin
from tests.data import ROOT

OUTER = """
from engine.core.jit import kernel
from inner import FACTOR, half

@kernel
def outer(x):
    return half(x) * FACTOR

print(outer(8), sum(outer.stats.cache_hits.values()))
"""

INNER = """
from engine.core.jit import kernel

FACTOR = {factor}

@kernel
def half(x):
    return x // {by}
"""


DOTTED = """
import inner
from engine.core.jit import kernel

@kernel
def outer(x):
    return inner.half(x) * inner.FACTOR

print(outer(8), sum(outer.stats.cache_hits.values()))
"""

BOUND = """
import inner
from engine.core.jit import kernel, specialised

def half(x):
    return x

def outer(x):
    return half(x) * inner.FACTOR

@kernel
def whole(x):
    return x

outer, other = specialised(outer, "half", half=inner.half), specialised(outer, "whole", half=whole)
assert other(8) == 8 * inner.FACTOR
print(outer(8), sum(outer.stats.cache_hits.values()))
"""


def answer(folder: Path, factor: int, by: int) -> list[int]:
    (folder / "inner.py").write_text(INNER.format(factor=factor, by=by))
    os.utime(folder / "inner.py", ns=(1, 1))  # the age of the files says nothing
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run([sys.executable, folder / "outer.py"], env=environment, capture_output=True, check=True)
    return [int(word) for word in told.stdout.split()]


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
@pytest.mark.parametrize("outer", [OUTER, DOTTED, BOUND], ids=["imported", "dotted", "bound"])
def test_a_kernel_is_compiled_anew_when_what_it_calls_or_names_changed(tmp_path: Path, outer: str) -> None:
    (tmp_path / "outer.py").write_text(outer)
    assert answer(tmp_path, factor=3, by=2) == [12, 0]
    assert answer(tmp_path, factor=3, by=2) == [12, 1]
    assert answer(tmp_path, factor=5, by=2) == [20, 0]
    assert answer(tmp_path, factor=5, by=4) == [10, 0]


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_who_only_borrows_arrays_can_neither_make_nor_return_one() -> None:
    def twice(row: npt.NDArray[np.int64]) -> int:
        return int((row + row)[0])

    def same(row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return row[1:]

    row = np.arange(3)
    assert kernel(twice)(row) == 0 and list(kernel(same)(row)) == [1, 2]
    with pytest.raises(NumbaError, match="NRT required"):
        borrowing(twice)(row)
    with pytest.raises(NumbaError, match="returning of array"):
        borrowing(same)(row)


def test_an_entry_point_is_for_exactly_the_types_of_its_sample() -> None:
    type_of: Any = numba.typeof
    square = np.zeros((4, 4))
    locked = square.copy()
    locked.flags.writeable = False
    packed, aligned = (np.zeros(2, np.dtype([("a", "i8"), ("b", "i8")], align=align)) for align in (False, True))
    rows, columns, part = np.zeros(2, BATCH), np.asfortranarray(square), square[:, 1:3]
    for sample in (square, square[0], columns, part, locked, rows, packed, aligned, 1, 1.5, square, rows):

        @kernel
        def same(value: object) -> object:
            return value

        found = origin(entry_point(same, sample))
        assert found is not None and found[1] == (type_of(sample),)
