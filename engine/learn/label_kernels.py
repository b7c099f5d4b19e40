"""The compiled queue of samples that wait for one label: what each frame and each passing of time does to them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.core.events import Frames
from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.set import usable

PENDING: Final = np.dtype(
    [
        ("sample_ns", "i8"),
        ("due_ns", "i8"),
        ("end_ns", "i8"),  # when the label was known: a barrier's touch, else due_ns
        ("id", "i8"),
        ("epoch", "i8"),  # how often the book had been in doubt when the sample was taken
        ("known", "i8"),  # 1: matured
        ("regime", "i8"),  # as told with the sample
        ("twice_mid", "f8"),  # bid + ask, price units
        ("spread", "f8"),  # bps of the mid
        ("upper", "f8"),  # twice the mid, or the price, that ends the label early; nan: none
        ("lower", "f8"),
        ("scale", "f8"),  # bps: the volatility of the horizon; direction: the band; volatility: squares so far
        ("shared", "f8"),  # the integral of 1 / labels alive, ns, at the sample
        ("weight", "f8"),  # uniqueness, 0 to 1
        ("last", "f8"),  # the label that had matured last when the sample was taken; nan: none
        ("prediction", "f8"),  # in the label's unit; nan where the model said nothing
        ("label", "f8"),  # once matured; nan where void
        ("move", "f8"),  # bps that the mid moved until the label was known
        ("unit", "f8"),  # bps that a prediction of 1 means; nan where it means no move
    ]
)

CURSOR: Final = np.dtype(
    [
        ("head", "i8"),
        ("count", "i8"),
        ("passed", "i8"),  # how many, from the head, have come to their horizon
        ("ready", "i8"),  # how many wait in the order of their ends to be taken out
        ("first", "i8"),  # the first of them
        ("epoch", "i8"),
        ("alive", "i8"),  # samples whose label is not known
        ("alive_ns", "i8"),  # since when so many
        ("frame_ns", "i8"),  # of the last frame
        ("move_ns", "i8"),  # until when ``variance`` was carried on
        ("shared", "f8"),  # the integral of 1 / labels alive, ns
        ("twice_mid", "f8"),  # of the last frame; 0: its book may not be used
        ("bid", "f8"),
        ("ask", "f8"),
        ("variance", "f8"),  # fading sum of squared changes of the log mid
        ("gathered", "f8"),  # the weight that it has gathered since the book became usable
        ("squares", "f8"),  # sum of squared changes of the log mid since the start
        ("last", "f8"),  # the label that matured last
    ]
)
"""Where the queue stands, and the book as of the last frame."""

RULES: Final = np.dtype(
    [
        ("kind", "i8"),
        ("horizon_ns", "i8"),
        ("stale_ns", "i8"),  # a label that ends so long after the last frame is void
        ("rate", "f8"),  # of fading, per second
        ("band_bps", "f8"),
        ("band_half_spreads", "f8"),
        ("profit", "f8"),
        ("stop", "f8"),
        ("in_volatility", "i8"),
        ("as_return", "i8"),
        ("least_bps", "f8"),
    ]
)

RETURN, SCALED, DIRECTION, BARRIER, FILL_BID, FILL_ASK, VOLATILITY = range(7)

LEAST_SECONDS: Final = 1.0
"""History that a volatility needs; with less it is the least one."""


def fading(half_life_ns: int) -> float:
    """The rate per second at which a half-life forgets."""
    return LN2 / (half_life_ns * 1e-9)


@kernel
def _live(at: np.void, now_ns: int) -> None:
    """Carry the integral of 1 / labels alive on to a time."""
    if at["alive"] > 0 and now_ns > at["alive_ns"]:
        at["shared"] += (now_ns - at["alive_ns"]) / at["alive"]
    at["alive_ns"] = max(at["alive_ns"], now_ns)


@kernel
def _settle(
    queue: npt.NDArray[np.void], order: npt.NDArray[np.int64], at: np.void, slot: int, end_ns: int, label: float
) -> None:
    """A label is known, or will never be (nan)."""
    one = queue[slot]
    _live(at, end_ns)
    one["label"], one["end_ns"], one["known"] = label, end_ns, 1
    one["move"] = np.log(at["twice_mid"] / one["twice_mid"]) * 1e4 if label == label else np.nan
    span = end_ns - one["sample_ns"]
    one["weight"] = min(1.0, (at["shared"] - one["shared"]) / span) if span > 0 else 1.0 / at["alive"]
    at["alive"] -= 1
    if label == label:
        at["last"] = label
    order[(at["first"] + at["ready"]) % queue.shape[0]] = slot
    at["ready"] += 1


@kernel
def _at_horizon(at: np.void, one: np.void, rule: np.void) -> float:
    """The label of a sample that came to its horizon, from the book as it stands; nan where that says nothing."""
    if at["twice_mid"] <= 0.0 or one["epoch"] != at["epoch"] or one["due_ns"] - at["frame_ns"] > rule["stale_ns"]:
        return np.nan
    kind = rule["kind"]
    if kind in (FILL_BID, FILL_ASK):
        return float(rule["horizon_ns"] * 1e-9)
    if kind == VOLATILITY:
        moved = np.sqrt(max(0.0, at["squares"] - one["scale"])) * 1e4
        return float(np.log(max(moved, rule["least_bps"])))
    change = float(np.log(at["twice_mid"] / one["twice_mid"]) * 1e4)
    if kind == SCALED:
        return float(change / one["scale"])
    if kind == DIRECTION:
        return 0.0 if abs(change) <= one["scale"] else float(np.sign(change))
    if kind == BARRIER:
        return change if rule["as_return"] != 0 else 0.0
    return change


@kernel
def mature(
    queue: npt.NDArray[np.void],
    order: npt.NDArray[np.int64],
    cursor: npt.NDArray[np.void],
    rules: npt.NDArray[np.void],
    before_ns: int,
) -> None:
    """Give their label to all that come to their horizon before a time, from the book as it stands."""
    at = cursor[0]
    while at["passed"] < at["count"]:
        slot = (at["head"] + at["passed"]) % queue.shape[0]
        one = queue[slot]
        if one["known"] == 0:
            if one["due_ns"] >= before_ns:
                break
            _settle(queue, order, at, slot, one["due_ns"], _at_horizon(at, one, rules[0]))
        at["passed"] += 1


@kernel
def _touch(
    queue: npt.NDArray[np.void], order: npt.NDArray[np.int64], at: np.void, rule: np.void, frame: np.void
) -> None:
    """End what the frame ends before its horizon: a barrier met, an order traded through."""
    kind = rule["kind"]
    low, high = float(frame["ask"][0]), float(frame["bid"][0])
    if kind == BARRIER:
        low = high = at["twice_mid"]
    elif frame["buys"] + frame["sells"] > 0 and frame["last_price"] > 0:
        # Only a print beyond the price went through all that stood at it.
        low, high = min(low, frame["last_price"] + 1.0), max(high, frame["last_price"] - 1.0)
    for number in range(at["passed"], at["count"]):
        slot = (at["head"] + number) % queue.shape[0]
        one = queue[slot]
        if one["known"] != 0 or one["epoch"] != at["epoch"]:
            continue
        if not (low <= one["lower"] or high >= one["upper"]):
            continue
        end_ns = max(frame["recv_ns"], one["sample_ns"])
        if kind == BARRIER:
            label = 1.0 if high >= one["upper"] else -1.0
            if rule["as_return"] != 0:
                label = np.log(at["twice_mid"] / one["twice_mid"]) * 1e4
        else:
            label = min(end_ns - one["sample_ns"], rule["horizon_ns"]) * 1e-9
        _settle(queue, order, at, slot, end_ns, label)


@kernel
def _move(at: np.void, rule: np.void, frame: np.void) -> None:
    """Take the frame's book."""
    if not usable(frame):
        if at["twice_mid"] > 0.0:
            at["twice_mid"] = 0.0
            at["epoch"] += 1
        return
    bid, ask = float(frame["bid"][0]), float(frame["ask"][0])
    twice_mid = bid + ask
    if at["twice_mid"] > 0.0:
        keep = np.exp(-rule["rate"] * max(0, frame["recv_ns"] - at["move_ns"]) * 1e-9)
        change = np.log(twice_mid / at["twice_mid"]) if twice_mid != at["twice_mid"] else 0.0
        at["variance"] = at["variance"] * keep + change * change
        at["gathered"] = at["gathered"] * keep + (1.0 - keep)
        at["squares"] += change * change
    else:
        at["variance"] = at["gathered"] = 0.0
    at["move_ns"] = max(at["move_ns"], frame["recv_ns"])
    at["twice_mid"], at["bid"], at["ask"] = twice_mid, bid, ask


@kernel
def follow(
    queue: npt.NDArray[np.void],
    order: npt.NDArray[np.int64],
    cursor: npt.NDArray[np.void],
    rules: npt.NDArray[np.void],
    frames: Frames,
    symbol: int,
) -> None:
    """Take frames of any symbols, oldest first; what falls due between two frames sees the first."""
    at, rule = cursor[0], rules[0]
    is_early = rule["kind"] in (BARRIER, FILL_BID, FILL_ASK)
    for i in range(frames.shape[0]):
        frame = frames[i]
        if frame["symbol"] != symbol:
            continue
        if at["passed"] < at["count"]:
            mature(queue, order, cursor, rules, frame["recv_ns"])
        _move(at, rule, frame)
        at["frame_ns"] = max(at["frame_ns"], frame["recv_ns"])
        if is_early and at["twice_mid"] > 0.0:
            _touch(queue, order, at, rule, frame)


@kernel
def _volatility_bps(at: np.void, rule: np.void, now_ns: int) -> float:
    """What the mid moved per square root of the horizon before now, bps; at least the least."""
    keep = np.exp(-rule["rate"] * max(0, now_ns - at["move_ns"]) * 1e-9)
    weight = at["gathered"] * keep + (1.0 - keep)
    if weight < 1.0 - np.exp(-rule["rate"] * LEAST_SECONDS):
        return float(rule["least_bps"])
    per_second = at["variance"] * keep * rule["rate"] / weight
    return float(max(rule["least_bps"], np.sqrt(per_second * rule["horizon_ns"] * 1e-9) * 1e4))


@kernel
def begin(
    queue: npt.NDArray[np.void],
    cursor: npt.NDArray[np.void],
    rules: npt.NDArray[np.void],
    now_ns: int,
    number: int,
    prediction: float,
    regime: int,
) -> int:
    """Put a sample into the queue, which has room and a usable book; where it lies."""
    at, rule = cursor[0], rules[0]
    slot = int((at["head"] + at["count"]) % queue.shape[0])
    one = queue[slot]
    _live(at, now_ns)
    at["alive"] += 1
    at["count"] += 1
    one["sample_ns"], one["due_ns"], one["end_ns"] = now_ns, now_ns + rule["horizon_ns"], 0
    one["id"], one["epoch"], one["known"], one["regime"] = number, at["epoch"], 0, regime
    one["twice_mid"], one["prediction"], one["label"] = at["twice_mid"], prediction, np.nan
    one["spread"] = 2e4 * (at["ask"] - at["bid"]) / at["twice_mid"]
    one["shared"], one["weight"], one["last"] = at["shared"], 0.0, at["last"]
    one["upper"] = one["lower"] = np.nan
    one["scale"], one["move"], one["unit"] = 0.0, np.nan, np.nan
    kind = rule["kind"]
    if kind == RETURN:
        one["unit"] = 1.0
    elif kind == SCALED:
        one["unit"] = one["scale"] = _volatility_bps(at, rule, now_ns)
    elif kind == DIRECTION:
        one["scale"] = rule["band_bps"] + rule["band_half_spreads"] * one["spread"] / 2.0
    elif kind == VOLATILITY:
        one["scale"] = at["squares"]
    elif kind == BARRIER:
        one["unit"] = 1.0 if rule["as_return"] != 0 else np.nan
        unit = _volatility_bps(at, rule, now_ns) if rule["in_volatility"] != 0 else 1.0
        if rule["profit"] > 0.0:
            one["upper"] = at["twice_mid"] * np.exp(rule["profit"] * unit * 1e-4)
        if rule["stop"] > 0.0:
            one["lower"] = at["twice_mid"] * np.exp(-rule["stop"] * unit * 1e-4)
    elif kind == FILL_BID:
        # Traded through: a print below the price, or an ask that came down to it.
        one["lower"] = at["bid"]
    elif kind == FILL_ASK:
        one["upper"] = at["ask"]
    return slot


@kernel
def release(queue: npt.NDArray[np.void], order: npt.NDArray[np.int64], cursor: npt.NDArray[np.void]) -> int:
    """Where the sample lies whose label was known first of those not taken out; -1 where there is none."""
    at = cursor[0]
    if at["ready"] == 0:
        return -1
    slot = int(order[at["first"]])
    at["first"] = (at["first"] + 1) % queue.shape[0]
    at["ready"] -= 1
    queue[slot]["known"] = 2
    return slot


@kernel
def sweep(queue: npt.NDArray[np.void], cursor: npt.NDArray[np.void]) -> None:
    """Free the oldest places, up to the first sample that is still wanted."""
    at = cursor[0]
    while at["count"] > 0 and queue[at["head"]]["known"] == 2:
        at["head"] = (at["head"] + 1) % queue.shape[0]
        at["count"] -= 1
        at["passed"] = max(0, at["passed"] - 1)
