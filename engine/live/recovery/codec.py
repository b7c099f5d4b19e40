"""The whole state of a run as bytes, and back: every object once, every view of an array a view again.

The engine, its strategies and models are plain Python objects around a few numpy arrays that many of them look into.
``pickle`` keeps who refers to whom; what it does not know is added here: views and memory views of one array, compiled
kernels, modules, dtypes that are compared by identity. Machine code is never stored: it is found again by name. Of a
large array only the pages that hold anything are copied: pools for thousands of orders are nearly all zeros.

Reading builds only what is named by ``ALLOWED`` or by the caller. A snapshot is still the state of *this* program on
*this* machine, as trusted as its code; it is no format for exchange.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import pickle
import sys
from collections.abc import Callable, Iterable
from operator import methodcaller
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import Any, Final, cast

import numpy as np
from numba.core.registry import CPUDispatcher

from engine.core import events
from engine.core.jit import entry_for, origin
from engine.core.strategy import Strategy

PROTOCOL: Final = 5

OURS: Final = ("engine", "adapters", "strategies", "river")
"""Packages of which everything may be in a snapshot; River's detectors and estimators are parts of ours."""

ALLOWED: Final = frozenset(
    {
        "array._array_reconstructor",
        "array.array",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.frozenset",
        "builtins.object",
        "builtins.range",
        "builtins.set",
        "builtins.slice",
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "functools.partial",
        "itertools.count",
        "math.sqrt",
        "msgspec._utils.rebuild",
        "numpy.dtype",
        "numpy.ndarray",
        "pathlib.Path",
        "pathlib.PosixPath",
        "random.Random",
        "statistics.NormalDist",
    }
)
"""Names from elsewhere that a state is made of; ``numpy``'s own helpers are allowed by their modules below."""

NUMPY: Final = ("numpy._core.", "numpy.core.", "numpy.random.", "numba.core.types.")
"""Their helpers: of arrays, of generators, and of the types that kernels are compiled for."""

DTYPES: Final = {
    id(dtype): name for name, dtype in vars(events).items() if isinstance(dtype, np.dtype) and dtype.names is not None
}
"""The layouts of the engine's rows, which some code compares by identity."""


PAGE: Final = 4096
"""Bytes of a large array that are looked at together; a page of zeros is not copied."""

LARGE: Final = 16 * PAGE
"""An array with fewer bytes is stored as it is."""


class StateError(Exception):
    """The state holds what cannot be stored, or the bytes what must not be built; the text names it."""


PLAIN: Final = methodcaller("__reduce_ex__", PROTOCOL)
"""What ``pickle`` does by itself with an object of no kind below."""


class _Reducers(dict[type, Callable[[Any], Any]]):
    """How values of a kind are taken apart; looked up once a kind, for an account has thousands of values of a few."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, type):
            raise KeyError(kind)  # a class: ``pickle`` stores its name
        ours = (reduce for base, reduce in REDUCERS if issubclass(kind, base))
        found: Callable[[Any], Any] = next(ours, copyreg.dispatch_table.get(kind, PLAIN))
        self[kind] = found
        return found


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, PROTOCOL)
        self.dispatch_table = _Reducers()


def freeze(state: object) -> bytes:
    """The state as bytes; nothing is changed.

    Raises:
        StateError: something in it cannot be stored, such as an open file in a strategy.

    >>> flat = np.arange(4)
    >>> one, two = thaw(freeze((flat, flat[2:])))
    >>> one[3] = 9
    >>> two.tolist()
    [2, 9]
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(state)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(
            f"expected a state that can be stored, found {error}; a strategy that holds files, sockets, locks or "
            "functions without a name can leave them out in __getstate__"
        ) from error
    return buffer.getvalue()


def thaw(data: bytes, packages: Iterable[str] = ()) -> Any:
    """The state that ``freeze`` was given; ``packages``: further top-level modules whose classes may be built.

    Raises:
        StateError: the bytes name what may not be built, or what this program does not have.
    """
    try:
        return _Unpickler(io.BytesIO(data), (*OURS, *packages)).load()
    except (pickle.UnpicklingError, AttributeError, ImportError, IndexError, EOFError, TypeError, ValueError) as error:
        raise StateError(f"expected the state of this program, found {type(error).__name__}: {error}") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, packages: tuple[str, ...]) -> None:
        super().__init__(file)
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full == "builtins.getattr":
            return _bound
        if full == "importlib.import_module":
            return self._module
        if full in ALLOWED or full.startswith(NUMPY):
            return super().find_class(module, name)
        if module.partition(".")[0] in self._packages:
            found = super().find_class(module, name)
            # a module of ours has names of others in it: "engine.live.app" and "os.system" are no part of a state
            if str(getattr(found, "__module__", "")).partition(".")[0] in self._packages:
                return found
        raise pickle.UnpicklingError(f"{full}, which no state of ours has")

    def _module(self, name: str) -> ModuleType:
        if name.partition(".")[0] not in self._packages:
            raise pickle.UnpicklingError(f"the module {name}, which no state of ours has")
        return importlib.import_module(name)


def _dtype_of(value: np.dtype[Any]) -> Any:
    name = DTYPES.get(id(value))
    return PLAIN(value) if name is None else (_dtype, (name,))


def _builtin_of(value: BuiltinFunctionType) -> Any:
    found = origin(value)
    return PLAIN(value) if found is None else (entry_for, found)


def _strategy_of(value: Strategy[Any]) -> Any:
    kind = type(value)
    return _strategy, (kind.__module__, kind.__qualname__), vars(value)


def _view_of(array: np.ndarray[Any, Any]) -> Any:
    """A view as its owner and its place in it; an owner as numpy stores it, a large one without its pages of zeros."""
    owner = array
    while type(owner.base) is np.ndarray:
        owner = owner.base
    if owner is array:
        return _pages_of(array) if array.nbytes >= LARGE else PLAIN(array)
    offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return _view, (owner, array.dtype, array.shape, array.strides, offset, array.flags.writeable)


def _view(
    owner: np.ndarray[Any, Any],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    is_writeable: bool,
) -> np.ndarray[Any, Any]:
    view: np.ndarray[Any, Any] = np.ndarray(shape, dtype, cast("Any", owner), offset, strides)
    view.flags.writeable = is_writeable and owner.flags.writeable
    return view


def _pages_of(array: np.ndarray[Any, Any]) -> Any:
    """The pages that are not all zeros, and where they stand; as numpy stores it where that would save little."""
    if not array.flags.c_contiguous or array.dtype.hasobject or array.ctypes.data % 8:
        return PLAIN(array)
    whole = array.reshape(-1).view(np.uint8)
    pages = whole[: array.nbytes // PAGE * PAGE].view(np.uint64).reshape(-1, PAGE // 8)
    used = np.flatnonzero(np.bitwise_or.reduce(pages, axis=1))
    if 2 * len(used) > len(pages):
        return PLAIN(array)
    rest = whole[pages.nbytes :].tobytes()
    return _paged, (array.shape, array.dtype, used, pages[used], rest, array.flags.writeable)


def _paged(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    used: np.ndarray[Any, Any],
    pages: np.ndarray[Any, Any],
    rest: bytes,
    is_writeable: bool,
) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.zeros(shape, dtype)
    whole = array.reshape(-1).view(np.uint8)
    end = array.nbytes // PAGE * PAGE
    whole[:end].view(np.uint64).reshape(-1, PAGE // 8)[used] = pages
    whole[end:] = np.frombuffer(rest, np.uint8)
    array.flags.writeable = is_writeable
    return array


def _memory(owner: Any, layout: str, shape: tuple[int, ...]) -> memoryview:
    memory = memoryview(owner)
    if memory.format != layout or memory.shape != shape:
        raise TypeError(f"a memory view {layout} {shape} of an array {memory.format} {memory.shape}")
    return memory


def _dtype(name: str) -> np.dtype[Any]:
    return cast("np.dtype[Any]", vars(events)[name])


def _bound(owner: Any, name: str) -> Any:
    """A method of an object that the snapshot built."""
    found = getattr(owner, name)
    if not isinstance(found, MethodType):
        raise pickle.UnpicklingError(f"{type(owner).__name__}.{name}, which is no method")
    return found


def _named(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module) if module.partition(".")[0] in OURS else None
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, CPUDispatcher):
        raise TypeError(f"{module}.{name}, which is no compiled kernel")
    return found


def _strategy(module: str, name: str) -> Strategy[Any]:
    """A strategy without its state; by the name of its class, which a reload may have replaced."""
    kind: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise TypeError(f"{module}.{name}, which is no strategy")
    return kind.__new__(kind)


REDUCERS: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (np.ndarray, _view_of),
    (memoryview, lambda value: (_memory, (value.obj, value.format, value.shape))),
    (MethodType, lambda value: (getattr, (value.__self__, value.__func__.__name__))),
    (np.dtype, _dtype_of),
    (CPUDispatcher, lambda value: (_named, (value.py_func.__module__, value.py_func.__qualname__))),
    (BuiltinFunctionType, _builtin_of),
    (ModuleType, lambda value: (importlib.import_module, (value.__name__,))),
    (Strategy, _strategy_of),
)
