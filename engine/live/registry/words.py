"""Cards, lists and comparisons for people: markdown, and tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table

SHORT: Final = 12
"""Digits of a version in a list."""


def card_markdown(told: Mapping[str, Any]) -> str:
    """The card of a version, as ``shelf.version_told`` gives it."""
    card = told["card"]
    text = [f"# {told['model']} {told['version'][:SHORT]}", "", f"State: **{told['state']}**.", ""]
    if card is None:
        text += [
            "It has no card: an older Papertape stored it, or the card was damaged (`papertape models verify`).",
            "",
        ]
    else:
        text += [*_facts(_training(card, has_payload=told["has_payload"])), ""]
        text += ["## Scores", "", *_scores(card["holdout"], told["live"]), ""]
        text += _parts(card["parts"])
    return "\n".join([*text, "## Life", "", *_life(told["life"])])


def lineage_markdown(told: Mapping[str, Any]) -> str:
    """The card of a model, as ``shelf.lineage_told`` gives it."""
    card = told["card"]
    features = card["features"]
    facts = {
        "use": card["use"],
        "symbol": card["symbol"],
        "labels": ", ".join(card["labels"]),
        "learns": "from a window, in trainings" if card["trains"] else "from each label: it has no versions",
        "speaks for": ", ".join(told["speaks_for"]) or "no contest",
        "answers": told["answers"] or ("none yet" if card["trains"] else "itself"),
        "features": f"{features['named']}: {features['width']}, SHA-256 {features['sha256']}",
        "settings": f"SHA-256 {card['settings_sha256']}",
        "seed of the run": card["seed"],
        "papertape": card["papertape"],
    }
    text = [f"# {told['model']}", "", *_facts(facts), "", "## Versions", ""]
    text += ["| version | trained | trigger | rows | holdout IC | live labels | live IC | live RMSE | state |"]
    text += ["|---|---|---|---|---|---|---|---|---|"]
    for one in told["versions"]:
        text.append(f"| {' | '.join(_cells(one))} |")
    text += ["", "## Life", "", *_life(told["life"]), "", "## Settings", "", "| setting | value |", "|---|---|"]
    text += [f"| {key} | {value} |" for key, value in card["settings"].items()]
    return "\n".join([*text, "", "## Code", "", *_facts(card["code"])])


def comparison_markdown(told: Mapping[str, Any]) -> str:
    """What ``compare`` found."""
    a, b = told["a"], told["b"]
    text = [f"# {_side(a)} and {_side(b)}", "", "| | a | b |", "|---|---|---|"]
    text += [f"| state | {a['state']} | {b['state']} |"]
    for kind in ("holdout", "live"):
        for key in dict.fromkeys([*a[kind], *b[kind]]):
            text.append(f"| {kind} {key} | {number(a[kind].get(key))} | {number(b[kind].get(key))} |")
    text += ["", "## What differs", ""]
    if told["differs"]:
        text += ["| | a | b |", "|---|---|---|"]
        text += [f"| {one['key']} | {_plain(one['key'], one['a'])} | {_plain(one['key'], one['b'])} |"
                 for one in told["differs"]]  # fmt: skip
    else:
        text.append("Nothing.")
    text += ["", "## Weights", ""]
    weights = told["weights"]
    if weights.get("same"):
        text.append("The payloads are the same.")
    elif "why" in weights:
        text.append(f"Not compared: {weights['why']}.")
    else:
        text += ["Distance: the norm of b − a by that of a.", "", "| tensor | distance |", "|---|---|"]
        for one in weights["tensors"]:
            shapes = f"shapes {one['shapes'][0]} and {one['shapes'][1]}"
            apart = one["relative"]
            text.append(f"| {one['tensor']} | {shapes if apart is None else f'{apart:.4g}'} |")
        text += [f"| {name} | only in one |" for name in weights["only_in_one"]]
    return "\n".join(text)


def versions_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A list of versions, as ``Shelf.rows`` gives them."""
    shown = Table(box=None, header_style="dim", pad_edge=False)
    heads = ("model", "version", "trained", "trigger", "rows", "holdout IC", "labels", "IC", "RMSE", "state")
    for head in heads:
        right = head in ("rows", "holdout IC", "labels", "IC", "RMSE")
        shown.add_column(head, justify="right" if right else "left", overflow="fold")
    for one in rows:
        shown.add_row(one["model"], *_cells(one))
    return shown


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A version in words: which, when, why, on how many rows, how good, and what became of it."""
    return (
        row["version"][:SHORT] or "–",
        moment(row["requested_ns"]),
        row["trigger"] or "–",
        number(row["rows"]),
        number(row["holdout_ic"]),
        number(row["labels"]),
        number(row["ic"]),
        number(row["rmse"]),
        _state(row),
    )


def _state(row: Mapping[str, Any]) -> str:
    return ", ".join([row["state"], *(f"speaks for {name}" for name in row["speaks_for"])])


def moment(ns: int) -> str:
    """Engine time for people; a dash where none is known.

    >>> moment(1_700_000_000_123_000_000), moment(0)
    ('2023-11-14 22:13:20', '–')
    """
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if ns else "–"


def number(value: float | None) -> str:
    """A count whole, a score with three digits, a dash where there is none.

    >>> number(1200), number(0.12345), number(None)
    ('1,200', '0.123', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _training(card: Mapping[str, Any], *, has_payload: bool) -> dict[str, Any]:
    window, features = card["window"], card["features"]
    span_s = (window["last_ns"] - window["first_ns"]) / 1e9
    return {
        "version": card["version"],
        "payload": f"{card['size']:,} bytes" + ("" if has_payload else ", not here any more"),
        "use": card["use"],
        "symbol": card["symbol"],
        "labels": ", ".join(card["labels"]),
        "parent": card["parent"] or "none",
        "trained": f"{moment(card['requested_ns'])} UTC of engine time, in {card['seconds']:g} s",
        "trigger": card["trigger"] or "not known",
        "window": f"{window['rows']:,} rows, {moment(window['first_ns'])} to {moment(window['last_ns'])} "
        f"({span_s:,.1f} s), SHA-256 {window['sha256']}",
        "seed": card["seed"],
        "features": f"{features['named']}: {features['width']}, SHA-256 {features['sha256']}",
        "settings": f"SHA-256 {card['settings_sha256']}",
        "code": f"papertape {card['papertape']}, SHA-256 {card['code_sha256']}",
        "lineage": card["lineage"] or "none",
    }


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]


def _scores(holdout: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys([*live, *holdout])
    rows = [f"| {key} | {number(holdout.get(key))} | {number(live.get(key))} |" for key in keys]
    return ["| | holdout | live |", "|---|---|---|", *rows]


def _parts(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not parts:
        return []
    text = ["## Networks", "", "| part | kind | epochs | holdout IC | export differs by |", "|---|---|---|---|---|"]
    for one in parts:
        name = one["name"] or "the model"
        if one["why"]:
            text.append(f"| {name} | none: {one['why']} | – | – | – |")
        else:
            apart = one["export_difference"]
            away = "–" if apart is None else f"{apart:.2g}"
            text.append(f"| {name} | {one['kind']} | {one['epochs']} | {number(one['holdout'].get('ic'))} | {away} |")
    return [*text, ""]


def _life(events: Sequence[Mapping[str, Any]]) -> list[str]:
    if not events:
        return ["Nothing was heard of it yet."]
    return [f"- {moment(event['ns'])} **{event['what']}** {_event(event)}".rstrip() for event in events]


def _event(event: Mapping[str, Any]) -> str:
    """The rest of an event in words."""
    more = {key: value for key, value in event.items() if key not in ("what", "ns", "seq")}
    match event["what"]:
        case "promoted" | "deposed":
            other = f"over {more['over']}" if event["what"] == "promoted" else f"by {more['by_model']}"
            proof = (
                f"{number(more['labels'])} labels, wealth {_brief(more['wealth'])} of {_brief(more['needed'])} needed"
            )
            return f"in {more['contest']} {other}, by {more['who']}: {more['by']}, {proof}"
        case "scored":
            spans = f"{moment(more['from_ns'])} to {moment(more['to_ns'])}"
            return f"{number(more['labels'])} labels, IC {number(more['ic'])}, RMSE {number(more['rmse'])}, {spans}"
        case "drift" if more.get("reason"):
            return f"alarm {more['number']}, {', '.join(more['answers'])}: {more['reason']}"
        case "graded":
            return f"alarm {more['number']} was {more['grade']} ({more['kind']}): {more['reason']}"
        case "trial":
            proof = f"wealth {_brief(more['wealth'])} of {_brief(more['needed'])} needed, worse {_brief(more['worse'])}"
            stands = f"{more['verdict']}, {number(more['labels'])} labels, {proof}"
            return f"in {more['contest']} against {more['over']}: {stands}"
        case "failed" | "refused" | "impaired":
            return str(more["why"])
        case "swapped":
            return f"in the place of {more['replaced'][:SHORT]}" if more.get("replaced") else "as the first"
        case "entered":
            return f"with the lineage {more['lineage'][:SHORT]}"
        case "found":
            return "answering when a session began; how it came is in the journal"
    plain = {key: value for key, value in more.items() if key not in ("card", "version")}
    return ", ".join(
        f"{key} {value[:SHORT] if key == 'parent' else value}" for key, value in plain.items() if value != ""
    )


def _brief(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _side(one: Mapping[str, Any]) -> str:
    return f"{one['model']} {one['version'][:SHORT]}".strip()


def _plain(key: str, value: Any) -> str:
    if key.endswith("_ns") and isinstance(value, int) and value > 10**17:
        return moment(value)
    return str(value)
