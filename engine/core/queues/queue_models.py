"""Rules for where an order stands in a queue of which only the total size is known: small pure functions, with sources.

All agree on what prints say: a print at our price takes from the front. They differ in what a *cancel* says, a fall of
the level that no print explains: how much of it stood in front of us? Nobody stands behind more than the level shows.
"""

from __future__ import annotations

from math import log

from engine.core.jit import borrowing, inlined

RULES = (
    "front",
    "back",
    "touch",
    "through",
    "print",
    "risk_averse",
    "proportional",
    "power2",
    "power3",
    "log",
    "log2",
    "fitted",
)
"""The names that people type, in the order of the codes; ``front`` and ``back`` are the bounds and run always."""

FRONT, BACK, TOUCH, THROUGH, PRINT, RISK_AVERSE, PROPORTIONAL, POWER2, POWER3, LOG, LOG2, FITTED = range(len(RULES))

MODELS = RULES[2:]
"""What may be chosen as the venue's own rule, or run beside it."""


@inlined
def has_queue(rule: int) -> bool:
    """The rule follows a place in the queue; the others only look at prices.

    >>> has_queue(BACK), has_queue(LOG2), has_queue(PRINT)
    (True, True, False)
    """
    return rule == BACK or rule >= RISK_AVERSE


@borrowing
def power2(front: float, back: float) -> float:
    """Of a cancel the share in front, by squares: hftbacktest's ``PowerProbQueueFunc`` with n = 2.

    There a cancel is behind with probability f(back) / (f(back) + f(front)), f(x) = x^n; this is the rest.

    >>> power2(3.0, 1.0), power2(1.0, 3.0)
    (0.9, 0.1)
    """
    return front * front / (front * front + back * back)


@borrowing
def power3(front: float, back: float) -> float:
    """As ``power2`` with cubes.

    >>> power3(3.0, 1.0)
    0.9642857142857143
    """
    return front * front * front / (front * front * front + back * back * back)


@borrowing
def by_log(front: float, back: float) -> float:
    """hftbacktest's ``LogProbQueueFunc``: f(x) = log(1 + x) of the size in whole contracts or coins.

    >>> by_log(3.0, 3.0)
    0.5
    """
    ours = log(1.0 + front)
    return ours / (ours + log(1.0 + back))


@borrowing
def by_log2(front: float, back: float) -> float:
    """hftbacktest's ``LogProbQueueFunc2``: behind with probability f(back) / f(back + front).

    >>> by_log2(5.0, 0.0), by_log2(0.0, 5.0)
    (1.0, 0.0)
    """
    return 1.0 - log(1.0 + back) / log(1.0 + back + front)


@borrowing
def share_in_front(rule: int, front: float, back: float, unit: float) -> float:
    """Of a cancel the share that stood in front of us.

    ``front`` and ``back``: sizes before and behind us just before it, in size units, together above 0. ``unit``: one
    size unit in whole contracts or coins, for the rules whose answer depends on that.

    >>> share_in_front(RISK_AVERSE, 3.0, 1.0, 1.0), share_in_front(PROPORTIONAL, 3.0, 1.0, 1.0)
    (0.0, 0.75)
    """
    if rule == PROPORTIONAL:
        # "Cancels split in proportion": Rigtorp, https://rigtorp.se/2013/06/08/estimating-order-queue-position.html
        return front / (front + back)
    if rule == POWER2:
        return power2(front, back)
    if rule == POWER3:
        return power3(front, back)
    if rule == LOG:
        return by_log(front * unit, back * unit)
    if rule == LOG2:
        return by_log2(front * unit, back * unit)
    return 0.0  # RISK_AVERSE (hftbacktest's RiskAdverseQueueModel) and BACK: only prints move us
