"""From a checked configuration to an engine: the same assembly for a live run and for a replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from adapters.contract import Venue
from adapters.registry import UnknownVenue, venue_class
from engine.core.changes import Changes
from engine.core.context import Symbols, UnknownSymbol
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Frames
from engine.core.settings import EngineSettings
from engine.core.side import SideStream
from engine.core.strategy import Config, Strategy
from engine.core.types import Instrument
from engine.core.venue.venue_families import ADAPTERS
from engine.learn.contract import ModelError, ModelSettings
from engine.learn.models import Models
from engine.learn.shadows import Listeners, ShadowedEngine
from engine.learn.targets import LabelError
from engine.live.build_contests import contest_settings
from engine.live.config import (
    AppConfig,
    ConfigError,
    ModelSection,
    StrategySection,
    numbers,
    parse_config,
)
from engine.live.config_drift import drift_settings
from engine.live.config_gate import unknown_gates
from engine.live.config_labels import label_values, taker_rate
from engine.live.config_paper import PaperSection, paper_settings, unknown_money
from engine.live.config_rules import unknown_rules, venue_rules
from engine.live.config_side import schema_problems, source_problems
from engine.live.plugins import PluginError, strategy_class
from engine.live.scorers import scorer_problems

INLINE_DELAY_NS = 2_000_000_000
"""When a recording is replayed, a retrain is done at once and its model arrives this much engine time later."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Built(NamedTuple):
    """What a run consists of."""

    engine: Engine
    models: Models


class StrategyFactory:
    """Builds one strategy; every call after the first reads its module anew, so that a reload sees changed code."""

    def __init__(self, use: str, own: Mapping[str, Any], where: str) -> None:
        self.use = use
        self._own = _ENCODER.encode(dict(own))
        self._where = where
        self._calls = 0

    @property
    def identity(self) -> tuple[str, str]:
        """Which strategy it builds and with which settings, however they are written."""
        return self.use, json.dumps(json.loads(self._own), sort_keys=True)

    def config(self, kind: type[Strategy[Any]]) -> Config:
        """The strategy's own settings, checked.

        Raises:
            ConfigError: an unknown key, or a value that does not fit.
        """
        try:
            return msgspec.json.decode(self._own, type=kind.config_type)
        except msgspec.ValidationError as error:
            raise ConfigError([f"{self._where}: {error}"]) from error

    def __call__(self) -> Strategy[Any]:
        kind = strategy_class(self.use, fresh=self._calls > 0)
        self._calls += 1
        return kind(self.config(kind))


def build_engine(
    config: AppConfig,
    instruments: Sequence[Instrument],
    *,
    inline_training: bool,
    frames_tap: Callable[[Frames], None] | None = None,
    venues: Mapping[str, type[Venue]] | None = None,
) -> Built:
    """An engine with its strategies and models; ``venues`` by their name in the config bring their checksums.

    Raises:
        ConfigError: a strategy or model that cannot be had, or whose settings do not fit.
    """
    names = [instrument.venue for instrument in instruments]
    problems = unknown_gates(config.paper.gate, names) + unknown_rules(config.paper.rules, names)
    problems += unknown_money(config.paper, instruments) + schema_problems(config.side)
    if problems:
        raise ConfigError(problems)
    models = build_models(config, instruments, inline_training=inline_training)
    settings = EngineSettings(
        paper=msgspec.structs.replace(
            paper_settings(config.paper),
            venue_rules=venue_rules(config.paper.rules, names, _families(config, venues or {})),
        ),
        risk=risk_settings(config),
        cash={**config.paper.cash},
    )
    factories = strategy_factories(config, instruments)
    learning = models if config.model else None
    rules = {
        index: venue.checksum
        for index, instrument in enumerate(instruments)
        if (venue := (venues or {}).get(instrument.venue)) is not None and venue.checksum is not None
    }
    streams = _streams(config)
    reader = ConfigReader(config, instruments)
    if not any(one.settings.accounts for one in models.contests.values()):
        return Built(Engine(instruments, factories, settings, learning, frames_tap, rules, streams, reader), models)

    def listeners(contest: str) -> Listeners:
        found = listening(strategy_factories(config, instruments), contest)
        return Listeners(found, ConfigReader(config, instruments, contest))

    shadowed = ShadowedEngine(instruments, factories, settings, models, listeners, frames_tap, rules, streams, reader)
    return Built(shadowed, models)


def listening(factories: Mapping[str, StrategyFactory], contest: str) -> dict[str, StrategyFactory]:
    """The strategies whose settings name a contest, as those do that trade on its signals.

    Raises:
        ConfigError: there is none, so that accounts of the contest would stay empty.
    """
    found = {
        name: factory
        for name, factory in factories.items()
        if contest in msgspec.to_builtins(factory.config(strategy_class(factory.use))).values()
    }
    if not found:
        raise ConfigError([f"contest {contest}: accounts: expected a strategy that listens to it, found none"])
    return found


def _streams(config: AppConfig) -> list[SideStream]:
    return [section.schema_of().stream() for section in config.side]


class ConfigReader:
    """Reads the configuration that a ``configure`` command brings; ``config`` is the one in force, plain, as JSON.

    With a ``contest`` it is for an account of it, in which only those trade who listen to it.
    """

    def __init__(self, config: AppConfig, instruments: Sequence[Instrument], contest: str = "") -> None:
        self.config = json.dumps(config.plain())
        self._instruments = tuple(instruments)
        self._contest = contest
        self._known = {name: factory.identity for name, factory in self._factories(config).items()}

    def _factories(self, config: AppConfig) -> dict[str, StrategyFactory]:
        factories = strategy_factories(config, self._instruments)
        return listening(factories, self._contest) if self._contest else factories

    def __call__(self, args: Mapping[str, Any]) -> Changes:
        """What is other than before; from here on it is in force.

        Raises:
            ConfigError: a configuration that cannot be used; it was checked before it became a command.
        """
        config = parse_config(args["config"], "the configuration of the session")
        factories = self._factories(config)
        known = self._known
        built = {name: factory for name, factory in factories.items() if factory.identity != known.get(name)}
        anew = frozenset(name for name, factory in built.items() if known.get(name, ("", ""))[0] != factory.use)
        gone = tuple(name for name in known if name not in factories)
        self.config = json.dumps(config.plain())
        self._known = {name: factory.identity for name, factory in factories.items()}
        return Changes(risk_settings(config), built, anew, gone)


def _families(config: AppConfig, venues: Mapping[str, type[Venue]]) -> dict[str, str]:
    """The rules that adapters name; the built-in exchange speaks as Binance does and has no rules of its own."""
    simulated = {name for name, section in config.venue.items() if section.market is not None}
    named = {name: venue.rules or ADAPTERS.get(venue.spec.name, "plain") for name, venue in venues.items()}
    return {name: family for name, family in named.items() if name not in simulated}


def risk_settings(config: AppConfig) -> RiskSettings:
    """The ``[risk]`` section in the core's words: durations gain ``_ns``."""
    values = {name: getattr(config.risk, name) for name in type(config.risk).model_fields}
    durations = {"stale_book", "order_window", "stop_loss_pause"}
    return RiskSettings(**{f"{name}_ns" if name in durations else name: value for name, value in values.items()})


def strategy_factories(config: AppConfig, instruments: Sequence[Instrument]) -> dict[str, StrategyFactory]:
    """By name, one for each ``[[strategy]]``; ``symbol = "*"`` gives one a symbol, named ``NAME@SYMBOL``.

    Raises:
        ConfigError: all that is wrong with them.
    """
    factories: dict[str, StrategyFactory] = {}
    problems: list[str] = []
    symbols = Symbols(instruments)
    for number, section in enumerate(config.strategy):
        where = f"strategy.{number}"
        for name, own in _spread(section, instruments):
            if name in factories:
                problems.append(f"{where}.name: expected a name used once, found {name!r} twice")
                continue
            try:
                kind = strategy_class(section.use)
                factory = StrategyFactory(section.use, own, where)
                settings = factory.config(kind)
                if isinstance(symbol := getattr(settings, "symbol", None), str):
                    symbols.index(symbol)
            except PluginError as error:
                problems.append(f"{where}.use: {error}")
            except ConfigError as error:
                problems.extend(error.problems)
            except UnknownSymbol as error:
                problems.append(f"{where}.symbol: {error}")
            else:
                factories[name] = factory
    if problems:
        raise ConfigError(problems)
    return factories


def _spread(section: StrategySection, instruments: Sequence[Instrument]) -> list[tuple[str, dict[str, Any]]]:
    name = section.name or section.use.rpartition(":")[2]
    if section.own.get("symbol") != "*":
        return [(name, section.own)]
    return [(f"{name}@{one.name}", _filled({**section.own, "symbol": one.name}, one)) for one in instruments]


def _filled(own: dict[str, Any], instrument: Instrument) -> dict[str, Any]:
    """Settings of one instance: ``{symbol}`` in a text becomes its symbol, so that it can name its own model.

    Of a table by currency it gets the value of its quote currency, or that of ``"*"``: 500 USDT is an order, 500 BTC
    a mistake.
    """
    filled: dict[str, Any] = {}
    for key, value in own.items():
        if isinstance(value, str):
            filled[key] = value.replace("{symbol}", instrument.name)
        elif isinstance(value, dict) and "*" in value:
            filled[key] = value.get(instrument.quote, value["*"])
        else:
            filled[key] = value
    return filled


def offline_problems(config: AppConfig) -> list[str]:
    """What is wrong with a config as far as it can be known without asking the venues."""
    problems = []
    for name, section in config.venue.items():
        try:
            venue_class(section.use)
        except UnknownVenue as error:
            problems.append(f"venue.{name}.use: {error}")
    if config.venue:
        problems += unknown_gates(config.paper.gate, config.venue)
        problems += unknown_rules(config.paper.rules, config.venue)
        problems += unknown_money(config.paper, _guessed(config))
    wrong = schema_problems(config.side)
    problems += wrong + source_problems(config.side, redis=config.redis.url, has_http=config.http.enabled)
    if wrong:
        return problems  # features of streams cannot be known
    problems += scorer_problems(config.side)
    guessed = _guessed(config)
    for part in (strategy_factories, lambda config, guessed: build_models(config, guessed, inline_training=False)):
        try:
            part(config, guessed)
        except ConfigError as error:
            problems.extend(error.problems)
    return problems or _without_listeners(config, guessed)


def _without_listeners(config: AppConfig, guessed: Sequence[Instrument]) -> list[str]:
    factories = strategy_factories(config, guessed)
    problems = []
    for name, one in build_models(config, guessed, inline_training=False).contests.items():
        try:
            if one.settings.accounts:
                listening(factories, name)
        except ConfigError as error:
            problems.extend(error.problems)
    return problems


def _guessed(config: AppConfig) -> list[Instrument]:
    """Instruments as far as the config names them; one without venues is for replays, where the tape has them."""
    names = [f"{name}:{symbol}" for name, section in config.venue.items() for symbol in section.symbols]
    if not config.venue:
        asked = [*(section.own.get("symbol") for section in config.strategy), *(one.symbol for one in config.model)]
        asked += [leader for one in config.model for leader in one.leaders or ()]
        texts = dict.fromkeys(symbol for symbol in asked if isinstance(symbol, str) and symbol != "*")
        names = [symbol if ":" in symbol else f"tape:{symbol}" for symbol in texts] or ["tape:ANY"]
    parts = [name.partition(":") for name in dict.fromkeys(names)]
    return [
        Instrument(venue=venue, symbol=symbol, base="", quote="", price_decimals=8, size_decimals=8)
        for venue, _, symbol in parts
    ]


def build_models(config: AppConfig, instruments: Sequence[Instrument], *, inline_training: bool) -> Models:
    """All models of the run.

    Raises:
        ConfigError: a model that cannot be had, or whose settings do not fit.
    """
    settings = []
    symbols = Symbols(instruments)
    for number, section in enumerate(config.model):
        key = "leaders"
        try:
            leaders = tuple(symbols.names[symbols.index(leader)] for leader in section.leaders or ())
            key = "symbol"
            settings += _model_settings(section, leaders, instruments, symbols, config.paper)
        except UnknownSymbol as error:
            raise ConfigError([f"model.{number}.{key}: {error}"]) from error
        except LabelError as error:
            raise ConfigError([f"model.{number}.labels: {error}"]) from error
    try:
        return Models(
            instruments,
            settings,
            seed=config.run.seed,
            inline_delay_ns=INLINE_DELAY_NS if inline_training else None,
            contests=contest_settings(config, settings),
            streams=_streams(config),
        )
    except ModelError as error:
        raise ConfigError([f"model: {error}"]) from error


def _model_settings(
    section: ModelSection,
    leaders: tuple[str, ...],
    instruments: Sequence[Instrument],
    symbols: Symbols,
    paper: PaperSection,
) -> list[ModelSettings]:
    durations = ("every", "warm_up", "stale", "retrain_every", "retrain_timeout", "drift_cooldown")
    inputs = ("features", "trades", "prepare", "masks", "reduce", "components", "reduce_keep")
    plain = (
        "use",
        "drift_delta",
        "window_rows",
        "memory_rows",
        "retrain_on_decay",
        "min_rows",
        "learning_rate",
        "hidden",
        "epochs",
        "batch",
        "patience",
    )
    values: dict[str, Any] = {f"{key}_ns": getattr(section, key) for key in durations}
    values |= {key: getattr(section, key) for key in (*plain, *inputs)}
    values = {key: value for key, value in values.items() if value is not None}
    values["options"] = numbers(section.options)
    watched = (section.drift, section.drift_budget, section.drift_also, section.on_drift)
    try:
        values["drift"] = drift_settings(*watched, section.drift_options)
    except ValueError as error:
        raise ConfigError([f"model {section.name}: drift_budget: {error}"]) from error
    values["leaders"] = leaders
    values |= label_values(section.label, section.labels, section.horizon, section.label_options)
    is_all = section.symbol == "*"
    return [
        ModelSettings(
            name=f"{section.name}@{one.name}" if is_all else section.name,
            symbol=one.name,
            taker_fee_bps=float(taker_rate(paper, one.venue) * 10_000),
            **values,
        )
        for one in (instruments if is_all else [instruments[symbols.index(section.symbol)]])
    ]
