"""Whether the market has turned round: all that was learned holds with its sign changed.

After such a turn a regression has to forget before it can learn: thousands of labels. Yet nothing that it knows is
wrong but the sign, so the sign is watched by itself. Each label is evidence for the words as they were spoken or for
their opposites; the logarithm of the likelihood ratio of the two, of a word ``m`` and a label ``t`` in units of its
deviation, is 2 m t. Their sum falls from its top by ``TURNS_AT`` only where the opposites have told the labels better
for a while (Page, "Continuous inspection schemes", Biometrika 1954). From then on the model says the opposite and
learns from labels with the opposite sign, so that what it knew is kept; the sum begins anew, and may turn back.

Two things keep noise out. A label counts at most as ``LABEL_BOUND`` deviations of the labels of late where these are
larger than usual: in a storm every label would weigh as much as ten. And words that never earned ``PROVEN_AT`` say
too little to be turned round: whether such a turn was right would take longer to learn than a market lasts.
"""

from __future__ import annotations

from typing import Final

from engine.core.jit import inlined
from engine.features.set import Vector

TURNS_AT: Final = 10.0  # nats: the opposites were e^10 times likelier
PROVEN_AT: Final = 20.0  # nats earned since the last turn, at the top
LABEL_BOUND: Final = 2.0  # root mean squares
MEMORY: Final = 50.0  # labels that do not overlap, of their deviation of late

# Where it keeps: the sign, what words earned since the last turn, the top of that, how far it has fallen from the top,
# the mean square of labels of late in that of all, and how often it has turned.
(SIGN, EARNED, TOP, FALLEN, LATE, TURNS) = range(6)
SINGLES: Final = 6


def begin(kept: Vector) -> None:
    """Know nothing: as the prior says, in a market as usual."""
    kept[:] = 0.0
    kept[SIGN] = kept[LATE] = 1.0


@inlined
def heed(word: float, target: float, weight: float, kept: Vector) -> None:
    """Take a label with what was said of it before the sign, both in root mean squares; ``target`` has the sign of now.

    ``weight`` says how much of a label that overlaps others is new.
    """
    bounded = min(max(target, -LABEL_BOUND), LABEL_BOUND)
    gain = 2.0 * weight * word * bounded / max(1.0, kept[LATE])
    kept[LATE] += weight * (target * target - kept[LATE]) / MEMORY
    kept[EARNED] += gain
    kept[TOP] = max(kept[TOP], kept[EARNED])
    kept[FALLEN] = max(0.0, kept[FALLEN] - gain)
    if kept[FALLEN] >= TURNS_AT and kept[TOP] >= PROVEN_AT:
        kept[SIGN] = -kept[SIGN]
        kept[TURNS] += 1.0
        kept[EARNED] = kept[TOP] = kept[FALLEN] = 0.0
