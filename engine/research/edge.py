"""On which assumption a profit rests: one sentence, computed from the profits under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

HOLDS = Decimal("0.9")
"""A profit that keeps this share under every assumption holds."""

Outcome = tuple[str, Mapping[str, str], Decimal]
"""What was assumed in words, what was changed by name, and the profit."""


def rests_on(outcomes: Sequence[Outcome], currency: str) -> str:
    """The sentence; the first outcome is the base, and changes of one thing alone say what matters.

    >>> base = ("as it was", {}, Decimal(100))
    >>> late, dear = ("latency 9ms", {"latency": "9ms"}), ("fees 0:5bps", {"fees": "0:5bps"})
    >>> rests_on([base, (*late, Decimal(-20)), (*dear, Decimal(60))], "U")
    'The edge of 100.00 U rests on latency: latency 9ms turns it into -20.00 U (-120 %); with fees at least 60 % stays.'
    >>> rests_on([base, (*late, Decimal(97))], "USDT")
    'The edge of 100.00 USDT holds: the worst change tried, latency 9ms, leaves 97 % of it.'
    >>> rests_on([("as it was", {}, Decimal(-3)), ("fees 0:0", {"fees": "0:0"}, Decimal(2))], "USDT")
    'There is no edge as it was (-3.00 USDT); with fees 0:0 there would be one of 2.00 USDT.'
    """
    base = outcomes[0][2]
    others = outcomes[1:]
    if not others:
        return "Nothing else was assumed."
    if base <= 0:
        return _no_edge(base, others, currency)
    worst: dict[str, Outcome] = {}
    for outcome in others:
        if len(outcome[1]) == 1:
            name = next(iter(outcome[1]))
            if name not in worst or outcome[2] < worst[name][2]:
                worst[name] = outcome
    edge = f"The edge of {_money(base, currency)}"
    if not worst:
        return f"{edge} was tried under combinations only."
    ranked = sorted(worst.items(), key=lambda item: item[1][2])
    name, (words, _, profit) = ranked[0]
    together = min(others, key=lambda outcome: outcome[2])
    if profit >= HOLDS * base:
        if together[2] < HOLDS * base:
            return (
                f"{edge} rests on no assumption alone (the worst, {words}, leaves {_share(profit, base)}), "
                f"but {together[0]} together leave {_share(together[2], base)}."
            )
        return f"{edge} holds: the worst change tried, {words}, leaves {_share(profit, base)} of it."
    verb = "turns it into" if profit <= 0 else "leaves"
    rest = "; ".join(f"with {other} {_stays(one[2], base)}" for other, one in ranked[1:])
    loss = _share(profit - base, base) if base - profit < 10 * base else "more than ten times what there was"
    return f"{edge} rests on {name}: {words} {verb} {_money(profit, currency)} ({loss}){f'; {rest}' if rest else ''}."


def _no_edge(base: Decimal, others: Sequence[Outcome], currency: str) -> str:
    best = max(others, key=lambda outcome: (outcome[2], -len(outcome[1])))
    start = f"There is no edge as it was ({_money(base, currency)})"
    if best[2] > 0:
        return f"{start}; with {best[0]} there would be one of {_money(best[2], currency)}."
    return f"{start}, nor under any assumption tried: the best, {best[0]}, gives {_money(best[2], currency)}."


def _money(value: Decimal, currency: str) -> str:
    return f"{value:,.2f} {currency}" if abs(value) >= 1 or not value else f"{value:.2g} {currency}"


def _stays(least: Decimal, whole: Decimal) -> str:
    return "nothing is lost" if least >= whole else f"at least {_share(least, whole)} stays"


def _share(part: Decimal, whole: Decimal) -> str:
    return f"{100 * part / whole:.0f} %"
