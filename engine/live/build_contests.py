"""From the ``[[contest]]`` sections of a configuration to the settings of contests."""

from __future__ import annotations

from collections.abc import Sequence

from engine.learn.contest import ContestSettings
from engine.learn.contract import ModelSettings
from engine.live.config import AppConfig, ConfigError


def contest_settings(config: AppConfig, models: Sequence[ModelSettings]) -> list[ContestSettings]:
    """The contests of a config; ``symbol = "*"`` makes one for each symbol of the champion's models.

    Raises:
        ConfigError: a champion that is no model of the config.
    """
    found = []
    for number, section in enumerate(config.contest):
        is_all = section.symbol == "*"
        begins = [
            one
            for one in models
            if one.name == section.champion or (is_all and one.name == f"{section.champion}@{one.symbol}")
        ]
        if not begins:
            known = ", ".join(one.name for one in models)
            raise ConfigError([f"contest.{number}.champion: expected one of {known}, found {section.champion!r}"])
        for one in begins:
            suffix = one.name.removeprefix(section.champion)
            found.append(
                ContestSettings(
                    name=section.name + suffix,
                    symbol=one.symbol,
                    champion=one.name,
                    challengers=tuple(name + suffix for name in section.challengers),
                    horizon_ns=one.horizon_ns,
                    alpha=section.alpha,
                    by=section.by,
                    accounts=section.accounts,
                    rollback_alpha=section.rollback_alpha,
                    probation=section.probation,
                    taker_fee_bps=one.taker_fee_bps,
                )
            )
    return found
