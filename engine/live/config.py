"""The configuration: TOML in, one frozen value out, every mistake with its place and what was expected there."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.core.types import ContractKind
from engine.live.config_blackbox import BlackBoxSection
from engine.live.config_contest import ContestSection
from engine.live.config_drift import DriftSection
from engine.live.config_journal import JournalSection
from engine.live.config_labels import LabelSection
from engine.live.config_paper import PaperSection
from engine.live.config_redis import RedisSection
from engine.live.config_section import Money, Section
from engine.live.config_training import TrainingSection
from engine.live.durations import Duration, duration_text


class ConfigError(Exception):
    """A configuration that cannot be used; one line a mistake: file, key path, expected, found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RunSection(Section):
    """``name`` is the folder below ``state_dir`` where this daemon keeps everything."""

    name: str = Field(default="demo", pattern=r"^[A-Za-z0-9._-]+$")
    state_dir: Path = Path("var")
    seed: int = 1


class InstrumentSection(Section):
    """What the config says of an instrument, over what the venue says. ``tick`` and ``lot`` as decimal text."""

    base: str | None = None
    quote: str | None = None
    price_decimals: int | None = Field(default=None, ge=0, le=12)
    size_decimals: int | None = Field(default=None, ge=0, le=12)
    tick: Money | None = Field(default=None, gt=0)
    lot: Money | None = Field(default=None, gt=0)
    contract_size: Money | None = Field(default=None, gt=0)
    kind: ContractKind | None = None
    settle_in: str | None = None


class MarketSection(Section):
    """The built-in simulated exchange, started as a child process and connected to like a real venue.

    ``regime_change`` says what becomes of all its regimes ``regime_change_after`` of its own time after it opened.
    """

    seed: int = 1
    speed: float = Field(default=1.0, gt=0, le=100)
    regime_change: Literal["turn", "storm"] | None = None
    regime_change_after: Duration = 0


class VenueSection(Section):
    """One connection to one venue. Empty addresses mean the venue's own."""

    use: str
    symbols: list[str] = Field(min_length=1)
    ws_url: str = ""
    rest_url: str = ""
    transport: str = Field(default="aiohttp", pattern="^(aiohttp|websockets)$")
    market: MarketSection | None = None
    instruments: dict[str, InstrumentSection] = Field(default={})


class RiskSection(Section):
    """Limits; 0 switches one off. Notionals in the quote currency. See engine/core/desk/limits.py for each."""

    max_order_size: Money = Decimal(0)
    max_order_notional: Money = Decimal(100_000)
    max_position_notional: Money = Decimal(250_000)
    max_total_notional: Money = Decimal(0)
    price_collar_bps: int = Field(default=500, ge=0)
    stale_book: Duration = 10_000_000_000
    max_orders_per_window: int = Field(default=100, ge=0)
    order_window: Duration = 1_000_000_000
    max_open_orders: int = Field(default=200, ge=0)
    stop_loss_bps: int = Field(default=0, ge=0)
    stop_loss: dict[str, Money] = Field(default={})
    stop_loss_pause: Duration = 0
    drawdown: dict[str, Money] = Field(default={})
    drawdown_fraction: Money = Field(default=Decimal("0.25"), ge=0, le=1)
    strategy_drawdown: dict[str, Money] = Field(default={})
    strategy_drawdown_fraction: Money = Field(default=Decimal(0), ge=0, le=1)
    allow_short: bool = False
    allow_debt: bool = False
    check_filters: bool = True


class StrategySection(Section):
    """One ``[[strategy]]``: a name, what to use, and the strategy's own settings, checked by its own ``Config``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(default="", pattern=r"^[A-Za-z0-9._@:-]*$")
    use: str

    @property
    def own(self) -> dict[str, Any]:
        """The strategy's own settings."""
        return dict(self.model_extra or {})


class ModelSection(Section):
    """One ``[[model]]``; ``symbol = "*"`` makes one a symbol. Horizon and the rest in engine time.

    ``labels`` (``["return@1s", "direction@5s"]``) stands for ``label`` and ``horizon`` where a model has several.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9._@:-]+$")
    use: str = "river-linear"
    symbol: str = "*"
    label: str | None = None
    horizon: Duration = 1_000_000_000
    labels: list[str] | None = Field(default=None, min_length=1)
    label_options: LabelSection = LabelSection()
    every: Duration = 100_000_000
    warm_up: Duration | None = None
    features: str | tuple[str, ...] | None = None
    trades: Literal["live", "held"] | None = None
    leaders: tuple[str, ...] | None = None
    prepare: Literal["none", "z", "robust", "rank"] | None = None
    masks: bool | None = None
    reduce: Literal["none", "pca", "map", "autoencoder"] | None = None
    components: int | None = Field(default=None, ge=1)
    reduce_keep: bool | None = None
    stale: Duration | None = None
    retrain_every: Duration | None = None
    retrain_timeout: Duration | None = None
    drift_cooldown: Duration | None = None
    drift: str | None = None
    drift_budget: str | None = None
    drift_also: tuple[str, ...] | None = None
    on_drift: tuple[str, ...] | None = None
    drift_options: DriftSection = DriftSection()
    drift_delta: float | None = Field(default=None, gt=0, lt=1)
    window_rows: int | None = Field(default=None, ge=8)
    memory_rows: int | None = Field(default=None, ge=0)
    min_rows: int | None = Field(default=None, ge=8)
    learning_rate: float | None = Field(default=None, ge=0)
    hidden: tuple[int, ...] | None = None
    epochs: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = Field(default={})


class HttpSection(Section):
    """The daemon's own page and interfaces; loopback unless you know better. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)
    enabled: bool = True


class RecordSection(Section):
    """Whether raw frames are kept as a tape."""

    enabled: bool = True


class AlertsSection(Section):
    """Where alerts go; the log always has them."""

    log: bool = True


class AppConfig(Section):
    """The whole configuration of one daemon."""

    run: RunSection = RunSection()
    venue: dict[str, VenueSection] = Field(default={})
    paper: PaperSection = PaperSection()
    risk: RiskSection = RiskSection()
    strategy: list[StrategySection] = Field(default=[])
    model: list[ModelSection] = Field(default=[])
    contest: list[ContestSection] = Field(default=[])
    http: HttpSection = HttpSection()
    record: RecordSection = RecordSection()
    training: TrainingSection = TrainingSection()
    journal: JournalSection = JournalSection()
    blackbox: BlackBoxSection = BlackBoxSection()
    alerts: AlertsSection = AlertsSection()
    redis: RedisSection = RedisSection()

    def plain(self) -> dict[str, Any]:
        """Plain values for a tape's header: what decides the run, without addresses of services and their secrets."""
        elsewhere = {"redis", "alerts", "http", "record", "journal", "blackbox", "training"}
        plain = self.model_dump(mode="json", exclude=elsewhere, exclude_none=True)
        for told, strategy in zip(plain["strategy"], self.strategy, strict=True):
            told.update(numbers(strategy.own))
        for told, model in zip(plain["model"], self.model, strict=True):
            told["options"] = numbers(model.options)
        return plain


def numbers(value: Any) -> Any:
    """A plug-in's own settings as JSON can hold them: a number stays a number, which its own types will ask for.

    >>> numbers({"enter": Decimal("0.25"), "levels": [Decimal("1.5")], "fine": Decimal("0.12345678901234567890")})
    {'enter': 0.25, 'levels': [1.5], 'fine': '0.12345678901234567890'}
    """
    match value:
        case Decimal():
            return float(value) if Decimal(repr(float(value))) == value else str(value)
        case dict():
            return {key: numbers(inner) for key, inner in value.items()}
        case list():
            return [numbers(inner) for inner in value]
        case _:
            return value


def load_config(path: Path | str) -> AppConfig:
    """Read and check a TOML file.

    Raises:
        ConfigError: every mistake, one line each.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError([f"{path}: expected a readable file, found {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: expected TOML text in UTF-8, found byte {error.start} that is not"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: expected TOML, found a mistake: {error}"]) from error
    return parse_config(data, str(path))


def parse_config(data: Mapping[str, Any], source: str) -> AppConfig:
    """Check plain values; ``source`` names them in errors.

    Raises:
        ConfigError: every mistake, one line each.
    """
    try:
        config = AppConfig.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError([_problem(source, detail, data) for detail in error.errors()]) from error
    url = os.environ.get("PAPERTAPE_REDIS_URL", "")
    if url:
        redis = _redis_from_environment(url, config.redis)
        config = config.model_copy(update={"redis": redis})
    return config


def _redis_from_environment(url: str, section: RedisSection) -> RedisSection:
    """The Redis section with the address from the environment.

    Raises:
        ConfigError: not an address of Redis.
    """
    try:
        return RedisSection(**{**section.model_dump(), "url": url})
    except ValidationError as error:
        raise ConfigError(
            ["environment: PAPERTAPE_REDIS_URL: expected redis://, rediss:// or unix://, found another text"]
        ) from error


_CHOICES = re.compile(r"\^\(([a-z|]+)\)\$")
"""A pattern that is a list of words, such as ``^(none|cross)$``."""


def _problem(source: str, detail: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return (
            f"{source}: {place}: expected one of {_known(detail['loc'])}, found the unknown key {detail['loc'][-1]!r}"
        )
    if kind == "missing":
        return f"{source}: {place}: expected a value, found none"
    if kind == "value_error":
        expected = str(context.get("error", detail["msg"]))
    else:
        expected = str(detail["msg"]).replace("Input should be ", "").replace("String should ", "text that should ")
    if kind in ("model_type", "model_attributes_type"):
        expected = "a section with keys of its own"
    choices = _CHOICES.fullmatch(context.get("pattern", ""))
    if choices:
        expected = f"one of {', '.join(filter(None, choices[1].split('|')))}"
    expected = expected.removeprefix("expected ").removeprefix("Value error, ")
    if ", found " in expected:  # the check itself says what it found
        return f"{source}: {place}: expected {expected}"
    given, written = detail["input"], _written(data, detail["loc"])
    bound = next((context[key] for key in ("gt", "ge", "lt", "le") if key in context), None)
    if isinstance(written, str) and isinstance(given, int) and isinstance(bound, int):  # a duration, checked in ns
        expected, given = expected.replace(str(bound), duration_text(bound)), written
    found = str(given) if isinstance(given, Decimal) else repr(given)
    found = "another text" if place == "redis.url" else found  # it may hold a password
    return f"{source}: {place}: expected {expected}, found {found}"


def _written(data: Any, place: tuple[Any, ...]) -> object:
    """What the file says at a place; nothing where checks found a place that it does not have."""
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _known(place: tuple[Any, ...]) -> str:
    """The keys that the section around a place may have."""
    section: Any = AppConfig
    for part in place[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            if part in section.model_fields:
                section = _inner(section.model_fields[part].annotation)
            continue
    return ", ".join(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else "known"


def _inner(annotation: Any) -> Any:
    """The section inside ``dict[str, Section]``, ``list[Section]`` or ``Section | None``."""
    for inner in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return annotation
