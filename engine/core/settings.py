"""All settings of an engine in one value."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.core.desk.risk import RiskSettings
from engine.core.venue.paper_settings import PaperSettings


class EngineSettings(msgspec.Struct, frozen=True):
    """What a run is; ``cash`` is the starting balance by currency, ``book_depth`` bounds each side of a book."""

    paper: PaperSettings = PaperSettings()
    risk: RiskSettings = RiskSettings()
    cash: dict[str, Decimal] = {}
    book_depth: int = 6000
