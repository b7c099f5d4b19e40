"""The primary model over whole recordings: what it reaches, and that it never ruins."""

from __future__ import annotations

import pytest

from engine.research.leak_check import check_tape
from engine.research.validate import PRIMARY, Row, validate
from tests.data import recordings

SECOND_NS = 1_000_000_000
REACHED = {
    "spot": (("spot-btcusdt_20240808.gz", "spot-btcusdt_20240809.gz"), 0.30, 9.0),
    "usdm": (("usdm-btcusdt_20240718.gz", "usdm-btcusdt_20240719.gz"), 0.35, 12.0),
}
"""Files, and the least information coefficient and R² in per cent at one second."""


@pytest.mark.slow
@pytest.mark.parametrize("name", REACHED)
def test_primary_when_played_over_a_recording_then_it_reaches_what_is_written_and_never_ruins(name: str) -> None:
    files, least_ic, least_r2 = REACHED[name]
    tapes = [recordings() / "binance" / file for file in files]
    found = validate(tapes, horizons_ns=[SECOND_NS, 30 * SECOND_NS], models=[])
    rows: dict[str, Row] = {row.horizon: row for row in found.rows if row.model == PRIMARY}
    first, last = rows["1s"], rows["30s"]
    assert first.ic is not None and first.r2_pct is not None and last.r2_pct is not None
    assert (first.ic > least_ic, first.r2_pct > least_r2) == (True, True)
    assert last.r2_pct > -0.5


@pytest.mark.slow
def test_the_live_features_when_looked_through_for_leaks_then_every_test_runs_and_none_is_found() -> None:
    files, _, _ = REACHED["usdm"]
    (checked,) = check_tape(
        [recordings() / "binance" / file for file in files], horizons_ns=[SECOND_NS], every_ns=SECOND_NS // 10
    )
    assert (checked.leaks, checked.lacked) == ([], {})
    assert len(checked.ran) == 8
