"""What a conformance suite answers: one card a rule, passed or failed with what was found."""

from __future__ import annotations

import msgspec


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
