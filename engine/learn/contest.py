"""A champion whose word is traded on, and challengers that take its place when the evidence bears it.

All of them predict on every sample and are scored by the same labels. Of each pair a bet runs (betting.py) that the
challenger is better, on labels that do not overlap: neighbouring ones are nearly the same and would count twice.

``loss``  squared error of the champion less that of the challenger, bps²: with errors of one size, the gain in
          log-likelihood.
``net``   what following the challenger earned less what following the champion earned, after spread and fees, bps.
``account``  what the challenger's shadow account (shadows.py) gained in a period of the horizon less what the
          champion's did, in the currency that the symbol settles in. Where both gained the same nothing is said.

A challenger is promoted when its bet on the deciding measure reaches 1 / alpha, alpha shared among the challengers, and
no bet says that it is worse by the other one (``net`` beside ``loss``, else ``loss``). So in a reign in which none is
better, one is wrongly promoted with a chance of at most ``alpha``, however often it is looked at. Each reign begins
anew. For ``probation`` labels after a promotion the predecessor needs only ``rollback_alpha`` to come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from engine.core.account.money import to_text
from engine.core.drift_facts import Trial
from engine.core.records import AnyFact, Promoted, ShadowAccount, Signal
from engine.learn.betting import Bet
from engine.learn.contract import ModelError
from engine.learn.labels import Matured

MEASURES: Final = ("loss", "net", "account")

VETO: Final = {"loss": "net", "net": "loss", "account": "loss"}
"""By the deciding measure: the one by which a challenger must not be worse."""

ONE: Final = 10**30
"""A unit of a currency, in the amounts of the accounts."""


class ContestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[contest]]``: ``name`` is what strategies listen to, ``champion`` who begins.

    ``alpha`` bounds the chance of a wrong promotion in a reign; ``by`` is the deciding measure; ``probation`` counts
    labels that do not overlap, or periods where ``by`` is ``account``. ``accounts``: each model trades in a shadow
    account.
    """

    name: str
    symbol: str
    champion: str
    challengers: tuple[str, ...]
    horizon_ns: int
    alpha: float = 0.05
    by: Literal["loss", "net", "account"] = "loss"
    accounts: bool = False
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
        if self.by == "account" and not self.accounts:
            raise ModelError(f'contest {self.name}: by = "account": expected accounts = true, found none kept')


class Duel(msgspec.Struct):
    """One challenger against the champion of this reign: is it better, and is it worse, by each measure."""

    better: dict[str, Bet]
    worse: dict[str, Bet]

    @classmethod
    def new(cls) -> Duel:
        better, worse = ({name: Bet(carries=name == "account") for name in MEASURES} for _ in range(2))
        return cls(better, worse)

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
        self.periods = 0  # of this reign, those in which accounts were compared
        self.promotions = self.rollbacks = 0
        self.currency = ""  # of the accounts
        self.worth = dict.fromkeys(self.models, 0) if settings.accounts else {}  # gained so far, at 1e-30
        self.out: dict[str, str] = {}  # whose account may not trade, and why
        self._crowned = dict(self.worth)  # what they had gained when this reign began
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
        return self._promote() if self.settings.by != "account" else []

    def accounted(self, worth: Mapping[str, int | None], currency: str, out: Mapping[str, str]) -> list[AnyFact]:
        """A period of the accounts ended: compare what they gained in it, and promote whom that bears.

        ``worth``: by model, what its account gained since the start, at 1e-30 of ``currency``; None where no price
        tells. ``out``: whose account may not trade, and why (halted, a strategy stopped): as long as it is so, nothing
        speaks for it.
        """
        self.currency = currency
        known = {model: value for model, value in worth.items() if value is not None}
        gained = {model: value - self.worth[model] for model, value in known.items()}
        settings = self.settings
        facts: list[AnyFact] = [
            ShadowAccount(settings.name, settings.symbol, model, currency, to_text(known[model]))
            for model, change in gained.items()
            if change
        ]
        self.worth.update(known)
        if self.champion in gained:
            self.periods += 1
            for name in self.others:
                if name in gained and name not in self.out and gained[name] != gained[self.champion]:
                    self._duels[name].update({"account": (gained[name] - gained[self.champion]) / ONE})
        self.out = dict(out)
        return facts + self._promote() if settings.by == "account" else facts

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
        settings, other = self.settings, VETO[self.settings.by]
        judged = self.periods if settings.by == "account" else self.labels
        for name in self.others:
            if name in self.out:
                continue
            is_back = name == self.predecessor and judged <= settings.probation
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
            gained=self._gained(model),
            over_gained=self._gained(self.champion),
            currency=self.currency,
        )
        self.promotions += cause == "evidence"
        self.predecessor, self.champion = self.champion, model
        self.reign += 1
        self.labels = self.periods = 0
        self._crowned = dict(self.worth)
        self._duels = {name: Duel.new() for name in self.others}
        return fact

    def _gained(self, model: str) -> str:
        """What a model's account gained in this reign; exact text, empty where no accounts are kept."""
        return to_text(self.worth[model] - self._crowned[model]) if self.settings.accounts else ""

    def spoken(self, facts: Sequence[AnyFact], model: str | None = None) -> list[Signal]:
        """The champion's signals, or a named model's, once more under the name of the contest."""
        name, speaker = self.settings.name, model or self.champion
        return [
            msgspec.structs.replace(fact, source=name, name=name + fact.name.removeprefix(speaker))
            for fact in facts
            if isinstance(fact, Signal) and fact.source == speaker
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
            "periods": self.periods,
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
            "accounts": [
                {
                    "model": name,
                    "currency": self.currency,
                    "gained": to_text(worth),
                    "in_reign": self._gained(name),
                    "out": self.out.get(name, ""),
                }
                for name, worth in self.worth.items()
            ],
        }
