"""The rules that every strategy keeps, each as a card that passes or says what it found.

``papertape conform NAME`` runs them on any strategy; our own tests run them on every registered one.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from engine.core.conformance import CardFailed, CardResult, run_cards
from engine.core.events import Batch
from engine.core.records import AmendRejected, AmendRequested, FeedState, Record, Refusal, Request
from engine.core.strategy import Config, Strategy
from engine.core.types import ContractKind
from strategies.scenarios import FRAME_NS, FRAMES, SYMBOL, Outcome, play, walk

FORBIDDEN_MODULES = frozenset(
    (
        "adapters",
        "aiohttp",
        "asyncio",
        "datetime",
        "engine.live",
        "engine.research",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "redis",
        "requests",
        "secrets",
        "shutil",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "websockets",
    )
)
"""What touches the world: a strategy that reads a clock, chance or a file cannot be replayed."""

FORBIDDEN_CALLS = frozenset(("open", "input", "print", "eval", "exec", "__import__"))

MOST_REQUESTS_PER_S = 50
"""Orders a second that a strategy may ask for while every one is refused; the scenario has 100 frames a second."""


class Subject:
    """A strategy class under test, its example configuration, and the runs that several cards look at."""

    def __init__(self, cls: type[Strategy[Any]], values: Mapping[str, Any] | None = None) -> None:
        self.cls = cls
        self._values = values

    @cached_property
    def config(self) -> Config:
        return example_config(self.cls.config_type, self._values or {})

    def make(self) -> Strategy[Any]:
        return self.cls(self.config)

    def play(self, batches: Sequence[Batch], **how: Any) -> Outcome:
        model = getattr(self.config, "model", "model")
        return play(self.make, batches, model=model if isinstance(model, str) else "model", **how)

    @cached_property
    def whole(self) -> Outcome:
        """A run over a market with a gap and a second without asks."""
        return self.play(walk(gap=True, one_sided=True))

    @cached_property
    def module(self) -> ast.Module:
        return ast.parse(inspect.getsource(sys.modules[self.cls.__module__]))


def example_config(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration with ``values``, the scenario's symbol, and an example for every other required field."""
    examples: dict[Any, Any] = {int: 1, float: 1.0, bool: False, Decimal: Decimal(1000)}
    filled: dict[str, Any] = {}
    for field in msgspec.structs.fields(config_type):
        if field.name == "symbol":
            filled[field.name] = SYMBOL
        elif field.name == "symbols":
            filled[field.name] = (SYMBOL,)
        elif field.required and field.type is str:
            filled[field.name] = field.name
        elif field.required and field.type in examples:
            filled[field.name] = examples[field.type]
    return msgspec.convert(filled | dict(values), config_type, strict=False)


def _says_what_it_does(subject: Subject) -> None:
    if not (subject.cls.__dict__.get("__doc__") or "").strip():
        raise CardFailed(f"expected a docstring on {subject.cls.__name__}, found none: say what it does")


def _is_pure(subject: Subject) -> None:
    for node in ast.walk(subject.module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for name in (prefix + alias.name for alias in node.names):
                parts = name.split(".")
                if any(".".join(parts[:count]) in FORBIDDEN_MODULES for count in range(1, len(parts) + 1)):
                    raise CardFailed(f"line {node.lineno} imports {name}: time and data come through the context")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            raise CardFailed(f"line {node.lineno} calls {node.func.id}: use ctx.note for words and config for data")


def _documents_its_config(subject: Subject) -> None:
    config_type = subject.cls.config_type
    lines, first = inspect.getsourcelines(config_type)
    body = ast.parse(inspect.cleandoc("\n" + "".join(lines))).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        has_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if "#" not in lines[(node.end_lineno or node.lineno) - 1] and not has_text:
            raise CardFailed(
                f"expected a comment with the unit on {config_type.__name__}.{node.target.id} "
                f"(line {first + node.lineno}), found none"
            )


def _config_is_frozen_and_strict(subject: Subject) -> None:
    config_type = subject.cls.config_type
    if not config_type.__struct_config__.frozen:
        raise CardFailed(f"expected class {config_type.__name__}(Config, frozen=True), found it mutable")
    if not config_type.__struct_config__.forbid_unknown_fields:
        raise CardFailed(f"expected {config_type.__name__} to refuse unknown keys, found forbid_unknown_fields=False")
    assert subject.config is not None


def _must_go_on(outcome: Outcome) -> Outcome:
    if outcome.stopped is not None:
        raise CardFailed(f"expected it to go on, found it stopped: {outcome.stopped}")
    return outcome


def _trades_every_kind(subject: Subject) -> None:
    for kind in ContractKind:
        outcome = subject.play(walk(), kind=kind)
        if outcome.stopped is not None:
            raise CardFailed(f"{kind} contract: stopped: {outcome.stopped}")


def _waits_for_a_book(subject: Subject) -> None:
    outcome = _must_go_on(subject.play(walk(has_snapshot=False)))
    _no_request_in_doubt(outcome.records)


def _survives_a_gap(subject: Subject) -> None:
    _no_request_in_doubt(_must_go_on(subject.whole).records)


def _no_request_in_doubt(records: Sequence[Record]) -> None:
    is_ready = False
    for record in records:
        if isinstance(record.fact, FeedState):
            is_ready = record.fact.ready
        elif isinstance(record.fact, Request | AmendRequested) and not is_ready:
            what = "order" if isinstance(record.fact, Request) else "change of an order"
            raise CardFailed(
                f"expected no {what} while the book is not ready, found one at {record.ns} ns: see is_ready"
            )


def _survives_thin_books(subject: Subject) -> None:
    _must_go_on(subject.play(walk(thin=True)))


def _survives_refusals(subject: Subject) -> None:
    outcome = _must_go_on(subject.play(walk(), is_halted=True))
    refused = sum(isinstance(record.fact, Refusal) for record in outcome.records)
    per_s = refused / (FRAMES * FRAME_NS / 1e9)
    if per_s > MOST_REQUESTS_PER_S:
        raise CardFailed(
            f"expected at most {MOST_REQUESTS_PER_S} orders a second when refused, found {per_s:.0f}: wait"
        )


def _changes_calmly(subject: Subject) -> None:
    changes = sum(isinstance(record.fact, AmendRequested | AmendRejected) for record in subject.whole.records)
    per_s = changes / (FRAMES * FRAME_NS / 1e9)
    if per_s > MOST_REQUESTS_PER_S:
        raise CardFailed(
            f"expected at most {MOST_REQUESTS_PER_S} changes of orders a second, found {per_s:.0f}: amend what matters"
        )


def _is_deterministic(subject: Subject) -> None:
    again = subject.play(walk(gap=True, one_sided=True))
    if again.digest != subject.whole.digest:
        raise CardFailed(
            "expected equal records from equal input, found two digests: look for chance, clock or globals"
        )


def _ignores_block_size(subject: Subject) -> None:
    joined = np.concatenate(walk(gap=True, one_sided=True))
    if subject.play([joined]).digest != subject.whole.digest:
        raise CardFailed("expected equal records from one large block, found two digests")


def _survives_save_and_load(subject: Subject) -> None:
    for at in (100, 700, 1_100):
        outcome = _must_go_on(subject.play(walk(gap=True, one_sided=True), reload_at=at))
        if outcome.digest != subject.whole.digest:
            raise CardFailed(
                f"expected the same records after load(save()) at batch {at}, found others: save all state"
            )
    saved = subject.whole.strategy.save()
    plain = msgspec.json.decode(msgspec.json.encode(saved))
    fresh = subject.make()
    fresh.load(plain)
    if msgspec.json.encode(fresh.save()) != msgspec.json.encode(saved):
        raise CardFailed(f"expected load(save()) to give {saved}, found {fresh.save()}")


CARDS: tuple[tuple[str, str, Callable[[Subject], None]], ...] = (
    ("S10", "says in a docstring what it does", _says_what_it_does),
    ("S20", "imports and calls nothing of the outside world", _is_pure),
    ("S30", "has a comment with its unit on every config field", _documents_its_config),
    ("S40", "has a frozen config that refuses unknown keys", _config_is_frozen_and_strict),
    ("S50", "runs on spot, linear and inverse contracts", _trades_every_kind),
    ("S60", "asks for nothing while no book is ready", _waits_for_a_book),
    ("S70", "survives a gap and an empty side, and asks for nothing in doubt", _survives_a_gap),
    ("S80", "survives partial fills", _survives_thin_books),
    ("S90", "survives refusals without a storm of orders", _survives_refusals),
    ("S95", "changes its orders without a storm", _changes_calmly),
    ("S100", "does the same again on the same input", _is_deterministic),
    ("S110", "does the same whatever the block size", _ignores_block_size),
    ("S120", "goes on unchanged after save and load", _survives_save_and_load),
)
"""Every card by number; the numbers leave room between."""


def check_strategy(cls: type[Strategy[Any]], values: Mapping[str, Any] | None = None) -> list[CardResult]:
    """Run every card on a strategy class; ``values`` are config fields that have no example of their own."""
    subject = Subject(cls, values)
    return run_cards(subject, CARDS)
