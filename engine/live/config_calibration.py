"""``[paper.calibration]``: ghost orders and the queue model's share, fitted while the engine runs."""

from __future__ import annotations

from pydantic import Field

from engine.core.queues.calibration_settings import CalibrationSettings
from engine.live.config_section import Section
from engine.live.durations import Duration

_USUAL = CalibrationSettings()


class CalibrationSection(Section):
    """``interval``: mean time between two ghosts of a symbol; ``life``: how long one rests; ``report``: how often the
    share is estimated, told and used. The rest as in ``CalibrationSettings``.
    """

    enabled: bool = True
    seed: int = Field(default=_USUAL.seed, ge=0, lt=2**31)
    interval: Duration = Field(default=_USUAL.interval_ns, ge=1_000_000)
    life: Duration = Field(default=_USUAL.life_ns, ge=1_000_000)
    most: int = Field(default=_USUAL.most, ge=1, le=256)
    deepest: int = Field(default=_USUAL.deepest, ge=1, le=50)
    report: Duration = Field(default=_USUAL.report_ns, ge=1_000_000_000)
    prior_sd: float = Field(default=_USUAL.prior_sd, gt=0, le=5)
    weight: float = Field(default=_USUAL.weight, gt=0, le=1)
    pooled: float = Field(default=_USUAL.pooled, ge=0, le=1)
    most_told: float = Field(default=_USUAL.most_told, gt=0, le=1e9)


def calibration_settings(section: CalibrationSection | None) -> CalibrationSettings | None:
    """The section in the core's words; None where it is not there or switched off.

    >>> calibration_settings(CalibrationSection.model_validate({"interval": "2s"})).interval_ns
    2000000000
    >>> calibration_settings(None) is calibration_settings(CalibrationSection(enabled=False)) is None
    True
    """
    if section is None or not section.enabled:
        return None
    return CalibrationSettings(
        seed=section.seed,
        interval_ns=section.interval,
        life_ns=section.life,
        most=section.most,
        deepest=section.deepest,
        report_ns=section.report,
        prior_sd=section.prior_sd,
        weight=section.weight,
        pooled=section.pooled,
        most_told=section.most_told,
    )
