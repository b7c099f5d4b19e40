"""The experts of an ensemble, each behind a wall: what one raises or refuses is counted, and the others go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from engine.features.set import Vector
from engine.learn.contract import ModelError, ModelSettings, model_class
from engine.learn.ensemble import parcel
from engine.learn.ensemble.bagging import Bag, ExpertOptions, job_of
from engine.learn.jobs import TrainJob

SILENCE_NAME = "zero"


class Answers(msgspec.Struct, frozen=True):
    """What was said of one sample, silence first: nan where an expert said nothing, and how far a bag is apart.

    ``raised`` are the numbers of the experts that raised, with what they raised.
    """

    said: Vector
    variances: Vector
    raised: dict[int, str]


class Panel:
    """Experts side by side; ``counts`` says how often each was silent, raised, or refused its training.

    >>> told = [ExpertOptions("momentum", "momentum"), ExpertOptions("last", "last")]
    >>> panel = Panel(told, ModelSettings(name="e", symbol="v:X"), ["return_1s_bps"], 1)
    >>> answers = panel.ask(np.array([2.0]))
    >>> panel.keep(answers)
    >>> panel.names, answers.said.tolist(), panel.counts
    (('zero', 'momentum', 'last'), [0.0, 2.0, nan], {'last silent': 1})
    """

    def __init__(
        self, told: Sequence[ExpertOptions], settings: ModelSettings, names: Sequence[str], overlap: int
    ) -> None:
        self.bags = [Bag(one, settings, names, overlap) for one in told]
        self.names = (SILENCE_NAME, *(one.name for one in self.bags))
        self.counts: dict[str, int] = {}
        self.refusals: dict[str, str] = {}  # of the last payload, by expert
        self.raised: dict[str, str] = {}  # the last one of each expert

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_trained(self) -> bool:
        """Whether any expert wants trainings."""
        return any(one.is_trained for one in self.bags)

    def ask(self, x: Vector) -> Answers:
        """What each says; nothing is changed by it."""
        said, variances = np.zeros(len(self)), np.zeros(len(self))
        raised: dict[int, str] = {}
        for i, bag in enumerate(self.bags, 1):
            try:
                said[i], variances[i] = bag.speak(x)
            except Exception as error:  # noqa: BLE001 - the wall to users' code; the next sample asks it again
                said[i] = math.nan
                raised[i] = f"{type(error).__name__}: {error}"
        return Answers(said, variances, raised)

    def keep(self, answers: Answers) -> None:
        """Count who was silent or raised in a sample that was taken."""
        for i in np.flatnonzero(np.isnan(answers.said)).tolist():
            name = self.names[i]
            if i in answers.raised:
                self._count(f"{name} raised")
                self.raised[name] = answers.raised[i]
            else:
                self._count(f"{name} silent")

    def observe(self, x: Vector) -> None:
        """A sample was taken."""
        for bag in self.bags:
            try:
                bag.observe(x)
            except Exception as error:  # noqa: BLE001 - the wall to users' code
                self._wrong(bag, error)

    def learn(self, x: Vector, y: float) -> None:
        """Let each expert learn a label."""
        for bag in self.bags:
            try:
                bag.learn(x, y)
            except Exception as error:  # noqa: BLE001 - the wall to users' code
                self._wrong(bag, error)

    def _wrong(self, bag: Bag, error: Exception) -> None:
        self._count(f"{bag.name} raised")
        self.raised[bag.name] = f"{type(error).__name__}: {error}"

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def swap(self, payload: bytes, features: str) -> None:
        """Hand each expert its training; who refuses goes on as before, and is in ``refusals``.

        Raises:
            ModelError: no expert could take any.
        """
        entries = {(entry.expert, entry.member): entry for entry in parcel.unpack(payload)}
        refusals: dict[str, str] = {}
        taken = 0
        for bag in self.bags:
            for number, member in enumerate(bag.members if bag.is_trained else ()):
                who = bag.name if len(bag.members) == 1 else f"{bag.name} {number}"
                try:
                    if (bag.name, number) not in entries:
                        raise ModelError("expected a training of it in the payload, found none")
                    member.swap(parcel.payload_of(entries[bag.name, number]), features)
                    taken += 1
                except Exception as error:  # noqa: BLE001 - the wall to users' code; our own raise ModelError
                    told = str(error) if isinstance(error, ModelError) else f"it raised {type(error).__name__}: {error}"
                    refusals[who] = told
        if not taken:
            raise ModelError(said_of(refusals) or "no expert of this ensemble is trained beside the run")
        self.refusals = refusals
        for who in refusals:
            self._count(f"{who} refused")

    def contained(self) -> dict[str, int]:
        """The counts, and what each expert had to contain."""
        inner = {f"{bag.name} {kind}": n for bag in self.bags for kind, n in bag.contained().items() if n}
        return self.counts | inner

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "bags": {bag.name: bag.save() for bag in self.bags},
            "counts": dict(self.counts),
            "refusals": dict(self.refusals),
            "raised": dict(self.raised),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of the same experts gave."""
        names = [bag.name for bag in self.bags]
        if list(state["bags"]) != names:
            raise ModelError(
                f"saved experts: expected {', '.join(names)}, found {', '.join(state['bags'])}: saved with other "
                "options; start without it"
            )
        for bag in self.bags:
            bag.load(state["bags"][bag.name])
        self.counts, self.refusals = dict(state["counts"]), dict(state["refusals"])
        self.raised = dict(state["raised"])


def said_of(refusals: dict[str, str]) -> str:
    """Refusals in one line."""
    return "; ".join(f"{who}: {told}" for who, told in refusals.items())


def fit_all(job: TrainJob, told: Iterable[ExpertOptions]) -> bytes:
    """Train each expert that is trained beside the run, one after the other, on the same window.

    Raises:
        ModelError: all trainings failed.
    """
    entries: list[parcel.Entry] = []
    for one in told:
        for member in range(one.bag or 1):
            mine = job_of(job, one, member)
            kind = model_class(one.use)
            if not (kind.trains and kind(mine.settings, job.names).is_trained):
                break
            try:
                entries.append(parcel.trained(one.name, member, kind.fit(mine)))
            except Exception as error:  # noqa: BLE001 - the wall to users' code; the others are trained all the same
                why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
                entries.append(parcel.failed(one.name, member, why))
    if entries and all(entry.why for entry in entries):
        raise ModelError(said_of({f"{entry.expert} {entry.member}": entry.why for entry in entries}))
    return parcel.pack(entries)
