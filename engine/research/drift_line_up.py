"""The detectors that ``papertape drift`` compares: River's as they come, the same and ours with a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.learn.drift.baselines import Always, Never
from engine.learn.drift.contract import Watcher
from engine.learn.drift.cusum import Cusum
from engine.learn.drift.rivers import Adwin, Ddm, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley
from engine.learn.drift.scan import Scan
from engine.learn.drift.together import Together
from engine.learn.drift.windows import Psi, TwoSample

COMBINED: Final = "scans"
"""The one to use: three scans with one budget."""

SHARES: Final = (
    (1 / 3, 1 / 3, 1 / 3),
    (0.2, 0.6, 0.2),
    (0.1, 0.8, 0.1),
    (0.3, 0.6, 0.1),
)
"""Of the budget, for residual, its size, and prediction times outcome; which one is best the first half says."""


class Entry(NamedTuple):
    """One detector of the comparison, on the signals named; ``tuned`` to the budget or as its authors set it."""

    name: str
    signals: tuple[str, ...]
    make: Callable[[], Watcher]
    tuned: bool
    is_slow: bool = False
    shares: tuple[tuple[float, ...], ...] = ()

    @property
    def signal(self) -> str:
        """The signals as one text."""
        return "+".join(self.signals)


def three_scans() -> Together:
    """The one to use: scans for the residual's mean and size, and for prediction times outcome."""
    return Together([("residual", Scan("location")), ("residual", Scan("spread")), ("product", Scan("sign"))])


def sums() -> Watcher:
    """The three cumulative sums of the literature: on residual, log of its size, prediction times outcome."""
    return Together([("residual", Cusum("plain")), ("log_abs", Cusum("plain")), ("product", Cusum("plain"))])


LINE_UP: Final = (
    Entry("never", ("residual",), Never, False),
    Entry("always", ("residual",), Always, False),
    Entry("adwin", ("log_abs",), Adwin, False, True),
    Entry("page-hinkley", ("residual",), PageHinkley, False, True),
    Entry("page-hinkley", ("product",), PageHinkley, False, True),
    Entry("kswin", ("residual",), Kswin, False, True),
    Entry("ddm", ("miss",), Ddm, False, True),
    Entry("eddm", ("miss",), Eddm, False, True),
    Entry("hddm-a", ("miss",), HddmA, False, True),
    Entry("hddm-w", ("miss",), HddmW, False, True),
    Entry("fhddm", ("miss",), Fhddm, False, True),
    Entry("adwin", ("log_abs",), Adwin, True, True),
    Entry("page-hinkley", ("product",), PageHinkley, True, True),
    Entry("ddm", ("miss",), Ddm, True, True),
    Entry("psi", ("residual",), Psi, True, True),
    Entry("two-sample", ("residual",), TwoSample, True, True),
    Entry("cusum", ("residual",), lambda: Cusum("plain"), True),
    Entry("cusum", ("log_abs",), lambda: Cusum("plain"), True),
    Entry("cusum", ("product",), lambda: Cusum("plain"), True),
    Entry("cusums", ("residual", "log_abs", "product"), sums, True),
    Entry("scan location", ("residual",), lambda: Scan("location"), True),
    Entry("scan spread", ("residual",), lambda: Scan("spread"), True),
    Entry("scan sign", ("product",), lambda: Scan("sign"), True),
    Entry(COMBINED, ("residual", "residual", "product"), three_scans, True, False, SHARES),
)
