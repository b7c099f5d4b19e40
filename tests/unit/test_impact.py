"""The impact law: what it says beyond the display, how it fades, and that it never helps."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import FRAME, FRAME_BOOK, FRAME_READY, FRAME_TRADE
from engine.core.venue.impact import Impact, ImpactSettings, Meter, faded, protected
from engine.research import impact_truth
from engine.research.impact_fit import BIN_NS, FitError, fit
from engine.research.impact_truth import respond
from tests.market import MS, S

ON = ImpactSettings(enabled=True, scale=1.0, decay_ns=100 * MS, decay_quarters=2, window_ns=600 * S)


def measured(settings: ImpactSettings = ON, *, volume: int = 1_000, moved2: int = 4_000_000) -> Impact:
    """A second in which 1,000 traded and the middle moved by 1,000 units: a size of 1 moves it by about 31.6 units."""
    impact = Impact(settings)
    impact.meter.observe(0, 0, 0)
    impact.meter.observe(1 * S, volume, moved2)
    return impact


def test_the_law_is_volatility_by_the_root_of_size_over_volume() -> None:
    impact = measured()
    assert impact.unit == pytest.approx(math.sqrt(1_000_000 / 1_000))
    impact.remember(1, 4, 1 * S)
    assert impact.moved(1 * S) == pytest.approx(2 * impact.unit)
    assert impact.moved(1 * S + 300 * MS) == pytest.approx(impact.unit)


def test_nothing_measured_moves_nothing_and_sells_nothing() -> None:
    impact = Impact(ON)
    impact.remember(1, 100, 0)
    assert impact.unit == impact.moved(0) == 0
    assert impact.beyond(1, 200, 100, 0, 5, 0, 1, 1) == (0, 0)


def test_beyond_the_display_costs_at_least_a_tick_and_the_mean_of_the_law() -> None:
    impact = measured()
    price, size = impact.beyond(1, 20_000, 10_005, 0, 9, 0, 5, 1)
    assert (price, size) == (math.ceil((10_000 + 2 / 3 * impact.unit * 3) / 5) * 5, 9)
    assert impact.beyond(1, 20_000, 10_500, 100, 9, 0, 5, 1)[0] >= 10_505
    price, size = impact.beyond(-1, 20_000, 9_995, 0, 9, 0, 5, 1)
    assert price == math.floor((10_000 - 2 / 3 * impact.unit * 3) / 5) * 5


def test_protection_ends_it() -> None:
    impact = measured()
    bound = protected(20_000, 1, 100, 5)
    assert bound == 10_100
    price, size = impact.beyond(1, 20_000, 10_005, 0, 1_000, bound, 5, 1)
    assert price <= bound and size == math.floor((100 / impact.unit) ** 2)
    assert impact.beyond(1, 20_000, 10_100, 0, 1_000, bound, 5, 1) == (0, 0)
    assert impact.beyond(1, 20_300, 10_105, 0, 10, bound, 5, 1) == (0, 0)


def test_no_more_than_a_share_of_what_trades_is_found() -> None:
    impact = measured(ImpactSettings(enabled=True, window_ns=1 * S, most_per_mille=50))
    assert impact.beyond(1, 20_000, 10_005, 0, 10**9, 0, 5, 1)[1] == 50
    assert impact.beyond(1, 20_000, 10_005, 0, 10**9, 0, 5, 20)[1] == 40


@given(
    side=st.sampled_from([1, -1]),
    done=st.integers(0, 10**12),
    left=st.integers(1, 10**12),
    bps=st.integers(0, 5_000),
    gap=st.integers(0, 3_000),
)
def test_a_fill_beyond_is_never_better_than_the_display_nor_past_the_bound(
    side: int, done: int, left: int, bps: int, gap: int
) -> None:
    impact = measured(volume=10**9)
    bound = protected(20_000, side, bps, 5)
    worst = 10_000 + side * 5 * (1 + gap)
    price, size = impact.beyond(side, 20_000, worst, done, left, bound, 5, 1)
    assert 0 <= size <= left and (size > 0) == (price > 0)
    if size:
        assert side * (price - worst) > 0 and price % 5 == 0
        assert not bound or side * (bound - price) >= 0


@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**9), st.integers(0, 10**9)), max_size=80))
def test_our_own_trades_make_nothing_cheaper(done: list[tuple[int, int, int]]) -> None:
    impact = measured()
    now_ns = 1 * S
    for side, size, later_ns in done:
        now_ns += later_ns
        impact.remember(side, size, now_ns)
    for side in (1, -1):
        shift = impact.shift(side, now_ns, 5)
        assert shift >= 0 and shift % 5 == 0
    assert min(impact.shift(1, now_ns, 5), impact.shift(-1, now_ns, 5)) == 0


@given(st.lists(st.tuples(st.integers(1, 10**12), st.integers(0, 10**9), st.integers(0, 10**12)), max_size=30))
def test_rates_stay_within_what_was_seen(seen: list[tuple[int, int, int]]) -> None:
    meter = Meter(600 * S)
    now_ns = traded = moved2 = 0
    meter.observe(now_ns, traded, moved2)
    rates = []
    for later_ns, more, moves in seen:
        now_ns, traded, moved2 = now_ns + later_ns, traded + more, moved2 + moves
        meter.observe(now_ns, traded, moved2)
        meter.observe(now_ns, traded, moved2)  # the same moment tells nothing new
        rates.append(more / later_ns)
    assert 0 <= meter.volume <= max(rates, default=0) * (1 + 1e-9)


def test_fading_only_falls() -> None:
    shares = [faded(age, ON) for age in range(0, 10 * S, 50 * MS)]
    assert shares[0] == 1 and shares == sorted(shares, reverse=True) and shares[-1] > 0


@pytest.mark.parametrize(
    "wrong",
    [{"scale": -1.0}, {"decay_ns": 0}, {"window_ns": 0}, {"memory": 0}, {"decay_quarters": 9}, {"most_per_mille": 1001},
     {"protection_bps": -1}, {"scale": math.nan}],
)  # fmt: skip
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises((ValueError, msgspec.ValidationError), match="expected"):
        msgspec.convert(wrong, ImpactSettings)


def test_protection_rounds_towards_the_middle() -> None:
    assert protected(20_001, 1, 50, 5) == 10_050 and protected(20_001, -1, 50, 5) == 9_955
    assert protected(0, 1, 50, 5) == 0 and protected(3, -1, 9_999, 5) == 5


def test_the_fit_finds_the_law_that_made_a_tape() -> None:
    rng = np.random.default_rng(3)
    bins = 30_000
    flow = rng.integers(-400, 401, bins)
    kernel = np.array(
        [faded(lag * BIN_NS, ImpactSettings(decay_ns=316_227_766, decay_quarters=2)) for lag in range(400)]
    )
    signed = np.sign(flow) * np.sqrt(np.abs(flow))
    mid = np.rint(10**6 + np.convolve(2.0 * signed, kernel)[:bins] + np.cumsum(rng.normal(0, 2, bins)))
    frames = np.zeros(2 * bins, FRAME)
    now_ns = BIN_NS * np.arange(bins)
    for part, flags, after in ((frames[::2], FRAME_TRADE, 30 * MS), (frames[1::2], FRAME_BOOK, 60 * MS)):
        part["recv_ns"], part["flags"] = now_ns + after, FRAME_READY | flags
        part["bid"][:, 0], part["ask"][:, 0] = mid - 1, mid + 1
    frames["buy_size"][::2], frames["sell_size"][::2] = np.maximum(flow, 0), np.maximum(-flow, 0)
    found = fit(frames)
    unit = math.sqrt(float((np.diff(mid[9::10]) ** 2).mean()) / 10 / float(np.abs(flow).mean()))
    assert found.scale * unit == pytest.approx(2.0, rel=0.06)
    assert found.kernel[0][1] == pytest.approx(1.0) and found.kernel[-1][1] == pytest.approx(kernel[63], abs=0.1)
    assert (found.decay_quarters, found.decay_ns) in {(2, 316_227_766), (1, 100_000_000), (3, 1_000_000_000)}


def test_a_tape_that_does_not_trade_has_no_law() -> None:
    with pytest.raises(FitError, match="1,000 bins"):
        fit(np.zeros(0, FRAME))
    frames = np.zeros(1200, FRAME)
    frames["recv_ns"], frames["flags"] = BIN_NS * np.arange(1200), FRAME_READY | FRAME_BOOK
    frames["bid"][:, 0], frames["ask"][:, 0] = 10, 12
    with pytest.raises(FitError, match="trades"):
        fit(frames)


def test_a_visitor_without_a_reason_moves_the_simulated_market_and_it_fades(capsys: pytest.CaptureFixture[str]) -> None:
    found = respond(60, seed=3)
    (_, at_once), (_, late) = found.scales[0], found.scales[-1]
    assert 0.05 < at_once < 1.5 and late < at_once  # two minutes of one regime: its volatility decides the unit
    assert 0 < found.scale < 1.5 and len(found.errors) == len(found.scales)
    assert respond(60, seed=3) == found
    assert impact_truth.main(["--trials", "10"]) == 0
    assert "decay_quarters" in capsys.readouterr().out
    with pytest.raises(ValueError, match="10 trials"):
        respond(9)
