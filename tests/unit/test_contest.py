"""Champion and challengers: the better one is found, the equal one is not, and a person's word is obeyed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.core.records import Note, Promoted, Signal
from engine.learn.betting import Bet
from engine.learn.contest import Contest, ContestSettings
from engine.learn.contract import ModelError, ModelSettings
from engine.learn.labels import Matured
from engine.learn.models import Models
from engine.live.build import build_models
from engine.live.config import ConfigError, parse_config
from engine.research.promotion import power
from tests.market import BTC
from tests.watched import Watched

S = 1_000_000_000
NOTHING = np.zeros(0)


def settings(**changes: Any) -> ContestSettings:
    values = {"name": "best", "symbol": "v:X", "champion": "a", "challengers": ("b", "c"), "horizon_ns": S}
    return msgspec.convert(values | changes, ContestSettings)


Row = tuple[int, float, dict[str, float]]


def rows(
    count: int, skill: dict[str, float], seed: int = 1, start: int = 1
) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Labels, and what each model says: its share of what there is to know."""
    chance = np.random.default_rng(seed)
    for number in range(start, start + count):
        known, noise = chance.normal(size=2)
        yield number, float(known + noise), {name: share * float(known) for name, share in skill.items()}


def play(contest: Contest, played: Iterator[Row], step_ns: int = S) -> list[Promoted]:
    found = []
    for number, label, said in played:
        for name, prediction in said.items():
            at_ns = number * step_ns
            contest.judged(name, Matured(at_ns, number, prediction, label, NOTHING, move_bps=label, unit_bps=1.0))
        found += [fact for fact in contest.decide() if isinstance(fact, Promoted)]
    return found


def test_the_better_challenger_is_promoted_and_stays() -> None:
    contest = Contest(settings())
    found = play(contest, rows(3000, {"a": 0.0, "b": 0.0, "c": 1.0}))
    assert [(one.model, one.over, one.cause, one.by) for one in found] == [("c", "a", "evidence", "loss")]
    assert found[0].wealth >= found[0].needed == 40.0
    assert found[0].labels < 300 and found[0].advantage > 0.5
    assert (contest.champion, contest.predecessor, contest.reign) == ("c", "a", 2)


@pytest.mark.parametrize("by", ["loss", "net"])
def test_an_equal_one_is_not(by: str) -> None:
    assert play(Contest(settings(by=by)), rows(4000, {"a": 0.5, "b": 0.5, "c": 0.5})) == []
    assert play(Contest(settings(by=by)), rows(4000, {"a": 0.8, "b": 0.2, "c": 0.0})) == []


def test_a_champion_that_loses_its_skill_is_replaced() -> None:
    contest = Contest(settings(challengers=("b",)))
    assert play(contest, rows(1000, {"a": 1.0, "b": 0.3})) == []
    (found,) = play(contest, rows(4000, {"a": -1.0, "b": 0.3}, seed=2, start=1001))
    assert found.model == "b"


def test_the_predecessor_needs_less_within_its_probation() -> None:
    contest = Contest(settings(challengers=("b",), rollback_alpha=0.5))
    (first,) = play(contest, rows(400, {"a": 0.0, "b": 1.0}))
    found = play(contest, rows(400, {"a": 0.5, "b": -1.0}, seed=2, start=401))
    assert (found[0].cause, found[0].needed) == ("rollback", 2.0)
    assert contest.rollbacks == 1 and first.needed == 20.0


def test_labels_that_overlap_count_once() -> None:
    contest = Contest(settings())
    play(contest, rows(1000, {"a": 0.0, "b": 0.0, "c": 0.0}), step_ns=S // 10)
    assert contest.labels == 100


def test_who_says_nothing_is_not_compared() -> None:
    contest = Contest(settings())
    assert play(contest, rows(500, {"b": 1.0, "c": 1.0})) == []
    assert contest.labels == 0
    contest.judged("a", Matured(S, 1, None, 1.0, NOTHING))
    assert contest.decide() == []


def test_a_persons_word() -> None:
    contest = Contest(settings())
    with pytest.raises(ModelError, match="expected a champion with a predecessor, found none yet"):
        contest.roll_back()
    fact = contest.crown("b")
    assert isinstance(fact, Promoted)
    assert (fact.model, fact.over, fact.cause) == ("b", "a", "command")
    with pytest.raises(ModelError, match="expected one of a, c, found 'b'"):
        contest.crown("b")
    contest.roll_back()
    assert contest.champion == "a"


def test_the_champions_words_are_the_contests() -> None:
    contest = Contest(settings())
    facts = [Signal("v:X", "a", "a", 1.5, 7, S), Signal("v:X", "a", "a/width", 2.0, 7, S), Signal("v:X", "b", "b", 9.0)]
    assert [(one.source, one.name, one.value) for one in contest.spoken(facts)] == [
        ("best", "best", 1.5),
        ("best", "best/width", 2.0),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"challengers": ()}, "expected a champion and other challengers"),
        ({"challengers": ("a",)}, "expected a champion and other challengers"),
        ({"name": "b"}, "expected a name of its own"),
    ],
)
def test_what_is_no_contest(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Contest(settings(**changes))


def test_models_of_different_kinds_do_not_compete() -> None:
    models = [
        ModelSettings(name="a", symbol=BTC.name, use="zero"),
        ModelSettings(name="b", symbol=BTC.name, use="zero", horizon_ns=5 * S),
    ]
    one = settings(symbol=BTC.name, challengers=("b",))
    with pytest.raises(ModelError, match="expected models of one symbol, label, horizon and grid, found a and b"):
        Models([BTC], models, contests=[one])
    with pytest.raises(ModelError, match="expected one of a, b"):
        Models([BTC], models, contests=[settings(symbol=BTC.name, champion="x", challengers=("b",))])


def test_a_contest_of_the_config() -> None:
    models = [{"name": name, "use": "zero", "symbol": "*"} for name in ("a", "b")]
    plain = {"model": models, "contest": [{"name": "best", "champion": "a", "challengers": ["b"]}]}
    config = parse_config(plain, "test")
    built = build_models(config, [BTC], inline_training=False)
    (contest,) = built.contests.values()
    assert contest.settings.name == f"best@{BTC.name}"
    assert contest.models == (f"a@{BTC.name}", f"b@{BTC.name}")
    with pytest.raises(ConfigError, match=r"contest\.0\.champion: expected one of a@"):
        build_models(
            parse_config(plain | {"contest": [{"name": "c", "champion": "x", "challengers": ["b"]}]}, "test"),
            [BTC],
            inline_training=False,
        )


def test_a_persons_word_reaches_the_run_and_is_told() -> None:
    watched = Watched(with_contest=True)
    heard: list[Any] = []
    watched.runner.sinks.append(lambda records: heard.extend(record.fact for record in records))
    for name, args in (
        ("promote", {"contest": "best", "model": "z"}),
        ("rollback", {"contest": "best"}),
        ("promote", {"contest": "best", "model": "nobody"}),
    ):
        watched.runner.command(name, args)
        watched.runner.drain(10)
    told = [fact for fact in heard if isinstance(fact, Promoted)]
    assert [(one.contest, one.model, one.cause) for one in told] == [("best", "z", "command"), ("best", "m", "command")]
    (note,) = [fact for fact in heard if isinstance(fact, Note)]
    assert note.fields == {"promote": "contest best: expected one of z, found 'nobody'"}
    (contest,) = watched.view.summary()["contests"]
    assert (contest["champion"], contest["predecessor"], contest["reign"]) == ("m", "z", 3)


def test_wealth_on_nothing_stays_small_however_long_one_looks() -> None:
    chance = np.random.default_rng(4)
    best = []
    for _ in range(200):
        bet = Bet()
        for number in chance.standard_t(3, 1500).tolist():
            bet.update(number)
        best.append(bet.best)
    assert np.mean(np.array(best) >= 20.0) <= 0.05


def test_a_campaign_of_pairs_counts_what_it_finds() -> None:
    nothing = power(40, 600, 0.05, "loss", 0.0)
    assert nothing.promoted <= 0.1 and nothing.low <= nothing.promoted <= nothing.high
    edge = power(10, 1500, 0.05, "loss", 20.0)
    assert edge.promoted == 1.0 and edge.median_labels is not None
