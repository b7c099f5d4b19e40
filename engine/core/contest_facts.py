"""Facts of contests between models: who speaks from here on, and what each model's shadow account gained."""

from __future__ import annotations

from engine.core.order_facts import Fact


class Promoted(Fact, frozen=True, tag=True, omit_defaults=True):
    """From here on a contest speaks with the words of ``model`` instead of those of ``over``.

    ``cause``: ``evidence``, ``rollback`` or ``command``. ``wealth`` of the bet that it is better ``by`` the measure,
    after ``labels`` that do not overlap (``account``: periods in which the accounts differed), and what was ``needed``;
    ``advantage``: its mean, bps² of squared error (``loss``), bps a label (``net``) or ``currency`` a period.
    ``gained`` and ``over_gained``: what both shadow accounts gained in the reign that ends; exact decimal text, empty
    where none are kept.
    """

    contest: str
    symbol: str
    model: str
    over: str
    cause: str
    by: str
    labels: int
    wealth: float
    needed: float
    advantage: float
    gained: str = ""
    over_gained: str = ""
    currency: str = ""


class ShadowAccount(Fact, frozen=True, tag=True):
    """What a model's shadow account in a contest gained since the start: realised, open, fees and carry together.

    Exact decimal text in ``currency`` at the mids now; told at the end of a period in which it changed.
    """

    contest: str
    symbol: str
    model: str
    currency: str
    gained: str
