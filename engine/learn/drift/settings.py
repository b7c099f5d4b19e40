"""How a model at work is watched, how loud that may be, and what follows from an alarm."""

from __future__ import annotations

from typing import Final

import msgspec

from engine.learn.drift.contract import DriftError
from engine.learn.drift.tuning import LONGEST

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS

DETECTORS: Final = (
    *("scans", "cusums", "adwin", "page-hinkley", "kswin", "ddm", "eddm", "hddm-a", "hddm-w", "fhddm"),
    *("always", "none"),
)
TUNED: Final = ("scans", "cusums")
"""Those whose thresholds are found on the model's own first labels; the others have those of ``threshold``."""

ANSWERS: Final = ("alert", "retrain", "begin-anew", "specialist", "shrink", "stand-aside")
SIGNALS: Final = ("label", "prediction", "log_abs", "joint")
FEATURE: Final = "feature:"


class DriftSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is watched of one model, and what an alarm does. Times are ns of engine time, lengths labels.

    ``detector``: one of ``DETECTORS``. ``alarms`` in ``span_ns`` is the budget of false alarms; span 0: one a
    day, or what is nearest to that and thresholds can be found for. ``also``: further
    signals that share it, of ``SIGNALS`` or ``feature:NAME``. ``threshold``: of a detector that is not tuned, 0: its
    own. ``past``: labels on which thresholds are found. ``warm``: labels that a detector hears before it judges.
    ``settle``: labels at the beginning and after an alarm that are not watched. ``answers``: what an alarm does, of
    ``ANSWERS``. ``grade``: labels after an alarm by which it is judged; ``late``: labels before it in which the loss
    must not have been high already. ``aside``: for how many labels ``shrink`` and ``stand-aside`` hold; ``size``: what
    ``shrink`` leaves of a position.

    >>> DriftSettings(detector="scan").check("model m", every_ns=SECOND_NS)
    Traceback (most recent call last):
    engine.learn.drift.contract.DriftError: model m: drift: expected one of scans, ... found 'scan'
    """

    detector: str = "scans"
    alarms: float = 1.0
    span_ns: int = 0
    also: tuple[str, ...] = ()
    threshold: float = 0.0
    past: int = 3000
    warm: int = 3000
    settle: int = 1000
    answers: tuple[str, ...] = ("alert", "retrain")
    grade: int = 1500
    late: int = 1000
    aside: int = 3000
    size: float = 0.5

    def labels_per_alarm(self, every_ns: int) -> int:
        """The budget as labels, of a model that has one each ``every_ns``.

        >>> DriftSettings(alarms=2.0, span_ns=3600 * SECOND_NS).labels_per_alarm(SECOND_NS // 10)
        18000
        >>> DriftSettings().labels_per_alarm(SECOND_NS // 10), DriftSettings().labels_per_alarm(60 * SECOND_NS)
        (864000, 3000)
        """
        if self.span_ns == 0:
            return min(LONGEST, max(self.warm, DAY_NS // every_ns))
        return round(self.span_ns / every_ns / self.alarms)

    @property
    def is_tuned(self) -> bool:
        """Whether thresholds are found on the model's own labels."""
        return self.detector in TUNED

    def check(self, where: str, every_ns: int) -> None:
        """Raise ``DriftError`` for what cannot be."""
        if self.detector not in DETECTORS:
            raise DriftError(f"{where}: drift: expected one of {', '.join(DETECTORS)}, found {self.detector!r}")
        for answer in self.answers:
            if answer not in ANSWERS:
                raise DriftError(f"{where}: on_drift: expected some of {', '.join(ANSWERS)}, found {answer!r}")
        for signal in self.also:
            if signal not in SIGNALS and not signal.startswith(FEATURE):
                known = ", ".join(SIGNALS)
                raise DriftError(f"{where}: drift_also: expected some of {known} or feature:NAME, found {signal!r}")
        if self.also and not self.is_tuned:
            raise DriftError(
                f"{where}: drift_also: expected drift of {' or '.join(TUNED)}, whose budget it shares, "
                f"found {self.detector!r}"
            )
        if not self.alarms > 0.0 or self.span_ns < 0:
            raise DriftError(f"{where}: drift_budget: expected alarms in a span, found {self.alarms} in {self.span_ns}")
        labels = self.labels_per_alarm(every_ns)
        if self.is_tuned and not self.warm <= labels <= LONGEST:
            fewer = "more" if labels > LONGEST else "fewer"
            raise DriftError(
                f"{where}: drift_budget: expected an alarm in {self.warm:,} to {LONGEST:,} labels, found one in "
                f"{labels:,}: no threshold can be found for that; allow {fewer} alarms"
            )
        least = {"past": 500, "warm": 100, "settle": 0, "grade": 200, "late": 0, "aside": 1}
        for field, bound in least.items():
            if (found := getattr(self, field)) < bound:
                raise DriftError(f"{where}: drift: {field}: expected at least {bound}, found {found}")
        if self.warm % 50:
            raise DriftError(f"{where}: drift: warm: expected a multiple of 50, found {self.warm}")
        if not 0.0 <= self.size <= 1.0:
            raise DriftError(f"{where}: drift: size: expected 0 to 1, found {self.size}")
        if not 0.0 <= self.threshold < float("inf"):
            raise DriftError(f"{where}: drift: threshold: expected at least 0, found {self.threshold}")
