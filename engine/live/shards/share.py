"""A shard's part of a configuration: its symbols, the strategies and models on them, a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from adapters.registry import UnknownVenue, venue_class
from engine.core.context import Symbols, UnknownSymbol
from engine.core.types import Instrument
from engine.core.venue.venue_families import ADAPTERS
from engine.live.config import AppConfig, ConfigError, StrategySection, VenueSection
from engine.live.config_paper import PaperSection
from engine.live.config_rules import EVERYWHERE, RulesSection
from engine.live.shards.feed import Listed
from engine.live.shards.names import Share

CENTS: Final = 8
"""Decimals of a part of the cash."""

BATCHES: Final = "adapters.redis_batches:RedisBatches"


def family(section: VenueSection) -> str:
    """The rules of a venue, as an engine that reaches it itself would find them.

    Raises:
        ConfigError: no such venue.
    """
    if section.market is not None:
        return "plain"  # the built-in exchange has no rules of its own
    try:
        venue = venue_class(section.use)
    except UnknownVenue as error:
        raise ConfigError([f"venue.use: {error}"]) from error
    return venue.rules or ADAPTERS.get(venue.spec.name, "plain")


def share_of(config: AppConfig, listed: Mapping[str, Listed], share: Share) -> AppConfig:
    """The configuration of one shard; ``listed`` is what the feed's venues trade.

    Raises:
        ConfigError: a strategy or model on symbols of several shards, or a shard without a symbol.
    """
    everything = [
        instrument for name in config.venue if name in listed for instrument in listed[name].instruments.values()
    ]
    mine = {one.name for one in everything if share.owns(one.name)}
    if not mine:
        told = ", ".join(f"{one.name} {_owner(one.name, share.count)}" for one in everything)
        raise ConfigError([f"--shard {share.index}/{share.count}: expected symbols of its own, found none ({told})"])
    venues = {
        name: VenueSection(
            use=BATCHES,
            symbols=[symbol for symbol, one in listed[name].instruments.items() if one.name in mine],
        )
        for name in config.venue
        if name in listed and any(one.name in mine for one in listed[name].instruments.values())
    }
    problems: list[str] = []
    strategies = list(_strategies(config.strategy, everything, mine, problems))
    models = []
    symbols = Symbols(everything)
    for number, model in enumerate(config.model):
        named = _named([] if model.symbol == "*" else [model.symbol], symbols)
        leaders = _named(model.leaders or (), symbols)
        if named and not named & mine:
            continue
        if not named | leaders <= mine:
            problems.append(_straddles(f"model.{number}", named | leaders, share.count))
            continue
        models.append(model)
    if problems:
        raise ConfigError(problems)
    cash = config.paper.cash
    if config.redis.cash == "divided":
        cash = divided(cash, everything, share)
    port = config.http.port + share.index if config.http.port else 0
    return config.model_copy(
        update={
            "run": config.run.model_copy(
                update={"name": share.name, "state_dir": config.run.state_dir / config.run.name}
            ),
            "venue": venues,
            "paper": _paper(config.paper, venues, listed, mine).model_copy(update={"cash": cash}),
            "strategy": strategies,
            "model": models,
            "http": config.http.model_copy(update={"port": port}),
        }
    )


def _paper(paper: PaperSection, venues: Iterable[str], listed: Mapping[str, Listed], mine: set[str]) -> PaperSection:
    """Rules that adapters name are said: the adapter of a shard is another. What is said of others' symbols goes."""
    rules = {}
    for name in venues:
        section = paper.rules.get(name, paper.rules.get(EVERYWHERE, RulesSection()))
        rules[name] = (
            section if section.family is not None else section.model_copy(update={"family": listed[name].rules})
        )
    known = {*rules, EVERYWHERE, *mine}
    margin, equities = paper.margin, paper.equities
    return paper.model_copy(
        update={
            "rules": rules,
            "gate": _only(paper.gate, known),
            "fees": _only(paper.fees, known),
            "margin": margin.model_copy(
                update={"leverages": _only(margin.leverages, known), "tables": _only(margin.tables, known)}
            ),
            "equities": equities.model_copy(
                update={
                    "short_fee": _only(equities.short_fee, known),
                    "settlement_days": _only(equities.settlement_days, known),
                }
            ),
            "corporate_action": [action for action in paper.corporate_action if action.symbol in known],
        }
    )


def divided(cash: Mapping[str, Decimal], everything: Iterable[Instrument], share: Share) -> dict[str, Decimal]:
    """A shard's part of the account: of each currency by how many instruments it has that trade or settle in it.

    A currency of no instrument, such as one that only fees are paid in, goes by all instruments. The parts of all
    shards together are the cash to the last decimal.

    >>> names = ("BTCUSDT", "XRPUSDT", "DOGEUSDT")
    >>> units = {"quote": "USDT", "price_decimals": 2, "size_decimals": 2}
    >>> coins = [Instrument(venue="sim", symbol=name, base=name[:-4], **units) for name in names]
    >>> [divided({"USDT": Decimal(100), "BTC": Decimal(1)}, coins, Share(index, 2)) for index in range(2)]
    [{'USDT': Decimal('66.66666666')}, {'USDT': Decimal('33.33333334'), 'BTC': Decimal('1')}]
    """
    instruments = list(everything)
    found = {}
    for currency, total in cash.items():
        users = [one for one in instruments if currency in (one.base, one.quote, one.settle)] or instruments
        counts = [sum(Share(index, share.count).owns(one.name) for one in users) for index in range(share.count)]
        until, before = sum(counts[: share.index + 1]), sum(counts[: share.index])
        if part := _of_all(total, until, len(users)) - _of_all(total, before, len(users)):
            found[currency] = part
    return found


def _of_all(total: Decimal, count: int, of: int) -> Decimal:
    """``count`` of ``of`` equal parts, rounded down to what an account can hold; all of them are all."""
    if count in (0, of):
        return total if count else Decimal(0)
    return Decimal(int(Fraction(total) * count / of * 10**CENTS)).scaleb(-CENTS)


def _only(section: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name in names}


def _strategies(
    sections: Sequence[StrategySection], everything: Sequence[Instrument], mine: set[str], problems: list[str]
) -> Iterator[StrategySection]:
    """Those whose symbols are all ours; one that names none is on every shard, for the symbols there."""
    symbols = Symbols(everything)
    for number, section in enumerate(sections):
        named = _named(_texts(section.own), symbols)
        if named and not named & mine:
            continue
        if not named <= mine:
            problems.append(_straddles(f"strategy.{number}", named, 0))
            continue
        yield section


def _straddles(where: str, named: set[str], count: int) -> str:
    shards = f": {', '.join(f'{name} {_owner(name, count)}' for name in sorted(named))}" if count else ""
    return (
        f"{where}: expected symbols of one shard, found {', '.join(sorted(named))} on several{shards}; "
        "trade them in a run of their own, without shards"
    )


def _owner(name: str, count: int) -> str:
    return next(f"on {index}/{count}" for index in range(count) if Share(index, count).owns(name))


def _named(texts: Iterable[str], symbols: Symbols) -> set[str]:
    """The instruments that texts name."""
    found = set()
    for text in texts:
        try:
            found.add(symbols.names[symbols.index(text)])
        except UnknownSymbol:
            continue
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
