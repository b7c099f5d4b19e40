"""``papertape replay``: a tape in, the same records as ever out, and if wanted all of it as tables.

A run's own tape carries its configuration, instruments, clock, commands and model versions, so nothing else is needed
but ``models/`` beside it. A tape that others recorded is given a start and a stop, instruments from its own list or
frames, the configuration of ``--config`` or ``configs/replay.toml``, and models that train in place.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.tape import read_tape
from engine.core.records import Record
from engine.live.build import Built, build_engine
from engine.live.config import AppConfig, ConfigError, parse_config
from engine.live.registry.store import NO_MODEL, model_path
from engine.research.loading import ReplayError, load_tape
from engine.research.outputs import Outputs
from engine.research.player import DEFAULT_BLOCK, Player
from engine.research.scan import VenueScan

NO_LATENCY: Final = {"p50": 0, "p99": 0, "p999": 0, "samples": 0}


class ReplayResult(msgspec.Struct, frozen=True):
    """What a replay found. ``config`` says whose configuration was used; ``seconds`` is wall time of the playing."""

    summary: dict[str, Any]
    config: str
    entries: int
    seconds: float
    out: str = ""

    @property
    def digest(self) -> str:
        return str(self.summary["digest"])


def replay(
    paths: Sequence[Path],
    *,
    config: Path | None = None,
    out: Path | None = None,
    block: int = DEFAULT_BLOCK,
    allow_torn: bool = False,
    progress: Callable[[int], None] | None = None,
    paper: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    on_records: Callable[[Sequence[Record]], None] | None = None,
) -> ReplayResult:
    """Replay one tape, or several files of one recording; a daemon's folder stands for the tapes of its latest run.

    ``progress`` hears the number of entries played. ``paper``: keys of ``[paper]`` that stand over the configuration's,
    all else being the tape's (see counterfactual.py). ``models``: another ``use`` by a model's name, which is then
    trained on the tape anew. ``on_records`` sees every record.

    Raises:
        TapeError: a file that is no whole tape.
        ConfigError: the configuration does not fit the tape.
        ReplayError, ScanError, OutputError: see there.
    """
    tape = load_tape(paths, config, allow_torn)
    paths, settings, scans = tape.paths, tape.settings, tape.scans
    if paper:
        plain = settings.plain()
        settings = parse_config({**plain, "paper": {**plain["paper"], **paper}}, "the changed configuration")
    if models:
        settings = _with_models(settings, models)
    is_own = bool(tape.header.config)
    obeys = is_own and config is None and not models
    if obeys:
        _check_sessions(paths)
    with ExitStack() as stack:
        outputs = stack.enter_context(Outputs(out, tape.instruments)) if out is not None else None
        try:
            built = build_engine(
                settings,
                tape.instruments,
                inline_training=not obeys,
                frames_tap=outputs.frames if outputs is not None else None,
                venues={name: feed.venue_class for name, feed in tape.feeds.items()},
            )
        except ConfigError as error:
            raise ConfigError([f"{tape.source}: {problem}" for problem in error.problems]) from error
        player = Player(
            built.engine,
            tape.feeds,
            block=block,
            obeys=obeys,
            load_model=ModelStore(paths[0]).load if obeys else None,
            on_batch=outputs.batch if outputs is not None else None,
            on_records=_both(outputs.records if outputs is not None else None, on_records),
        )
        started = time.perf_counter()
        player.play(tape.entries(progress))
        player.finish()
        seconds = time.perf_counter() - started
        summary = summarise(built, player, scans)
        if outputs is not None:
            outputs.finish(summary)
    return ReplayResult(summary, tape.source, player.entries, seconds, str(out or ""))


def _with_models(settings: AppConfig, models: Mapping[str, str]) -> AppConfig:
    plain = settings.plain()
    names = [section["name"] for section in plain["model"]]
    if unknown := sorted(set(models) - set(names)):
        raise ReplayError(f"expected a model of {', '.join(names) or 'none'}, found {', '.join(unknown)}")
    for section in plain["model"]:
        section["use"] = models.get(section["name"], section["use"])
    return parse_config(plain, "the changed configuration")


def _check_sessions(paths: Sequence[Path]) -> None:
    """Tapes of a run are played from its first session on: a later one begins with what was then in the account."""
    for expected, path in enumerate(paths, 1):
        found = read_tape(path, allow_torn=True)[0].session
        if found != expected:
            raise ReplayError(
                f"{path}: expected the tape of session {expected} of one run, found that of session {found}; name the "
                "run's folder, or all its tapes from the first on, or give --config to trade on them anew"
            )


def summarise(built: Built, player: Player, scans: Mapping[str, VenueScan]) -> dict[str, Any]:
    """The run as plain values, with the keys of a live run's summary."""
    venues = {
        name: {key: getattr(feed.stats, key) for key in ("frames", "gaps", "reconnects", "malformed", "unknown")}
        for name, feed in player.feeds.items()
    }
    summary = built.engine.summary()
    return {
        "digest": built.engine.digest,
        "venues": venues,
        **summary,
        "models": built.models.summary(),
        "latency_us": {"tick_to_decision": NO_LATENCY, "tick_to_order": NO_LATENCY},
        "instruments": [
            {
                "name": one.name,
                "price_decimals": one.price_decimals,
                "size_decimals": one.size_decimals,
                "source": one.source,
            }
            for one in built.engine.instruments
        ],
        "why": list(_why(built, player, scans, summary)),
    }


def _why(built: Built, player: Player, scans: Mapping[str, VenueScan], summary: Mapping[str, Any]) -> Iterator[str]:
    """What a person must know to read the figures right."""
    replies = sum(one.replies for one in scans.values())
    for status in built.engine.status()["book_tops"]:
        symbol, reason = status["symbol"], status["reason"]
        if symbol not in player.was_ready:
            cause = "the tape holds no depth snapshot" if scans and not replies else reason
            yield f"{symbol}: its book never became ready ({cause}), so nothing was decided or traded on it"
        elif not status["ready"]:
            yield f"{symbol}: its book was not ready at the end ({reason})"
    if player.doubts and scans:
        yield f"{player.doubts} times a book was crossed or negative: not used again until the tape's next snapshot"
    if summary["prints_left_out"]:
        count = summary["prints_left_out"]
        yield f"{count} trades were left out: told before, or with a price or size that no market has"
    if summary["truth"]["unsure"]:
        count = summary["truth"]["unsure"]
        yield f"{count} fills are of orders whose book had a gap while they rested: their place in the queue is unsure"
    if not summary["strategies"]:
        yield "the configuration names no strategy, so nothing was traded: give --config to trade on this tape"
    if player.reloads:
        yield (
            f"reloads of strategies' code during the run: {player.reloads}; a replay runs the code as it is now, "
            "so the digests agree only if it did not change"
        )
    refused = summary["orders"]["refused"]
    if refused and not summary["orders"]["sent"]:
        rules = ", ".join(f"{rule} {count}" for rule, count in refused.items())
        yield f"no order was sent: risk refused every request ({rules})"
    guessed = [one.name for one in built.engine.instruments if one.source == "wire"]
    if guessed:
        yield f"price and size units of {_few(guessed)} were inferred from the frames; ticks and lots may be coarser"
    for name, feed in player.feeds.items():
        for ns, text, _ in feed.stats.malformed_samples[:1]:
            yield f"{name}: {feed.stats.malformed} malformed frames were skipped, the first at {ns}: {text}"
        if feed.fault is not None:
            yield f"{name}: the venue's last connection ended in a fault: {feed.fault}"
    for strategy, one in summary["strategies"].items():
        if one["stopped"]:
            yield f"strategy {strategy} was stopped: {one['stopped']}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _both(
    one: Callable[[Sequence[Record]], None] | None, other: Callable[[Sequence[Record]], None] | None
) -> Callable[[Sequence[Record]], None] | None:
    if one is None or other is None:
        return one or other

    def both(records: Sequence[Record]) -> None:
        one(records)
        other(records)

    return both


class ModelStore:
    """The trained models of a run, by the hash of their content: ``models/`` beside the tape or its folder."""

    def __init__(self, tape: Path) -> None:
        folder = tape.resolve().parent  # resolved: the folder above "." is not "."
        self._folders = (folder.parent / "models", folder / "models")

    def load(self, model: str, version: str) -> bytes:
        """The payload of a version; empty for the version of nothing, which says that a training failed.

        Raises:
            ReplayError: there is no such file, or its content is not what its name says.
        """
        if version in ("", NO_MODEL):
            return b""
        for folder in self._folders:
            path = model_path(folder, version)
            if path.exists():
                payload = path.read_bytes()
                found = hashlib.sha256(payload).hexdigest()
                if found != version:
                    raise ReplayError(f"{path}: expected content with SHA-256 {version}, found {found}: it was damaged")
                return payload
        raise ReplayError(
            f"model {model}: expected {version}.ptm in {self._folders[0]}, found none: "
            "keep a run's models/ with its tape, or give --config to train anew"
        )
