"""Trades that wait until the book shows them, and the trap that they close."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from engine.core.events import FRAME, FRAME_BOOK, FRAME_READY, FRAME_TRADE, Frames
from engine.features.held import ROOM
from engine.features.set import FeatureSet
from tests.frames import MS, SECOND, START_NS

BOOK, TRADE = FRAME_READY | FRAME_BOOK, FRAME_READY | FRAME_TRADE


def stream(*told: tuple[str, int, int, int], venue_offset_ns: int = 0) -> Frames:
    """Frames of one symbol: ("book", ms, venue's ms or 0, bid) or ("buy" | "sell", ms, venue's ms or 0, size)."""
    frames = np.zeros(len(told), FRAME)
    bid = 1000
    for i, (kind, ms, venue_ms, value) in enumerate(told):
        bid = value if kind == "book" else bid
        frames["recv_ns"][i] = START_NS + ms * MS
        frames["venue_ns"][i] = START_NS + venue_ms * MS + venue_offset_ns if venue_ms else 0
        frames["flags"][i] = BOOK if kind == "book" else TRADE
        frames["bid"][i], frames["ask"][i] = bid - np.arange(10), bid + 1 + np.arange(10)
        frames["bid_size"][i] = frames["ask_size"][i] = 100
        if kind != "book":
            frames[f"{kind}_size"][i], frames[f"{kind}s"][i] = value, 1
            frames["last_price"][i] = bid + (kind == "buy")
    return frames


def read(features: FeatureSet, ms: int) -> dict[str, float]:
    out = features.vector()
    assert features.read(0, START_NS + ms * MS, out)
    return dict(zip(features.names, out.tolist(), strict=True))


def made(trades: str = "held") -> FeatureSet:
    return FeatureSet(ticks=[1], features=["flow", "trades"], trades=trades, warm_up_ns=0)


def test_a_trade_counts_with_the_first_book_frame_after_it() -> None:
    told = stream(("book", 0, 0, 1000), ("buy", 50, 0, 7), ("book", 100, 0, 1000))
    live, held = made("live"), made()
    for features in (live, held):
        features.update(told[:2])
    assert read(live, 60)["flow_500ms"] == 1.0 and read(held, 60)["flow_500ms"] == 0.0
    assert held.frame_ns(0) == START_NS + 50 * MS
    held.update(told[2:])
    found = read(held, 100)
    # As if it had traded when the book frame came: nothing of it has faded yet.
    assert found["flow_500ms"] == 1.0 and found["trade_rate_log"] == pytest.approx(np.log1p(np.log(2) / 2))


def test_the_venue_times_say_which_book_frame_that_is() -> None:
    features = made()
    # The book frame of 100 ms comes after the trade of 103 ms, and does not show it.
    features.update(stream(("book", 0, 10, 1000), ("buy", 90, 98, 7), ("sell", 95, 103, 4), ("book", 97, 100, 1000)))
    assert read(features, 97)["flow_500ms"] == 1.0
    features.update(stream(("book", 197, 200, 1000)))
    assert -1.0 < read(features, 197)["flow_500ms"] < 1.0


def test_a_book_in_doubt_forgets_what_waits() -> None:
    told = stream(("book", 0, 0, 1000), ("buy", 50, 0, 7), ("book", 60, 0, 1000), ("book", 100, 0, 1000))
    told["flags"][2] = FRAME_BOOK
    features = made()
    features.update(told)
    assert read(features, 100)["flow_500ms"] == 0.0 and not features.state["waiting"][0]


def test_no_trade_is_lost_when_too_many_wait() -> None:
    many = [("buy", 10, 20, 3)] * (2 * ROOM)
    features = made()
    features.update(stream(("book", 0, 10, 1000), *many))
    assert int(features.state["waiting"][0]) == ROOM
    features.update(stream(("book", 100, 110, 1000)))
    # All at one instant: their sum decays from there.
    assert read(features, 100)["trade_rate_log"] == pytest.approx(np.log1p(2 * ROOM * np.log(2) / 2))


@pytest.mark.parametrize("size", [1, 3, 17])
def test_however_frames_are_cut_the_state_is_the_same(size: int) -> None:
    frames = slow_book(seed=3, seconds=20)
    whole, cut, resumed = made(), made(), made()
    whole.update(frames)
    half = len(frames) // 2
    for at in range(0, half, size):
        cut.update(frames[at : min(half, at + size)])
    resumed.restore(cut.state.tobytes())
    for at in range(half, len(frames), size):
        resumed.update(frames[at : at + size])
    assert whole.state.tobytes() == resumed.state.tobytes()


def slow_book(seed: int, seconds: int, every_ms: int = 1000) -> Frames:
    """A market whose trades move the mid at once, and whose book is told only once in ``every_ms``.

    Who buys is pure chance: nothing that is known tells where the mid goes next.
    """
    rng = np.random.default_rng(seed)
    told: list[tuple[str, int, int, int]] = [("book", 0, 1, 100_000)]
    bid = 100_000
    for ms in range(7, seconds * 1000, 37):
        if ms // every_ms > (ms - 37) // every_ms:
            at = ms // every_ms * every_ms
            told.append(("book", at, at + 1, bid))
        way = 1 if rng.random() < 0.5 else -1
        told.append(("buy" if way > 0 else "sell", ms, ms + 1, 5))
        bid += way
    return stream(*told)


def correlation(features: FeatureSet, frames: Frames, seconds: int, name: str) -> float:
    """Of a feature with the return of the displayed mid over the second that follows, as labels have it."""
    times: npt.NDArray[np.int64] = START_NS + np.arange(2 * SECOND, (seconds - 2) * SECOND, 100 * MS)
    books = frames[(frames["flags"] & FRAME_BOOK) != 0]
    mid = (books["bid"][:, 0] + books["ask"][:, 0]) / 2.0
    starts = np.searchsorted(books["recv_ns"], times, side="right") - 1
    ends = np.searchsorted(books["recv_ns"], times + SECOND, side="right") - 1
    labels = np.log(mid[ends] / mid[starts])
    read, at = [], 0
    column, out = features.names.index(name), features.vector()
    for now_ns in times.tolist():
        until = int(np.searchsorted(frames["recv_ns"], now_ns, side="right"))
        features.update(frames[at:until])
        at = until
        assert features.read(0, now_ns, out)
        read.append(out[column])
    return float(np.corrcoef(read, labels)[0, 1])


def test_the_trap_live_trades_predict_what_has_already_happened() -> None:
    """Of a market without any memory, features with live trades seem to know the future; with held ones they do not."""
    frames = slow_book(seed=5, seconds=600)
    live = correlation(made("live"), frames, 600, "flow_500ms")
    held = correlation(made(), frames, 600, "flow_500ms")
    assert live > 0.3
    assert abs(held) < 0.08
