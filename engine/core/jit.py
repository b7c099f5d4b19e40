"""One typed name for numba's decorator, so that kernels keep their signatures under strict typing."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numba
import numba.extending
import numpy as np
from numba.core import cgutils
from numba.np import arrayobj

F = TypeVar("F", bound=Callable[..., object])
A = TypeVar("A")

_make_array: Any = arrayobj.make_array
_null: Any = cgutils.get_null_value
_prints: dict[int, str] = {}
"""Of every compiled kernel, by its id: what its machine code was made from. Kernels live as long as the process."""
_entries: dict[int, tuple[Any, tuple[Any, ...]]] = {}
"""Of every entry point, by its id: its kernel and the types of the arguments. They live as long as their kernels."""

_arrays: dict[tuple[Any, bool, int, int], Any] = {}
"""Numba's type of each layout of arrays: 0.1 ms where rows have many fields, and a state read back asks 60 times."""


def kernel(function: F) -> F:
    """Compile ``function`` to machine code on its first call and keep the result on disk.

    Errors follow numpy, so a division by zero gives inf or nan as in the arrays around it. The original Python function
    is at ``.py_func``.
    """
    return _compiled(function, is_inlined=False, is_counting=True)


def borrowing(function: F) -> F:
    """As ``kernel``, for what only uses the arrays that it is handed: it counts no owners, not even of borrowed ones.

    Each name for an array or a part of one is a call that counts, two where it ends; in small kernels that is most of
    their time. Numba refuses to compile what makes an array, copies one into another or returns one.
    """
    return _compiled(function, is_inlined=False, is_counting=False)


def inlined(function: F) -> F:
    """As ``borrowing``, and part of the machine code of whoever calls it: to hand a dozen arrays on costs 50 ns."""
    return _compiled(function, is_inlined=True, is_counting=False)


def specialised(template: F, name: str, **kernels: object) -> F:
    """A kernel from plain Python code that is written once for many: the globals named in ``kernels`` stand for them.

    ``name`` tells its copy on disk from those of others made from the same template, as in
    ``specialised(absorb, "book", start=book.start, update=book.update)``.
    """
    plain = cast("FunctionType", template)
    copy = FunctionType(plain.__code__, {**plain.__globals__, **kernels}, plain.__name__, plain.__defaults__)
    copy.__module__ = plain.__module__
    copy.__qualname__ = f"{plain.__qualname__}_{name}"
    return _compiled(cast("F", copy), is_inlined=False, is_counting=True)


def _compiled(function: F, *, is_inlined: bool, is_counting: bool) -> F:
    options: dict[str, Any] = {"cache": True, "error_model": "numpy", "forceinline": is_inlined, "_nrt": is_counting}
    compiled: Any = numba.njit(**options)(function)
    if compiled is not function:
        # Numba compares the age of the kernel's own file only; what it took from other files is frozen in it too.
        file = compiled._cache._cache_file
        _prints[id(compiled)] = _fingerprint(cast("FunctionType", function))
        file._source_stamp = (file._source_stamp, _prints[id(compiled)], is_inlined, is_counting)
    return cast("F", compiled)


def borrowed(array: A) -> A:
    """The same memory without an owner, for the inside of kernels; in plain Python the array itself.

    Numba counts the owners of each array at every call, atomically, and each part of a borrowed array is borrowed too.
    With a dozen arrays handed from kernel to kernel that counting cost more than the work. Whoever calls the kernel
    keeps the array alive, and a kernel must not give a borrowed array back to Python.
    """
    return array


def _without_owner(_: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = _make_array(array)(context, builder, arguments[0])
        struct.meminfo = _null(struct.meminfo.type)
        struct.parent = _null(struct.parent.type)
        return struct._getvalue()

    return array(array), generate


_disown: Any = numba.extending.intrinsic(_without_owner)


def _borrowed_in_kernels(array: Any) -> Callable[[Any], Any]:
    def borrow(array: Any) -> Any:
        return _disown(array)

    return borrow


numba.extending.overload(borrowed)(_borrowed_in_kernels)


def _fingerprint(function: FunctionType) -> str:
    """A digest of the code, of the kernels that it calls and of the constants that it names."""
    code = function.__code__
    digest = blake2b(code.co_code + repr((code.co_consts, code.co_names)).encode(), digest_size=16)
    # Machine code on disk names the modules of the kernels in it: one that moved must be compiled anew.
    digest.update(f"{function.__module__}.{function.__qualname__}".encode())
    named = [function.__globals__.get(name) for name in code.co_names]
    # What is taken from a module by a dot: every name in the code that the module has.
    modules = [value for value in named if isinstance(value, ModuleType)]
    named += [vars(module).get(name) for module in modules for name in code.co_names]
    for value in named:
        if isinstance(value, int | float | str | tuple):
            digest.update(repr(value).encode())
        elif id(value) in _prints:
            digest.update(_prints[id(value)].encode())
    return digest.hexdigest()


def entry_point(compiled: F, *sample: object) -> F:
    """A compiled kernel without numba's lookup by argument types, which costs 0.3 µs a call.

    It must then always be called with arguments of exactly the types in ``sample``: nobody checks any more. Where numba
    is switched off, or has compiled for other types before, the kernel comes back as it is. It is compiled, not run.
    """
    return entry_for(compiled, tuple(_type_of(one) for one in sample))


def _type_of(one: object) -> Any:
    type_of: Any = numba.typeof
    if not isinstance(one, np.ndarray):
        return type_of(one)
    layout = one.dtype, one.dtype.isalignedstruct, one.ndim, one.flags.num
    found = _arrays.get(layout)
    if found is None:
        found = _arrays[layout] = type_of(one)
    return found


def entry_for(compiled: F, types: tuple[Any, ...]) -> F:
    """As ``entry_point``, by numba's types of the arguments."""
    compile_for: Any = getattr(compiled, "compile", None)
    if compile_for is None:
        return compiled
    compile_for(types)
    overloads = list(cast("Any", compiled).overloads.values())
    if len(overloads) != 1:
        return compiled
    entry = overloads[0].entry_point
    _entries[id(entry)] = compiled, types
    return cast("F", entry)


def origin(entry: object) -> tuple[Any, tuple[Any, ...]] | None:
    """The kernel behind what ``entry_point`` gave, and the types that it was compiled for."""
    return _entries.get(id(entry))
