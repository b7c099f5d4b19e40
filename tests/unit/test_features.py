"""The compiled features against slow references written from their definitions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from engine.core.events import FRAME_READY, Frames
from engine.features import book
from engine.features.set import FeatureSet
from tests.frames import MS, SECOND, START_NS, walk

LN2 = math.log(2)


def named(features: FeatureSet, now_ns: int, symbol: int = 0) -> dict[str, float]:
    out = features.vector()
    assert features.read(symbol, now_ns, out)
    return dict(zip(features.names, out.tolist(), strict=True))


def weights(frames: Frames, now_ns: int, half_life_s: float) -> npt.NDArray[np.float64]:
    """What is left of each frame's news at now."""
    seconds = (now_ns - frames["recv_ns"]) * 1e-9
    return np.asarray(np.exp(-LN2 * seconds / half_life_s), np.float64)


def step_average(values: npt.NDArray[np.float64], frames: Frames, now_ns: int, half_life_s: float) -> float:
    """The decayed average over time of a value that holds until the next frame, started at its first value."""
    ends = np.append(frames["recv_ns"][1:], now_ns)
    average = float(values[0])
    for value, begin, end in zip(values.tolist(), frames["recv_ns"].tolist(), ends.tolist(), strict=True):
        keep = math.exp(-LN2 * (end - begin) * 1e-9 / half_life_s)
        average = average * keep + value * (1 - keep)
    return average


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(1500, seed=4)


@pytest.fixture(scope="module")
def now_ns(frames: Frames) -> int:
    return int(frames["recv_ns"][-1]) + 130 * MS


@pytest.fixture(scope="module")
def found(frames: Frames, now_ns: int) -> dict[str, float]:
    features = FeatureSet(ticks=[2])
    features.update(frames)
    return named(features, now_ns)


def test_top_of_book_features_are_their_definitions(frames: Frames, found: dict[str, float]) -> None:
    last = frames[-1]
    bid, ask = int(last["bid"][0]), int(last["ask"][0])
    bid_size, ask_size = int(last["bid_size"][0]), int(last["ask_size"][0])
    mid = (bid + ask) / 2
    assert found["spread_bps"] == pytest.approx((ask - bid) / mid * 1e4)
    assert found["spread_ticks"] == (ask - bid) / 2
    micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
    assert found["microprice_bps"] == pytest.approx((micro - mid) / mid * 1e4, rel=1e-6)
    assert found["imbalance_1"] == pytest.approx((bid_size - ask_size) / (bid_size + ask_size))
    bids, asks = int(last["bid_size"][:5].sum()), int(last["ask_size"][:5].sum())
    assert found["imbalance_5"] == pytest.approx((bids - asks) / (bids + asks))


@pytest.mark.parametrize(
    ("levels", "half_life_s", "name"), [(1, 0.5, "500ms"), (1, 5, "5s"), (5, 0.5, "500ms"), (5, 5, "5s")]
)
def test_order_flow_imbalance_is_that_of_the_paper(
    frames: Frames, now_ns: int, found: dict[str, float], levels: int, half_life_s: float, name: str
) -> None:
    flow = np.zeros(len(frames))
    for i in range(1, len(frames)):
        for k in range(levels):
            pb, qb, pa, qa = (int(frames[f][i, k]) for f in ("bid", "bid_size", "ask", "ask_size"))
            pb0, qb0, pa0, qa0 = (int(frames[f][i - 1, k]) for f in ("bid", "bid_size", "ask", "ask_size"))
            flow[i] += (pb >= pb0) * qb - (pb <= pb0) * qb0 - (pa <= pa0) * qa + (pa >= pa0) * qa0
    shown = (frames["bid_size"][:, :levels].sum(1) + frames["ask_size"][:, :levels].sum(1)) / 2
    usual = step_average(shown, frames, now_ns, 30.0)
    expected = (flow * weights(frames, now_ns, half_life_s)).sum() / usual
    assert found[f"ofi_{levels}_{name}"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("half_life_s", "name"), [(0.5, "500ms"), (2, "2s"), (10, "10s")])
def test_trade_flow_and_its_price_are_decayed_ratios(
    frames: Frames, now_ns: int, found: dict[str, float], half_life_s: float, name: str
) -> None:
    left = weights(frames, now_ns, half_life_s)[1:]
    buy, sell = frames["buy_size"][1:], frames["sell_size"][1:]
    volume = (left * (buy + sell)).sum()
    assert found[f"flow_{name}"] == pytest.approx((left * (buy - sell)).sum() / volume)
    if name != "500ms":
        mid = (int(frames["bid"][-1, 0]) + int(frames["ask"][-1, 0])) / 2
        vwap = (left * (buy + sell) * frames["last_price"][1:]).sum() / volume
        assert found[f"vwap_{name}_bps"] == pytest.approx((mid - vwap) / mid * 1e4, rel=1e-6)


def test_trade_counts_are_rates_a_second(frames: Frames, now_ns: int, found: dict[str, float]) -> None:
    buys, sells = frames["buys"][1:], frames["sells"][1:]
    fast, slow = weights(frames, now_ns, 2)[1:], weights(frames, now_ns, 10)[1:]
    rate_fast, rate_slow = (fast * (buys + sells)).sum() * LN2 / 2, (slow * (buys + sells)).sum() * LN2 / 10
    assert found["flow_count_2s"] == pytest.approx((fast * (buys - sells)).sum() / (fast * (buys + sells)).sum())
    assert found["trade_rate_log"] == pytest.approx(math.log1p(rate_fast))
    assert found["trade_burst_log"] == pytest.approx(math.log1p(rate_fast) - math.log1p(rate_slow))


@pytest.mark.parametrize(("half_life_s", "name"), [(0.25, "250ms"), (1, "1s"), (5, "5s"), (30, "30s")])
def test_returns_are_the_log_mid_above_its_average(
    frames: Frames, now_ns: int, found: dict[str, float], half_life_s: float, name: str
) -> None:
    mid = np.log((frames["bid"][:, 0] + frames["ask"][:, 0]) / 2.0)
    expected = (mid[-1] - step_average(mid, frames, now_ns, half_life_s)) * 1e4
    assert found[f"return_{name}_bps"] == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(("half_life_s", "name"), [(5, "5s"), (60, "60s")])
def test_volatility_is_per_root_second_and_unbiased_when_young(
    frames: Frames, now_ns: int, found: dict[str, float], half_life_s: float, name: str
) -> None:
    changes = np.diff(np.log((frames["bid"][:, 0] + frames["ask"][:, 0]) / 2.0))
    gathered = (changes**2 * weights(frames, now_ns, half_life_s)[1:]).sum() * LN2 / half_life_s
    share = 1 - math.exp(-LN2 * (now_ns - int(frames["recv_ns"][0])) * 1e-9 / half_life_s)
    assert found[f"volatility_{name}"] == pytest.approx(math.sqrt(gathered / share) * 1e4, rel=1e-6)


def test_nothing_is_read_before_the_warm_up_is_over(frames: Frames) -> None:
    features = FeatureSet(ticks=[1], warm_up_ns=5 * SECOND)
    out = features.vector()
    assert not features.read(0, START_NS, out)
    features.update(frames[:600])
    first = int(frames["recv_ns"][0])
    assert not features.read(0, first + 5 * SECOND - 1, out)
    assert features.read(0, first + 5 * SECOND, out)


def test_a_book_in_doubt_forgets_everything(frames: Frames) -> None:
    features, fresh = FeatureSet(ticks=[1], warm_up_ns=0), FeatureSet(ticks=[1], warm_up_ns=0)
    doubtful = frames[:800].copy()
    doubtful["flags"][400] &= ~FRAME_READY
    features.update(doubtful)
    assert int(features.state["doubts"][0]) == 1
    fresh.update(doubtful[401:])
    end = int(doubtful["recv_ns"][-1])
    assert named(features, end) == named(fresh, end)
    features.update(doubtful[400:401])
    assert not features.read(0, end, features.vector())


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_book_with_one_side_may_not_be_used(frames: Frames, side: str) -> None:
    features = FeatureSet(ticks=[1], warm_up_ns=0)
    broken = frames[:2].copy()
    broken[side][1] = 0
    features.update(broken)
    assert not features.read(0, int(broken["recv_ns"][1]), features.vector())


def test_a_missing_level_is_worse_than_any_price(frames: Frames) -> None:
    thin = frames[:3].copy()
    for field in ("bid", "bid_size", "ask", "ask_size"):
        thin[field][:, 1:] = 0
    features, bare = FeatureSet(ticks=[1], warm_up_ns=0), FeatureSet(ticks=[1], warm_up_ns=0)
    bare.update(thin[:2])
    for field in ("bid", "bid_size", "ask", "ask_size"):
        thin[field][1, 1] = frames[field][1, 1]
    features.update(thin[:2])
    added = int(thin["bid_size"][1, 1]) - int(thin["ask_size"][1, 1])
    slot = book.OFI_5_FAST
    assert float(features.state["book"][0][slot]) - float(bare.state["book"][0][slot]) == pytest.approx(added)
    features.update(thin[2:3])
    bare.update(thin[2:3])
    keep = math.exp(-LN2 * (int(thin["recv_ns"][2]) - int(thin["recv_ns"][1])) * 1e-9 / 0.5)
    left = float(features.state["book"][0][slot]) - float(bare.state["book"][0][slot])
    assert left == pytest.approx(added * keep - added)


def test_symbols_do_not_touch_each_other(frames: Frames) -> None:
    alone, both = FeatureSet(ticks=[1, 1]), FeatureSet(ticks=[1, 1])
    other = walk(1500, seed=9, symbol=1)
    alone.update(frames)
    mixed = np.concatenate([frames, other])
    both.update(mixed[np.argsort(mixed["recv_ns"], kind="stable")])
    assert alone.state[0].tobytes() == both.state[0].tobytes()


@pytest.mark.parametrize("chosen", ["standard", "wide"])
def test_features_do_not_depend_on_units(frames: Frames, chosen: str) -> None:
    features, scaled = FeatureSet(ticks=[1], features=chosen), FeatureSet(ticks=[100], features=chosen)
    finer = frames.copy()
    for field in ("bid", "ask", "last_price"):
        finer[field] *= 100
    for field in ("bid_size", "ask_size", "buy_size", "sell_size"):
        finer[field] *= 1000
    features.update(frames)
    scaled.update(finer)
    now_ns = int(frames["recv_ns"][-1]) + MS
    one, other = named(features, now_ns), named(scaled, now_ns)
    assert one == pytest.approx(other, rel=1e-6, abs=1e-7, nan_ok=True)


def test_the_state_is_everything(frames: Frames) -> None:
    whole, resumed = FeatureSet(ticks=[1]), FeatureSet(ticks=[1])
    whole.update(frames[:700])
    resumed.restore(whole.state.tobytes())
    whole.update(frames[700:])
    resumed.update(frames[700:])
    assert whole.state.tobytes() == resumed.state.tobytes()
    assert whole.frame_ns(0) == int(frames["recv_ns"][-1])


def test_the_hash_says_what_the_numbers_mean() -> None:
    assert FeatureSet(ticks=[1]).hash == FeatureSet(ticks=[5, 5]).hash
    assert FeatureSet(ticks=[1]).hash != FeatureSet(ticks=[1], warm_up_ns=1).hash
    assert len(FeatureSet(ticks=[1]).units) == len(FeatureSet(ticks=[1]).names) == len(set(FeatureSet(ticks=[1]).names))
