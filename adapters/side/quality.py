"""How good a stream is lately, and whether it is good enough to be used."""

from __future__ import annotations

from typing import Final

WEIGHT: Final = 2.0 / 51.0
"""Of the newest row in the running mean: the last 50 or so decide."""

ENOUGH: Final = 20
"""Rows before the mean alone may put a stream out of use."""


class Quality:
    """A running mean of marks: 0 for a bad row, for a good one 1, less up to half by its age.

    >>> quality = Quality(least=0.5, most_bad=2, good_rows=2)
    >>> quality.bad("range"), quality.bad("range")
    ('', '2 bad rows in a row, the last: range')
    >>> quality.is_good, quality.good(1.0), quality.good(1.0), quality.is_good
    (False, '', '2 good rows in a row', True)
    """

    def __init__(
        self, least: float, most_bad: int, good_rows: int, *, score: float = 1.0, is_good: bool = True
    ) -> None:
        self.score = score
        self.is_good = is_good
        self.marks = 0
        self._least = least
        self._most_bad = most_bad
        self._good_rows = good_rows
        self._good = self._bad = 0  # in a row

    def good(self, mark: float) -> str:
        """A good row; why the stream comes back, empty where nothing changes."""
        self._take(mark)
        self._good, self._bad = self._good + 1, 0
        if not self.is_good and self._good >= self._good_rows and self.score >= self._least:
            self.is_good = True
            return f"{self._good} good rows in a row"
        return ""

    def bad(self, reason: str) -> str:
        """A bad row; why the stream is put out of use, empty where nothing changes."""
        self._take(0.0)
        self._good, self._bad = 0, self._bad + 1
        if not self.is_good:
            return ""
        if self._bad >= self._most_bad:
            self.is_good = False
            return f"{self._bad} bad rows in a row, the last: {reason}"
        if self.marks >= ENOUGH and self.score < self._least:
            self.is_good = False
            return f"quality {self.score:.2f} below {self._least:g}, the last row: {reason}"
        return ""

    def _take(self, mark: float) -> None:
        self.marks += 1
        self.score += WEIGHT * (mark - self.score)
