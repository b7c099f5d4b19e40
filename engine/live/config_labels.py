"""What a ``[[model]]`` is to predict, and what an order on it would pay, in words that the models understand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import Field

from engine.core.account.fee_schedules import schedule
from engine.core.account.fees import AUTO
from engine.learn.targets import LabelOptions, target
from engine.live.config_paper import PaperSection
from engine.live.config_section import Section
from engine.live.durations import Duration


class LabelSection(Section):
    """``[model.label_options]``; see ``LabelOptions`` in engine/learn/targets.py."""

    band_bps: float = Field(default=0.0, ge=0)
    band_half_spreads: float = Field(default=0.0, ge=0)
    profit: float = Field(default=1.0, ge=0)
    stop: float = Field(default=1.0, ge=0)
    barrier: str = Field(default="volatility", pattern="^(volatility|bps)$")
    outcome: str = Field(default="sign", pattern="^(sign|return)$")
    volatility_half_life: Duration = 60_000_000_000
    least_volatility_bps: float = Field(default=0.05, gt=0)


def label_values(
    label: str | None, labels: Sequence[str] | None, horizon_ns: int, options: LabelSection
) -> dict[str, Any]:
    """The settings of the models by name: of several labels the first gives kind and horizon.

    Raises:
        LabelError: not a label.

    >>> told = label_values(None, ["direction@5s", "return@1s"], 10**9, LabelSection())
    >>> told["label"], told["horizon_ns"], told["labels"]
    ('direction', 5000000000, ('direction@5s', 'return@1s'))
    """
    plain = options.model_dump(exclude={"volatility_half_life"})
    values: dict[str, Any] = {
        "label": label or "return",
        "horizon_ns": horizon_ns,
        "label_options": LabelOptions(**plain, volatility_half_life_ns=options.volatility_half_life),
    }
    if labels:
        first = target(labels[0])
        values |= {"label": first.kind, "horizon_ns": first.horizon_ns, "labels": tuple(labels)}
    return values


def taker_rate(paper: PaperSection, venue: str) -> Decimal:
    """What a taker pays at a venue as a fraction; of a schedule by volume the lowest tier's.

    >>> taker_rate(PaperSection(taker_fee=Decimal("0.0005")), "v")
    Decimal('0.0005')
    """
    section = paper.fees.get(venue)
    if section is None or not section.schedule:
        return paper.taker_fee
    known = schedule(section.schedule)
    return (known.tiers[0] if section.tier == AUTO else known.tier(section.tier)).taker
