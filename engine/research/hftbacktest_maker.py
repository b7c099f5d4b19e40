"""The two-sided maker of ``parity.py`` inside hftbacktest: reads one ``.npz``, runs, writes another.

It imports nothing of Papertape, so that it runs under any Python that has ``hftbacktest``, numba and numpy:

    python hftbacktest_maker.py input.npz output.npz

``input`` holds ``events`` (hftbacktest's own event format) and the settings as arrays of one value; ``output`` holds
``orders`` (time ns, side, price in ticks, 1 as a mark, the best price then), ``fills`` (order, venue time ns, size in
1e-9 of the currency), ``code`` (0 or hftbacktest's error) and ``version``.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

ORDER_FIELDS = 5


def post(hbt: Any, first_ns: int, step_ns: int, steps: int, offsets: Any, tick: float, size: float) -> Any:
    """At each step take back what works, then quote ``offsets[step]`` ticks behind both best prices, post-only.

    Compiled by numba where it is used; after the last step it waits for one more, for answers on their way. Order
    ``2 * step`` buys, ``2 * step + 1`` sells. The third answer is 0 or hftbacktest's error code.
    """
    orders = np.zeros((2 * steps, 5), np.int64)
    left = np.zeros(2 * steps)
    fills = np.zeros((64 * steps + 64, 3), np.int64)
    count = 0
    done = hbt.elapse(0)
    for step in range(steps + 2):
        target = first_ns + step * step_ns
        while done == 0 and hbt.current_timestamp < target:
            heard = hbt.wait_next_feed(True, target - hbt.current_timestamp)
            if heard == 3:
                book = hbt.orders(0)
                for number in range(max(0, 2 * step - 8), 2 * step):
                    if number >= 2 * steps or orders[number, 3] == 0:
                        continue
                    order = book.get(number)
                    if order is not None and order.leaves_qty < left[number] and count < fills.shape[0]:
                        fills[count, 0] = number
                        fills[count, 1] = order.exch_timestamp
                        fills[count, 2] = round((left[number] - order.leaves_qty) * 1e9)
                        left[number] = order.leaves_qty
                        count += 1
            elif heard != 0 and heard != 2:
                done = heard
        if done != 0:
            break
        if step >= steps:
            continue
        depth = hbt.depth(0)
        book = hbt.orders(0)
        for number in range(max(0, 2 * step - 8), 2 * step):
            if orders[number, 3]:
                order = book.get(number)
                if order is not None and order.cancellable:
                    hbt.cancel(0, number, False)
        bid = depth.best_bid_tick
        ask = depth.best_ask_tick
        for side in range(2):
            number = 2 * step + side
            price = ask + offsets[step] if side else bid - offsets[step]
            orders[number, 0] = hbt.current_timestamp
            orders[number, 1] = -1 if side else 1
            orders[number, 2] = price
            orders[number, 3] = 1
            left[number] = size
            if side:
                hbt.submit_sell_order(0, number, price * tick, size, 1, 0, False)
            else:
                hbt.submit_buy_order(0, number, price * tick, size, 1, 0, False)
            orders[number, 4] = bid if side == 0 else ask
    return orders, fills[:count], done


def run(given: Any) -> dict[str, Any]:
    """Build one asset of hftbacktest with the risk-averse queue and constant latency, and let the maker quote."""
    hft: Any = importlib.import_module("hftbacktest")
    numba: Any = importlib.import_module("numba")
    tick, lot, size = (float(given[key][0]) for key in ("tick", "lot", "size"))
    asset = (
        hft.BacktestAsset()
        .data(np.ascontiguousarray(given["events"]))
        .linear_asset(1.0)
        .constant_order_latency(int(given["out_ns"][0]), int(given["back_ns"][0]))
        .risk_adverse_queue_model()
        .partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(lot)
    )
    hbt = hft.HashMapMarketDepthBacktest([asset])
    first_ns, step_ns, steps = (int(given[key][0]) for key in ("first_ns", "step_ns", "steps"))
    orders, fills, code = numba.njit(post)(hbt, first_ns, step_ns, steps, given["offsets"], tick, size)
    hbt.close()
    return {"orders": orders, "fills": fills, "code": np.array([code]), "version": np.array([hft.__version__])}


def main(arguments: list[str]) -> int:
    given = np.load(arguments[0])
    np.savez(arguments[1], **run({name: given[name] for name in given.files}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
