"""How sure we are of a fill: one word for each, decided when it came and again when later prints settled it.

The words come from what a real order would have needed. Liquidity that stood there to be taken, a print through the
price, the other side's display at the price: each of them means that nobody was left in front, so the fill is
*certain*. So it is where even the pessimistic twin (everybody displayed stays in front of us) had it. Anything else
rests on a model of who left the queue: *likely* where the model gives it at least ``LIKELY_FROM`` per mille,
*ambiguous* below that and wherever the book was in doubt while the order rested.
"""

from __future__ import annotations

from typing import Final

from engine.core.queues.queue_samples import SURE
from engine.core.state import SAMPLES
from engine.core.venue.resting import ASSUMED, CROSSED, TAKEN, THROUGH

CERTAIN: Final = "certain"
LIKELY: Final = "likely"
AMBIGUOUS: Final = "ambiguous"
UNSEEN: Final = "assumed"
"""Of a fill that nobody saw: judged afterwards by what traded while the daemon was away (see desk/missed.py). It stands
apart from the grades, for no queue was watched, and does not count in the score."""

GRADES: Final = (CERTAIN, LIKELY, AMBIGUOUS)
"""Every grade, the surest first."""

CAUSES: Final = ("taken", "at_price", "through", "crossed", "beyond", UNSEEN)
"""Why a fill came, as words by number (see resting.py)."""

SURE_CAUSES: Final = frozenset({TAKEN, THROUGH, CROSSED})

LIKELY_FROM: Final = 950
"""The least chance, per mille, of a fill that is called likely."""

BACK, PASSED, LEFT, DOUBT, GONE = "back", "passed", "left", "doubt", "gone"
"""Why a fill is spoken of again: the pessimistic twin filled too; the other side's quote reached the price; the market
left the price behind and nothing supports the fill; the book fell in doubt before anything did; the order was cancelled
before its level answered the print."""

REASONS: Final = (BACK, PASSED, LEFT, DOUBT, GONE)


def grade(cause: int, chance: int, back_filled: bool, *, is_unsure: bool = False, is_leaving: bool = False) -> str:
    """The grade of a fill as it comes; ``chance`` per mille, ``is_unsure``: the book had a gap while the order rested.

    ``is_leaving``: a cancel of the order was on its way. Where it arrives before the level answers the print, the fill
    seldom was: on the ES recording none of 29 that even the pessimist had. So such a fill starts as likely at most.

    >>> grade(THROUGH, 400, False), grade(1, 970, False), grade(1, 400, False)
    ('certain', 'likely', 'ambiguous')
    >>> grade(1, 400, True), grade(THROUGH, 1000, True, is_unsure=True)
    ('certain', 'ambiguous')
    >>> grade(1, 1000, True, is_leaving=True)
    'likely'
    """
    if cause == TAKEN:
        return CERTAIN
    if cause == ASSUMED:
        return UNSEEN
    if is_unsure:
        return AMBIGUOUS
    if cause in SURE_CAUSES or (back_filled and not is_leaving):
        return CERTAIN
    return LIKELY if chance >= LIKELY_FROM else AMBIGUOUS


def last_grade(cause: int, chance: int, back_filled: bool, is_answered: bool, reached: int) -> str:
    """The grade of a fill when what follows it at once is known, as ghosts know it a second later.

    ``chance``: as it came. ``back_filled``: by now the pessimist has it too. ``is_answered``: the level spoke after the
    print and the order was still there. ``reached``: the possible places that prints reached (see queue_samples.py).
    On the four recordings of real orders .9998 of 6,009 certain fills happened, .988 of 768 likely ones and .75 of 502
    ambiguous ones. An order that was gone before its level answered the print seldom had the fill: exchanges take a
    cancel, such as that of an owner who would else trade with himself, and the print in one event.

    >>> last_grade(1, SURE, True, True, 16), last_grade(1, 930, False, True, 16), last_grade(1, SURE, True, False, 16)
    ('certain', 'likely', 'ambiguous')
    """
    if cause in SURE_CAUSES:
        return CERTAIN
    if not is_answered:
        return AMBIGUOUS
    if chance >= SURE:
        return CERTAIN
    return LIKELY if back_filled or reached == SAMPLES else AMBIGUOUS


def regrade(before: str, reason: str) -> str:
    """The grade after something spoke for or against the fill; as in ``last_grade``, nothing later makes it certain.

    >>> [regrade("ambiguous", reason) for reason in REASONS]
    ['likely', 'likely', 'ambiguous', 'ambiguous', 'ambiguous']
    >>> regrade("likely", "left"), regrade("likely", "doubt"), regrade("certain", "gone")
    ('likely', 'ambiguous', 'ambiguous')
    """
    if reason in (BACK, PASSED):
        return LIKELY if before == AMBIGUOUS else before
    return before if reason == LEFT else AMBIGUOUS


__all__ = [
    "AMBIGUOUS",
    "BACK",
    "CAUSES",
    "CERTAIN",
    "DOUBT",
    "GONE",
    "GRADES",
    "LEFT",
    "LIKELY",
    "LIKELY_FROM",
    "PASSED",
    "REASONS",
    "SURE_CAUSES",
    "UNSEEN",
    "grade",
    "last_grade",
    "regrade",
]
