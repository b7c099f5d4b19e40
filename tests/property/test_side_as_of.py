"""A row counts from the moment at which it was available: not earlier, whatever its own time says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import CLOCK, FRAME, FRAME_BOOK, FRAME_READY, Command, Judged, Observed, row
from engine.features.set import FeatureSet
from engine.research.leaks import Built, Suspect, find_leaks
from tests.market import BTC, depth, snapshot
from tests.sides import MS, NS, STREAM, Probe, S, engine_of

OBSERVED = st.lists(
    st.tuples(st.integers(1, 60_000), st.integers(-60_000, 60_000), st.one_of(st.none(), st.integers(-99, 99))),
    max_size=30,
)


def features() -> FeatureSet:
    """Side features alone, over a book that is in use since NS."""
    one = FeatureSet.of([BTC], 0, ["side:funding"], streams=[STREAM])
    frame = np.zeros(1, FRAME)
    frame["flags"], frame["recv_ns"] = FRAME_READY | FRAME_BOOK, NS
    frame["bid"][0, 0], frame["ask"][0, 0], frame["bid_size"][0, 0], frame["ask_size"][0, 0] = 100, 101, 5, 5
    one.update(frame)
    return one


def read(one: FeatureSet, now_ns: int) -> list[float]:
    x = one.vector()
    assert one.read(0, now_ns, x)
    return [float(value) for value in x]


def slowly(known: list[Observed], now_ns: int) -> list[float]:
    """The same from the list of all that was available by then."""
    past = [one for one in known if one.recv_ns <= now_ns]
    if not past:
        return [math.nan] * 4
    age_s = (now_ns - past[-1].recv_ns) / 1e9
    value = past[-1].values.get("rate", math.nan)
    change = value - past[-2].values.get("rate", math.nan) if len(past) > 1 else math.nan
    if age_s > STREAM.stale_ns / 1e9:
        value = change = math.nan
    return [value, change, math.log1p(age_s), past[-1].quality]


@settings(max_examples=150, deadline=None)
@given(rows=OBSERVED, reads=st.lists(st.integers(0, 70_000), min_size=1, max_size=30))
def test_what_is_read_at_a_time_was_available_by_then(
    rows: list[tuple[int, int, int | None]], reads: list[int]
) -> None:
    """Event times are shuffled, ahead of and behind the receipt; they change nothing."""
    known = [
        Observed(NS + at * MS, "funding", NS + (at + off) * MS, {} if value is None else {"rate": float(value)}, 0.75)
        for at, off, value in sorted(rows, key=lambda each: each[0])
    ]
    one, waiting = features(), list(known)
    for at in sorted(reads):
        now_ns = NS + at * MS
        while waiting and waiting[0].recv_ns <= now_ns:
            one.hear(waiting.pop(0))
        np.testing.assert_allclose(read(one, now_ns), slowly(known, now_ns), rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(rows=OBSERVED)
def test_the_state_is_in_the_array_alone(rows: list[tuple[int, int, int | None]]) -> None:
    one, other = features(), features()
    for at, off, value in sorted(rows, key=lambda each: each[0]):
        one.hear(Observed(NS + at * MS, "funding", NS + off * MS, {} if value is None else {"rate": float(value)}))
    other.restore(one.state.tobytes())
    now_ns = NS + 61_000 * MS
    assert repr(read(one, now_ns)) == repr(read(other, now_ns))


def test_a_quarantined_stream_has_no_values_and_keeps_its_age() -> None:
    one = features()
    one.hear(Observed(NS, "funding", 0, {"rate": 5.0}))
    one.hear(Judged(NS + S, "funding", False, "bad", 0.25))
    told = read(one, NS + 2 * S)
    assert math.isnan(told[0]) and math.isnan(told[1]) and told[2:] == [math.log1p(2.0), 0.25]
    one.hear(Judged(NS + 3 * S, "funding", True, "good", 0.5))
    assert read(one, NS + 3 * S)[0] == 5.0


@pytest.mark.parametrize("seed", range(4))
def test_a_model_in_the_engine_sees_no_row_at_or_before_its_receipt(seed: int) -> None:
    """A sample that is due at the very moment of a receipt comes before it."""
    chance = np.random.default_rng(seed)
    engine, _ = engine_of()
    Probe.seen = []
    engine.process(Command(NS, "start"))
    engine.process(snapshot(NS + 1, [(10_000, 5)], [(10_010, 5)]))
    received: list[int] = []
    expected: list[float] = []
    due_ns = NS + 100 * MS
    now_ns = NS + 1
    while now_ns < NS + 5 * S:
        now_ns += int(chance.choice([7 * MS, 50 * MS, 100 * MS - (now_ns - NS) % (100 * MS)]))
        while due_ns <= now_ns:
            expected.append(float(len(received)) if received else math.nan)
            due_ns += 100 * MS
        if chance.random() < 0.5:
            received.append(now_ns)
            event_ns = now_ns + int(chance.integers(-S, S))
            engine.process(Observed(now_ns, "funding", event_ns, {"rate": float(len(received))}))
        else:
            engine.process(depth(now_ns, [(10_000, int(chance.integers(1, 9)))]))
    engine.process(row(CLOCK, symbol=0, recv_ns=now_ns))
    assert repr([x[0] for x in Probe.seen]) == repr(expected)


def joined(by: str) -> Callable[[npt.NDArray[Any]], Built]:
    """Side features read on a grid; rows are joined as of ``recv_ns`` or ``event_ns``."""

    def build(events: npt.NDArray[Any]) -> Built:
        stream = features()
        rows = [
            (int(e[by]), Observed(int(e[by]), "funding", int(e["event_ns"]), {"rate": float(e["rate"])}))
            for e in events
        ]
        rows.sort(key=lambda each: each[0])
        times, xs = [], []
        for now_ns in range(NS + S, NS + 400 * S, S):
            while rows and rows[0][0] <= now_ns:
                stream.hear(rows.pop(0)[1])
            times.append(now_ns)
            xs.append(read(stream, now_ns))
        return Built(np.array(times), np.array(xs), stream.names)

    return build


def test_the_leak_detector_finds_the_join_by_event_time_and_nothing_in_ours() -> None:
    chance = np.random.default_rng(3)
    events = np.zeros(400, np.dtype([("event_ns", "i8"), ("recv_ns", "i8"), ("rate", "f8")]))
    events["event_ns"] = NS + np.arange(400) * S
    events["recv_ns"] = events["event_ns"] + 3 * S
    events["rate"] = chance.normal(size=400)
    common = Suspect(events=events, known_ns=events["recv_ns"], keep=("event_ns", "recv_ns"))
    assert not find_leaks(common._replace(build=joined("recv_ns"))).leaks
    leaks = find_leaks(common._replace(build=joined("event_ns"))).leaks
    assert {leak.test for leak in leaks} == {"future"} and "side_funding_rate" in {leak.what for leak in leaks}
