"""How often the contest of models promotes wrongly, and how long it takes to promote rightly.

    python -m engine.research.promotion --pairs 2000 --json

By ``account`` each model has a position of one, long or short, as its last prediction said that was beyond the costs of
0.1 bps, and pays them when it turns. The row ``rare losses`` is of an account that wins 1 in 95 % of the periods and
loses 19 in the others, against one that is flat: as good on average, and not alike.

Pairs of models are simulated on labels with heavy tails and waves of volatility, as those of a second are, with errors
that hang together: both see the same noise. Of a *null* pair the challenger is another model that is as good; the
contest is looked at after every label, for ``--labels`` of them, and every promotion is wrong. With an *edge* the
challenger explains so many percent of the label's variance more. The code that decides is that of a live run
(engine/learn/contest.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from engine.core.records import Promoted
from engine.learn.contest import ONE, Contest, ContestSettings
from engine.learn.labels import Matured

SECOND_NS: Final = 1_000_000_000
EDGES_PCT: Final = (0.5, 1.0, 2.0, 5.0)
NOTHING: Final = np.zeros(0)
BY: Final = ("loss", "net", "account")
COST_BPS: Final = 0.1


class Power(msgspec.Struct):
    """What became of pairs whose challenger is better by ``edge_pct`` of the label's variance, 0: as good."""

    edge_pct: float
    by: str
    pairs: int
    promoted: float
    low: float
    high: float
    median_labels: float | None
    shape: str = ""


def contest(alpha: float, by: str, horizon_ns: int = SECOND_NS) -> Contest:
    """One champion and one challenger."""
    accounts = {"accounts": by == "account"}
    values = accounts | {"name": "c", "symbol": "v:X", "champion": "a", "challengers": ("b",), "horizon_ns": horizon_ns}
    return Contest(msgspec.convert(values | {"alpha": alpha, "by": by, "rollback_alpha": alpha}, ContestSettings))


def stream(
    chance: np.random.Generator, labels: int, edge: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels (bps) and the predictions of champion and challenger; ``edge``: of the variance, what only one knows."""
    volatility = np.exp(0.4 * np.cumsum(chance.normal(0.0, 0.02, labels)))
    told = 0.03  # of the variance that each explains
    common = chance.normal(size=labels)
    own = chance.normal(size=(2, labels))
    tails = chance.standard_t(4, labels) / np.sqrt(2.0)
    parts = np.sqrt(told / 2.0)
    label = parts * (common + own[0] + own[1]) + np.sqrt(edge) * (more := chance.normal(size=labels)) + tails
    champion = parts * (common + own[0])
    challenger = parts * (common + own[1]) + np.sqrt(edge) * more
    return volatility * label, volatility * champion, volatility * challenger


def promoted_at(alpha: float, by: str, labels: int, edge: float, seed: int) -> int | None:
    """The label after which the challenger was promoted; None where it was not."""
    chance = np.random.default_rng(seed)
    one = contest(alpha, by)
    rows = zip(*(each.tolist() for each in stream(chance, labels, edge)), strict=True)
    for number, (label, champion, challenger) in enumerate(rows, 1):
        for name, prediction in (("a", champion), ("b", challenger)):
            one.judged(
                name, Matured(number * SECOND_NS, number, prediction, label, NOTHING, move_bps=label, unit_bps=1.0)
            )
        if one.decide():
            return number
    return None


class Follower:
    """An account that follows predictions; ``gained`` at 1e-30 of a bps of one position."""

    def __init__(self) -> None:
        self.gained = self._position = 0

    def follow(self, prediction: float, label: float) -> None:
        wanted = (1 if prediction > 0.0 else -1) if abs(prediction) > COST_BPS else self._position
        paid = COST_BPS * abs(wanted - self._position)
        self._position = wanted
        self.gained += int((wanted * label - paid) * ONE)


def accounts_promoted_at(alpha: float, labels: int, edge: float, seed: int) -> int | None:
    """The period after which the challenger's account brought it the promotion."""
    chance = np.random.default_rng(seed)
    one = contest(alpha, "account")
    mine, theirs = Follower(), Follower()
    rows = zip(*(each.tolist() for each in stream(chance, labels, edge)), strict=True)
    for number, (label, champion, challenger) in enumerate(rows, 1):
        mine.follow(champion, label)
        theirs.follow(challenger, label)
        if _is_over(one, {"a": mine.gained, "b": theirs.gained}):
            return number
    return None


def rare_losses_promoted_at(alpha: float, labels: int, seed: int) -> int | None:
    """The same of an account that wins often and loses seldom but much, against one that is flat."""
    one = contest(alpha, "account")
    changes = np.where(np.random.default_rng(seed).random(labels) < 0.05, -19, 1)
    for number, gained in enumerate(np.cumsum(changes).tolist(), 1):
        if _is_over(one, {"a": 0, "b": gained * ONE}):
            return number
    return None


def _is_over(one: Contest, worth: dict[str, int]) -> bool:
    return any(isinstance(fact, Promoted) for fact in one.accounted(worth, "bps", {}))


def power(pairs: int, labels: int, alpha: float, by: str, edge_pct: float, seed: int = 1, shape: str = "") -> Power:
    """The share of pairs that are promoted, with its 95 % interval (Wilson 1927)."""
    found = []
    for number in range(seed * 1_000_003, seed * 1_000_003 + pairs):
        if shape:
            found.append(rare_losses_promoted_at(alpha, labels, number))
        elif by == "account":
            found.append(accounts_promoted_at(alpha, labels, edge_pct / 100.0, number))
        else:
            found.append(promoted_at(alpha, by, labels, edge_pct / 100.0, number))
    when = [at for at in found if at is not None]
    share, z = len(when) / pairs, 1.959963984540054
    middle = (share + z * z / (2 * pairs)) / (1 + z * z / pairs)
    half = z * np.sqrt(share * (1 - share) / pairs + z * z / (4 * pairs * pairs)) / (1 + z * z / pairs)
    median = float(np.median(when)) if when else None
    return Power(
        edge_pct, by, pairs, share, max(0.0, float(middle - half)), min(1.0, float(middle + half)), median, shape
    )


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code: 1 when more null pairs are promoted than ``--alpha`` allows."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.promotion", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--labels", type=int, default=3600)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    rows = [power(asked.pairs, asked.labels, asked.alpha, by, 0.0) for by in BY]
    few = max(1, asked.pairs // 10)
    rows += [power(few, asked.labels, asked.alpha, by, edge) for by in BY for edge in EDGES_PCT]
    rows += [power(few, asked.labels, asked.alpha, "account", 0.0, shape="rare losses")]
    plain = [msgspec.to_builtins(row) for row in rows]
    if asked.json:
        sys.stdout.write(json.dumps({"alpha": asked.alpha, "labels": asked.labels, "rows": plain}) + "\n")
    else:
        sys.stdout.writelines(f"{row}\n" for row in rows)
    return int(any(row.promoted > asked.alpha for row in rows if not row.edge_pct and not row.shape))


if __name__ == "__main__":
    sys.exit(main())
