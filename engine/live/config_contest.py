"""``[[contest]]``: whose word is traded on, who may take its place, and on what evidence."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.live.config_section import Section


class ContestSection(Section):
    """Strategies listen to ``name``; ``champion`` speaks for it until one of the ``challengers`` is better.

    All of them are names of ``[[model]]`` with the same symbol, label, horizon and ``every``; ``symbol = "*"`` makes a
    contest a symbol, named ``NAME@VENUE:SYMBOL`` as the models are. ``alpha`` is the chance of a wrong promotion in one
    reign, however often one looks. ``by``: ``loss`` (squared error) or ``net`` (profit after costs) decides, and the
    other must not speak against it; ``account`` decides by what the models' shadow accounts gain, and ``loss`` must not
    speak against it. ``accounts``: each model trades in a paper account of its own, with the strategies that listen to
    the contest; each costs about what the run's own engine does. For ``probation`` labels that do not overlap
    (``account``: periods of the horizon) the predecessor comes back on ``rollback_alpha``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9._@:-]+$")
    symbol: str = "*"
    champion: str
    challengers: list[str] = Field(min_length=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    by: Literal["loss", "net", "account"] = "loss"
    accounts: bool = False
    rollback_alpha: float = Field(default=0.2, gt=0, lt=1)
    probation: int = Field(default=600, ge=0)
