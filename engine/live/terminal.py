"""What a person reads at a terminal; the same text whole where it is piped."""

from __future__ import annotations

import math

from rich.console import Console

WIDE = 1000
"""Characters a line when nobody watches: a table that is read by a program is never folded or cut."""


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or as wide as its lines are where there is none."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=WIDE)


def score(value: float | None, count: int, digits: int = 3) -> str:
    """A score with its digits, or a dash where nothing was scored: a zero would be a claim.

    >>> score(0.15, 40), score(0.0, 0), score(None, 3)
    ('0.150', '–', '–')
    """
    return "–" if value is None or not count else f"{value:.{digits}f}"


def money(text: str) -> str:
    """An exact amount for looking at: two decimals of a large one, four digits of a small one.

    >>> money("1234.567"), money("-0.001082702055987115074685467178"), money("0")
    ('1,234.57', '-0.001083', '0.00')
    """
    amount = float(text)
    digits = 2 if not amount or abs(amount) >= 1 else min(12, 3 - math.floor(math.log10(abs(amount))))
    return f"{amount:,.{digits}f}"


def trim(text: str) -> str:
    """A decimal text without the zeros that only say how fine the units are.

    >>> trim("59907.5000"), trim("60000.00"), trim("7")
    ('59907.5', '60000.0', '7')
    """
    whole, dot, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}" if dot else text
