"""The terminal status of a running daemon: books, positions, profit and the models' scores, plain and small."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.live.terminal import score, trim


def render(state: dict[str, Any], url: str, *, fills: bool = True) -> RenderableType:
    """One screen out of ``View.state()``; ``fills`` says whether its tables are as wide as the terminal."""
    parts: list[RenderableType] = [_head(state, url), _books(state, fills)]
    if state["models"]:
        parts.append(_models(state, fills))
    parts += [_contest(one) for one in state["contests"]]
    if state["truth"]["fills"]:
        parts.append(_truth(state))
    parts += [Text(_calibrated(one), "dim") for one in state["calibration"]]
    parts += [Text(f"strategy {name} is stopped: {reason}", "bold red") for name, reason in _stopped(state)]
    return Group(*parts, _tail(state))


def _stopped(state: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, one["stopped"]) for name, one in state["strategies"].items() if one["stopped"]]


def line(state: dict[str, Any]) -> dict[str, Any]:
    """The same in a few words, for a log."""
    return {
        "ready": state["ready"],
        "books": f"{state['books']['ready']}/{state['books']['total']}",
        "orders": state["orders"]["sent"],
        "fills": state["fills"],
        "profit": state["profit"],
        "p99_us": state["latency_us"]["tick_to_decision"]["p99"],
        "models": {model["name"]: round(model["ic"] or 0.0, 3) for model in state["models"]},
    }


def _head(state: dict[str, Any], url: str) -> Text:
    text = Text()
    text.append(" PAPERTAPE ", "bold black on cyan")
    text.append(f" {state['run']} ", "bold")
    if state["halted"]:
        text.append(" HALTED ", "bold white on red")
    elif state["ready"]:
        text.append(" ready ", "bold green")
    else:
        text.append(f" not ready: {'; '.join(state['reasons'][:2])} ", "bold yellow")
    text.append(f" up {_span(state['uptime_s'])} ", "dim")
    text.append(url, "cyan underline")
    return text


def _books(state: dict[str, Any], fills: bool) -> Table:
    table = Table(expand=fills, pad_edge=False, box=None, header_style="dim")
    for name in ("symbol", "bid", "size", "ask", "size", "position", "state"):
        table.add_column(name, justify="left" if name in ("symbol", "state") else "right")
    held: dict[str, list[str]] = {}
    for one in state["positions"]:
        held.setdefault(one["symbol"], []).append(f"{one['strategy']} {trim(one['size'])}")
    for book in state["book_tops"]:
        words = Text("ready", "green") if book["ready"] else Text(book["reason"], "yellow")
        table.add_row(
            book["symbol"],
            Text(trim(book["bid"] or "–"), "green"),
            Text(trim(book["bid_size"] or ""), "dim"),
            Text(trim(book["ask"] or "–"), "red"),
            Text(trim(book["ask_size"] or ""), "dim"),
            ", ".join(held.get(book["symbol"], ["flat"])),
            words,
        )
    return table


def _models(state: dict[str, Any], fills: bool) -> Table:
    table = Table(expand=fills, pad_edge=False, box=None, header_style="dim")
    for name in ("model", "predictions", "learned", "IC", "RMSE", "drift", "swaps"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for model in state["models"]:
        table.add_row(
            model["name"],
            str(model["predictions"]),
            str(model["learned"]),
            score(model["ic"], model["predictions"]),
            score(model.get("rmse"), model["predictions"]),
            str(model["drift_alarms"]),
            str(model["swaps"]),
        )
    return table


def _contest(told: dict[str, Any]) -> Text:
    """Who speaks for a contest, the evidence for the others, and what the shadow accounts gained."""
    text = Text(f"contest {told['name']}: ", "dim")
    text.append(told["champion"], "bold")
    for other in told["challengers"]:
        text.append(f"  {other['model']} {other['wealth']:.3g} of {other['needed']:.3g} by {told['by']}", "dim")
    for account in told["accounts"]:
        text.append(f"  {account['model']} gained {_short(account['gained'])} {account['currency']}".rstrip())
        text.append(f" ({account['out']})" if account["out"] else "", "yellow")
    return text


def _truth(state: dict[str, Any]) -> Text:
    """How true the fills are, and what the profit would be under the other queue models, in one line."""
    told = state["truth"]
    text = Text("fills ", "dim")
    for grade, style in (("certain", "green"), ("likely", "yellow"), ("ambiguous", "red")):
        text.append(f"{grade} {told['final'][grade]} ", style)
    if told["assumed"]:
        text.append(f"assumed {told['assumed']} ", "magenta")
    text.append(f" truth score {_score(told)}, {told['false_fills']:.1f} expected false  ", "dim")
    for currency, band in state["band"].items():
        if len(band["models"]) > 1:
            text.append(f"band {_short(band['hedged_low'])} to {_short(band['hedged_high'])} {currency}  ", "bold")
    return text


def _score(told: dict[str, Any]) -> str:
    return f"{100 * told['score']:.1f} % ({100 * told['low']:.1f} to {100 * told['high']:.1f})"


def truth_lines(told: dict[str, Any]) -> list[str]:
    """The score and the band in sentences; ``told`` is the daemon's ``/truth``."""
    score = told["truth"]
    if not score["fills"]:
        return ["no fill yet", *map(_calibrated, told["calibration"])]
    lines = [
        f"fill-truth score {_score(score)}: of {score['fills']} fills {score['false_fills']:.1f} expected false",
        "when they came: " + ", ".join(f"{grade} {score[grade]}" for grade in score["final"]),
        "as settled: " + ", ".join(f"{grade} {count}" for grade, count in score["final"].items()),
    ]
    if score["unsure"]:
        lines.append(f"{score['unsure']} fills of orders whose book had a gap while they rested")
    if measured := score["measured"]:
        sure = f"{measured['surely']} of {measured['said']} that the model filled are beyond doubt"
        lines.append(f"{measured['ghosts']} ghost orders: {sure} ({100 * measured['low']:.1f} %)")
    lines += [_calibrated(one) for one in told["calibration"]]
    for currency, band in told["band"].items():
        models = sorted(band["models"].items(), key=lambda each: float(each[1]))
        lines.append(
            f"profit {_short(band['low'])} to {_short(band['high'])} {currency}, own {_short(band['own'])}: "
            + ", ".join(f"{model} {_short(profit)}" for model, profit in models)
        )
        lines.append(
            f"hedged {_short(band['hedged_low'])} to {_short(band['hedged_high'])} {currency}: "
            "what a model filled beyond the run, valued ten seconds later"
        )
    return lines


def _calibrated(one: dict[str, Any]) -> str:
    """What is known of a symbol's queues, in one line."""
    return (
        f"queue of {one['symbol']}: {100 * one['share']:.0f} % of a cancel in front of its middle "
        f"({100 * one['low']:.0f} to {100 * one['high']:.0f}), {one['told']} of {one['cancels']} cancels told; "
        f"of {one['ghosts']} ghosts {one['surely']} surely filled, {one['surely_not']} surely not, "
        f"{one['unknown']} unknown"
    )


def _tail(state: dict[str, Any]) -> Text:
    orders, latency = state["orders"], state["latency_us"]["tick_to_decision"]
    text = Text()
    for currency, value in state["profit"].items():
        text.append(f"profit {_short(value)} {currency}  ", "bold red" if value.startswith("-") else "bold green")
    one_currency = state.get("reporting")
    if one_currency:
        missing = ", ".join(f"{_short(value)} {name}" for name, value in one_currency["profit_left_out"].items())
        text.append(f"all in {one_currency['currency']} {_short(one_currency['profit'])}  ", "bold")
        text.append(f"without {missing}, which no mark converts  " if missing else "", "yellow")
    text.append(
        f"orders {orders['sent']} sent {sum(orders['refused'].values())} refused {orders['cancelled']} cancelled  "
        f"fills {state['fills']}  tick to decision p50 {latency['p50']:.0f} µs p99 {latency['p99']:.0f} µs",
        "dim",
    )
    for one in state.get("venue_latency", ()):
        trip = f", ping {one['round_trip_ms']:.3g} ms" if one["round_trip_ms"] else ""
        legs = f"out {one['out_ms']:.3g} ms, back {one['back_ms']:.3g} ms, feed {one['feed_ms']:.3g} ms"
        text.append(f"\npaper latency to {one['venue']}: {one['kind']}, {legs}{trip}", "dim")
    return text


def farewell(summary: dict[str, Any]) -> str:
    """What a run did, for the person who stopped it."""
    orders = summary["orders"]
    profit = ", ".join(f"{_short(value)} {currency}" for currency, value in summary["profit"].items())
    learned = sum(model["learned"] for model in summary["models"])
    lines = [
        f"ran {_span(summary['uptime_s'])}: {orders['sent']} orders sent, {sum(orders['refused'].values())} refused, "
        f"{summary['fills']} fills, profit {profit or 'none'}",
        f"{learned} labels learned, {summary['missed']} ticks missed",
        *summary["why"],
        f"digest {summary['digest']}",
    ]
    if "tape" in summary and summary["tape"] not in summary.get("failed", ""):
        lines += [f"tape {summary['tape']}: replay it with `papertape replay {summary['tape']}`"]
    return "\n".join(lines)


def _short(value: str) -> str:
    """Money to two decimals, for looking at only."""
    return f"{float(value):,.2f}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
