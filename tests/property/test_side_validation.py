"""Whatever a source sends: every row is counted once, only believable rows pass, in order, and nothing raises."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import msgspec
import polars as pl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adapters.side.parse import Parser, RawRow
from adapters.side.schema import REASONS, FieldSpec, Format, Schema, TextSpec, TimeSpec
from adapters.side.scorer import Lexicon
from adapters.side.taped import from_entry, to_entry
from adapters.side.validate import Before, Validator
from adapters.tape import decode_entry, encode_entry
from engine.core.events import Judged, Observed
from tests.sides import MS, NS, S, ms, page

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=12),
    st.sampled_from(["1.5", "-7", "1e999", "0x10", "٣", "", "9" * 50]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
TIMES = st.one_of(ODD, st.integers(ms(NS) - 20_000, ms(NS) + 20_000))
SOUND = st.tuples(st.integers(ms(NS) - 8_000, ms(NS) + 1_000), st.integers(-100, 100))
ROWS = st.lists(st.one_of(SOUND, SOUND, SOUND, st.tuples(TIMES, st.one_of(ODD, st.floats(-120, 120)))), max_size=10)
SCHEMA = Schema(
    name="x",
    fields=(FieldSpec("rate", "$.data[*].rate", "bps", -100.0, 100.0),),
    event=TimeSpec("$.data[*].ts", "ms"),
    oldest_ns=10 * S,
    most_rejected=4,
    good_rows=3,
    remember=16,
    most_per_s=20.0,
    most_rows=25,
)


def judged(validator: Validator, rows: list[RawRow], now_ns: int) -> list[Observed | Judged]:
    return [item for row, old in validator.in_order(rows) for item in validator.take(row, now_ns, old).says]


@settings(max_examples=200, deadline=None)
@given(payloads=st.lists(st.tuples(ROWS, st.integers(0, 3 * S)), max_size=8))
def test_each_row_is_counted_once_and_what_passes_is_in_bounds_and_order(
    payloads: list[tuple[list[tuple[Any, Any]], int]],
) -> None:
    parser, validator = Parser(SCHEMA), Validator(SCHEMA)
    now_ns, received, said = NS, 0, list[Observed | Judged]()
    for rows, pause_ns in payloads:
        now_ns += pause_ns
        found = parser.rows(json.dumps({"data": [{"ts": ts, "rate": rate} for ts, rate in rows]}).encode())
        received += len(found)
        said += judged(validator, found, now_ns)
        assert 0.0 <= validator.quality.score <= 1.0
    assert validator.received == received == validator.accepted + sum(validator.rejected.values())
    assert set(validator.rejected) <= set(REASONS)
    seen = [one for one in said if isinstance(one, Observed)]
    assert len(seen) == validator.accepted
    assert [one.event_ns for one in seen] == sorted(one.event_ns for one in seen)
    assert len({one.print for one in seen}) == len(seen), "none twice, as far back as prints are kept"
    is_good = True
    for one in said:
        if isinstance(one, Judged):
            assert one.good != is_good, "each judgement changes something"
            is_good = one.good
            continue
        assert is_good, "nothing leaves a quarantined stream"
        assert -100.0 <= one.values["rate"] <= 100.0
        assert one.recv_ns - 10 * S <= one.event_ns <= one.recv_ns + SCHEMA.ahead_ns
        assert from_entry(decode_entry(encode_entry(to_entry(one))[:-1])) == one, "the tape has it to the bit"


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 40), st.integers(-50, 50)), max_size=60), cut=st.integers(0, 60))
def test_a_restart_accepts_what_would_have_been_accepted(rows: list[tuple[int, int]], cut: int) -> None:
    """A new validation begins with what the engine kept: newest time, prints, quality, whether it is in use."""
    parser, schema = Parser(SCHEMA), msgspec.structs.replace(SCHEMA, remember=1_000, most_rejected=1_000)
    raw = [parser.rows(page((ms(NS) + at * 10, rate)))[0] for at, rate in rows]
    whole, first = Validator(schema), Validator(schema)
    expected = [whole.take(row, NS + at * 100 * MS).reason == "" for at, row in enumerate(raw)]
    assume(whole.quality.marks < 20 or whole.quality.is_good)
    before = [first.take(row, NS + at * 100 * MS) for at, row in enumerate(raw[:cut])]
    seen = [one for verdict in before for one in verdict.says if isinstance(one, Observed)]
    known = Before(
        seen[-1].event_ns if seen else 0, [one.print for one in seen], first.quality.score, first.quality.is_good
    )
    again = Validator(schema, known)
    after = [again.take(row, NS + (cut + at) * 100 * MS) for at, row in enumerate(raw[cut:])]
    assert [verdict.reason == "" for verdict in (*before, *after)] == expected


def table(rows: list[tuple[str, str]], kind: str) -> bytes:
    buffer = io.BytesIO()
    frame = pl.DataFrame(rows, schema=["ts", "rate"], orient="row")
    if kind == "csv":
        frame.write_csv(buffer)
    else:
        frame.write_parquet(buffer)
    return buffer.getvalue()


FORMATS: list[Format] = ["json", "jsonl", "csv", "parquet"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), form=st.sampled_from(FORMATS))
def test_no_bytes_raise(data: st.DataObject, form: Format) -> None:
    """Random bytes, and good payloads with bytes changed or cut off."""
    columns = ("$.rate", "$.ts") if form in ("json", "jsonl") else ("rate", "ts")
    schema = Schema(name="x", format=form, fields=(FieldSpec("rate", columns[0]),), event=TimeSpec(columns[1], "ms"))
    good = {
        "json": b'{"ts": 1700000000000, "rate": 1.5, "more": [1, {"a": "\\u00e4"}]}',
        "jsonl": b'{"ts": 1700000000000, "rate": 1.5}\n\n{"ts": 1, "rate": "x"}\n',
        "csv": table([("1700000000000", "1.5"), ("1", "")], "csv"),
        "parquet": table([("1700000000000", "1.5")], "parquet"),
    }[form]
    payload = bytearray(data.draw(st.one_of(st.binary(max_size=200), st.just(good))))
    for _ in range(data.draw(st.integers(0, 3)) if payload else 0):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    payload = payload[: data.draw(st.integers(0, len(payload)))]
    validator = Validator(schema)
    rows = Parser(schema).rows(bytes(payload))
    judged(validator, rows, NS)
    assert validator.received == len(rows) == validator.accepted + sum(validator.rejected.values())


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_the_lexicon_says_a_number_from_minus_one_to_one_or_nothing_and_the_same_each_time(text: str) -> None:
    one = Lexicon().score(text)
    assert one is None or (-1.0 <= one <= 1.0 and math.isfinite(one))
    assert Lexicon().score(text) == one
    schema = Schema(name="x", text=TextSpec("$.title", "lexicon"))
    row = Parser(schema, Lexicon()).rows(json.dumps({"title": text}).encode())[0]
    verdict = Validator(schema).take(row, NS)
    assert verdict.reason == ""
    (seen,) = verdict.says
    assert isinstance(seen, Observed) and seen.values == ({} if one is None else {"sentiment": one})
