"""What a running daemon may be told over HTTP, and why a word is refused while the one who asks still listens."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from engine.live.view import View

COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "halt": frozenset({"reason"}),
    "resume": frozenset(),
    "flatten": frozenset({"strategy"}),
    "reload": frozenset({"strategy"}),
    "promote": frozenset({"contest", "model"}),
    "rollback": frozenset({"contest"}),
    "retrain": frozenset({"model"}),
}
"""What may be commanded, each with its arguments; all of them are text, optional but for contests and models."""


class Refused(Exception):
    """A request that is answered with a status other than 200 and one line that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def arguments(name: str, body: bytes, known: Collection[str]) -> dict[str, str]:
    """A command's arguments from its body; an empty body has none."""
    try:
        args = json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise Refused(400, f"expected a JSON object, found a mistake: {error}") from error
    if not isinstance(args, dict):
        raise Refused(400, f"expected a JSON object of arguments, found {type(args).__name__}")
    for key, value in args.items():
        if key not in known:
            expected = " or ".join(sorted(known)) or "no argument"
            raise Refused(400, f"{name}: expected {expected}, found {key[:40]!r}")
        if not isinstance(value, str) or len(value) > 200:
            raise Refused(400, f"{name}: {key}: expected text of at most 200 characters")
    return args


def check(name: str, args: Mapping[str, str], view: View) -> None:
    """Refuse what a command names and the run does not have.

    Raises:
        Refused: the strategy, contest or model is none of the run.
    """
    known = view.runner.engine.roster.slots
    if (strategy := args.get("strategy")) is not None and strategy not in known:
        raise Refused(400, f"strategy: expected one of {', '.join(known)}, found {strategy[:80]!r}")
    if name in ("promote", "rollback"):
        _check_contest(args, view)
    if name == "retrain":
        _check_trained(args, view)


def _check_trained(args: Mapping[str, str], view: View) -> None:
    """Refuse a model that the run does not have, or that is never trained, while the one who asks still listens."""
    models = view.models
    trained = [name for name in models.names if models.slot(name).model.is_trained] if models is not None else []
    if args.get("model") not in trained:
        known = ", ".join(trained) or "none that is trained on a window"
        raise Refused(400, f"model: expected one of {known}, found {args.get('model', '')[:80]!r}")


def _check_contest(args: Mapping[str, str], view: View) -> None:
    """Refuse a contest or model that the run does not have, while the one who asks still listens."""
    contests = view.models.contests if view.models is not None else {}
    contest = contests.get(args.get("contest", ""))
    if contest is None:
        known = ", ".join(contests) or "none"
        raise Refused(400, f"contest: expected one of {known}, found {args.get('contest', '')[:80]!r}")
    if (model := args.get("model")) is not None and model not in contest.others:
        raise Refused(400, f"model: expected one of {', '.join(contest.others)}, found {model[:80]!r}")
