"""A champion whose word is traded on, and challengers that take its place when the evidence bears it.

All of them predict on every sample and are scored by the same labels. Of each pair a bet runs (betting.py) that the
challenger is better, on labels that do not overlap: neighbouring ones are nearly the same and would count twice.

``loss``  squared error of the champion less that of the challenger, bps²: with errors of one size, the gain in
          log-likelihood.
``net``   what following the challenger earned less what following the champion earned, after spread and fees, bps.

A challenger is promoted when its bet on the deciding measure reaches 1 / alpha, alpha shared among the challengers, and
no bet says that it is worse by the other measure. So in a reign in which none is better, one is wrongly promoted with a
chance of at most ``alpha``, however often it is looked at. Each reign begins anew. For ``probation`` labels after a
promotion the predecessor needs only ``rollback_alpha`` to come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from engine.core.drift_facts import Trial
from engine.core.records import AnyFact, Promoted, Signal
from engine.learn.betting import Bet
from engine.learn.contract import ModelError
from engine.learn.labels import Matured

MEASURES: Final = ("loss", "net")


class ContestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[contest]]``: ``name`` is what strategies listen to, ``champion`` who begins.

    ``alpha`` bounds the chance of a wrong promotion in a reign; ``by`` is the deciding measure; ``probation`` counts
    labels that do not overlap.
    """

    name: str
    symbol: str
    champion: str
    challengers: tuple[str, ...]
    horizon_ns: int
    alpha: float = 0.05
    by: Literal["loss", "net"] = "loss"
    rollback_alpha: float = 0.2
    probation: int = 600
    taker_fee_bps: float = 0.0

    def check(self) -> None:
        """Raise ``ModelError`` for what makes no contest."""
        names = (self.champion, *self.challengers)
        if not self.challengers or len(set(names)) != len(names):
            raise ModelError(f"contest {self.name}: expected a champion and other challengers, found {names}")
        if self.name in names:
            raise ModelError(f"contest {self.name}: expected a name of its own, found that of a model")


class Duel(msgspec.Struct):
    """One challenger against the champion of this reign: is it better, and is it worse, by each measure."""

    better: dict[str, Bet]
    worse: dict[str, Bet]

    @classmethod
    def new(cls) -> Duel:
        return cls({measure: Bet() for measure in MEASURES}, {measure: Bet() for measure in MEASURES})

    def update(self, differences: Mapping[str, float]) -> None:
        for measure, difference in differences.items():
            self.better[measure].update(difference)
            self.worse[measure].update(-difference)


class Contest:
    """One contest of a run. ``judged`` hears matured labels, model by model; ``decide`` says what follows."""

    def __init__(self, settings: ContestSettings) -> None:
        settings.check()
        self.settings = settings
        self.champion = settings.champion
        self.predecessor = ""
        self.reign = 1
        self.labels = 0  # of this reign, those that count
        self.promotions = self.rollbacks = 0
        self._duels = {name: Duel.new() for name in self.others}
        self._heard: dict[str, Matured] = {}
        self._counted_ns = -(1 << 62)

    @property
    def models(self) -> tuple[str, ...]:
        return (self.settings.champion, *self.settings.challengers)

    @property
    def others(self) -> tuple[str, ...]:
        """All but the champion."""
        return tuple(name for name in self.models if name != self.champion)

    def judged(self, model: str, matured: Matured) -> None:
        """A label of one of the models matured."""
        if matured.prediction is not None:
            self._heard[model] = matured

    def decide(self) -> list[AnyFact]:
        """Count the labels that came since the last time, and promote whom they bear."""
        heard, self._heard = self._heard, {}
        if self.champion not in heard:
            return []
        mine = heard[self.champion]
        if mine.sample_ns - self._counted_ns < self.settings.horizon_ns:
            return []
        self._counted_ns = mine.sample_ns
        self.labels += 1
        for name in self.others:
            theirs = heard.get(name)
            if theirs is not None and theirs.sample_ns == mine.sample_ns:
                self._duels[name].update(self._differences(mine, theirs))
        return self._promote()

    def _differences(self, mine: Matured, theirs: Matured) -> dict[str, float]:
        assert mine.prediction is not None
        assert theirs.prediction is not None
        loss = (mine.label - mine.prediction) ** 2 - (theirs.label - theirs.prediction) ** 2
        return {"loss": loss, "net": self._net(theirs) - self._net(mine)}

    def _net(self, one: Matured) -> float:
        """What following a prediction earned, bps of the mid; 0 where it was not worth its costs."""
        assert one.prediction is not None
        cost = one.spread_bps + 2.0 * self.settings.taker_fee_bps
        size = abs(one.prediction) * one.unit_bps if one.unit_bps is not None else 0.0
        if size <= cost:
            return 0.0
        return (one.move_bps if one.prediction > 0.0 else -one.move_bps) - cost

    def _promote(self) -> list[AnyFact]:
        settings, other = self.settings, "net" if self.settings.by == "loss" else "loss"
        for name in self.others:
            is_back = name == self.predecessor and self.labels <= settings.probation
            alpha = settings.rollback_alpha if is_back else settings.alpha / len(self.others)
            duel = self._duels[name]
            bet = duel.better[settings.by]
            if bet.wealth < 1.0 / alpha or duel.worse[other].wealth >= 1.0 / alpha:
                continue
            self.rollbacks += is_back
            return [self._crown(name, "rollback" if is_back else "evidence", bet, alpha)]
        return []

    def trials(self, model: str) -> list[Trial]:
        """How those stand against each other of whom ``model`` is one: champion and challengers."""
        by = self.settings.by
        needed = len(self.others) / self.settings.alpha
        found = []
        for name in self.others:
            if model not in (name, self.champion):
                continue
            duel = self._duels[name]
            better, worse = duel.better[by], duel.worse[by]
            verdict = "better so far" if better.mean > 0.0 else "worse so far" if better.mean < 0.0 else "alike so far"
            verdict = "refused" if worse.wealth >= needed else verdict
            found.append(
                Trial(
                    contest=self.settings.name,
                    symbol=self.settings.symbol,
                    model=name,
                    over=self.champion,
                    verdict=verdict,
                    by=by,
                    labels=better.count,
                    wealth=better.wealth,
                    worse=worse.wealth,
                    needed=needed,
                    advantage=better.mean,
                )
            )
        return found

    def crown(self, model: str) -> AnyFact:
        """Make a model the champion by a person's word.

        Raises:
            ModelError: it is not in this contest, or champion already.
        """
        if model not in self.others:
            raise ModelError(f"contest {self.settings.name}: expected one of {', '.join(self.others)}, found {model!r}")
        return self._crown(model, "command", self._duels[model].better[self.settings.by], 0.0)

    def roll_back(self) -> AnyFact:
        """Bring the predecessor back by a person's word.

        Raises:
            ModelError: there is none.
        """
        if not self.predecessor:
            raise ModelError(f"contest {self.settings.name}: expected a champion with a predecessor, found none yet")
        return self.crown(self.predecessor)

    def _crown(self, model: str, cause: str, bet: Bet, alpha: float) -> AnyFact:
        fact = Promoted(
            contest=self.settings.name,
            symbol=self.settings.symbol,
            model=model,
            over=self.champion,
            cause=cause,
            by=self.settings.by,
            labels=bet.count,
            wealth=bet.wealth,
            needed=1.0 / alpha if alpha else 0.0,
            advantage=bet.mean,
        )
        self.promotions += cause == "evidence"
        self.predecessor, self.champion = self.champion, model
        self.reign += 1
        self.labels = 0
        self._duels = {name: Duel.new() for name in self.others}
        return fact

    def spoken(self, facts: Sequence[AnyFact]) -> list[Signal]:
        """The champion's signals once more, under the name of the contest."""
        name, champion = self.settings.name, self.champion
        return [
            msgspec.structs.replace(fact, source=name, name=name + fact.name.removeprefix(champion))
            for fact in facts
            if isinstance(fact, Signal) and fact.source == champion
        ]

    def summary(self) -> dict[str, Any]:
        """The state of the contest as plain values."""
        by = self.settings.by
        return {
            "name": self.settings.name,
            "symbol": self.settings.symbol,
            "champion": self.champion,
            "predecessor": self.predecessor,
            "reign": self.reign,
            "labels": self.labels,
            "by": by,
            "promotions": self.promotions,
            "rollbacks": self.rollbacks,
            "challengers": [
                {
                    "model": name,
                    "wealth": duel.better[by].wealth,
                    "needed": len(self.others) / self.settings.alpha,
                    "advantage": duel.better[by].mean,
                    "worse": duel.worse[by].wealth,
                }
                for name, duel in self._duels.items()
            ],
        }
