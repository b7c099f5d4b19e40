"""One daemon from start to stop: assembled in order, served, and taken down in stages that cannot hang."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import structlog

import engine
from adapters.connection import Connection
from adapters.contract import AdapterError
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.tape import TapeNotWritten, TapeWriter, encode_entry
from adapters.tape_types import TapeHeader, VenueHeader
from engine.core.events import Command
from engine.live.build import Built, build_engine
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.config import AppConfig
from engine.live.http import HttpServer
from engine.live.journal import JournalNotWritten
from engine.live.recovery.keeper import Keeper
from engine.live.recovery.session import Opened, farewells, heal, lost_trainings, open_past, reconnected
from engine.live.recovery.state import Kept, Recovered
from engine.live.redis_bus import RedisPublisher, RedisSettings
from engine.live.redis_view import redis_status
from engine.live.runner import Runner
from engine.live.statedir import StateDir, StateDirError
from engine.live.training import Training
from engine.live.venues import MarketChild, Reached, StartError, numbered, reach
from engine.live.view import View
from engine.live.warm import warm_up

log = structlog.get_logger("papertape.app")

STAGE_S = 5.0
"""How long each stage of the stop may take before it is named and left behind."""


class App:
    """A daemon; ``run`` returns its exit code, ``view`` its picture."""

    def __init__(self, config: AppConfig, state: StateDir, on_second: Callable[[View], None] | None = None) -> None:
        self.config = config
        self.state = state
        self.url = ""
        self.failed: str | None = None
        self._on_second = on_second
        self._clock = Clock()
        self._stop = asyncio.Event()
        self._children: list[MarketChild] = []
        self._reached: list[Reached] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._view: View | None = None
        self._why: list[str] = []
        self._http: HttpServer | None = None
        self._tape: TapeWriter | None = None
        self._runner: Runner | None = None
        self._training: Training | None = None
        self._opened: Opened | None = None
        self._keeper: Keeper | None = None
        self._redis: RedisPublisher | None = None
        self._runner_task: asyncio.Task[None] | None = None
        self._redis_task: asyncio.Task[None] | None = None

    @property
    def view(self) -> View:
        """The picture of a run that was started."""
        assert self._view is not None
        return self._view

    def request_stop(self, why: str) -> None:
        """Begin a clean stop; asked a second time, end at once."""
        if self._stop.is_set() and why.startswith("signal"):
            os._exit(130)
        log.info("stopping", why=why)
        self._stop.set()

    async def run(self, seconds: float | None) -> None:
        """Serve until a signal, the end of the time, or a failure.

        Raises:
            ConfigError: the config names what does not exist.
            StartError: a venue or the simulated exchange cannot be had.
            HttpError: the page's port is taken.
            StateDirError, TapeNotWritten, JournalNotWritten: the disk takes nothing.
            RecoveryError, JournalDamaged: what an earlier session left cannot be gone on with.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop, f"signal {signal.Signals(number).name}")
        try:
            await self._start()
            if seconds is not None:
                loop.call_later(seconds, self.request_stop, f"ran for {seconds:g} s")
            await self._stop.wait()
        finally:
            await self._shut()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _start(self) -> None:
        config = self.config
        for name, section in config.venue.items():
            child = None
            if section.market is not None:
                child = await MarketChild.start(section)
                self._children.append(child)
            self._reached.append(await reach(name, section, child))
        instruments = numbered(self._reached)
        if not instruments:
            raise StartError("expected at least one [venue.NAME] with symbols, found none")
        venues = {one.name: one.venue for one in self._reached}
        past = None
        if config.journal.enabled:
            self._opened = open_past(self.state, config, instruments, venues)
            past = self._opened.past
        if past is None:
            built = build_engine(config, instruments, inline_training=False, venues=venues)
            feeds = self._feeds(instruments)
        else:
            built = Built(past.kept.engine, past.kept.models)
            feeds = reconnected(past.kept.feeds, {one.name: one.rest_url for one in self._reached})
            instruments = list(built.engine.instruments)  # the venue's may have other limits today; units are the same
            self._clock = Clock(after_ns=past.last_ns + 1)
            if self._clock.behind_ns:
                log.warning("the machine's clock was set back; time goes on from the last input", ns=past.last_ns)
        warm_up(one.venue for one in self._reached)
        started_ns = self._clock.now_ns()
        self._open_tape(started_ns, instruments)
        runner = Runner(built.engine, Bus(), self._clock, self._write, self._keep_journal(built, feeds, instruments))
        self._runner = runner
        runner.connections = self._connections(runner, feeds)
        self._training = Training(built.models, self.state.models, runner.bus.room, runner.model_ready)
        runner.training = self._training
        if any(section.use == "mlp" for section in config.model):
            self._training.warm()
        self._view = View(runner, built.models, feeds, config.run.name, started_ns)
        if config.http.enabled:
            self._http = HttpServer(self._view, runner.command, config.http.host, config.http.port)
            self.url = await self._http.start()
            log.info("page", url=self.url)
        self.state.write("daemon.json", json.dumps({"pid": os.getpid(), "url": self.url}))
        self._start_redis(built, runner)
        self._begin(runner, feeds, past)
        self._runner_task = self._spawn(runner.run(), "runner")
        for connection in runner.connections.values():
            self._spawn(self._keep(connection), f"connection {connection.feed.name}")
        self._spawn(self._each_second(), "second")
        # What lives now lives for the whole run: the collector need not look at it again, which keeps its pauses short.
        gc.collect()
        gc.freeze()

    def _begin(self, runner: Runner, feeds: Mapping[str, Feed], past: Recovered | None) -> None:
        """The first inputs of a session: what became of the one before, and the start."""
        if past is not None:
            fills, notable = past.kept.shown
            runner.recent_fills.extend(fills)
            runner.notable.extend(notable)
            runner.remember(past.recent)
            for entry in farewells(past, self._clock.now_ns()):
                self._write(entry)
                if entry.kind is EntryKind.LOST:
                    for batch in feeds[entry.source].apply(entry):
                        if isinstance(batch, np.ndarray):
                            runner.bus.put_market(batch, 0)
                else:
                    runner.bus.put_command(Command(entry.ns, entry.token, json.loads(entry.data)))
            for waiting in lost_trainings(past):
                runner.model_ready(*waiting)
            self._spawn(self._heal(past), "tape of the session before")
        if not runner.engine.commands.is_running:
            runner.command("start")

    async def _heal(self, past: Recovered) -> None:
        await asyncio.to_thread(heal, self.state, past)
        if self._keeper is not None:
            self._keeper.is_healed = True

    def _keep_journal(
        self, built: Built, feeds: dict[str, Feed], instruments: list[engine.Instrument]
    ) -> Keeper | None:
        if self._opened is None:
            return None
        opened = self._opened
        tape = self._tape.path if self._tape is not None else None

        def kept() -> Kept:
            assert self._runner is not None
            shown = list(self._runner.recent_fills), list(self._runner.notable)
            return Kept(built.engine, built.models, feeds, shown)

        self._keeper = Keeper(
            self.state,
            opened.journal,
            self.config,
            opened.code,
            kept,
            self._clock.now_ns,
            session=opened.mark(self.config, instruments, tape),
            stored=(lambda: self._tape.stored if self._tape is not None else 0) if tape is not None else None,
        )
        return self._keeper

    def _write(self, entry: Entry) -> None:
        """An input, before it is applied: to the tape and to the journal."""
        if self._tape is None and self._keeper is None:
            return
        line = encode_entry(entry)
        if self._tape is not None:
            self._tape.write_line(line)
        if self._keeper is not None:
            self._keeper.entry(line[:-1])

    def _open_tape(self, started_ns: int, instruments: list[engine.Instrument]) -> None:
        if not self.config.record.enabled:
            return
        number = self._opened.number if self._opened is not None else 1
        stamp = datetime.fromtimestamp(started_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
        name = stamp if number == 1 else f"{stamp}_{number:04d}"
        header = TapeHeader(
            started_ns=started_ns,
            venues={
                one.name: VenueHeader(self.config.venue[one.name].use, list(one.instruments)) for one in self._reached
            },
            config=self.config.plain(),
            instruments=instruments,
            papertape=engine.__version__,
            session=number,
        )
        self._tape = TapeWriter(self.state.tape / f"{name}.ptz", header)

    def _feeds(self, instruments: list[engine.Instrument]) -> dict[str, Feed]:
        places = {instrument.name: index for index, instrument in enumerate(instruments)}
        return {
            one.name: Feed(
                one.name,
                one.venue,
                {symbol: (places[item.name], item) for symbol, item in one.instruments.items()},
                one.rest_url,
            )
            for one in self._reached
        }

    def _connections(self, runner: Runner, feeds: Mapping[str, Feed]) -> dict[str, Connection]:
        connections = {}
        for one in self._reached:
            connections[one.name] = Connection(
                feeds[one.name],
                one.transport,
                self._clock.now_ns,
                runner.take,
                self._write,
                ws_url=one.ws_url,
                chance=random.Random(f"{self.config.run.seed} {one.name}"),
                notice=_notice(one.name),
                measured=partial(runner.measured, one.name),
            )
        return connections

    def _start_redis(self, built: Built, runner: Runner) -> None:
        if not self.config.redis.url:
            return
        settings = RedisSettings(url=self.config.redis.url, prefix=self.config.redis.prefix, run=self.config.run.name)
        publisher = RedisPublisher(settings, runner.command)
        self._redis = publisher
        runner.sinks.append(lambda records: publisher.publish(records, None))
        self._redis_task = self._spawn(publisher.run(), "redis")

    async def _keep(self, connection: Connection) -> None:
        try:
            await connection.run()
        except AdapterError as error:
            log.error("venue stopped for good", venue=connection.feed.name, error=str(error))

    async def _each_second(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.view.sample()
            if self._redis is not None:
                self._redis.publish((), redis_status(self.view.state()))
            if self._on_second is not None:
                self._on_second(self.view)

    def _spawn(self, work: Awaitable[None], name: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part of the daemon ended by itself: with an error, the whole must not go on as if nothing were."""
        if task.cancelled() or task.exception() is None:
            return
        self._fail(task.get_name(), task.exception())
        self._stop.set()

    def _fail(self, part: str, error: BaseException | None) -> None:
        """Remember what went wrong first: it is the last line, and makes the code 1."""
        if isinstance(
            error, (TapeNotWritten, StateDirError, JournalNotWritten)
        ):  # said in full already, and no fault of ours
            words = str(error)
            log.error("part failed", part=part, error=words)
        else:
            words = f"{part}: {type(error).__name__}: {error}"
            log.error("part failed", part=part, exc_info=error)
        self.failed = self.failed or words

    async def _shut(self) -> None:
        """Stop in stages: no more market, the engine's last word, then everything that only listens."""
        self._why = self._view.summary()["why"] if self._view is not None else []  # as it was while it ran
        last = (self._runner_task, self._redis_task)
        await self._stage("connections", self._cancel(lambda task: task not in last))
        if self._runner is not None and self._runner_task is not None:
            await self._stage("runner", self._cancel(lambda task: task is self._runner_task))
            await self._stage("last word", self._last_word(self._runner))
        if self._training is not None:
            await self._stage("training", self._training.close())
        if self._redis is not None and self._redis_task is not None:
            self._redis.stop()
            await self._stage("redis", self._redis_task)
        if self._http is not None:
            await self._stage("http", self._http.stop())
        for one in self._reached:
            await self._stage(f"transport {one.name}", one.transport.close())
        for child in self._children:
            await self._stage("simulated exchange", child.stop())
        if self._tape is not None:
            await self._stage("tape", asyncio.to_thread(self._close_tape, self._tape))
        if self._keeper is not None:
            await self._stage("journal", self._keeper.close())
        elif self._opened is not None:
            await self._stage("journal", asyncio.to_thread(self._opened.journal.close))
        if self._view is not None:
            await self._stage("summary", self._write_summary())
        gc.unfreeze()

    @staticmethod
    def _close_tape(tape: TapeWriter) -> None:
        tape.close()
        if not tape.entries:  # the start failed: an empty tape would pass for the latest run
            tape.path.unlink(missing_ok=True)

    async def _last_word(self, runner: Runner) -> None:
        if self.failed is None or not self.failed.startswith("runner"):
            runner.command("stop")
            runner.drain(1_000_000)
            runner.commit()

    async def _write_summary(self) -> None:
        self.state.write("run.json", json.dumps(self.summary(), indent=1))

    async def _cancel(self, which: Callable[[asyncio.Task[None]], bool]) -> None:
        tasks = [task for task in self._tasks if which(task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stage(self, name: str, work: Awaitable[Any]) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(STAGE_S):
                await work
        except TimeoutError:
            log.error("stage of the stop hangs and is left behind", stage=name, seconds=time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - whatever one stage meets, the later ones must have their turn
            self._fail(name, error)

    def summary(self) -> dict[str, Any]:
        """What ``run --json`` ends with."""
        tape = self._tape
        extra: dict[str, Any] = {"failed": self.failed} if self.failed else {}
        if tape is not None:
            extra["tape"] = str(tape.path)
        return self.view.summary() | {"why": self._why} | extra


def _notice(venue: str) -> Callable[[str, str], None]:
    def notice(kind: str, text: str) -> None:
        log.warning("connection", venue=venue, kind=kind, text=text)

    return notice
