"""Where two runs part: the first fact that is not the same in both journals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from engine.live.journal.frames import Kind, seq_of
from engine.live.journal.reader import decode_record, read
from engine.live.journal.words import words

Verdict = Literal["same", "a is the beginning of b", "b is the beginning of a", "they part"]
PROGRESS_FACTS = 1 << 16


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found. ``compared`` facts from ``first_seq`` on are the same.

    ``seq`` is the first fact that differs or that only one of them has, 0 where they are the same; ``a`` and ``b`` are
    that fact in words, empty where a journal has none.
    """

    verdict: Verdict
    first_seq: int
    compared: int
    seq: int = 0
    a: str = ""
    b: str = ""


def diff(a: Path, b: Path, progress: Callable[[int], None] | None = None) -> Difference:
    """Compare the facts of two journals byte for byte, in constant memory; inputs and marks are not compared.

    Where one of them begins later (its oldest segments were deleted), the comparison begins there.

    Raises:
        JournalDamaged: one of them is damaged before they part.
    """
    ours, theirs = _facts(a), _facts(b)
    one, other = next(ours, None), next(theirs, None)
    while one is not None and other is not None and seq_of(one) != seq_of(other):
        if seq_of(one) < seq_of(other):
            one = next(ours, None)
        else:
            other = next(theirs, None)
    first = seq_of(one or other or b"\x93\x00")
    compared = 0
    while one is not None and one == other:
        compared += 1
        if progress is not None and compared % PROGRESS_FACTS == 0:
            progress(compared)
        one, other = next(ours, None), next(theirs, None)
    verdict: Verdict = "they part"
    if one is None and other is None:
        return Difference(verdict="same", first_seq=first, compared=compared)
    if one is None:
        verdict = "a is the beginning of b"
    elif other is None:
        verdict = "b is the beginning of a"
    seq = seq_of(one or other or b"\x93\x00")
    return Difference(verdict=verdict, first_seq=first, compared=compared, seq=seq, a=_words(one), b=_words(other))


def _facts(folder: Path) -> Iterator[bytes]:
    return (frame.payload for frame in read(folder) if frame.kind is Kind.FACT)


def _words(payload: bytes | None) -> str:
    return "" if payload is None else words(decode_record(payload))
