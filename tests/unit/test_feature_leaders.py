"""What other symbols do, against slow definitions on three symbols, two of them the same asset on two venues."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.core.events import FRAME_READY, Frames
from engine.core.types import Instrument
from engine.features.set import FeatureSet
from tests.frames import MS, SECOND, walk
from tests.slow_book import average, flows, left, mids, ratio

NAN = float("nan")
BTC, OTHER, ETH = INSTRUMENTS = (
    Instrument(venue="a", symbol="BTC", base="BTC", quote="USD", price_decimals=2, size_decimals=2),
    Instrument(venue="b", symbol="XBT", base="BTC", quote="USD", price_decimals=3, size_decimals=2),
    Instrument(venue="a", symbol="ETH", base="ETH", quote="USD", price_decimals=2, size_decimals=2),
)


def market(count: int = 1500) -> Frames:
    """Three walks at once; the second symbol's prices have one decimal more."""
    parts = [walk(count, seed=20 + symbol, symbol=symbol, step_ns=(40 + symbol) * MS) for symbol in range(3)]
    for field in ("bid", "ask", "last_price"):
        parts[1][field] *= 10
    mixed = np.concatenate(parts)
    return mixed[np.argsort(mixed["recv_ns"], kind="stable")]


def named(features: FeatureSet, symbol: int, now_ns: int) -> dict[str, float]:
    out = features.vector()
    assert features.read(symbol, now_ns, out)
    return dict(zip(features.names, out.tolist(), strict=True))


def made(leaders: tuple[str, ...] = ()) -> FeatureSet:
    return FeatureSet.of(INSTRUMENTS, features=["leaders"], leaders=leaders)


def one(frames: Frames, now_ns: int) -> dict[str, float]:
    """The numbers of one symbol, slowly."""
    moves = np.append(0.0, np.diff(np.log(mids(frames))))
    told = {
        f"return_{label}_bps": (moves * left(frames, now_ns, h)).sum() * 1e4
        for label, h in (("250ms", 0.25), ("1s", 1), ("5s", 5))
    }
    last = frames[-1]
    bid, ask, bid_size, ask_size = (float(last[name][0]) for name in ("bid", "ask", "bid_size", "ask_size"))
    mid = (bid + ask) / 2
    told["microprice_bps"] = ((bid * ask_size + ask * bid_size) / (bid_size + ask_size) / mid - 1) * 1e4
    told["best_imbalance"] = ratio(bid_size, ask_size)
    best = (frames["bid_size"][:, 0] + frames["ask_size"][:, 0]) / 2.0
    told["ofi_1s"] = (flows(frames)[:, 0] * left(frames, now_ns, 1)).sum() / average(best, frames, now_ns, 30)
    for h in (1, 10):
        keep = left(frames, now_ns, h)[1:]
        told[f"flow_{h}s"] = ratio((keep * frames["buy_size"][1:]).sum(), (keep * frames["sell_size"][1:]).sum())
    return told


def closes(frames: Frames) -> tuple[list[list[float]], list[float]]:
    """For each second that a frame of any symbol ended: the returns in bps of all; and the venue gap of the first."""
    units = [10.0**-each.price_decimals for each in INSTRUMENTS]
    mid, before, second = [NAN] * 3, [NAN] * 3, 0
    returns, gaps = [], []
    for frame in frames:
        now = int(frame["recv_ns"]) // 10**9
        if second and now > second:
            returns.append([math.log(a / b) * 1e4 for a, b in zip(mid, before, strict=True)])
            before = list(mid)
            gaps.append(math.log(mid[1] / mid[0]) * 1e4)
        second = now
        symbol = int(frame["symbol"])
        mid[symbol] = (float(frame["bid"][0]) + float(frame["ask"][0])) / 2 * units[symbol]
    return returns, [*gaps, math.log(mid[1] / mid[0]) * 1e4]


def test_leaders_and_their_basket_are_their_slow_definitions() -> None:
    frames, features = market(), made()
    features.update(frames)
    now_ns = int(frames["recv_ns"][-1]) + 20 * MS
    found = named(features, 0, now_ns)
    others = [one(frames[frames["symbol"] == symbol], now_ns) for symbol in (1, 2)]
    for name in others[0]:
        assert found[f"leader_1_{name}"] == pytest.approx(others[0][name], rel=1e-8, abs=1e-10), name
        assert found[f"leader_2_{name}"] == pytest.approx(others[1][name], rel=1e-8, abs=1e-10), name
        assert math.isnan(found[f"leader_3_{name}"])
        assert found[f"basket_{name}"] == pytest.approx((others[0][name] + others[1][name]) / 2, rel=1e-8, abs=1e-10)


def test_beta_and_the_gap_between_venues_are_their_slow_definitions() -> None:
    frames, features = market(), made()
    features.update(frames)
    now_ns = int(frames["recv_ns"][-1]) + 20 * MS
    found = named(features, 0, now_ns)
    returns, gaps = closes(frames)
    whole = np.array([each for each in returns if not any(map(math.isnan, each))])
    y, x = whole[:, 0], whole[:, 1:].mean(1)
    keep = 0.5 ** (np.arange(len(x))[::-1] / 300)
    x, y = x - (keep * x).sum() / keep.sum(), y - (keep * y).sum() / keep.sum()
    beta = (keep * x * y).sum() / (keep * x * x).sum()
    assert found["basket_beta"] == pytest.approx(beta, rel=1e-9)
    correlation = (keep * x * y).sum() / math.sqrt((keep * x * x).sum() * (keep * y * y).sum())
    assert found["basket_correlation"] == pytest.approx(correlation, rel=1e-9)
    mine = one(frames[frames["symbol"] == 0], now_ns)
    for label in ("250ms", "1s", "5s"):
        beyond = mine[f"return_{label}_bps"] - beta * found[f"basket_return_{label}_bps"]
        assert found[f"basket_residual_{label}_bps"] == pytest.approx(beyond, rel=1e-8, abs=1e-10)
    before = np.array(gaps[:-1])
    before = before[~np.isnan(before)]
    keep = 0.5 ** (np.arange(len(before))[::-1] / 60)
    assert found["venue_gap_bps"] == pytest.approx(gaps[-1] - (keep * before).sum() / keep.sum(), rel=1e-8, abs=1e-9)
    assert math.isnan(named(features, 2, now_ns)["venue_gap_bps"])  # nobody else trades it


@pytest.mark.parametrize("fault", ["doubt", "silence", "never"])
def test_a_leader_that_may_not_be_used_is_missing(fault: str) -> None:
    frames, features = market(600), made(("b:XBT",))
    now_ns = int(frames["recv_ns"][-1]) + 20 * MS
    led = np.flatnonzero(frames["symbol"] == 1)
    if fault == "doubt":
        frames["flags"][led[-1]] &= ~FRAME_READY
    elif fault == "never":
        frames = np.delete(frames, led)
    features.update(frames)
    if fault == "silence":
        now_ns += 10 * SECOND
    found = named(features, 0, now_ns)
    assert all(math.isnan(found[name]) for name in found if name.startswith(("leader_1", "basket_return")))
    assert math.isnan(found["venue_gap_bps"]) == (fault != "silence")
    assert math.isnan(found["leader_2_ofi_1s"])


def test_only_the_named_lead_and_the_hash_says_who() -> None:
    frames, features = market(600), made(("a:ETH",))
    features.update(frames)
    now_ns = int(frames["recv_ns"][-1])
    every = made()
    every.update(frames)
    assert named(features, 0, now_ns)["leader_1_ofi_1s"] == named(every, 0, now_ns)["leader_2_ofi_1s"]
    assert math.isnan(named(features, 2, now_ns)["basket_ofi_1s"])  # none leads itself
    assert features.hash != every.hash
    assert FeatureSet.of(INSTRUMENTS, leaders=("a:ETH",)).hash == FeatureSet.of(INSTRUMENTS).hash
    with pytest.raises(ValueError, match="leaders: expected some of a:BTC, b:XBT, a:ETH, found c:BTC"):
        made(("c:BTC",))


def test_however_frames_are_cut_the_state_is_the_same() -> None:
    frames, whole, cut = market(600), made(), made()
    whole.update(frames)
    for at in range(0, len(frames), 7):
        cut.update(frames[at : at + 7])
    assert whole.state.tobytes() == cut.state.tobytes()
