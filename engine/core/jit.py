"""One typed name for numba's decorator, so that kernels keep their signatures under strict typing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile ``function`` to machine code on its first call and keep the result on disk.

    Errors follow numpy, so a division by zero gives inf or nan as in the arrays around it. The original Python function
    is at ``.py_func``.
    """
    compiled = numba.njit(cache=True, error_model="numpy")(function)
    return cast("F", compiled)


def entry_point(compiled: F) -> F:
    """The machine code of a kernel that was called once, without numba's look at the argument types (0.3 µs a call).

    The caller must pass arguments of exactly the types of that call: nobody checks any more.
    """
    overloads = list(getattr(compiled, "overloads", {}).values())  # none where numba is switched off
    return cast("F", overloads[0].entry_point) if len(overloads) == 1 else compiled
