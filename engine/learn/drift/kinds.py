"""Which kind of drift an alarm was about: abrupt, gradual, incremental or recurring.

A rule for people who look at an alarm later, not for the alarm itself: it needs values after it. The stretch after the
reference is cut into blocks; each block's mean is judged by how far it has come from the old level to the new one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.learn.drift.contract import DriftError, Floats

KINDS: Final = ("abrupt", "gradual", "incremental", "recurring")

BLOCKS: Final = 20
NEAR: Final = 0.35
"""Of the way: so near to a level a block is at it."""

QUICK: Final = 0.15
"""Of the stretch: a change that takes no longer is abrupt."""


def kind_of(reference: Floats, since: Floats) -> str:
    """One of ``KINDS``, from values before a drift and the values since it began.

    The new level is the mean of the block farthest from the old one and its like. Blocks near neither level are on the
    way; the rule, in this order:

    1. blocks return to the old level for a tenth of the stretch after a tenth at the new one: ``recurring``;
    2. all but the first 15 % of the blocks are at the new level: ``abrupt``;
    3. single values on the way are of both levels, as wide as the two are apart: ``gradual``;
    4. else the level itself moves: ``incremental``.

    Raises:
        DriftError: fewer than 20 values on either side.

    >>> chance = np.random.default_rng(1)
    >>> old, noise = chance.normal(size=4000), chance.normal(size=4000)
    >>> kind_of(old, noise + 4.0), kind_of(old, noise + np.linspace(0.0, 4.0, 4000))
    ('abrupt', 'incremental')
    >>> kind_of(old, noise + 4.0 * (chance.random(4000) < np.linspace(0.0, 1.0, 4000)))
    'gradual'
    >>> kind_of(old, noise + 4.0 * (np.arange(4000) // 1000 % 2 == 0))
    'recurring'
    """
    if min(len(reference), len(since)) < BLOCKS:
        raise DriftError(f"expected at least {BLOCKS} values before and since, found {len(reference)} and {len(since)}")
    old = float(reference.mean())
    parts = np.array_split(since, BLOCKS)
    means = np.array([float(part.mean()) for part in parts])
    away = np.abs(means - old)
    new = float(np.median(means[away >= 0.6 * away.max()]))
    if new == old:
        return "incremental"
    way = (means - old) / (new - old)
    at_old, at_new = way < NEAR, way > 1.0 - NEAR
    tenth = max(1, BLOCKS // 10)
    reached = int(np.argmax(np.convolve(at_new, np.ones(tenth), "valid") == tenth))
    if int(np.count_nonzero(at_old[reached + tenth :])) >= tenth:
        return "recurring"
    if int(np.count_nonzero(~at_new)) <= QUICK * BLOCKS:
        return "abrupt"
    moving = [part for part, share in zip(parts, way, strict=True) if NEAR <= share <= 1.0 - NEAR]
    if not moving:
        return "incremental"
    extra = float(np.mean([part.var() for part in moving])) - float(reference.var())
    # A value of the new level with chance q varies by q (1 - q) of the squared distance more; at most a quarter.
    return "gradual" if extra > 0.1 * (new - old) ** 2 else "incremental"


SPREADS: Final = 5.0
"""Deviations of blocks before the alarm by which some after it must be away: else blocks cannot be told apart."""


def kind_since(before: Floats, since: Floats) -> str:
    """The kind of what an alarm was about, from the raw values of its signal; ``unclear`` where none can be told.

    Values are scaled by those before and bounded, so that no single one decides; what is not finite is left out. The
    drift begins where the cumulative sum towards the new level was lowest (Page, 1954).

    >>> chance = np.random.default_rng(1)
    >>> noise = chance.standard_t(3, size=4000)
    >>> kind_since(noise[:2000], noise[2000:] + 1.0), kind_since(noise[:2000], noise[2000:])
    ('abrupt', 'unclear')
    """
    before, since = before[np.isfinite(before)], since[np.isfinite(since)]
    if min(len(before), len(since)) < 2 * BLOCKS:
        return "unclear"
    centre = float(np.median(before))
    scale = float(np.mean(np.abs(before - centre))) or 1.0
    old, new = np.tanh((before - centre) / (2.0 * scale)), np.tanh((since - centre) / (2.0 * scale))
    towards = 1.0 if float(new.mean()) > float(old.mean()) else -1.0
    new = new[min(int(np.argmin(np.cumsum(towards * (new - old.mean())))) + 1, len(new) - 2 * BLOCKS) :]
    block = len(new) // BLOCKS
    usual = np.array([part.mean() for part in np.array_split(old, max(2, len(old) // block))])
    away = np.array([part.mean() for part in np.array_split(new, BLOCKS)]) - old.mean()
    if float(np.sort(np.abs(away))[-2]) < SPREADS * float(usual.std()):
        return "unclear"
    return kind_of(old, new)
