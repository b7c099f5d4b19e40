"""The side streams of a daemon: built from the config, started beside the venues, shown to people."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from adapters.side.parse import Parser
from adapters.side.quarantine import Quarantine
from adapters.side.sources.contract import Source
from adapters.side.sources.file import Lines, Whole
from adapters.side.sources.poll import Poll
from adapters.side.sources.redis_stream import RedisStream
from adapters.side.sources.socket import Websocket
from adapters.side.sources.webhook import Webhook
from adapters.side.stream import Stream
from adapters.side.validate import Before, Validator
from engine.core.side import Seen
from engine.live.config import AppConfig, ConfigError
from engine.live.config_side import SideSection, expanded, schema_problems, source_problems, variable
from engine.live.runner import Runner
from engine.live.scorers import scorer_of, scorer_problems

log = structlog.get_logger("papertape.side")


def parser_of(section: SideSection) -> Parser:
    """The parser of a stream whose section is sound, with its scorer."""
    return Parser(section.schema_of(), scorer_of(section.text.scorer) if section.text is not None else None)


def source_of(section: SideSection, environ: Mapping[str, str], *, number: int, redis: str = "") -> Source:
    """The source of a stream whose section is sound.

    Raises:
        ConfigError: an environment variable that it names is not set.
    """
    where = f"side.{number}"
    try:
        url = expanded(section.url, environ, f"{where}.url")
        headers = dict(section.headers)
        for header, name in section.secret_headers.items():
            headers[header] = variable(name, environ, f"{where}.secret_headers.{header}")
        if section.source == "webhook":
            secret = variable(section.secret, environ, f"{where}.secret")
    except LookupError as error:
        raise ConfigError([str(error)]) from error
    every_s, most_bytes = section.every / 1e9, section.max_bytes
    match section.source:
        case "poll":
            return Poll(url, every_s, headers=headers, most_bytes=most_bytes, timeout_s=section.timeout / 1e9)
        case "websocket":
            return Websocket(
                url,
                hello=section.hello,
                headers=headers,
                most_bytes=most_bytes,
                silence_s=section.silence / 1e9,
                timeout_s=section.timeout / 1e9,
            )
        case "redis":
            return RedisStream(url or redis, section.redis_key, field=section.redis_field, most_bytes=most_bytes)
        case "webhook":
            return Webhook(secret.encode(), most_bytes=most_bytes)
        case "file":
            if section.mode == "replace":
                return Whole(Path(section.path), every_s, most_bytes=most_bytes)
            return Lines(
                Path(section.path),
                every_s,
                has_header=section.format == "csv",
                from_start=section.begin == "start",
                most_bytes=most_bytes,
                most_lines=section.max_rows,
            )


def sources_of(config: AppConfig, environ: Mapping[str, str]) -> list[Source]:
    """The sources of all streams; nothing is opened yet.

    Raises:
        ConfigError: a source or a scorer that cannot be had.
    """
    problems = source_problems(config.side, redis=config.redis.url, has_http=config.http.enabled)
    problems += schema_problems(config.side) or scorer_problems(config.side)
    if problems:
        raise ConfigError(problems)
    redis = config.redis.url
    return [source_of(section, environ, number=number, redis=redis) for number, section in enumerate(config.side)]


class Sides:
    """All side streams of a run. ``webhooks`` are the doors for the HTTP server, by stream."""

    def __init__(self, config: AppConfig, sources: Sequence[Source], runner: Runner, folder: Path) -> None:
        self.webhooks: dict[str, Webhook] = {}
        self.streams: dict[str, Stream] = {}
        self._runner = runner
        for section, source in zip(config.side, sources, strict=True):
            if isinstance(source, Webhook):
                self.webhooks[section.name] = source
            self.streams[section.name] = Stream(
                source,
                parser_of(section),
                Validator(section.schema_of(), before(runner.engine.side.seen[section.name])),
                Quarantine(folder / "side" / f"{section.name}.jsonl", section.quota),
                room=runner.bus.room,
                say=runner.side,
                clock=runner.clock.now_ns,
                chance=random.Random(f"{config.run.seed} side {section.name}"),
                notice=_notice(section.name),
                is_patient=section.source == "file",
            )

    def work(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What is to run, each under its name."""
        return [(f"side stream {name}", stream.run()) for name, stream in self.streams.items()]

    def plain(self) -> list[dict[str, Any]]:
        """By stream what the engine has and what its validation thinks, in the order of the config."""
        return [{**one, **self.streams[one["stream"]].plain()} for one in self._runner.engine.side.plain()]


def before(seen: Seen) -> Before:
    """Where the validation of a stream goes on: what the engine, which a snapshot brings back, knows of it."""
    return Before(seen.event_ns, tuple(seen.prints), seen.quality, seen.is_good)


def _notice(stream: str) -> Any:
    def notice(text: str) -> None:
        log.warning("side stream", stream=stream, text=text)

    return notice
