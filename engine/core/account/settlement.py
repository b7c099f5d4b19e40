"""Cash that was earned but has not arrived: the proceeds of a sale settle business days later, dividends when paid.

The balance has it at once, as profit does; what may be spent is the balance less what has not settled. T+1 (United
States from 2024-05-28) means: on the first business day after the trade, at its start in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from engine.core.account.money import amount, to_text
from engine.core.money_facts import Settled
from engine.core.records import AnyFact

DAY_NS = 86_400_000_000_000
MOST_PENDING = 4096
"""Sums on their way at once; further ones settle with the latest of their currency."""


def settles_ns(ns: int, days: int, holidays: frozenset[int] = frozenset()) -> int:
    """The start of the day, UTC, that is so many business days after an engine time; holidays as days since 1970.

    Friday 2024-05-31 and one day is Monday 2024-06-03.

    >>> settles_ns(19_874 * DAY_NS + 15, 1) // DAY_NS, settles_ns(19_874 * DAY_NS, 1, frozenset([19_877])) // DAY_NS
    (19877, 19878)
    """
    day = ns // DAY_NS
    while days > 0:
        day += 1
        # 1970-01-01 was a Thursday: (day + 3) % 7 is 5 on a Saturday.
        if (day + 3) % 7 < 5 and day not in holidays:
            days -= 1
    return day * DAY_NS


class Settlement:
    """What is on its way, by currency and the time when it arrives."""

    def __init__(self, emit: Callable[[AnyFact], None], schedule: Callable[[int, str, object], None]) -> None:
        self._emit = emit
        self._schedule = schedule
        self._pending: dict[tuple[int, str], int] = {}

    def hold(self, currency: str, value: int, due_ns: int) -> None:
        """An amount at 1e-30 is on its way until an engine time."""
        if value <= 0:
            return
        key = due_ns, currency
        if key not in self._pending:
            others = [one for one in self._pending if one[1] == currency] if len(self._pending) >= MOST_PENDING else []
            if others:
                key = max(others)
            else:
                self._schedule(due_ns, "settled", key)
        self._pending[key] = self._pending.get(key, 0) + value

    def due(self, key: tuple[int, str], ns: int) -> None:
        """It arrives."""
        del ns
        value = self._pending.pop(key, 0)
        if value:
            self._emit(Settled(to_text(value), key[1]))

    def unsettled(self, currency: str) -> int:
        """What is on its way in a currency, at 1e-30."""
        return sum(value for (_, name), value in self._pending.items() if name == currency)

    def plain(self) -> list[dict[str, Any]]:
        """What is on its way, the first to arrive first."""
        return [
            {"currency": currency, "amount": to_text(value), "settles_ns": due_ns}
            for (due_ns, currency), value in sorted(self._pending.items())
        ]

    def restore(self, state: list[Mapping[str, Any]]) -> None:
        """Take back what ``plain`` gave."""
        self._pending = {}
        for one in state:
            self.hold(str(one["currency"]), amount(Decimal(one["amount"])), int(one["settles_ns"]))
