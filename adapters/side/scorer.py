"""Scorers of texts: a text in, a number from -1 (bad) to 1 (good) out, or None where it says nothing.

A score is made at the edge, before it is taped: a replay reads scores and needs no scorer. One may be slow (it runs
off the loop) and may raise (the row is then rejected); that one text has one score is its author's duty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from adapters.side.words import BAD, GOOD, NEGATIONS, STRENGTHS

REACH: Final = 3
"""A negation turns the words up to so many places behind it."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


@runtime_checkable
class Scorer(Protocol):
    """What a scorer is: built without arguments, asked with a text."""

    def score(self, text: str) -> float | None:
        """From -1 to 1; None where the text says nothing."""
        ...


class Lexicon:
    """Counts words from two short lists of our own, English and about markets; simple, and no more than that.

    It reads no irony and no context beyond a negation up to three words before, and a word that strengthens or weakens
    the next. The score is (good - bad) / (good + bad).

    >>> scorer = Lexicon()
    >>> scorer.score("Record inflows lift bitcoin"), scorer.score("Exchange hacked, withdrawals halted")
    (1.0, -1.0)
    >>> scorer.score("Not a crash, but very weak demand"), scorer.score("The meeting is on Tuesday")
    (0.14285714285714285, None)
    """

    def score(self, text: str) -> float | None:
        good = bad = 0.0
        strength, negated = 1.0, 0
        for word in _WORD.findall(text.lower()):
            if word in NEGATIONS:
                negated = REACH + 1
            elif word in STRENGTHS:
                strength = STRENGTHS[word]
            elif word in GOOD or word in BAD:
                if (word in GOOD) == (negated == 0):
                    good += strength
                else:
                    bad += strength
                strength = 1.0
            else:
                strength = 1.0
            negated = max(0, negated - 1)
        return None if good + bad == 0.0 else (good - bad) / (good + bad)


SCORERS: Final[Mapping[str, type[Scorer]]] = MappingProxyType({"lexicon": Lexicon})
"""Those that ship with Papertape, by name; others register as ``papertape.scorers``."""
