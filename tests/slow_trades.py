"""What the features of trades and of time mean, written as slowly and plainly as they can be."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np

from engine.core.events import FRAME_BOOK, Frames
from tests.slow_book import NAN, Floats, left, mids, ratio

LN2 = math.log(2)


def trades(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    tail = frames[1:]
    names = ("buys", "sells", "buy_size", "sell_size", "last_price")
    buys, sells, bought, sold, price = (tail[name].astype(float) for name in names)
    sums: dict[str, list[float]] = {}
    for h in (1, 5, 30, 120):
        keep = left(tail, now_ns, h)
        some = [float((keep * one).sum()) for one in (buys, sells, bought, sold, bought * price, sold * price)]
        sums[f"{h}s"] = some
        told[f"trades_count_imbalance_{h}s"] = ratio(some[0], some[1])
        told[f"trades_size_imbalance_{h}s"] = ratio(some[2], some[3])
        told[f"trades_value_imbalance_{h}s"] = ratio(some[4], some[5])
        mid = mids(frames)[-1]
        told[f"mid_above_vwap_{h}s_bps"] = (mid - (some[4] + some[5]) / (some[2] + some[3])) / mid * 1e4
        told[f"buy_rate_{h}s_log"] = math.log1p(some[0] * LN2 / h)
        told[f"sell_rate_{h}s_log"] = math.log1p(some[1] * LN2 / h)
    for side in ("buy", "sell"):
        told[f"{side}_burst_log"] = told[f"{side}_rate_1s_log"] - told[f"{side}_rate_120s_log"]
    new, old = sums["5s"], sums["120s"]
    usual = (old[2] + old[3]) / (old[0] + old[1])
    told["trade_size_log"] = math.log((new[2] + new[3]) / (new[0] + new[1]) / usual)
    told["trade_volume_log"] = math.log((new[2] + new[3]) / 5 / ((old[2] + old[3]) / 120))
    run = size = 0.0
    for i in np.flatnonzero((buys > 0) | (sells > 0)).tolist():
        way = 0.0 if buys[i] and sells[i] else 1.0 if buys[i] else -1.0
        if not run * way > 0:
            run = size = 0.0
        if way:
            run, size = run + buys[i] - sells[i], size + bought[i] - sold[i]
    told["run_trades_log"] = math.copysign(math.log1p(abs(run)), run) if run else 0.0
    told["run_size_log"] = math.copysign(math.log1p(abs(size) / usual), size) if size else 0.0
    for side, number in (("buy", buys), ("sell", sells)):
        at = np.flatnonzero(number > 0)
        told[f"{side}_age_log"] = math.log1p((now_ns - int(tail["recv_ns"][at[-1]])) * 1e-9) if len(at) else NAN
    return told


def bins(frames: Frames) -> list[list[float]]:
    """Signed volume, volume and return in bps of each closed bin of at least a second, from the first frame on."""
    mid, told, clock, now = mids(frames), [], 0.0, [0.0, 0.0, 0.0]
    for i in range(1, len(frames)):
        clock += (int(frames["recv_ns"][i]) - int(frames["recv_ns"][i - 1])) * 1e-9
        if clock >= 1.0:
            told.append(now)
            clock, now = 0.0, [0.0, 0.0, 0.0]
        buy, sell = float(frames["buy_size"][i]), float(frames["sell_size"][i])
        now = [now[0] + buy - sell, now[1] + buy + sell, now[2] + math.log(mid[i] / mid[i - 1]) * 1e4]
    return told


def impact(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    binned = np.array(bins(frames))
    usual = NAN
    for h in (300, 60):
        keep = 0.5 ** (np.arange(len(binned))[::-1] / h)
        x, volume, y = binned.T
        mean_x, mean_y = (keep * x).sum() / keep.sum(), (keep * y).sum() / keep.sum()
        xx, yy = (keep * (x - mean_x) ** 2).sum(), (keep * (y - mean_y) ** 2).sum()
        xy = (keep * (x - mean_x) * (y - mean_y)).sum()
        usual = (keep * volume).sum() / keep.sum() if h == 300 else usual
        told[f"kyle_{h}s_bps"] = xy / xx * usual
        told[f"kyle_fit_{h}s"] = xy / math.sqrt(xx * yy)
        told[f"amihud_{h}s_bps"] = (keep * np.abs(y)).sum() / (keep * volume).sum() * usual
    told["vpin"] = vpin(frames)
    mid, traded = mids(frames), np.flatnonzero(frames["last_price"][1:]) + 1
    steps = np.diff(frames["last_price"][traded].astype(float))
    keep = 0.5 ** (np.arange(len(steps))[::-1] / 100)
    # The first change has none before it, and counts with a product of 0.
    pairs = np.append(0.0, steps[1:] * steps[:-1])
    covariance = (keep * pairs).sum() / keep.sum()
    told["roll_spread_bps"] = -math.copysign(2 * math.sqrt(abs(covariance)), covariance) / mid[-1] * 1e4
    volume = (frames["buy_size"] + frames["sell_size"])[traded].astype(float)
    before = mid[traded - 1]
    paid = 2 * np.abs(frames["last_price"][traded] - before) / before * 1e4
    quoted = (frames["ask"][traded - 1, 0] - frames["bid"][traded - 1, 0]) / before * 1e4
    for h in (5, 60):
        keep = left(frames[traded], now_ns, h) * volume
        told[f"effective_spread_{h}s_bps"] = (keep * paid).sum() / keep.sum()
        told[f"effective_over_quoted_{h}s"] = (keep * paid).sum() / (keep * quoted).sum()
    return told


def vpin(frames: Frames) -> float:
    seen: list[float] = []
    bucket = filled = tilt = usual = spell = 0.0
    for i in range(1, len(frames)):
        seconds = (int(frames["recv_ns"][i]) - int(frames["recv_ns"][i - 1])) * 1e-9
        keep = 0.5 ** (seconds / 300)
        buy, sell = float(frames["buy_size"][i]), float(frames["sell_size"][i])
        usual, spell = usual * keep + buy + sell, spell * keep + (1 - keep) / (LN2 / 300)
        rest = buy + sell if spell > 0 else 0.0
        while rest > 0:
            if not bucket:
                bucket, filled, tilt = usual / spell * 10, 0.0, 0.0
            poured = min(rest, bucket - filled)
            filled, tilt, rest = filled + poured, tilt + poured * (buy - sell) / (buy + sell), rest - poured
            if filled >= bucket:
                seen.append(abs(tilt) / bucket)
                bucket = 0.0
    mean = 0.0
    for number, one in enumerate(seen, 1):
        mean += (one - mean) / min(number, 50)
    return mean if len(seen) >= 10 else NAN


def seconds_of(frames: Frames) -> tuple[Floats, Floats]:
    """Log return and log of high over low of the mid in each whole second that a frame has ended."""
    mid, second = mids(frames), (frames["recv_ns"] // 10**9).tolist()
    change, reach = [], []
    begun = mid[0]
    for now in range(second[0], second[-1]):
        inside = [mid[i] for i in range(len(mid)) if second[i] == now]
        span = [begun, *inside]
        ended = span[-1]
        change.append(math.log(ended / begun))
        reach.append(math.log(max(span) / min(span)))
        begun = ended
    return np.array(change), np.array(reach)


def statistics(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    told: dict[str, float] = {}
    moves = np.append(0.0, np.diff(np.log(mids(frames))))
    for h in (10, 60, 120, 600):
        told[f"deviation_{h}s_bps"] = (moves * left(frames, now_ns, h)).sum() * 1e4
    real = moves[moves != 0]
    for n in (10, 50, 250):
        told[f"deviation_{n}_moves_bps"] = (real * 0.5 ** (np.arange(len(real), 0, -1) / n)).sum() * 1e4
    for h in (1, 30, 300):
        gathered = (moves**2 * left(frames, now_ns, h)).sum() * LN2 / h
        share = 1 - 0.5 ** ((now_ns - int(frames["recv_ns"][0])) * 1e-9 / h)
        told[f"move_volatility_{h}s"] = math.sqrt(gathered / share) * 1e4
    r, reach = seconds_of(frames)
    before = np.append(0.0, r[:-1])
    longer = np.array([r[max(0, i - 4) : i + 1].sum() for i in range(len(r))])
    for h in (30, 120, 600):
        k = 0.5 ** (1 / h)
        keep = k ** np.arange(len(r))[::-1]
        square = (keep * r**2).sum()
        bipower = (keep * np.abs(r * before)).sum() * math.pi / 2
        told[f"realised_{h}s"] = math.sqrt(square / keep.sum()) * 1e4
        told[f"parkinson_{h}s"] = math.sqrt((keep * reach**2).sum() / (4 * LN2) / keep.sum()) * 1e4
        told[f"bipower_{h}s"] = math.sqrt(bipower / keep.sum()) * 1e4
        told[f"downside_share_{h}s"] = (keep * r.clip(max=0) ** 2).sum() / square
        told[f"jump_share_{h}s"] = max(0.0, 1 - bipower / square)
        told[f"autocorrelation_{h}s"] = (keep * r * before).sum() / square
        told[f"variance_ratio_{h}s"] = (keep * longer**2).sum() / (5 * square)
        told[f"efficiency_{h}s"] = abs((keep * r).sum()) / (keep * np.abs(r)).sum()
        gap = spread = 0.0
        for one in r.tolist():
            gap = (gap + one) * k
            spread = spread * k + gap**2 * (1 - k)
        told[f"z_score_{h}s"] = gap / math.sqrt(spread)
    return told


def staleness(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    mid = mids(frames)
    books, traded = (frames["flags"] & FRAME_BOOK) != 0, (frames["buys"] + frames["sells"]) > 0
    moved = np.append(False, mid[1:] != mid[:-1])
    ages = {}
    for name, seen in (("book", books), ("trade", traded), ("move", moved)):
        at = np.append(0, np.flatnonzero(seen[1:]) + 1)[-1]
        ages[name] = (now_ns - int(frames["recv_ns"][at])) * 1e-9
    told = {f"{name}_age_log": math.log1p(age) for name, age in ages.items()}
    told["book_rate_log"] = math.log1p((books[1:] * left(frames[1:], now_ns, 5)).sum() * LN2 / 5)
    told |= {"is_book_old": float(ages["book"] > 2), "is_trade_old": float(ages["trade"] > 10)}
    return told


def calendar(frames: Frames, now_ns: int, tick: float) -> dict[str, float]:
    now = dt.datetime.fromtimestamp(now_ns // 10**9, dt.UTC)
    second = now.second + now_ns % 10**9 / 1e9
    minute = now.minute + second / 60
    hour = now.hour + minute / 60
    turns = {
        "second_of_minute": second / 60,
        "minute_of_hour": minute / 60,
        "hour_of_day": hour / 24,
        "day_of_week": (now.weekday() + hour / 24) / 7,
    }
    told = {f"{name}_sine": math.sin(2 * math.pi * turn) for name, turn in turns.items()}
    told |= {f"{name}_cosine": math.cos(2 * math.pi * turn) for name, turn in turns.items()}
    sessions = {"asia": range(8), "europe": range(7, 16), "america": range(13, 21)}
    told |= {f"is_{name}": float(now.hour in hours) for name, hours in sessions.items()}
    return told | {"is_weekend": float(now.weekday() >= 5)}
