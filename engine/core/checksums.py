"""The hook for venues that send a checksum of their book: the frame waits, unseen, until it was compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.core.book import Book
from engine.core.state import CHECK_STATE, CHECK_VALUE, FAILED, PASSED, WAKE_SYMBOL, State

Checksum = Callable[[Book], int]
"""What a venue's checksum of a book is, by the venue's own rule."""


class Checksums:
    """By symbol index the rule of its venue; without one a checksum passes unseen."""

    def __init__(self, state: State, rules: Mapping[int, Checksum]) -> None:
        self._control = state.control.data
        self._views = state.books.views
        self._rules = dict(rules)

    def answer(self) -> None:
        """Compare what the kernel asked for; it goes on with the answer, and a difference puts the book in doubt."""
        symbol = self._control[WAKE_SYMBOL]
        rule = self._rules.get(symbol)
        passed = rule is None or rule(self._views[symbol]) == self._control[CHECK_VALUE]
        self._control[CHECK_STATE] = PASSED if passed else FAILED
