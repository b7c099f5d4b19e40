"""The rules that every model keeps, each as a card that passes or says what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import msgspec
import numpy as np

from engine.core.conformance import CardFailed, CardResult, run_cards
from engine.features.families import select
from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT, Model, ModelError, ModelSettings
from engine.learn.jobs import TrainJob

ROWS = 600


class Subject:
    """A model class and a small world whose label follows two features of the set that the class reads by default."""

    def __init__(self, cls: type[Model], use: str = "") -> None:
        self.cls = cls
        chosen = select(cls.features)
        every = [name for family in chosen.families for name in family.names]
        self.names = tuple(every[column] for column in chosen.columns)
        self.settings = ModelSettings(
            name="subject",
            use=use or cls.__name__,
            symbol="test:X",
            window_rows=ROWS,
            min_rows=64,
            hidden=(8,),
            epochs=5,
            patience=2,
        )
        chance = np.random.default_rng(7)
        self.x = chance.normal(size=(ROWS, len(self.names)))
        self.y = 2.0 * self.x[:, 0] - self.x[:, 3] + 0.1 * chance.normal(size=ROWS)

    def make(self) -> Model:
        return self.cls(self.settings, self.names)

    def ready(self) -> Model:
        """A model that has learned all rows, or was trained on them."""
        return self._taught(ROWS)

    def half(self) -> Model:
        """A model in the middle of its rows, or trained on them all."""
        return self._taught(ROWS // 2)

    def _taught(self, rows: int) -> Model:
        model = self.make()
        if self.cls.trains:
            model.swap(self.payload, "features")
        for x, y in zip(self.x[:rows], self.y.tolist(), strict=False):
            model.observe_one(x.copy())
            model.learn_one(x.copy(), y)
        return model

    def job(self) -> TrainJob:
        return TrainJob(
            settings=self.settings,
            features="features",
            names=self.names,
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


def _goes_on_the_same_after_load(subject: Subject) -> None:
    model, fresh, half = subject.half(), subject.make(), len(subject.x) // 2
    fresh.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    for x, y in zip(subject.x[half:], subject.y[half:].tolist(), strict=True):
        for one in (model, fresh):
            one.observe_one(x.copy())
            one.learn_one(x.copy(), y)
        first, second = model.predict_one(x), fresh.predict_one(x)
        if first != second:
            raise CardFailed(f"expected the loaded model to go on as the saved one, found {second} beside {first}")


def _contains_bad_input(subject: Subject) -> None:
    model = subject.half()
    for x, y in _spoilt(subject):
        answer = model.predict_one(x.copy())
        if answer is not None and not abs(answer) <= LABEL_LIMIT:
            raise CardFailed(f"expected None or at most {LABEL_LIMIT} bps in either direction, found {answer}")
        model.observe_one(x.copy())
        model.learn_one(x.copy(), y)
    # Rows as they were before: what answered then must answer again, and with numbers that a market could show.
    half = len(subject.x) // 2
    for x, y in zip(subject.x[half:], subject.y[half:].tolist(), strict=True):
        model.observe_one(x.copy())
        model.learn_one(x.copy(), y)
    for answer in subject.answers(model):
        if answer is None or not abs(answer) <= LABEL_LIMIT:
            raise CardFailed(f"expected an answer of at most {LABEL_LIMIT} bps after bad rows, found {answer}")


def _spoilt(subject: Subject) -> Iterator[tuple[Vector, float]]:
    """Rows that a broken feed or feature may give, with labels that are no better."""
    width = len(subject.names)
    for number, value in enumerate((np.nan, np.inf, -np.inf, 1e300, -1e300, 1e30, 0.0, 1e-300)):
        yield np.full(width, value), 1.0
        row = subject.x[number].copy()
        row[number % width] = value
        yield row, -1.0
    for label in (np.nan, np.inf, -np.inf, 1e300, -1e18, 0.0):
        yield subject.x[0].copy(), label
    for number in range(200):  # a feed that stands still
        yield np.full(width, 7.0), 0.0 if number % 2 else 1e-9
    for power in range(60):  # a feature that explodes
        row = subject.x[power].copy()
        row[power % width] = 10.0 ** (5 * power)
        yield row, subject.y[power].item()


CARDS: tuple[tuple[str, str, Callable[[Subject], None]], ...] = (
    ("M10", "says in a docstring what it predicts", _says_what_it_does),
    ("M20", "answers nothing, or something finite, before it learned", _is_modest_at_birth),
    ("M30", "predicts without changing itself or its input", _predicts_without_a_trace),
    ("M40", "answers the same after the same lessons", _is_deterministic),
    ("M50", "answers the same after save and load as plain values", _survives_save_and_load),
    ("M55", "goes on the same after save and load in the middle", _goes_on_the_same_after_load),
    ("M60", "trains the same bytes from the same job", _trains_the_same_bytes),
    ("M70", "refuses a payload that is no model, and answers on", _refuses_a_bad_payload),
    ("M80", "scores with a finite number", _scores_finitely),
    ("M90", "never raises and stays bounded through missing, constant and exploding input", _contains_bad_input),
)
"""Every card by number; the numbers leave room between."""


def check_model(cls: type[Model], use: str = "") -> list[CardResult]:
    """Run every card on a model class; ``use`` where the class speaks for what that names."""
    subject = Subject(cls, use)
    return run_cards(subject, CARDS)
