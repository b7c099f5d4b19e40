"""Tables as payloads: columns of CSV and parquet, their times, their holes, and tables that are none."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import polars as pl
import pytest

from adapters.side.parse import Parser
from adapters.side.schema import FieldSpec, Format, Schema, TextSpec, TimeSpec
from adapters.side.scorer import Lexicon
from adapters.side.validate import Validator
from engine.core.events import Observed
from tests.sides import NS, S

START = datetime.fromtimestamp(NS / S, UTC)
FIELDS = (FieldSpec("rate", "rate", scale=10_000.0), FieldSpec("interest", "open interest", required=False))


def schema(form: Format) -> Schema:
    return Schema(name="x", format=form, fields=FIELDS, event=TimeSpec("when", "iso"), most_rows=5)


def parquet(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({name.replace("_", " "): column for name, column in columns.items()}).write_parquet(buffer)
    return buffer.getvalue()


def judged(what: Schema, payload: bytes) -> tuple[list[Observed], list[str]]:
    validator = Validator(what)
    verdicts = [
        validator.take(row, NS + 60 * S, old) for row, old in validator.in_order(Parser(what, Lexicon()).rows(payload))
    ]
    seen = [one for verdict in verdicts for one in verdict.says if isinstance(one, Observed)]
    return seen, [verdict.reason for verdict in verdicts]


def test_a_table_of_parquet_has_typed_times_and_holes() -> None:
    payload = parquet(
        when=[START, START.replace(second=30), None],
        rate=[0.0001, 0.0002, 0.0003],
        open_interest=[5, None, 7],
        more=["a", "b", "c"],
    )
    seen, reasons = judged(schema("parquet"), payload)
    assert sorted(reasons) == ["", "", "schema"]
    assert [one.values for one in seen] == [{"rate": 1.0, "interest": 5.0}, {"rate": 2.0}]
    assert seen[0].event_ns == NS


def test_lines_of_csv_are_texts_until_they_are_judged() -> None:
    text = 'when,more,rate,open interest\n2023-11-14T22:13:20Z,"a,b",0.0001,\n2023-11-14T22:13:30+00:00,,x,2\n'
    seen, reasons = judged(schema("csv"), text.encode())
    assert reasons == ["", "schema"] and [one.values for one in seen] == [{"rate": 1.0}]
    assert seen[0].event_ns == NS


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_without_the_columns_or_with_too_many_rows_is_refused_whole(form: Format) -> None:
    other = b"when,rate\n1,2\n" if form == "csv" else parquet(when=[1], rate=[2])
    assert judged(schema(form), other) == ([], ["payload"])
    line = "2023-11-14T22:13:20Z,1,1\n"
    many = (
        ("when,rate,open interest\n" + line * 6).encode()
        if form == "csv"
        else parquet(when=["x"] * 6, rate=[1] * 6, open_interest=[1] * 6)
    )
    assert judged(schema(form), many) == ([], ["payload"])


def test_a_column_of_texts_is_scored() -> None:
    what = Schema(name="news", format="csv", key="id", text=TextSpec("title", "lexicon"))
    seen, reasons = judged(what, b"id,title\n1,Record inflows\n2,\n3,Exchange hacked\n")
    assert reasons == ["", "schema", ""]
    assert [one.values["sentiment"] for one in seen] == [1.0, -1.0]
