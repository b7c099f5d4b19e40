"""The whole state of a run as bytes, and back: every object once, every view of an array a view again.

The engine, its strategies and models are plain Python objects around a few numpy arrays that many of them look into.
``pickle`` keeps who refers to whom; what it does not know is added here: views and memory views of one array, compiled
kernels, modules, dtypes that are compared by identity. Machine code is never stored: it is found again by name.

Reading builds only what is named by ``ALLOWED`` or by the caller. A snapshot is still the state of *this* program on
*this* machine, as trusted as its code; it is no format for exchange.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from collections.abc import Iterable
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


class StateError(Exception):
    """The state holds what cannot be stored, or the bytes what must not be built; the text names it."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is np.ndarray:
            return _view_of(value)
        if kind is memoryview:
            return _memory, (value.obj, value.format, value.shape)
        if kind is MethodType:
            return getattr, (value.__self__, value.__func__.__name__)
        if isinstance(value, np.dtype):
            name = DTYPES.get(id(value))
            return NotImplemented if name is None else (_dtype, (name,))
        if isinstance(value, CPUDispatcher):
            return _named, (value.py_func.__module__, value.py_func.__qualname__)
        if kind is BuiltinFunctionType and (found := origin(value)) is not None:
            return entry_for, found
        if isinstance(value, ModuleType):
            return importlib.import_module, (value.__name__,)
        if isinstance(value, Strategy):
            return _strategy, (kind.__module__, kind.__qualname__), vars(value)
        return NotImplemented


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
        _Pickler(buffer, PROTOCOL).dump(state)
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


def _view_of(array: np.ndarray[Any, Any]) -> Any:
    """A view as its owner and its place in it; an owner as numpy stores it."""
    owner = array
    while type(owner.base) is np.ndarray:
        owner = owner.base
    if owner is array:
        return NotImplemented
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
