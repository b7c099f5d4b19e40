"""Why there is no trade: plain sentences from the state of a run, the most decisive first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.core.book import DOUBT
from engine.core.events import REASONS

if TYPE_CHECKING:
    from engine.live.view import View


def why(view: View) -> dict[str, Any]:
    """Sentences for the whole run, and by strategy what it asked for and what became of it."""
    return {"reasons": reasons(view), "strategies": strategies(view), "drift": drift(view)}


def drift(view: View) -> dict[str, str]:
    """By model: its last alarm of drift and how it was judged."""
    return {model["name"]: last_alarm(model) for model in view.model_summaries() if model["drift"]["last"] is not None}


def reasons(view: View) -> list[str]:
    """All that stands between the run and a trade; empty when it trades."""
    own = (*_stopped(view), *_models(view), *_side(view), *_orders(view))
    return [*_halted(view), *_venues(view), *_books(view), *own]


def strategies(view: View) -> dict[str, dict[str, Any]]:
    """By strategy: requests, refusals by rule, the last refusal's words, fills, and why it is stopped or blocked."""
    engine, heard = view.runner.engine, view.heard
    blocks = engine.risk.blocks
    return {
        name: {
            "requests": heard.requests.get(name, 0),
            "refused": heard.refused_of(name),
            "last_refusal": heard.last_refusal.get(name, ""),
            "fills": heard.fills.get(name, 0),
            "stopped": engine.roster.stopped.get(name),
            "reload_failed": heard.reload_failed.get(name, ""),
            "blocked": sorted({rule for (scope, _), rule in blocks.items() if scope in (None, name)}),
        }
        for name in engine.roster.slots
    }


def book_reason(view: View, symbol: int) -> str:
    """Why a book may not be used."""
    told = REASONS[int(view.runner.engine.books.top[symbol, DOUBT])]
    return told or "no snapshot yet"


def _halted(view: View) -> Iterator[str]:
    engine = view.runner.engine
    if engine.halted:
        yield "the kill switch is on: resume to trade again"
    for (strategy, symbol), rule in engine.risk.blocks.items():
        who = f"strategy {strategy}" if strategy else "every strategy"
        where = f" on {engine.instruments[symbol].name}" if symbol is not None else ""
        yield f"{who} is blocked{where} by {rule}: resume to trade again"


def _venues(view: View) -> Iterator[str]:
    for name, feed in view.feeds.items():
        if view.runner.connections and not view.is_open(name):
            yield f"venue {name} is not connected" + ("" if feed.stats.frames else " and never sent a frame")


def _books(view: View) -> Iterator[str]:
    engine = view.runner.engine
    for index, book in enumerate(engine.book_views):
        if not book.is_ready:
            state = "is not ready" if book.symbol in view.heard.once_ready else "was never ready"
            yield f"book {book.symbol} {state}: {book_reason(view, index)}"


def _stopped(view: View) -> Iterator[str]:
    roster = view.runner.engine.roster
    if not roster.slots:
        yield "the config names no strategy"
    for name, reason in roster.stopped.items():
        yield f"strategy {name} is stopped: {reason}"
    for name, problem in view.heard.reload_failed.items():
        yield f"strategy {name} goes on with its old code, the reload failed: {problem}"


def _models(view: View) -> Iterator[str]:
    for model in view.model_summaries():
        if model["stopped"]:
            yield f"model {model['name']} is {model['stopped']}"
        elif not model["predictions"]:
            yield f"model {model['name']} has made no prediction yet"
        elif model["drift"]["held"]:
            yield f"model {model['name']} is heard less ({', '.join(model['drift']['held'])}): {last_alarm(model)}"


def last_alarm(model: Mapping[str, Any]) -> str:
    """The last alarm of drift of a model, and how it was judged; empty where there was none."""
    alarm, graded = model["drift"]["last"], model["drift"]["last_graded"]
    if alarm is None:
        return ""
    told = f"alarm {alarm['number']}, {alarm['reason']}"
    if graded is None or graded["alarm"]["number"] != alarm["number"]:
        return f"{told}; not judged yet"
    return f"{told}; {graded['grade']}: {graded['reason']}"


def _side(view: View) -> Iterator[str]:
    for one in view.side():
        name, failure, refusal = one["stream"], one.get("failure", ""), one.get("last_refusal", "")
        if not one["observations"] and one["state"] != "quarantined":
            yield f"side stream {name} has given no row yet: {failure or refusal or 'nothing came'}"
        elif one["state"] != "good":
            more = f" ({failure})" if failure else ""
            yield f"side stream {name} is {one['state']}, so its values are missing: {one['reason']}{more}"


def _orders(view: View) -> Iterator[str]:
    engine, heard = view.runner.engine, view.heard
    desk = engine.desk
    if not engine.roster.slots or desk.fills:
        return
    if desk.sent:
        rejected = f", {desk.rejected} rejected ({counts(desk.rejections)})" if desk.rejected else ""
        yield (
            f"{_some(desk.sent, 'order')} sent and none filled: {desk.cancelled} cancelled{rejected}, "
            f"{len(desk.orders)} working"
        )
        return
    yield "no order was sent"
    for name in engine.roster.slots:
        refused = heard.refused_of(name)
        if refused:
            yield f"risk refused every order of {name} ({counts(refused)}); the last: {heard.last_refusal[name]}"
        elif name not in engine.roster.stopped:
            yield f"strategy {name} asked for no order"


def counts(by_word: Mapping[str, int]) -> str:
    """Words with how often, in the order of the alphabet."""
    return ", ".join(f"{word} {count}" for word, count in sorted(by_word.items()))


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
