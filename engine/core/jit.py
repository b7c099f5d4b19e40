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


def entry_point(compiled: F, *sample: object) -> F:
    """A compiled kernel without numba's lookup by argument types, which costs 0.3 µs a call.

    It must then always be called with arguments of exactly the types in ``sample``: nobody checks any more. Where numba
    is switched off, or has compiled for other types before, the kernel comes back as it is.
    """
    compiled(*sample)
    overloads = list(getattr(compiled, "overloads", {}).values())
    return cast("F", overloads[0].entry_point) if len(overloads) == 1 else compiled
