"""What a conformance suite is: cards, one a rule, run one by one on what is plugged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

SubjectT = TypeVar("SubjectT")


class CardFailed(Exception):
    """What a card found, in words."""


class CardResult(msgspec.Struct, frozen=True):
    """The outcome of one card, such as ``S30``.

    >>> CardResult("S10", "has a docstring", True).line()
    'ok    S10  has a docstring'
    >>> CardResult("S10", "has a docstring", False, "found none: say what it does").line()
    'FAIL  S10  has a docstring: found none: say what it does'
    """

    card: str
    rule: str
    passed: bool
    detail: str = ""

    def line(self) -> str:
        """The outcome as one line of text."""
        return (
            f"{'ok   ' if self.passed else 'FAIL '} {self.card}  {self.rule}{': ' if self.detail else ''}{self.detail}"
        )


def run_cards(subject: SubjectT, cards: Sequence[tuple[str, str, Callable[[SubjectT], None]]]) -> list[CardResult]:
    """Run every card (number, rule, check) on a subject; what a check raises is its finding.

    >>> [result.passed for result in run_cards(1, [("X10", "is small", lambda one: None)])]
    [True]
    """
    results = []
    for card, rule, check in cards:
        try:
            check(subject)
        except CardFailed as failure:
            results.append(CardResult(card, rule, False, str(failure)))
        except Exception as error:  # noqa: BLE001 - users' code runs in there: whatever it raises is the finding
            results.append(CardResult(card, rule, False, f"raised {type(error).__name__}: {error}"))
        else:
            results.append(CardResult(card, rule, True))
    return results
