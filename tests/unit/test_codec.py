"""A state as bytes and back: every view of an array is a view again, and nothing is built that is not ours."""

from __future__ import annotations

import pickle
import re
import threading
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.events import BATCH, FRAME
from engine.core.jit import entry_point, kernel
from engine.core.kernel import advance, fast_advance
from engine.features.families import FAMILIES
from engine.features.set import FeatureSet
from engine.live.recovery.codec import LARGE, PAGE, StateError, freeze, thaw


def test_views_of_one_array_are_views_of_one_array_again() -> None:
    flat = np.zeros(24, np.int64)
    rows, floats, bytes_ = flat[4:16].reshape(3, 4), flat[16:].view(np.float64), flat[::2]
    memory = rows.data
    whole, rows, floats, bytes_, memory, again = thaw(freeze((flat, rows, floats, bytes_, memory, flat)))
    assert again is whole
    rows[0, 0], floats[0] = 7, 1.5
    assert (whole[4], memory[0, 0], bytes_[2]) == (7, 7, 7)
    assert whole[16:17].view(np.float64)[0] == 1.5


def test_a_view_may_come_before_its_owner_and_without_it() -> None:
    flat = np.arange(6)
    view = thaw(freeze([flat[2:], flat[3:]]))
    view[0][1] = 99
    assert view[1][0] == 99


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint8, BATCH])
@pytest.mark.parametrize("length", [LARGE, LARGE + 1, 10 * PAGE + 5])
def test_a_large_array_comes_back_with_every_byte_and_its_zeros_cost_nothing(dtype: Any, length: int) -> None:
    array = np.zeros(length, dtype)
    whole = array.view(np.uint8)
    chance = np.random.default_rng(length)
    for place in (0, len(whole) - 1, PAGE - 1, PAGE, *chance.integers(0, len(whole), 5).tolist()):
        whole[place] = chance.integers(1, 256)
    view = array[length // 2 :]
    data = freeze((view, array))
    again, back = thaw(data)
    assert len(data) < 12 * PAGE
    assert back.dtype == array.dtype and back.tobytes() == array.tobytes()
    back.view(np.uint8)[-1] ^= 255
    assert again.tobytes() == back[length // 2 :].tobytes()
    array.flags.writeable = False
    assert not thaw(freeze(array)).flags.writeable


def test_signs_of_zero_and_what_is_no_number_are_kept_in_large_arrays() -> None:
    array = np.zeros(LARGE)
    array[[5, 9000, 20_000]] = -0.0, np.nan, 5e-324
    assert thaw(freeze(array)).tobytes() == array.tobytes()
    full = np.arange(float(LARGE)).reshape(2, -1)
    assert thaw(freeze([full, full.T.copy(order="F")]))[0].tobytes() == full.tobytes()


def test_a_read_only_view_stays_read_only() -> None:
    flat = np.arange(6)
    view = flat[1:]
    view.flags.writeable = False
    assert not thaw(freeze(view)).flags.writeable


def test_the_layouts_of_rows_are_the_same_objects() -> None:
    batch, frames = thaw(freeze((np.zeros(2, BATCH), np.zeros(2, FRAME))))
    assert batch.dtype is BATCH and frames.dtype is FRAME


class Host:
    def __init__(self) -> None:
        self.calls: list[int] = []
        self.handlers = {"one": self.hear}

    def hear(self, number: int) -> None:
        self.calls.append(number)


def test_a_bound_method_belongs_to_the_object_that_was_built() -> None:
    host = thaw(freeze(Host()), packages=["tests"])
    host.handlers["one"](4)
    assert host.calls == [4]


def test_machine_code_is_found_again_by_name() -> None:
    direct, compiled = thaw(freeze((fast_advance(), advance)))
    assert compiled is advance
    assert direct is fast_advance() or direct.__class__ is fast_advance().__class__


def test_a_kernel_with_several_types_is_itself() -> None:
    @kernel
    def twice(x: Any) -> Any:
        return x + x

    assert twice(1) == 2 and twice(1.5) == 3.0
    assert entry_point(twice, 1) is twice


def test_a_family_is_the_one_there_is() -> None:
    assert thaw(freeze(FAMILIES["book"])) is FAMILIES["book"]


def test_a_feature_set_goes_on_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    frames = np.zeros(400, FRAME)
    frames["recv_ns"] = 10**18 + np.arange(400) * 50_000_000
    frames["flags"] = 3
    frames["bid"][:, 0] = 10_000 + rng.integers(-5, 5, 400).cumsum()
    frames["ask"][:, 0] = frames["bid"][:, 0] + 2
    frames["bid_size"][:, 0], frames["ask_size"][:, 0] = rng.integers(1, 50, (2, 400))
    one = FeatureSet(ticks=[1], warm_up_ns=0, features="wide", trades="held")
    one.update(frames[:200])
    other = thaw(freeze(one))
    for each in (one, other):
        each.update(frames[200:])
    now_ns = int(frames["recv_ns"][-1]) + 5
    rows = [one.vector(), other.vector()]
    assert [each.read(0, now_ns, row) for each, row in zip((one, other), rows, strict=True)] == [True, True]
    assert rows[0].tobytes() == rows[1].tobytes()
    assert other.hash == one.hash


@pytest.mark.parametrize(
    "value", [Decimal("1.5"), deque([1], maxlen=3), {1: {"a": {2, 3}}}, frozenset({1}), range(3), b"x", Path("a")]
)
def test_plain_values_come_back(value: object) -> None:
    assert thaw(freeze(value)) == value


def endless() -> Iterator[int]:
    while True:
        yield 1


@pytest.mark.parametrize("value", [threading.Lock(), lambda: 0, endless()])
def test_what_cannot_be_stored_is_said(value: object) -> None:
    with pytest.raises(StateError, match=r"expected a state that can be stored, found .*__getstate__"):
        freeze({"strategy": value})


@pytest.mark.parametrize("name", ["os.system", "os._exit", "json.loads"])
def test_what_a_module_of_ours_imported_is_no_part_of_a_state(name: str) -> None:
    def word(text: str) -> bytes:
        return b"\x8c" + bytes([len(text)]) + text.encode()

    app = word("engine.live.app") + word(name) + b"\x93."  # by its dotted name, as protocol 4 has it
    with pytest.raises(StateError, match=re.escape(f"engine.live.app.{name}")):
        thaw(b"\x80\x05" + app)


class Evil:
    """What a foreign file may try."""

    def __init__(self, call: Any, *args: Any) -> None:
        self._call = call, args

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(print, 1), "builtins.print"),
        (Evil(eval, "1"), "builtins.eval"),
        (Evil(__import__, "os"), "builtins.__import__"),
        (Evil(Path.unlink, Path("x")), "which is no method|which no state"),
        (Evil(threading.Thread), "threading.Thread"),
    ],
)
def test_nothing_foreign_is_built(value: object, named: str) -> None:
    with pytest.raises(StateError, match=named):
        thaw(pickle.dumps(value))


@pytest.mark.parametrize("module", ["os", "subprocess"])
def test_no_foreign_module_is_imported(module: str) -> None:
    import importlib

    with pytest.raises(StateError, match=f"the module {module}, which no state of ours has"):
        thaw(pickle.dumps(Evil(importlib.import_module, module)))


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_cut_bytes_are_no_state(cut: int) -> None:
    with pytest.raises(StateError, match="expected the state of this program"):
        thaw(freeze({"a": list(range(100))})[:cut])
