"""From the names of a config to detectors on the signals of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from engine.learn.drift.baselines import Always
from engine.learn.drift.contract import Detector, DriftError, Ranked
from engine.learn.drift.cusum import Cusum
from engine.learn.drift.rivers import Adwin, Ddm, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley
from engine.learn.drift.scan import WINDOWS, Scan
from engine.learn.drift.settings import FEATURE, DriftSettings
from engine.learn.drift.windows import Psi

Part = tuple[str, Detector]
"""The name of a signal and who listens to it."""

SINGLE: Final[dict[str, tuple[str, Callable[[], Detector]]]] = {
    "page-hinkley": ("product", PageHinkley),
    "kswin": ("residual", Kswin),
    "ddm": ("miss", Ddm),
    "eddm": ("miss", Eddm),
    "hddm-a": ("miss", HddmA),
    "hddm-w": ("miss", HddmW),
    "fhddm": ("miss", Fhddm),
    "always": ("residual", Always),
}
"""What hears one signal, with the signal on which it did best (engine/research/DRIFT.md)."""

UNTUNED: Final = {"scan": 50.0, "cusum": 1000.0, "psi": 2.0}
"""Thresholds until the budget's are found: so high that on recordings nothing but a broken input passes them."""


def parts_of(settings: DriftSettings, names: Sequence[str], delta: float) -> list[Part]:
    """The detectors that ``settings`` name, new; ``delta`` is ADWIN's, ``names`` are the features'.

    Raises:
        DriftError: a feature that the model does not read.
    """
    if settings.detector == "none":
        return []
    if settings.detector == "adwin":
        return [("error", Adwin(delta))]
    if settings.detector in SINGLE:
        signal, make = SINGLE[settings.detector]
        detector = make()
        if settings.threshold:
            detector.threshold = settings.threshold
            detector.reset()
        return [(signal, detector)]
    parts: list[Part] = []
    if settings.detector == "cusums":
        parts += [(signal, _cusum(settings)) for signal in ("residual", "log_abs", "product")]
    else:
        parts += [("residual", _scan("location", settings)), ("residual", _scan("spread", settings))]
        parts.append(("product", _scan("sign", settings)))
    for signal in settings.also:
        name = signal.removeprefix(FEATURE)
        if name != signal and name not in names:
            raise DriftError(f"drift_also: expected a feature that the model reads, found {name!r}")
        shifts = signal in ("label", "log_abs", "joint")
        parts.append((signal, _scan("location", settings) if shifts else Psi(UNTUNED["psi"])))
    return parts


def ranked(parts: Sequence[Part]) -> list[Ranked]:
    """The detectors alone, where all of them can be tuned."""
    return [part for _, part in parts if isinstance(part, Ranked)]


def _scan(shape: str, settings: DriftSettings) -> Scan:
    windows = [one for one in WINDOWS if one <= max(WINDOWS[0], settings.warm)]
    return Scan(shape, UNTUNED["scan"], windows, settings.warm)


def _cusum(settings: DriftSettings) -> Cusum:
    return Cusum("plain", UNTUNED["cusum"], warm=settings.warm)
