"""A start from a journal that was cut or flipped: a part of the campaign that does it everywhere, and its judge."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.live.journal import Kind
from engine.research.damage import NAMES, campaign
from engine.research.damage_case import Bench, Case, Tally, cases
from engine.research.damage_run import Made, Noted, make_tail

KIB = 1 << 10


def test_wherever_a_journal_is_damaged_the_account_is_right_or_the_place_is_told(tmp_path: Path) -> None:
    found = campaign(tmp_path, cut_step=211, flip_step=397)
    assert found.holds, found
    assert found.runs.keys() == set(NAMES)
    for one in found.runs.values():
        assert one.cuts > 15 and one.started > 15 and one.started_again, found
        assert one.most_facts_completed > 3, "what was cut off followed once more"
        assert (one.most_inputs_missing, one.most_facts_missing) == (1, 0), "the torn input at most"
    assert found.runs["tail"].refused > 50 and found.runs["segments"].refused > 50


def test_all_of_64_kib_and_4_kib_is_asked_for(tmp_path: Path) -> None:
    made = make_tail(tmp_path, 64 * KIB, 4 * KIB)
    end = max(span.end for span in made.spans)
    asked = cases(made, 1, 1)
    assert {one.place for one in asked if one.bit is None} == set(range(end - 64 * KIB, end))
    assert {(one.place, one.bit) for one in asked if one.bit is not None} == {
        (place, bit) for place in range(end - 4 * KIB, end) for bit in range(8)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_tail(tmp_path_factory.mktemp("made"), 16 * KIB, 4 * KIB)


def judged(made: Made, folder: Path, case: Case) -> Tally:
    tally = Tally()
    Bench(made, folder).judge(case, tally)
    return tally


def test_a_balance_that_is_off_by_the_least_is_seen(made: Made, tmp_path: Path) -> None:
    last = made.noted[-2]
    balance = msgspec.json.decode(last.account)["ledger"]["balance"]["USDT"]
    other = last.account.replace(f'"USDT":"{balance}"'.encode(), f'"USDT":"{balance}1"'.encode())
    assert other != last.account
    changed = [*made.noted[:-2], Noted(last.digest, last.seq, other), made.noted[-1]]
    torn = Case(1, made.spans[-1].end - 1)
    assert judged(made, tmp_path / "right", torn).holds
    found = judged(msgspec.structs.replace(made, noted=changed), tmp_path / "other", torn)
    assert (found.wrong_balance, found.wrong_digest, found.holds) == (1, 0, False)


def test_a_run_that_is_an_input_further_or_behind_is_seen(made: Made, tmp_path: Path) -> None:
    shifted = msgspec.structs.replace(made, noted=[made.noted[0], *made.noted])
    found = judged(shifted, tmp_path, Case(1, made.spans[-1].begin))
    assert found.wrong_digest and found.wrong_balance and not found.holds


def test_a_refusal_at_another_frame_is_seen(made: Made, tmp_path: Path) -> None:
    facts = [at for at, span in enumerate(made.spans) if span.kind == Kind.FACT]
    at = facts[-3]
    mine, after = made.spans[at], made.spans[at + 1]
    flipped = Case(1, mine.begin + 20, 3)
    assert judged(made, tmp_path / "right", flipped).refused == 1
    joined = msgspec.structs.replace(mine, end=after.end)
    spans = [
        *made.spans[: at - 1],
        msgspec.structs.replace(joined, begin=made.spans[at - 1].begin),
        *made.spans[at + 2 :],
    ]
    found = judged(msgspec.structs.replace(made, spans=spans), tmp_path / "other", flipped)
    assert (found.wrong_place, found.holds) == (1, False)


def test_a_start_where_a_refusal_is_due_is_seen(made: Made, tmp_path: Path) -> None:
    longer = msgspec.structs.replace(made.spans[-1], begin=made.spans[-1].end, end=made.spans[-1].end + 40)
    found = judged(msgspec.structs.replace(made, spans=[*made.spans, longer]), tmp_path, Case(1, longer.begin - 1, 0))
    assert (found.wrong_outcome, found.holds) == (1, False)
