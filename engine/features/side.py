"""What side streams said: of each field the value and its last change, of each stream its age and quality.

Each is as it was *available*: a row counts from its receipt on, and the time that its source gives it is not looked at.
A value is nan before the first row, where the row left it out, after a silence longer than the stream allows, and while
validation has the stream out of use. Age and quality are told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from engine.core.events import Judged, Observed
from engine.core.jit import kernel, specialised
from engine.core.side import SideStream
from engine.features.family import Family, Vector, absorb, read_row

PREFIX = "side_"
GROUP = "side"
"""Stands for all streams in a list of features; ``side:NAME`` for one."""

# Slots of a symbol's memory; of each field its value and its change follow. The second and the rest keep ns exact.
SEEN_S, SEEN_REST_NS, QUALITY, OUT, STALE_S = range(5)
VALUES = 5

_NS = 1_000_000_000


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Keep what streams said: it does not hang on the book."""


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Learn nothing from frames."""


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the stream's features as of the engine time ``now_ns``."""
    fields = (out.shape[0] - 2) // 2
    if memory[SEEN_S] == 0.0:
        out[:] = np.nan
        return
    age_s = float(now_ns // _NS) - memory[SEEN_S] + (float(now_ns % _NS) - memory[SEEN_REST_NS]) * 1e-9
    is_out = memory[OUT] != 0.0 or (memory[STALE_S] > 0.0 and age_s > memory[STALE_S])
    for k in range(2 * fields):
        out[k] = np.nan if is_out else memory[VALUES + k]
    out[2 * fields] = np.log1p(max(0.0, age_s))
    out[2 * fields + 1] = memory[QUALITY]


@lru_cache(maxsize=1)
def _loops() -> tuple[Callable[..., None], Callable[..., None]]:
    """One machine code for all streams: they differ in their memory only."""
    return specialised(absorb, GROUP, start=start, update=update), specialised(read_row, GROUP, read=read)


class StreamFamily(Family):
    """The features of one side stream.

    >>> one = StreamFamily(SideStream("funding", (("rate", "bps"),)))
    >>> one.names
    ('side_funding_rate', 'side_funding_rate_change', 'side_funding_age_log', 'side_funding_quality')
    """

    def __init__(self, stream: SideStream) -> None:
        self.stream = stream
        self.name = f"{GROUP}:{stream.name}"
        own = [
            pair
            for field, unit in stream.fields
            for pair in ((field, unit), (f"{field}_change", f"{unit} since the row before"))
        ]
        own += [("age_log", "ln(1 + s) since it was available"), ("quality", "[0, 1]")]
        self.names = tuple(f"{PREFIX}{stream.name}_{name}" for name, _ in own)
        self.units = tuple(unit for _, unit in own)
        self.memory = VALUES + 2 * len(stream.fields)
        self.warm_up_ns = np.zeros(len(self.names), np.int64)
        self.meaning = {"schema": stream.schema, "stale_ns": stream.stale_ns, "slots": VALUES}
        self.looks_around = False

    def __reduce__(self) -> tuple[type[StreamFamily], tuple[SideStream]]:
        return StreamFamily, (self.stream,)

    @property
    def loops(self) -> tuple[Callable[..., None], Callable[..., None]]:
        return _loops()

    def begin(self, memories: npt.NDArray[np.float64]) -> None:
        """Prepare the memories of all symbols, a row each."""
        memories[:, STALE_S] = self.stream.stale_ns / _NS

    def take(self, item: Observed | Judged, memories: npt.NDArray[np.float64]) -> None:
        """Keep what the stream said, for all symbols."""
        memories[:, QUALITY] = item.quality
        if isinstance(item, Judged):
            memories[:, OUT] = 0.0 if item.good else 1.0
            return
        was_seen = bool(memories[0, SEEN_S] != 0.0)
        memories[:, SEEN_S], memories[:, SEEN_REST_NS] = divmod(item.recv_ns, _NS)
        for k, (field, _) in enumerate(self.stream.fields):
            value = item.values.get(field, np.nan)
            memories[:, VALUES + 2 * k + 1] = value - memories[:, VALUES + 2 * k] if was_seen else np.nan
            memories[:, VALUES + 2 * k] = value


def stream_families(streams: Sequence[SideStream]) -> Mapping[str, StreamFamily]:
    """The family of each stream by its name, ``side:NAME``.

    Raises:
        ValueError: two streams or fields whose features have one name.
    """
    found = {one.name: one for one in map(StreamFamily, streams)}
    names = [name for one in found.values() for name in one.names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"side: expected features with names of their own, found {', '.join(twice)} twice")
    return MappingProxyType(found)
