"""Regimes that a model has lived in, remembered as its states, and which of them has come back.

While all is well a copy of the model is kept from some time ago. An alarm says that its regime has ended: the copy is
kept as that regime's specialist, and all specialists are put to the test beside the model, unheard, on the labels that
follow. If one of them loses less than what the model makes of it, its regime has come back and it takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from engine.features.set import Vector
from engine.learn.contract import Model
from engine.learn.labels import Matured

MOST: Final = 4
"""Regimes that are remembered; the one not lived in for longest is forgotten."""

TRIAL: Final = 300
"""Labels after an alarm on which specialists are judged."""

EACH: Final = 1000
"""Labels from one copy of the model to the next: the one kept is one to two times as old, from before the drift."""


class Verdict(msgspec.Struct):
    """After an alarm: the regime by number, and the model that answers in it where it is a known one."""

    regime: int
    model: Model | None
    labels: int
    loss: float
    live: float


class Regimes:
    """The specialists of one model; ``make`` gives a new model of the same settings.

    ``said`` keeps what each said of samples whose label is not known yet.
    """

    def __init__(self, make: Callable[[], Model]) -> None:
        self.regime = 0
        self.known: dict[int, dict[str, Any]] = {}  # by regime, the one lived in last is the last
        self._make = make
        self._found = 1  # regimes so far
        self._copies: list[dict[str, Any]] = []  # of the model as it was, oldest first, at most two
        self._since = 0  # labels since the newest copy
        self._tried: dict[int, Model] = {}
        self._said: dict[int, dict[int, float]] = {}
        self._lost: dict[int, float] = {}
        self._live = 0.0
        self._labels = 0

    @property
    def is_trying(self) -> bool:
        """Whether specialists are put to the test."""
        return bool(self._tried)

    def ended(self, model: Model) -> None:
        """An alarm: the regime of ``model`` has ended, and all that are known are candidates for the next."""
        self.known.pop(self.regime, None)
        self.known[self.regime] = self._copies[0] if self._copies else model.save()
        while len(self.known) > MOST:
            del self.known[next(iter(self.known))]
        self._copies, self._since = [], 0
        self._tried = {regime: self._made(state) for regime, state in self.known.items()}
        self._said = {}
        self._lost = dict.fromkeys(self._tried, 0.0)
        self._live, self._labels = 0.0, 0

    def sampled(self, sample: int, x: Vector, room: int) -> None:
        """A sample was taken; ``room`` is how many may wait for their labels."""
        if not self._tried:
            return
        words = {}
        for regime, one in self._tried.items():
            said = one.predict_one(x)
            one.observe_one(x)
            words[regime] = said if said is not None and abs(said) < 1e9 else 0.0
        self._said[sample] = words
        while len(self._said) > room:
            del self._said[next(iter(self._said))]

    def judged(self, model: Model, matured: Matured, teach: Callable[[Model, Matured], None]) -> Verdict | None:
        """One label came; the verdict where the test has ended."""
        if not self._tried:
            self._since += 1
            if self._since >= EACH:
                self._copies, self._since = [*self._copies, model.save()][-2:], 0
            return None
        words = self._said.pop(matured.id, None)
        if words is not None:
            live = 0.0 if matured.prediction is None else max(-1e9, min(1e9, matured.prediction))
            self._labels += 1
            self._live += (matured.label - live) ** 2
            for regime, said in words.items():
                self._lost[regime] += (matured.label - said) ** 2
        if self._labels >= TRIAL:
            return self._verdict()  # who takes over learns this label as the model
        for one in self._tried.values():
            teach(one, matured)
        return None

    def _verdict(self) -> Verdict:
        best = min(self._lost, key=lambda regime: self._lost[regime])
        found = self._tried[best] if self._lost[best] < self._live else None
        if found is None:
            self.regime, self._found = self._found, self._found + 1
        else:
            self.regime = best
        verdict = Verdict(self.regime, found, self._labels, self._lost[best], self._live)
        self._tried, self._said = {}, {}
        return verdict

    def _made(self, state: dict[str, Any]) -> Model:
        model = self._make()
        model.load(state)
        return model

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "known": list(self.known.items()),
            "tried": [(regime, one.save()) for regime, one in self._tried.items()],
            "said": [(sample, list(words.items())) for sample, words in self._said.items()],
            "lost": list(self._lost.items()),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave."""
        self.known = dict(state["known"])
        self._tried = {regime: self._made(one) for regime, one in state["tried"]}
        self._said = {sample: dict(words) for sample, words in state["said"]}
        self._lost = dict(state["lost"])
        for name in _PLAIN:
            setattr(self, name, state[name])


_PLAIN: Final = ("regime", "_found", "_copies", "_since", "_live", "_labels")
