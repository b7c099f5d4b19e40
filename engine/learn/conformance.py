"""The rules that every model keeps, each as a card that passes or says what it found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec
import numpy as np

from engine.core.conformance import CardFailed, CardResult, run_cards
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, TrainJob

NAMES = tuple(f"feature_{number}" for number in range(8))
ROWS = 600


class Subject:
    """A model class and a small world whose label follows two of eight features."""

    def __init__(self, cls: type[Model]) -> None:
        self.cls = cls
        self.settings = ModelSettings(
            name="subject", symbol="test:X", window_rows=ROWS, min_rows=64, hidden=(8,), epochs=5, patience=2
        )
        chance = np.random.default_rng(7)
        self.x = chance.normal(size=(ROWS, len(NAMES)))
        self.y = 2.0 * self.x[:, 0] - self.x[:, 3] + 0.1 * chance.normal(size=ROWS)

    def make(self) -> Model:
        return self.cls(self.settings, NAMES)

    def ready(self) -> Model:
        """A model that has learned all rows, or was trained on them."""
        model = self.make()
        if self.cls.trains:
            model.swap(self.payload, "features")
        else:
            for x, y in zip(self.x, self.y, strict=True):
                model.learn_one(x.copy(), float(y))
        return model

    def job(self) -> TrainJob:
        return TrainJob(
            settings=self.settings,
            features="features",
            names=NAMES,
            times_ns=np.arange(ROWS, dtype=np.int64) * self.settings.every_ns,
            x=self.x.astype(np.float32),
            y=self.y.copy(),
            seed=7,
        )

    @cached_property
    def payload(self) -> bytes:
        return self.cls.fit(self.job())

    def answers(self, model: Model) -> list[float | None]:
        return [model.predict_one(x.copy()) for x in self.x[:32]]


def _says_what_it_does(subject: Subject) -> None:
    if not (subject.cls.__dict__.get("__doc__") or "").strip():
        raise CardFailed(f"expected a docstring on {subject.cls.__name__}, found none: say what it predicts and how")


def _is_modest_at_birth(subject: Subject) -> None:
    for answer in subject.answers(subject.make()):
        if answer is not None and not np.isfinite(answer):
            raise CardFailed(f"expected None or a finite number before anything was learned, found {answer}")


def _predicts_without_a_trace(subject: Subject) -> None:
    model = subject.ready()
    x: Vector = subject.x[0].copy()
    before = model.save()
    first, second = model.predict_one(x), model.predict_one(x)
    if first is None or first != second or not np.isfinite(first):
        raise CardFailed(f"expected the same finite answer twice, found {first} and {second}")
    if not np.array_equal(x, subject.x[0]):
        raise CardFailed("expected the features untouched, found them changed by predict_one")
    if msgspec.msgpack.encode(before) != msgspec.msgpack.encode(model.save()):
        raise CardFailed("expected predict_one to change nothing, found another state after it")


def _is_deterministic(subject: Subject) -> None:
    if subject.answers(subject.ready()) != subject.answers(subject.ready()):
        raise CardFailed("expected equal answers from equal lessons, found others: take chance from settings.seed")


def _survives_save_and_load(subject: Subject) -> None:
    model, fresh = subject.ready(), subject.make()
    fresh.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    if subject.answers(model) != subject.answers(fresh):
        raise CardFailed("expected the same answers after load(save()) through msgpack, found others: save all state")


def _trains_the_same_bytes(subject: Subject) -> None:
    if not subject.cls.trains:
        return
    if subject.cls.fit(subject.job()) != subject.payload:
        raise CardFailed("expected equal payloads from equal jobs, found others: seed every source of chance")


def _refuses_a_bad_payload(subject: Subject) -> None:
    model = subject.ready()
    before = subject.answers(model)
    for payload in (b"", b"not a model", subject.payload[: len(subject.payload) // 2] if subject.cls.trains else b"x"):
        try:
            model.swap(payload, "features")
        except ModelError:
            continue
        raise CardFailed(f"expected ModelError for a payload of {len(payload)} wrong bytes, found it taken")
    if subject.answers(model) != before:
        raise CardFailed("expected the old answers after a refused payload, found others")


def _scores_finitely(subject: Subject) -> None:
    score = subject.make().score(1.5, -0.5)
    if not np.isfinite(score):
        raise CardFailed(f"expected a finite score, found {score}")


CARDS: tuple[tuple[str, str, Callable[[Subject], None]], ...] = (
    ("M10", "says in a docstring what it predicts", _says_what_it_does),
    ("M20", "answers nothing, or something finite, before it learned", _is_modest_at_birth),
    ("M30", "predicts without changing itself or its input", _predicts_without_a_trace),
    ("M40", "answers the same after the same lessons", _is_deterministic),
    ("M50", "answers the same after save and load as plain values", _survives_save_and_load),
    ("M60", "trains the same bytes from the same job", _trains_the_same_bytes),
    ("M70", "refuses a payload that is no model, and answers on", _refuses_a_bad_payload),
    ("M80", "scores with a finite number", _scores_finitely),
)
"""Every card by number; the numbers leave room between."""


def check_model(cls: type[Model]) -> list[CardResult]:
    """Run every card on a model class."""
    subject = Subject(cls)
    return run_cards(subject, CARDS)
