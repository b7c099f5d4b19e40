"""``[paper]`` and the sections below it, and how they become the core's own settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from pydantic import Field

from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings
from engine.live.config_calibration import CalibrationSection, calibration_settings
from engine.live.config_gate import GateSection, gate_settings
from engine.live.config_impact import ImpactSection, impact_settings
from engine.live.config_latency import LatencySection, latency_settings
from engine.live.config_money import (
    BorrowSection,
    CorporateActionSection,
    EquitiesSection,
    MarginSection,
    VenueFeesSection,
    borrow_settings,
    equity_settings,
    fee_settings,
    margin_settings,
)
from engine.live.config_queue import QueueSection, queue_settings
from engine.live.config_rules import RulesSection
from engine.live.config_section import Money, Section
from engine.live.durations import Duration


class PaperSection(Section):
    """Latencies, fee rates (fractions of the notional) and starting balances by currency.

    ``out``, ``back`` and ``feed`` are constants, and the medians and first values of ``[paper.latency]``.
    """

    out: Duration = 5_000_000
    back: Duration = 5_000_000
    feed: Duration = 5_000_000
    maker_fee: Money = Decimal("0.001")
    taker_fee: Money = Decimal("0.001")
    reporting_currency: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    fees: dict[str, VenueFeesSection] = Field(default={})
    margin: MarginSection = MarginSection()
    borrow: BorrowSection = BorrowSection()
    equities: EquitiesSection = EquitiesSection()
    corporate_action: list[CorporateActionSection] = Field(default=[])
    max_orders: int = Field(default=2_000, ge=1, le=10_000)
    queue: QueueSection = QueueSection()
    impact: ImpactSection = ImpactSection()
    calibration: CalibrationSection | None = None
    latency: LatencySection | None = None
    gate: dict[str, GateSection] = Field(default={})
    rules: dict[str, RulesSection] = Field(default={})
    cash: dict[str, Money] = Field(default={"USDT": Decimal(100_000)})


def paper_settings(paper: PaperSection) -> PaperSettings:
    """The ``[paper]`` section in the core's words."""
    over = paper.latency or LatencySection()
    return PaperSettings(
        out_ns=paper.out if over.out is None else over.out,
        back_ns=paper.back if over.back is None else over.back,
        feed_ns=paper.feed if over.feed is None else over.feed,
        queue=queue_settings(paper.queue),
        impact=impact_settings(paper.impact),
        calibration=calibration_settings(paper.calibration),
        latency=latency_settings(paper.latency),
        gates=gate_settings(paper.gate),
        maker_fee=paper.maker_fee,
        taker_fee=paper.taker_fee,
        reporting_currency=paper.reporting_currency,
        fees=fee_settings(paper.fees),
        margin=margin_settings(paper.margin),
        borrow=borrow_settings(paper.borrow),
        equities=equity_settings(paper.equities, paper.corporate_action),
        max_orders=paper.max_orders,
    )


def unknown_money(paper: PaperSection, instruments: Sequence[Instrument]) -> list[str]:
    """Venues and symbols that the money sections name and the run does not trade, one line each."""
    symbols = {instrument.name for instrument in instruments}
    venues = {instrument.venue for instrument in instruments}
    named: list[tuple[str, Iterable[str], set[str]]] = [
        ("fees", paper.fees, venues),
        ("margin.leverages", paper.margin.leverages, symbols),
        ("margin.tables", paper.margin.tables, symbols),
        ("equities.short_fee", paper.equities.short_fee, symbols),
        ("equities.settlement_days", paper.equities.settlement_days, symbols | venues),
        ("corporate_action", (action.symbol for action in paper.corporate_action), symbols),
    ]
    return [
        f"paper.{place}: expected one of {', '.join(sorted(known))}, found {name!r}"
        for place, names, known in named
        for name in names
        if name not in known
    ]
