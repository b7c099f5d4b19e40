"""All settings of an engine in one value."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.core.paper_settings import PaperSettings
from engine.core.risk import RiskSettings


class EngineSettings(msgspec.Struct, frozen=True):
    """What a run is; ``cash`` is the starting balance by currency, ``book_depth`` bounds each side of a book."""

    paper: PaperSettings = PaperSettings()
    risk: RiskSettings = RiskSettings()
    cash: dict[str, Decimal] = {}
    book_depth: int = 6000
