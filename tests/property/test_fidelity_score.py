"""The scorer against its definition, order by order, in plain Python."""

from __future__ import annotations

from math import sqrt
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.research.fidelity_score import BUCKETS, GRACE_NS, mid_path, score
from engine.research.fill_files import FATE_SCHEMA, PREDICTION_SCHEMA, TAPE_SCHEMA, FillFileError

S = 1_000_000_000
time = st.integers(0, 20 * S)
maybe_time = st.one_of(st.none(), time)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    probes, said = [], []
    for number in range(draw(st.integers(1, 25))):
        first = draw(maybe_time)
        probes.append(
            {
                "order_id": str(number),
                "side": draw(st.sampled_from(["bid", "ask"])),
                "price_ticks": draw(st.integers(95, 105)),
                "size": 10,
                "t0_ns": draw(time),
                "dist_ticks": draw(st.integers(-3, 7)),
                "t_first_fill_ns": first,
                "t_full_fill_ns": None if first is None or draw(st.booleans()) else first + draw(st.integers(0, S)),
                "t_end_ns": draw(maybe_time),
                "filled_size": 0 if first is None else draw(st.integers(1, 10)),
            }
        )
        if draw(st.integers(0, 9)):
            ns = draw(maybe_time)
            chance = draw(st.floats(0, 1))
            grade = draw(st.sampled_from(["certain", "likely", "ambiguous", None]))
            size = 0 if ns is None else draw(st.integers(1, 10))
            said.append(
                {"order_id": str(number), "filled_size": size, "t_first_fill_ns": ns, "p_fill": chance, "grade": grade}
            )
    return probes, said


@settings(deadline=None, max_examples=200)
@given(cases())
def test_every_figure_is_what_its_definition_says(case: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    probes, said = case
    found = score(pl.DataFrame(probes, schema=FATE_SCHEMA), pl.DataFrame(said, schema=PREDICTION_SCHEMA))
    by_id = {one["order_id"]: one for one in said}
    assert found.missing == len(probes) - len(said)
    for name, (low, high) in BUCKETS.items():
        cells = {(a, b): 0 for a in (True, False) for b in (True, False)}
        brier, volume, size, errors = 0.0, 0, 0, []
        chosen = [one for one in probes if low <= one["dist_ticks"] <= high]
        for one in chosen:
            told = by_id.get(one["order_id"], {"filled_size": 0, "t_first_fill_ns": None, "p_fill": 0.0})
            if one["t_full_fill_ns"] is not None:
                last = one["t_full_fill_ns"] + GRACE_NS
            else:
                last = one["t_end_ns"] if one["t_end_ns"] is not None else 2**62
            yes = told["t_first_fill_ns"] is not None and told["t_first_fill_ns"] <= last
            truth = one["filled_size"] > 0
            cells[yes, truth] += 1
            brier += ((told["p_fill"] if said else 0.0) - truth) ** 2
            volume += told["filled_size"] if yes else 0
            size += one["filled_size"]
            if yes and truth:
                errors.append(abs(told["t_first_fill_ns"] - one["t_first_fill_ns"]) / 1e6)
        if not chosen:
            assert name not in found.buckets
            continue
        got = found.buckets[name]
        tp, fp, fn, tn = cells[True, True], cells[True, False], cells[False, True], cells[False, False]
        scale = sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        assert got.n == len(chosen)
        assert got.mcc == (pytest.approx((tp * tn - fp * fn) / scale) if scale else None)
        assert got.bias == pytest.approx((fp - fn) / len(chosen))
        assert got.precision == pytest.approx(tp / (tp + fp) if tp + fp else 0)
        assert got.recall == pytest.approx(tp / (tp + fn) if tp + fn else 0)
        assert got.brier == pytest.approx(brier / len(chosen))
        assert got.volume == pytest.approx(volume / max(1, size))
        middle = sorted(errors)[(len(errors) - 1) // 2 : len(errors) // 2 + 1]
        assert got.time_error_ms == (pytest.approx(sum(middle) / len(middle)) if errors else None)
    assert sum(one.n for one in found.reliability) == len(probes)
    assert all(one.low - 1e-9 <= one.said <= one.high + 1e-9 for one in found.reliability)
    graded = [one for one in found.grades if one.n]
    assert sum(one.share for one in graded) == pytest.approx(1.0 if graded else 0.0)


level = st.tuples(time, st.sampled_from(["level", "level", "level", "clear", "trade"]), st.sampled_from(["bid", "ask"]),
                  st.integers(95, 105), st.integers(0, 3))  # fmt: skip


@settings(deadline=None)
@given(st.lists(level, min_size=1, max_size=40))
def test_the_mid_price_is_that_of_a_plain_book(rows: list[tuple[Any, ...]]) -> None:
    tape = pl.DataFrame([(*row, None, False) for row in rows], schema=TAPE_SCHEMA, orient="row")
    books: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
    expected = []
    for ns, kind, side, price, size in rows:
        if kind == "clear":
            books = {"bid": {}, "ask": {}}
        elif kind == "level":
            books[side][price] = size
            if size == 0:
                del books[side][price]
            if books["bid"] and books["ask"]:
                expected.append((ns, (max(books["bid"]) + min(books["ask"])) / 2))
    times, mid = mid_path(tape)
    assert list(zip(times.tolist(), mid.tolist(), strict=True)) == expected


def test_an_order_that_stands_twice_or_no_probe_at_all_is_refused() -> None:
    probe = {column: "bid" if column == "side" else "1" if column == "order_id" else 1 for column in FATE_SCHEMA}
    probes = pl.DataFrame([probe], schema=FATE_SCHEMA)
    twice = pl.DataFrame([{"order_id": "1", "filled_size": 0}] * 2, schema=PREDICTION_SCHEMA)
    with pytest.raises(FillFileError, match="found 1 again"):
        score(probes, twice)
    with pytest.raises(FillFileError, match="found none"):
        score(probes.clear(), twice)
