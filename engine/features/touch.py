"""What happens at the touch: who has just moved, who stands alone, who traded last, and how much is there.

Most of these are odd: exchange the sides of the market and the number changes its sign. That is what a linear model of
the next move needs, as it may then do without an intercept (a market does not know which side we call the bid).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.book import imbalance
from engine.features.decay import LN2

FLOW_HALF_LIVES_S = (0.3, 1.0, 3.0)
LONGEST_AGE_S = 300.0
FARTHEST_BPS = 50.0
MOVE_FADES_S = 1.0  # to 1/e
TRADE_FADES_S = 2.0  # to 1/e
SIZE_HALF_LIFE_S = 30.0

FEATURES: tuple[tuple[str, str], ...] = (
    ("size_ratio_log", "ln of bid size over ask size"),
    ("size_product_log", "ln of bid size times ask size over the usual size squared"),
    ("second_level_gap_bps", "bps"),
    ("imbalance_mean_1s", "[-1, 1]"),
    ("imbalance_mean_3s", "[-1, 1]"),
    ("signed_volume_300ms", "usual best sizes"),
    ("signed_volume_1s", "usual best sizes"),
    ("signed_volume_3s", "usual best sizes"),
    ("count_balance_300ms", "[-1, 1]"),
    ("count_balance_3s", "[-1, 1]"),
    ("move_sign", "-1, 0, 1"),
    ("move_fading_bps", "bps"),
    ("spread_change_1s_bps", "bps of spread above its average"),
    ("touch_volatility_1s", "bps per square root of a second"),
    ("side_age_log", "ln of the bid's age over the ask's"),
    ("trade_age_fading", "[0, 1]"),
    ("trade_side_fading", "[-1, 1]"),
    ("trade_gap_bps", "bps of the last trade above mid"),
)
"""Name and unit of each output, in order."""

WARM_UP_S = 0.0

# Slots of the family's memory.
IMBALANCE, SIGNED, SIGNED_COUNT, COUNT, USUAL, VOLUME = 0, 2, 5, 8, 11, 12
MOVE, MOVED_S, SPREAD_GAP, VARIANCE, WEIGHT, BID_AGE, ASK_AGE = 13, 14, 15, 16, 17, 18, 19
TRADE_AGE, TRADE_SIDE, TRADE_PRICE = 20, 21, 22
MEMORY = 23

_RATES = (LN2 / FLOW_HALF_LIVES_S[0], LN2 / FLOW_HALF_LIVES_S[1], LN2 / FLOW_HALF_LIVES_S[2])
_USUAL = LN2 / SIZE_HALF_LIFE_S
_FADED = 1e-6  # trades; less is the memory of one long ago


@kernel
def start(now: np.void, memory: npt.NDArray[np.float64]) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    memory[USUAL] = (float(now["bid_size"][0]) + float(now["ask_size"][0])) / 2.0
    memory[IMBALANCE] = memory[IMBALANCE + 1] = imbalance(now, 1)
    memory[TRADE_AGE] = LONGEST_AGE_S


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: npt.NDArray[np.float64]) -> None:
    """Take one frame; ``seconds`` since the one before. What was displayed held until now."""
    bid, ask = float(now["bid"][0]), float(now["ask"][0])
    was_bid, was_ask = float(last["bid"][0]), float(last["ask"][0])
    moved = bid + ask != was_bid + was_ask
    change = np.log((bid + ask) / (was_bid + was_ask)) if moved else 0.0
    leaning = imbalance(last, 1)
    signed = float(now["buy_size"]) - float(now["sell_size"])
    buys, sells = float(now["buys"]), float(now["sells"])
    for k in range(3):
        keep = np.exp(-_RATES[k] * seconds)
        memory[SIGNED + k] = memory[SIGNED + k] * keep + signed
        memory[SIGNED_COUNT + k] = memory[SIGNED_COUNT + k] * keep + (buys - sells)
        memory[COUNT + k] = memory[COUNT + k] * keep + (buys + sells)
        if k >= 1:
            memory[IMBALANCE + k - 1] = memory[IMBALANCE + k - 1] * keep + leaning * (1.0 - keep)
        if k == 1:
            widened = np.log(ask / bid) - np.log(was_ask / was_bid)
            memory[SPREAD_GAP] = memory[SPREAD_GAP] * keep + widened
            memory[VARIANCE] = memory[VARIANCE] * keep + change * change
            memory[WEIGHT] = memory[WEIGHT] * keep + (1.0 - keep)
    keep = np.exp(-_USUAL * seconds)
    shown = (float(last["bid_size"][0]) + float(last["ask_size"][0])) / 2.0
    memory[USUAL] = memory[USUAL] * keep + shown * (1.0 - keep)
    memory[MOVED_S] += seconds
    if moved:
        memory[MOVE] = change
        memory[MOVED_S] = 0.0
    memory[BID_AGE] = 0.0 if bid != was_bid else min(memory[BID_AGE] + seconds, LONGEST_AGE_S)
    memory[ASK_AGE] = 0.0 if ask != was_ask else min(memory[ASK_AGE] + seconds, LONGEST_AGE_S)
    memory[TRADE_AGE] = min(memory[TRADE_AGE] + seconds, LONGEST_AGE_S)
    if now["last_price"] != 0:
        memory[TRADE_AGE] = 0.0
        memory[TRADE_SIDE] = np.sign(signed)
        memory[TRADE_PRICE] = float(now["last_price"])


@kernel
def read(
    last: np.void,
    tick: float,
    seconds: float,
    now_ns: int,
    memory: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    bid, ask = float(last["bid"][0]), float(last["ask"][0])
    # At least one size unit on each side, so that an empty level has a logarithm.
    bids = np.log(max(float(last["bid_size"][0]), 1.0))
    asks = np.log(max(float(last["ask_size"][0]), 1.0))
    mid = (bid + ask) / 2.0
    leaning = imbalance(last, 1)
    fast = np.exp(-_RATES[0] * seconds)
    middle = np.exp(-_RATES[1] * seconds)
    slow = np.exp(-_RATES[2] * seconds)
    shown = (float(last["bid_size"][0]) + float(last["ask_size"][0])) / 2.0
    keep = np.exp(-_USUAL * seconds)
    usual = max(1.0, memory[USUAL] * keep + shown * (1.0 - keep))
    out[0] = bids - asks
    out[1] = bids + asks - 2.0 * np.log(usual)
    second_bid, second_ask = float(last["bid"][1]), float(last["ask"][1])
    known = second_bid > 0.0 and second_ask > 0.0
    out[2] = ((second_ask - ask) - (bid - second_bid)) / mid * 1e4 if known else 0.0
    out[3] = memory[IMBALANCE] * middle + leaning * (1.0 - middle)
    out[4] = memory[IMBALANCE + 1] * slow + leaning * (1.0 - slow)
    out[5] = memory[SIGNED] * fast / usual
    out[6] = memory[SIGNED + 1] * middle / usual
    out[7] = memory[SIGNED + 2] * slow / usual
    out[8] = memory[SIGNED_COUNT] / memory[COUNT] if memory[COUNT] * fast > _FADED else 0.0
    out[9] = memory[SIGNED_COUNT + 2] / memory[COUNT + 2] if memory[COUNT + 2] * slow > _FADED else 0.0
    out[10] = np.sign(memory[MOVE])
    out[11] = memory[MOVE] * np.exp(-(memory[MOVED_S] + seconds) / MOVE_FADES_S) * 1e4
    out[12] = memory[SPREAD_GAP] * middle * 1e4
    weight = memory[WEIGHT] * middle + (1.0 - middle)
    enough = weight > _RATES[1] * 1e-3  # over less than a millisecond a rate per second means nothing
    out[13] = np.sqrt(memory[VARIANCE] * middle * _RATES[1] / weight) * 1e4 if enough else 0.0
    bid_age = min(memory[BID_AGE] + seconds, LONGEST_AGE_S)
    ask_age = min(memory[ASK_AGE] + seconds, LONGEST_AGE_S)
    # A twentieth of a second more, so that two sides that both just changed are equally old.
    out[14] = np.log((bid_age + 0.05) / (ask_age + 0.05))
    age = min(memory[TRADE_AGE] + seconds, LONGEST_AGE_S)
    recent = np.exp(-age / TRADE_FADES_S)
    out[15] = recent
    out[16] = memory[TRADE_SIDE] * recent
    gap = np.log(memory[TRADE_PRICE] / mid) * 1e4 if memory[TRADE_PRICE] > 0.0 else 0.0
    out[17] = min(max(gap, -FARTHEST_BPS), FARTHEST_BPS)
