"""A start from a journal that was cut or flipped anywhere: the account of before, or a refusal with the place."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.live.journal import JournalDamaged, Kind, read
from engine.live.recovery import session as sessions
from engine.live.recovery.recover import recover
from tests.recovering import Life
from tests.unit.test_recovery import killed


@pytest.mark.parametrize("snapshot_at", [None, 60])
def test_wherever_the_journal_is_cut_the_account_is_that_of_the_last_whole_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot_at: int | None
) -> None:
    life = Life(tmp_path / "first")
    life.live(snapshot_at or 0)
    if snapshot_at is not None:
        life.snapshot()
    life.live(120 - (snapshot_at or 0))
    life.killed(tmp_path / "second")
    (segment,) = (tmp_path / "second" / "r" / "journal").glob("*.ptj")
    whole = segment.read_bytes()
    frames = list(read(segment.parent))
    kept = [frame for frame in frames if frame.kind is Kind.MARK][-1].end.offset if snapshot_at is not None else 0
    ends = [frame.end.offset for frame in frames if frame.kind is Kind.INPUT]
    seen: list[str] = []

    def look(*args: Any) -> Any:
        past = recover(*args)
        assert past is not None
        seen.append(past.kept.engine.digest)
        return past

    monkeypatch.setattr(sessions, "recover", look)
    chance = random.Random(5)
    for number in range(40):
        cut = chance.randrange(max(kept, ends[0]), len(whole)) if number else len(whole) - 1
        place = tmp_path / f"cut{number}"
        shutil.copytree(tmp_path / "second", place)
        (place / "r" / "journal" / segment.name).write_bytes(whole[:cut])
        again = Life(place)
        assert seen.pop() == life.digests[sum(end <= cut for end in ends) - 1], cut
        again.stop()
        shutil.rmtree(place)


def test_a_flipped_bit_is_refused_with_its_place_or_costs_the_last_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, digest, _ = killed(tmp_path, snapshot_at=None)
    (segment,) = (place / "r" / "journal").glob("*.ptj")
    whole = segment.read_bytes()
    *_, final = read(segment.parent)
    chance = random.Random(6)
    seen: list[str] = []

    def look(*args: Any) -> Any:
        past = recover(*args)
        assert past is not None
        seen.append(past.kept.engine.digest)
        return past

    monkeypatch.setattr(sessions, "recover", look)
    for number in range(40):
        at = chance.randrange(len(whole) - 4096, len(whole)) if number else len(whole) - 1
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        copy = tmp_path / f"flip{number}"
        shutil.copytree(place, copy)
        (copy / "r" / "journal" / segment.name).write_bytes(flipped)
        if at < final.position.offset:
            with pytest.raises(JournalDamaged) as caught:
                Life(copy)
            assert caught.value.offset <= at < caught.value.offset + 4096
            assert segment.name in str(caught.value)
        else:
            again = Life(copy)
            assert seen.pop() == digest, "the facts of the last frame follow from its input once more"
            again.stop()
        shutil.rmtree(copy)
