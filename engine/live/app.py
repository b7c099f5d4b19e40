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
from functools import partial
from typing import Any

import structlog

from adapters.connection import Connection
from adapters.contract import AdapterError
from adapters.entry import Entry
from adapters.feed import Feed
from adapters.tape import TapeNotWritten
from engine.live.blackbox.watch import Watch
from engine.live.build import Built
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.config import AppConfig
from engine.live.http import HttpServer
from engine.live.journal import JournalNotWritten
from engine.live.notify import Notify
from engine.live.recovery.memory import Memory
from engine.live.recovery.shown import remembered
from engine.live.recovery.state import Kept
from engine.live.redis_bus import RedisPublisher, RedisSettings
from engine.live.redis_view import redis_status
from engine.live.registry.registry import Registry
from engine.live.runner import Runner
from engine.live.shards.shard import DISOWNED, Shard
from engine.live.side import Sides, sources_of
from engine.live.statedir import StateDir, StateDirError
from engine.live.training import Training
from engine.live.venues import MarketChild, Reached, StartError, numbered, reach
from engine.live.view import View
from engine.live.warm import warm_up

log = structlog.get_logger("papertape.app")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

STAGE_S = 5.0
"""How long each stage of the stop may take before it is named and left behind."""

PACK_S = 20.0
"""The same for a black box that is being packed."""


class App:
    """A daemon; ``run`` returns its exit code, ``view`` its picture. As a ``shard`` it reaches no venue itself.

    ``on_second`` takes a picture of the view and returns how it is shown, which is done when it may be.
    """

    def __init__(
        self,
        config: AppConfig,
        state: StateDir,
        on_second: Callable[[View], Callable[[], None] | None] | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.config = config
        self.state = state
        self._shard = shard
        self._is_disowned = False
        self.url = ""
        self.failed: str | None = None
        self.left_behind: list[str] = []
        self._on_second = on_second
        self._stop = asyncio.Event()
        self._children: list[MarketChild] = []
        self._reached: list[Reached] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._view: View | None = None
        self._why: list[str] = []
        self._http: HttpServer | None = None
        self._memory = Memory(config, state)
        self._watch: Watch | None = None
        self._notify = Notify.of(os.environ)
        self._runner: Runner | None = None
        self._registry = Registry(state.models)
        self._training: Training | None = None
        self._redis: RedisPublisher | None = None
        self._runner_task: asyncio.Task[None] | None = None
        self._redis_task: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None

    @property
    def _clock(self) -> Clock:
        return self._memory.clock

    @property
    def is_started(self) -> bool:
        """Whether there is a picture of the run yet."""
        return self._view is not None

    @property
    def view(self) -> View:
        """The picture of a run that was started."""
        assert self._view is not None
        return self._view

    def request_stop(self, why: str) -> None:
        """Begin a clean stop; a signal that comes after that ends the process at once."""
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, _end_at_once)  # it need not wait for the loop, which may be what hangs
        log.info("stopping", why=why)
        self._notify.stopping(why)
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
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request_stop, f"signal {signal.Signals(number).name}")
        try:
            await self._start()
            if seconds is not None:
                loop.call_later(seconds, self.request_stop, f"ran for {seconds:g} s")
            await self._stop.wait()
        finally:
            await self._shut()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _start(self) -> None:
        config = self.config
        sources = sources_of(config, os.environ)
        await self._reach()
        instruments = numbered(self._reached)
        if not instruments:
            raise StartError("expected at least one [venue.NAME] with symbols, found none")
        venues = {one.name: one.venue for one in self._reached}
        built, feeds = self._memory.recover(self._reached, instruments, venues)
        await self._memory.ask_missed(self._reached)
        warm_up(one.venue for one in self._reached)
        started_ns = self._memory.open(built, feeds, lambda: self._kept(built, feeds))
        runner = Runner(built.engine, Bus(), self._clock, self._memory.write, self._memory.keeper)
        self._runner = runner
        if self._shard is not None:
            self._shard.attach(runner)
        runner.connections = self._connections(runner, feeds)
        self._watch = self._watching(built, runner)
        past = self._memory.past
        await asyncio.to_thread(self._registry.enter, built.models, past.recent if past is not None else ())
        runner.sinks.append(self._registry.heard)
        elsewhere = self._shard.trainers() if self._shard is not None else None
        self._training = Training(
            built.models,
            self._registry,
            runner.bus.room,
            runner.model_ready,
            elsewhere,
            config.training.settings(),
        )
        runner.training = self._training
        if any(built.models.slot(name).model.is_trained for name in built.models.names):
            await self._training.warm()
        self._view = View(runner, built.models, feeds, config.run.name, started_ns)
        keeper, watch = self._memory.keeper, self._watch
        self._view.remembered = lambda: remembered(keeper, past, started_ns, watch)
        sides = Sides(config, sources, runner, self.state.path)
        self._view.side = sides.plain
        if self._shard is not None:
            self._view.shard = self._shard.plain
        if config.http.enabled:
            pack = self._watch.ask if self._watch is not None else None
            where, card = (config.http.host, config.http.port), self._registry.card
            self._http = HttpServer(self._view, runner.command, *where, pack=pack, webhooks=sides.webhooks, card=card)
            self.url = await self._http.start()
            log.info("page", url=self.url)
        self.state.write("daemon.json", json.dumps({"pid": os.getpid(), "url": self.url}))
        self._start_redis(runner)
        self._memory.begin(runner, feeds)
        self._healing = self._spawn(self._memory.heal(), "tapes of earlier sessions")
        self._runner_task = self._spawn(runner.run(), "runner")
        for connection in runner.connections.values():
            self._spawn(self._keep(connection), f"connection {connection.feed.name}")
        for name, work in sides.work():
            self._spawn(work, name)
        self._spawn(self._registry.run(), "registry")
        self._spawn(self._sampling(), "samples")
        self._spawn(self._showing(runner), "second")
        self._spawn(self._notify.run(self._view), "service manager")
        # What lives now lives for the whole run: the collector need not look at it again, which keeps its pauses short.
        gc.collect()
        gc.freeze()

    async def _reach(self) -> None:
        if self._shard is not None:
            self._reached += self._shard.reach(lambda: self._clock.now_ns())
            return
        for name, section in self.config.venue.items():
            child = None
            if section.market is not None:
                child = await MarketChild.start(section)
                self._children.append(child)
            self._reached.append(await reach(name, section, child))

    def _kept(self, built: Built, feeds: dict[str, Feed]) -> Kept:
        assert self._runner is not None
        return Kept(built.engine, built.models, feeds, (list(self._runner.recent_fills), list(self._runner.notable)))

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
                measured=partial(runner.measured, one.name) if self._shard is None else _unmeasured,
            )
        return connections

    def _watching(self, built: Built, runner: Runner) -> Watch | None:
        """Incidents are packed from the journal: without one there is nothing to pack."""
        if self._memory.keeper is None:
            return None
        watch = Watch(self.state, self.config, self._memory.keeper, built.models.versions)
        runner.sinks.append(watch)
        return watch

    def _write(self, entry: Entry) -> None:
        self._memory.write(entry)
        if self._shard is not None:
            self._shard.written(entry)

    def _start_redis(self, runner: Runner) -> None:
        if not self.config.redis.url:
            return
        if self._shard is not None:
            publisher = RedisPublisher(self._shard.settings(), runner.command, self._shard.lease, runner.settled)
            for name, work in self._shard.work():
                self._spawn(work, name)
        else:
            redis, run = self.config.redis, self.config.run.name
            settings = RedisSettings(url=redis.url, prefix=redis.prefix, run=run)
            publisher = RedisPublisher(settings, runner.command, settled=runner.settled)
        self._redis = publisher
        runner.sinks.append(lambda records: publisher.publish(records, None))
        self._redis_task = self._spawn(publisher.run(), "redis")

    async def _keep(self, connection: Connection) -> None:
        try:
            await connection.run()
        except AdapterError as error:
            log.error("venue stopped for good", venue=connection.feed.name, error=str(error))

    async def _sampling(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.view.sample()

    async def _showing(self, runner: Runner) -> None:
        """Show the present each second, or as often as the disk allows."""
        while True:
            await asyncio.sleep(1.0)
            status = redis_status(self.view.state()) if self._redis is not None else None
            show = self._on_second(self.view) if self._on_second is not None else None
            await runner.settled()
            if self._redis is not None and status is not None:
                self._redis.publish((), status)
            if show is not None:
                show()

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
        self._is_disowned = self._is_disowned or isinstance(error, DISOWNED)
        if isinstance(error, (TapeNotWritten, StateDirError, JournalNotWritten, *DISOWNED)):
            # said in full already, and no fault of ours
            words = str(error)
            log.error("part failed", part=part, error=words)
        else:
            words = f"{part}: {type(error).__name__}: {error}"
            log.error("part failed", part=part, exc_info=error)
            if part == "runner" and error is not None and self._watch is not None:
                self._watch.failure(error)
        self.failed = self.failed or words

    async def _shut(self) -> None:
        """Stop in stages: no more market, the engine's last word, then everything that only listens."""
        self._why = self._view.summary()["why"] if self._view is not None else []  # as it was while it ran
        last = (self._runner_task, self._redis_task, self._healing)
        await self._stage("connections", self._cancel(lambda task: task not in last))
        if self._runner is not None and self._runner_task is not None:
            await self._stage("runner", self._cancel(lambda task: task is self._runner_task))
            await self._stage("last word", self._last_word(self._runner))
        await self._memory.healed(self._healing)
        if self._watch is not None:
            await self._stage("black box", self._watch.close(), PACK_S)
        if self._training is not None:
            await self._stage("training", self._training.close())
        await self._stage("registry", self._registry.close())
        if self._redis is not None and self._redis_task is not None:
            self._redis.stop()
            await self._stage("redis", self._redis_task)
        if self._http is not None:
            await self._stage("http", self._http.stop())
        for one in self._reached:
            await self._stage(f"transport {one.name}", one.transport.close())
        for child in self._children:
            await self._stage("simulated exchange", child.stop())
        await self._stage("tape", asyncio.to_thread(self._memory.close_tape))
        await self._stage("journal", self._memory.close_journal())
        if self._shard is not None:
            await self._stage("shard", self._shard.close(is_ours=not self._is_disowned))
        if self._view is not None:
            await self._stage("summary", self._write_summary())
        gc.unfreeze()

    async def _last_word(self, runner: Runner) -> None:
        if not self._is_disowned and (self.failed is None or not self.failed.startswith("runner")):
            runner.command("stop")
            runner.drain(1_000_000)
            await runner.settled()

    async def _write_summary(self) -> None:
        self.state.write("run.json", json.dumps(self.summary(), indent=1))

    async def _cancel(self, which: Callable[[asyncio.Task[None]], bool]) -> None:
        tasks = [task for task in self._tasks if which(task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stage(self, name: str, work: Awaitable[Any], limit_s: float | None = None) -> None:
        limit_s = STAGE_S if limit_s is None else limit_s
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            waits = sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
            took_s = round(time.monotonic() - started, 3)
            log.error("stage of the stop hangs and is left behind", stage=name, seconds=took_s, tasks=waits)
            self.left_behind.append(name)
            self.failed = self.failed or f"stop: {name} was not done within {limit_s:g} s and was left behind"
        except Exception as error:  # noqa: BLE001 - whatever one stage meets, the later ones must have their turn
            self._fail(name, error)

    def summary(self) -> dict[str, Any]:
        """What ``run --json`` ends with."""
        tape = self._memory.tape
        extra: dict[str, Any] = {"failed": self.failed} if self.failed else {}
        if tape is not None:
            extra["tape"] = str(tape.path)
        return self.view.summary() | {"why": self._why} | extra


def _end_at_once(number: int, frame: object) -> None:
    """What was written down is whole without us, as after a kill."""
    os._exit(130)


def _unmeasured(rtt_ns: int, delay_ns: int) -> None:
    """The way to Redis is not the way to the venue; the feed measures that."""
    del rtt_ns, delay_ns


def _notice(venue: str) -> Callable[[str, str], None]:
    def notice(kind: str, text: str) -> None:
        log.warning("connection", venue=venue, kind=kind, text=text)

    return notice
