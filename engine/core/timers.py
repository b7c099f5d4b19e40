"""The strategies' timers: one a name, moved as often as they like, with one entry each in the due queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.core.desk.orders import Working
from engine.core.due import Due
from engine.core.types import NEVER_NS

MAX_TIMERS = 4096
"""Timers at once, over all strategies."""

MAX_INSTANT = 16_384
"""Things due at one engine time; the strategy for which one more is done does not let time go on and is stopped."""

Key = tuple[str, str]
"""Strategy and timer name."""


def owner_of(due: Due) -> str:
    """The strategy whose order, message or timer is due; empty for what is nobody's."""
    subject = due.subject[0] if isinstance(due.subject, tuple) and due.subject else due.subject
    if isinstance(subject, Working):
        return subject.intent.strategy
    return subject if isinstance(subject, str) else ""


class Timers:
    """Moving a timer to a later time leaves its entry in the due queue; it is moved on when it comes up.

    >>> asked = []
    >>> timers = Timers(lambda ns, what, key: asked.append(ns), lambda keep: None)
    >>> timers.ask(("s", "t"), 10), timers.ask(("s", "t"), 30), asked
    (True, True, [10])
    >>> timers.fires(("s", "t"), 10), asked, timers.fires(("s", "t"), 30)
    (False, [10, 30], True)
    """

    def __init__(
        self, schedule: Callable[[int, str, object], None], sweep: Callable[[Callable[[Due], bool]], None]
    ) -> None:
        self._schedule = schedule
        self._sweep = sweep
        self._queued = 0  # entries in the due queue, those that an earlier one has overtaken included
        self._due: dict[Key, int] = {}
        self._entries: dict[Key, int] = {}  # the earliest entry of each in the due queue

    def ask(self, key: Key, due_ns: int) -> bool:
        """Set or move a timer; False when there are too many."""
        if key not in self._due and len(self._due) == MAX_TIMERS:
            return False
        self._due[key] = due_ns
        if due_ns < self._entries.get(key, NEVER_NS):
            self._enter(key)
        return True

    def postpone(self, until_ns: int) -> None:
        """Move every timer that is due earlier to ``until_ns``."""
        for key, due_ns in self._due.items():
            self._due[key] = max(due_ns, until_ns)

    def fires(self, key: Key, ns: int) -> bool:
        """An entry of the due queue came up: is it the timer's time?"""
        self._queued -= 1
        if self._entries.get(key) != ns:
            return False
        del self._entries[key]
        if self._due[key] > ns:
            self._enter(key)
            return False
        del self._due[key]
        return True

    def _enter(self, key: Key) -> None:
        self._entries[key] = self._due[key]
        if self._queued >= 2 * MAX_TIMERS:
            self._sweep(self._is_wanted)
            self._queued = len(self._entries) - 1
        self._queued += 1
        self._schedule(self._due[key], "timer", key)

    def _is_wanted(self, due: Due) -> bool:
        subject: Any = due.subject
        return due.what != "timer" or self._entries.get(subject) == due.ns


class Instant:
    """Counts what is due at one engine time: without latency, orders and timers could answer each other for ever."""

    def __init__(self) -> None:
        self._ns = self._count = 0

    def is_too_long(self, ns: int) -> bool:
        """One more thing is due at ``ns``."""
        self._count = self._count + 1 if ns == self._ns else 1
        self._ns = ns
        return self._count > MAX_INSTANT
