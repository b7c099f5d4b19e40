"""What the features of the book mean, written as slowly and plainly as can be: no decay is carried, all is summed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.events import Frames

NAN = float("nan")
Floats = npt.NDArray[np.float64]


def left(frames: Frames, now_ns: int, half_life_s: float) -> Floats:
    """What is left at now of the news of each frame."""
    return np.asarray(0.5 ** ((now_ns - frames["recv_ns"]) * 1e-9 / half_life_s), np.float64)


def average(values: Floats, frames: Frames, now_ns: int, half_life_s: float) -> float:
    """The decayed average over time of a value that holds until the next frame, started at its first value."""
    ends = np.append(frames["recv_ns"][1:], now_ns)
    until = 0.5 ** ((now_ns - ends) * 1e-9 / half_life_s)
    since = 0.5 ** ((now_ns - frames["recv_ns"]) * 1e-9 / half_life_s)
    return float((values * (until - since)).sum() + values[0] * since[0])


def ratio(plus: float, minus: float) -> float:
    return (plus - minus) / (plus + minus) if plus + minus > 0 else NAN


def mids(frames: Frames) -> Floats:
    return np.asarray((frames["bid"][:, 0] + frames["ask"][:, 0]) / 2.0, np.float64)


def levels(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    last, told = frames[-1], {}
    bid, ask, bid_size, ask_size = (last[name].astype(float) for name in ("bid", "ask", "bid_size", "ask_size"))
    mid = (bid[0] + ask[0]) / 2
    for k in (1, 3, 5, 10):
        shown = (frames["bid_size"][:, :k].sum(1) + frames["ask_size"][:, :k].sum(1)) / 2.0
        told[f"depth_{k}_log"] = np.log(shown[-1] / average(shown, frames, now_ns, 30.0))
    for k in (3, 10):
        told[f"imbalance_{k}"] = ratio(bid_size[:k].sum(), ask_size[:k].sum())
    for k in range(2, 11):
        told[f"imbalance_level_{k}"] = ratio(bid_size[k - 1], ask_size[k - 1])
    weights = 1 / np.arange(1, 11)
    told["imbalance_weighted"] = ratio(bid_size @ weights, ask_size @ weights)
    for k in (2, 3, 5, 10):
        both = [i for i in range(k) if bid[i] and ask[i]]
        value = sum(bid[i] * ask_size[i] + ask[i] * bid_size[i] for i in both)
        told[f"microprice_{k}_bps"] = (value / sum(bid_size[i] + ask_size[i] for i in both) / mid - 1) * 1e4
    for band in (1, 2, 5, 10, 25):
        bids = bid_size[(bid > 0) & ((mid - bid) / mid * 1e4 <= band)].sum()
        asks = ask_size[(ask > 0) & ((ask - mid) / mid * 1e4 <= band)].sum()
        told[f"band_{band}bps_imbalance"] = ratio(bids, asks)
        told[f"band_{band}bps_share"] = (bids + asks) / (bid_size.sum() + ask_size.sum())
    for side, price, size in (("bid", bid, bid_size), ("ask", ask, ask_size)):
        here = price > 0
        away = np.abs(price[here] - mid) / mid * 1e4
        told[f"{side}_centre_bps"] = (away * size[here]).sum() / size.sum()
        share = size[here].cumsum() / size.sum()
        told[f"{side}_slope"] = (away * share).sum() / (away**2).sum()
        gaps = np.abs(np.diff(price[here])) / tick
        told[f"{side}_gap_ticks"] = gaps[0] if len(gaps) else NAN
        told[f"{side}_gap_most_ticks"] = gaps.max() if len(gaps) else NAN
        told[f"{side}_reach_bps"] = np.abs(price[here][-1] - price[0]) / mid * 1e4
    told["slope_imbalance"] = ratio(told["bid_slope"], told["ask_slope"])
    return told


def flows(frames: Frames) -> Floats:
    """Order-flow imbalance of each frame after the first and each level; a missing level is worse than any price."""
    told = np.zeros((len(frames), 10))
    bid, ask = frames["bid"].astype(float), np.where(frames["ask"] == 0, np.inf, frames["ask"].astype(float))
    size, sold = frames["bid_size"].astype(float), frames["ask_size"].astype(float)
    told[1:] += (bid[1:] >= bid[:-1]) * size[1:] - (bid[1:] <= bid[:-1]) * size[:-1]
    told[1:] += (ask[1:] >= ask[:-1]) * sold[:-1] - (ask[1:] <= ask[:-1]) * sold[1:]
    return told


def order_flow(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    shown = (frames["bid_size"].sum(1) + frames["ask_size"].sum(1)) / 20.0
    usual = average(shown, frames, now_ns, 30.0)
    flow = flows(frames)
    weights, moments, binned, clock = np.full(10, 0.1), np.zeros((10, 10)), np.zeros(10), 0.0
    times = frames["recv_ns"]
    for i in range(1, len(frames)):
        clock += (int(times[i]) - int(times[i - 1])) * 1e-9
        if clock >= 1.0:
            moments = moments * 0.5 ** (1 / 300) + np.outer(binned, binned)
            turned = moments @ weights
            if np.abs(turned).sum() > 0:
                weights = turned / np.abs(turned).sum()
            binned, clock = np.zeros(10), 0.0
        then = average(shown[: i + 1], frames[: i + 1], int(times[i]), 30.0) if flow[i].any() else 1.0
        binned = binned + flow[i] / max(1.0, then)
    for label, half_life_s in (("500ms", 0.5), ("5s", 5.0), ("30s", 30.0)):
        now = (flow * left(frames, now_ns, half_life_s)[:, None]).sum(0) / usual
        told |= {f"ofi_level_{k}_{label}": now[k - 1] for k in range(1, 11)}
        told[f"ofi_10_{label}"] = now.sum()
        told[f"ofi_integrated_{label}"] = now @ weights
    return told


def queue(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    best = (frames["bid_size"][:, 0] + frames["ask_size"][:, 0]) / 2.0
    usual = average(best, frames, now_ns, 30.0)
    events: dict[str, Floats] = {}
    for side in ("bid", "ask"):
        move = np.diff(frames[side][:, 0], prepend=frames[side][0, 0])
        grown = np.diff(frames[f"{side}_size"][:, 0], prepend=frames[f"{side}_size"][0, 0])
        more = np.asarray(grown * (move == 0.0), np.float64)
        for name, sign in (("added", 1.0), ("removed", -1.0)):
            events[f"{side}_{name}"] = np.asarray(np.maximum(sign * more, 0.0) / usual, np.float64)
        events[f"{side}_up"] = np.asarray(move > 0, np.float64)
        events[f"{side}_down"] = np.asarray(move < 0, np.float64)
    for label, half_life_s in (("1s", 1.0), ("10s", 10.0)):
        sums = {name: (one * left(frames, now_ns, half_life_s)).sum() for name, one in events.items()}
        told |= {f"{name}_{label}_log": np.log1p(one * np.log(2) / half_life_s) for name, one in sums.items()}
        pushed = sums["bid_added"] + sums["ask_removed"], sums["bid_removed"] + sums["ask_added"]
        told[f"touch_pressure_{label}"] = ratio(*pushed)
        told[f"touch_direction_{label}"] = ratio(sums["bid_up"] + sums["ask_up"], sums["bid_down"] + sums["ask_down"])
    spread = (frames["ask"][:, 0] - frames["bid"][:, 0]).astype(float)
    told["spread_log"] = np.log(spread[-1] / average(spread, frames, now_ns, 30.0))
    return told


def touch(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    bid, ask, bid_size, ask_size = (frames[name].astype(float) for name in ("bid", "ask", "bid_size", "ask_size"))
    seconds = (now_ns - frames["recv_ns"]) * 1e-9
    mid, last = mids(frames), -1
    told["size_ratio_log"] = np.log(bid_size[last, 0] / ask_size[last, 0])
    usual = average((bid_size[:, 0] + ask_size[:, 0]) / 2.0, frames, now_ns, 30.0)
    told["size_product_log"] = np.log(bid_size[last, 0] * ask_size[last, 0] / usual**2)
    outer = (ask[last, 1] - ask[last, 0]) - (bid[last, 0] - bid[last, 1])
    told["second_level_gap_bps"] = outer / mid[last] * 1e4 if bid[last, 1] and ask[last, 1] else 0.0
    leaning = (bid_size[:, 0] - ask_size[:, 0]) / (bid_size[:, 0] + ask_size[:, 0])
    for label, h in (("1s", 1.0), ("3s", 3.0)):
        told[f"imbalance_mean_{label}"] = average(leaning, frames, now_ns, h)
    tail = frames[1:]
    bought, sold, buys, sells = (tail[name].astype(float) for name in ("buy_size", "sell_size", "buys", "sells"))
    for label, h in (("300ms", 0.3), ("1s", 1.0), ("3s", 3.0)):
        told[f"signed_volume_{label}"] = ((bought - sold) * left(tail, now_ns, h)).sum() / usual
    for label, h in (("300ms", 0.3), ("3s", 3.0)):
        plus, minus = (buys * left(tail, now_ns, h)).sum(), (sells * left(tail, now_ns, h)).sum()
        told[f"count_balance_{label}"] = ratio(plus, minus) if plus + minus > 1e-6 else 0.0
    moves = np.append(0.0, np.log(mid[1:] / mid[:-1]))
    moved = np.flatnonzero(moves)
    told["move_sign"] = np.sign(moves[moved[-1]]) if len(moved) else 0.0
    told["move_fading_bps"] = moves[moved[-1]] * np.exp(-seconds[moved[-1]]) * 1e4 if len(moved) else 0.0
    spread = np.asarray(np.log(ask[:, 0] / bid[:, 0]), np.float64)
    told["spread_change_1s_bps"] = (spread[last] - average(spread, frames, now_ns, 1.0)) * 1e4
    rate = (moves**2 * left(frames, now_ns, 1.0)).sum() * np.log(2) / (1 - 0.5 ** seconds[0])
    told["touch_volatility_1s"] = np.sqrt(rate) * 1e4
    stood = [seconds[np.append(0, np.flatnonzero(np.diff(side[:, 0])) + 1)[-1]] for side in (bid, ask)]
    told["side_age_log"] = np.log((min(stood[0], 300.0) + 0.05) / (min(stood[1], 300.0) + 0.05))
    traded = np.flatnonzero(tail["last_price"]) + 1
    told["trade_age_fading"] = np.exp(-min(seconds[traded[-1]], 300.0) / 2.0) if len(traded) else np.exp(-150.0)
    side = np.sign(bought[traded[-1] - 1] - sold[traded[-1] - 1]) if len(traded) else 0.0
    told["trade_side_fading"] = side * told["trade_age_fading"]
    away = np.log(frames["last_price"][traded[-1]] / mid[last]) * 1e4 if len(traded) else 0.0
    told["trade_gap_bps"] = float(np.clip(away, -50.0, 50.0))
    return told
