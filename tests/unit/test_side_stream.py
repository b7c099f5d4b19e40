"""The loop around a side stream: it goes on after every failure, bounded in all it holds, and says why it refused."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import msgspec
import pytest

from adapters.side.parse import Parser
from adapters.side.quarantine import Quarantine
from adapters.side.schema import FieldSpec, Schema, SchemaError, TextSpec, TimeSpec, compile_paths
from adapters.side.sources.contract import SourceError
from adapters.side.stream import LONGEST_BACKOFF_S, Stream
from adapters.side.thread import OwnThread
from adapters.side.validate import Before, Validator
from engine.core.events import Judged, Observed
from tests.sides import FUNDING, MS, NS, Played, S, ScriptedSource, ms, page

TEXT = Schema(name="news", text=TextSpec("$.title", "x"), key="$.id", most_rejected=3)


async def run(played: Played, seconds: float) -> None:
    task = asyncio.ensure_future(played.stream.run())
    await played.time.run(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def at(second: float) -> int:
    return ms(NS) + int(second * 1000)


async def test_rows_are_judged_one_by_one_and_the_refused_are_in_a_file_with_their_reason(tmp_path: Path) -> None:
    bad = [(at(0), "x"), (at(0), None), ("soon", 1), (at(9), 1), (at(-1), 500), (at(-9), 1)]
    played = Played(tmp_path, [page((at(-2), 1.5)), page(*bad), page((at(-2), 1.5))])
    await run(played, 1)
    assert played.values == [{"rate": 1.5}]
    assert played.stream.validator.rejected == {"schema": 3, "future": 1, "range": 1, "order": 1, "duplicate": 1}
    reasons = [reason for reason, _ in played.refused]
    assert sorted(reasons) == ["future", "order", "range", "schema", "schema", "schema"]
    assert "duplicate" not in reasons, "what comes again with each poll would fill the file"
    assert played.stream.plain()["last_refusal"].startswith("future")


async def test_a_source_that_fails_is_asked_again_after_a_growing_pause(tmp_path: Path) -> None:
    failures: list[bytes | SourceError] = [SourceError("no answer")] * 12
    script = [*failures, page((at(0), 1)), SourceError("gone"), page((at(1), 2))]
    played = Played(tmp_path, script)
    await run(played, 12 * LONGEST_BACKOFF_S)
    assert played.values == [{"rate": 1.0}, {"rate": 2.0}]
    assert played.stream.failures == 13 and played.source.attempts == 14 and played.source.closed == 1
    assert played.notices == ["no answer", "gone"], "one line for each that is new"


async def test_the_pause_that_a_source_asks_for_is_kept(tmp_path: Path) -> None:
    played = Played(tmp_path, [SourceError("busy", after_s=500.0), page((at(0), 1))])
    await run(played, 499)
    assert played.values == []
    await run(Played(tmp_path, []), 0)
    played = Played(tmp_path, [SourceError("busy", after_s=500.0), page((at(0), 1))])
    await run(played, 501)
    assert played.values == [{"rate": 1.0}]


async def test_a_stream_of_bad_rows_is_quarantined_and_comes_back(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(FUNDING, most_rejected=3, good_rows=2)
    bad = [page((at(second), 500)) for second in (1, 1.5, 2)]
    good = [page((at(0), 1)), *bad, page((at(2), 2)), page((at(2), 3)), page((at(2), 4))]
    played = Played(tmp_path, good, schema)
    await run(played, 1)
    told = [(type(one).__name__, getattr(one, "reason", "")) for one in played.said]
    assert told == [
        ("Observed", ""),
        ("Judged", "3 bad rows in a row, the last: range"),
        ("Judged", "2 good rows in a row"),
        ("Observed", ""),
        ("Observed", ""),
    ]
    assert played.values == [{"rate": 1.0}, {"rate": 3.0}, {"rate": 4.0}], "the row that proves it is used"
    assert played.stream.validator.rejected == {"range": 3, "quarantined": 1}


async def test_low_quality_alone_quarantines_a_stream() -> None:
    schema = msgspec.structs.replace(FUNDING, most_rejected=1_000, least_quality=0.6, stale_ns=0)
    parser, validator = Parser(schema), Validator(schema)
    said = []
    for second in range(200):
        raw = parser.rows(page((at(second), 500 if second % 2 else 1)))[0]
        said += [one for one in validator.take(raw, NS + second * S).says if isinstance(one, Judged)]
    assert [one.good for one in said] == [False] and said[0].reason.startswith("quality 0.59 below 0.6")


async def test_history_on_a_page_says_nothing_bad_of_a_stream(tmp_path: Path) -> None:
    """Each poll brings the last rows again, newest first: what is new counts, what is too old is passed over."""
    schema = msgspec.structs.replace(FUNDING, oldest_ns=5 * S, most_rejected=3)
    first = page(*((at(-second), second) for second in range(30)))
    second = page(*((at(1 - second), second - 1) for second in range(31)))
    played = Played(tmp_path, [first, second], schema)
    await run(played, 1)
    assert [one["rate"] for one in played.values] == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0]
    assert not any(isinstance(one, Judged) for one in played.said)
    assert played.stream.validator.quality.is_good and played.stream.validator.rejected["late"] == 24


async def test_the_rate_is_bounded_and_a_payload_may_come_at_once(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(FUNDING, most_rows=5, most_per_s=2.0)
    full = [page(*((at(0) + 10 * number + row, row) for row in range(5))) for number in range(3)]
    played = Played(tmp_path, full, schema)
    await run(played, 1)
    assert len(played.values) == 5 and played.stream.validator.rejected == {"rate": 10}
    validator = Validator(schema)
    taken = [validator.take(Parser(schema).rows(page((at(0) + n, 1)))[0], NS + n * 100 * MS).reason for n in range(100)]
    assert taken.count("") == 5 + 19, "the bucket of one payload, and two a second for 9.9 s"


async def test_payloads_that_are_no_data_are_one_refused_row_each(tmp_path: Path) -> None:
    small = msgspec.structs.replace(FUNDING, most_bytes=2_000, most_rows=3)
    nested = b'{"data":' + b"[" * 900 + b"]" * 900 + b"}"
    hostile = [
        b"<html>502 Bad Gateway</html>",
        b'{"data": [{"ts": 1, "rate": 1}',
        b"[" * 1_500,
        b"\xff\xfe\x00",
        b'{"data": ' + b" " * 3_000 + b"[]}",
        page(*((at(0) + row, 1) for row in range(4))),
        b"9" * 1_900,
        nested,
        b'{"data": "none"}',
        b"",
    ]
    played = Played(tmp_path, hostile, small)
    await run(played, 1)
    assert played.values == []
    rejected = played.stream.validator.rejected
    assert rejected["payload"] >= 7 and sum(rejected.values()) == played.stream.validator.received
    assert played.stream.failures == 0, "the source is sound"
    assert all(len(row) <= 1_000 for _, row in played.refused)


async def test_the_file_of_refused_rows_is_bounded(tmp_path: Path) -> None:
    script = [page((at(0) + n, "x" * 50)) for n in range(100)]
    played = Played(tmp_path, script, msgspec.structs.replace(FUNDING, most_rejected=1_000), quota=4_000)
    await run(played, 1)
    files = sorted(played.path.parent.iterdir())
    assert [one.name for one in files] == ["funding.jsonl", "funding.jsonl.1"]
    assert sum(one.stat().st_size for one in files) <= 4_000
    assert all(json.loads(line)["reason"] == "schema" for one in files for line in one.read_text().splitlines())


async def test_a_disk_that_refuses_stops_no_stream(tmp_path: Path) -> None:
    (tmp_path / "side").write_text("a file where the folder should be")
    played = Played(tmp_path, [page((at(0), "x")), page((at(1), 1))])
    await run(played, 1)
    assert played.values == [{"rate": 1.0}] and played.stream.plain()["unstored"] == 1
    assert "cannot be stored" in played.notices[0]


class Raising:
    def score(self, text: str) -> float | None:
        if "boom" in text:
            raise RuntimeError("no such model")
        return 2.0 if "far" in text else 0.5


async def test_a_scorer_that_raises_or_lies_costs_its_row_alone(tmp_path: Path) -> None:
    titles = ["boom", "far out", "fine", 7]
    script = [json.dumps({"id": number, "title": title}).encode() for number, title in enumerate(titles)]
    played = Played(tmp_path, script, msgspec.structs.replace(TEXT, most_rejected=10), scorer=Raising())
    await run(played, 1)
    assert played.values == [{"sentiment": 0.5}]
    assert played.stream.validator.rejected == {"scorer": 1, "range": 1, "schema": 1}
    (seen,) = [one for one in played.said if isinstance(one, Observed)]
    assert len(seen.text) == 16 and "fine" not in seen.text, "the text itself is not taped unless asked for"
    keeping = msgspec.structs.replace(TEXT, text=TextSpec("$.title", "x", keep=True), most_rejected=10)
    kept = Played(tmp_path / "b", script, keeping, scorer=Raising())
    await run(kept, 1)
    assert [one.text for one in kept.said if isinstance(one, Observed)] == ["fine"]


async def test_after_a_restart_what_was_seen_is_known(tmp_path: Path) -> None:
    first = Played(tmp_path, [page((at(0), 1), (at(1), 2))])
    await run(first, 1)
    prints = [one.print for one in first.said if isinstance(one, Observed)]
    again = Played(tmp_path, [page((at(0), 1), (at(1), 2), (at(2), 3))], before=Before(NS + S, prints, 0.9, True))
    await run(again, 1)
    assert again.values == [{"rate": 3.0}] and again.stream.validator.rejected == {"duplicate": 2}


def test_rows_are_found_where_the_paths_say() -> None:
    deep = Schema(
        name="x",
        fields=(FieldSpec("a", "$.a"), FieldSpec("b", "$.b.c", required=False)),
        event=TimeSpec("$.t", "s"),
        rows="$..items[*]",
    )
    payload = json.dumps(
        {"u": {"items": [{"a": 1, "b": {"c": 2}, "t": 5}]}, "v": {"items": [{"a": 3, "t": 6}]}}
    ).encode()
    validator = Validator(msgspec.structs.replace(deep, ahead_ns=10 * NS))
    says = [validator.take(row, NS).says for row in Parser(deep).rows(payload)]
    assert [one[0].values for one in says if isinstance(one[0], Observed)] == [{"a": 1.0, "b": 2.0}, {"a": 3.0}]
    whole = Schema(name="x", fields=(FieldSpec("a", "$.list[*].v"),), event=TimeSpec("$.ts", "ms"))
    cells = [row.cells for row in Parser(whole).rows(b'{"ts": 9, "list": [{"v": 1}, {"v": 2}]}')]
    assert [cell["time.event"] for cell in cells] == [9, 9], "a time of the whole payload is each row's"
    several = Schema(name="x", fields=(FieldSpec("a", "$..v"),))
    verdict = Validator(several).take(Parser(several).rows(b'{"v": 1, "w": {"v": 2}}')[0], NS)
    assert verdict.found == "a: expected a number, found 2 values"


@pytest.mark.parametrize(
    ("fields", "place", "text"),
    [
        ((FieldSpec("a", "data.rate"),), "fields.a.path", "expected a JSON path"),
        ((FieldSpec("a", "$.a["),), "fields.a.path", "unexpected end"),
        ((FieldSpec("a", "$.x[*].a"), FieldSpec("b", "$.y[*].b")), "fields.b.path", "expected rows at $.x[*]"),
    ],
)
def test_paths_that_cannot_be_used_say_why(fields: tuple[FieldSpec, ...], place: str, text: str) -> None:
    with pytest.raises(SchemaError, match=text.replace("$", r"\$").replace("[", r"\[").replace("*", r"\*")) as caught:
        compile_paths(Schema(name="x", fields=fields))
    assert caught.value.place == place


class Hanging:
    def __init__(self) -> None:
        self.asked = threading.Event()

    def score(self, text: str) -> float | None:
        self.asked.set()
        threading.Event().wait()
        return None


async def test_a_scorer_that_hangs_holds_up_its_own_stream_alone(tmp_path: Path) -> None:
    scorer = Hanging()
    payload = b'{"id": 1, "title": "x"}'
    stuck = Stream(
        ScriptedSource([payload], asyncio.Event().wait),
        Parser(TEXT, scorer),
        Validator(TEXT),
        Quarantine(tmp_path / "x.jsonl"),
        room=nothing,
        say=lambda item: None,
        clock=lambda: NS,
    )
    task = asyncio.ensure_future(stuck.run())
    await asyncio.to_thread(scorer.asked.wait, 20)
    played = Played(tmp_path, [page((at(0), 1))])
    await run(played, 1)
    assert played.values == [{"rate": 1.0}] and stuck.validator.received == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled(), "the stop waits for no scorer"


async def nothing() -> None:
    return None


async def test_what_a_thread_of_its_own_does_comes_back_with_its_errors() -> None:
    aside = OwnThread("test")
    assert await aside(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await aside(int, "x")
    assert await aside(threading.current_thread) is not threading.current_thread()


async def test_a_row_is_available_when_it_is_said_after_all_waiting(tmp_path: Path) -> None:
    """The engine was behind for 5 s: nothing could have been decided on the row before."""
    played = Played(tmp_path, [page((at(0), 1))])

    async def behind() -> None:
        await played.time.sleep(5)

    played.stream._room = behind
    await run(played, 10)
    (seen,) = played.said
    assert seen.recv_ns == NS + 5 * S and isinstance(seen, Observed) and seen.event_ns == NS


async def test_a_row_from_the_future_counts_when_its_time_has_come(tmp_path: Path) -> None:
    soon = page((at(5), 1))
    played = Played(tmp_path, [soon, soon])
    await run(played, 0)
    assert played.stream.validator.rejected == {"future": 2}
    later = Played(tmp_path, [])
    later.stream.validator = played.stream.validator
    later.time.now_ns += 5 * S
    await later.stream.take(soon)
    await later.stream.take(soon)
    assert later.values == [{"rate": 1.0}] and later.stream.validator.rejected == {"future": 2, "duplicate": 1}


async def test_a_correction_of_a_refused_row_is_taken_and_one_of_an_accepted_row_is_not(tmp_path: Path) -> None:
    schema = Schema(name="x", fields=(FieldSpec("a", "$.a", high=9.0),), key="$.id")
    rows = [(1, 99), (1, 99), (1, 5), (1, 6), (2, 6)]
    played = Played(tmp_path, [json.dumps({"id": number, "a": value}).encode() for number, value in rows], schema)
    await run(played, 1)
    assert played.values == [{"a": 5.0}, {"a": 6.0}]
    assert played.stream.validator.rejected == {"range": 1, "duplicate": 2}


async def test_rows_of_a_patient_source_wait_for_the_rate(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(FUNDING, most_rows=5, most_per_s=2.0)
    script = [page(*((at(0) + 10 * number + row, row) for row in range(5))) for number in range(4)]
    played = Played(tmp_path, script, schema, is_patient=True)
    await run(played, 60)
    assert len(played.values) == 20 and not played.stream.validator.rejected
    assert played.said[-1].recv_ns - NS == pytest.approx(7.5 * S, abs=1_000), "two a second after the first payload"


async def test_a_source_that_dies_after_each_payload_is_asked_less_and_less(tmp_path: Path) -> None:
    script: list[bytes | SourceError] = []
    for number in range(100):
        script += [page((at(0) + number, 1)), SourceError("gone")]
    played = Played(tmp_path, script)
    await run(played, 10 * LONGEST_BACKOFF_S)
    assert len(played.values) < 25
