"""The leak detector finds each of five planted leaks, by the test meant for it, and none in honest pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.core.events import Frames
from engine.learn.purge import walk_forward
from engine.research.impact_fit import frames_of
from engine.research.leak_splits import Split
from engine.research.leaks import TESTS, Built, Suspect, find_leaks, live_features
from engine.research.parity import recorded
from tests.data import recordings
from tests.frames import MS, SECOND, walk
from tests.leaky import (
    HORIZON,
    MARKETS,
    TICK_NS,
    centred_mean,
    events_of,
    honest,
    joined,
    market,
    suspect,
    wavelet,
    whole_sample,
)

ROWS = 1500


def told(case: Suspect) -> set[str]:
    return {leak.test for leak in find_leaks(case).leaks}


def random_folds(rows: int, folds: int, seed: int) -> list[Split]:
    parts = np.array_split(np.random.default_rng(seed).permutation(rows), folds)
    return [(np.setdiff1d(np.arange(rows), part), np.sort(part)) for part in parts]


def whole_folds(rows: int, folds: int) -> list[Split]:
    parts = np.array_split(np.arange(rows), folds)
    return [(np.setdiff1d(np.arange(rows), part), part) for part in parts]


@pytest.mark.parametrize("kind", MARKETS)
def test_an_honest_pipeline_raises_nothing(kind: str) -> None:
    for seed in range(5):
        verdict = find_leaks(suspect(kind, ROWS, seed))
        assert verdict.is_clean, (seed, verdict.leaks)
        assert verdict.ran and not verdict.lacked, "every test ran"
    if kind == "strong":
        assert max(abs(value) for value in verdict.shifts.values()) > 0.5, "the signal is strong indeed"


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("build", [centred_mean, wavelet])
def test_a_centred_filter_is_found_in_the_stream_and_in_the_arrays_alone(
    kind: str, build: Callable[[npt.NDArray[Any]], Built]
) -> None:
    case = suspect(kind, ROWS, 3, build)
    verdict = find_leaks(case)
    leaks = {leak.test: leak for leak in verdict.leaks}
    name = "mean_5" if build is centred_mean else "mean_20"
    assert leaks["future"].what == leaks["reconstruction"].what == name and leaks["reconstruction"].size > 0.9
    reach = 5 if build is centred_mean else 6
    assert (reach - 2) * TICK_NS <= leaks["future"].size <= reach * TICK_NS
    assert len(verdict.leaks) == 2, "the other features are honest"
    arrays = case._replace(build=None)
    assert told(arrays) == {"reconstruction"} and "future" in find_leaks(arrays).lacked


@pytest.mark.parametrize("kind", MARKETS)
def test_normalising_with_the_whole_sample_is_found(kind: str) -> None:
    leaks = find_leaks(suspect(kind, ROWS, 4, whole_sample)).leaks
    assert {leak.what for leak in leaks if leak.test == "future"} == set(honest(events_of(*market(kind, 60, 1))).names)
    moves, signal = market(kind, ROWS, 4)
    x = whole_sample(events_of(moves, signal)).x
    alone = find_leaks(Suspect(x=x, moves=moves))
    assert {leak.test for leak in alone.leaks} == {"normalisation"} and len(alone.leaks) == 5


def test_labels_that_overlap_the_validation_are_found() -> None:
    case = suspect("walk", ROWS, 5)
    assert case.starts_ns is not None and case.ends_ns is not None
    count = len(case.starts_ns)
    close = [(np.arange(split), np.arange(split, split + 200)) for split in (600, 900)]
    leaks = find_leaks(case._replace(splits=close)).leaks
    assert [leak.test for leak in leaks] == ["overlap"] and leaks[0].size == pytest.approx((HORIZON - 1) / 200)
    purged = [(train[: -HORIZON + 1], test) for train, test in close]
    assert told(case._replace(splits=purged)) == set()
    assert "overlap" in told(case._replace(splits=whole_folds(count, 5)))


@pytest.mark.parametrize("kind", MARKETS)
def test_a_shuffled_split_is_found_and_scores_what_no_walk_forward_does(kind: str) -> None:
    case = suspect(kind, ROWS, 6)
    assert case.x is not None and case.starts_ns is not None
    # Slow features are what memory finds again.
    slow = case._replace(x=np.column_stack((case.x[:, 3:], np.cumsum(case.x[:, 0]))), names=("zscore", "signal", "sum"))
    leaks = {leak.test: leak for leak in find_leaks(slow._replace(splits=random_folds(len(case.x), 5, 1))).leaks}
    assert {"overlap", "shuffle"} <= leaks.keys() and leaks["overlap"].size > 0.9
    if kind != "strong":  # there walk-forward scores well too, and its interval over so few rows is wide
        assert leaks["scheme"].size > 0.3


def test_a_join_by_event_time_is_found() -> None:
    moves, signal = market("walk", 600, 7)
    events = events_of(moves, signal, delay_ns=5 * TICK_NS)
    common = Suspect(events=events, known_ns=events["available_ns"], keep=("event_ns", "available_ns"))
    honest_one = find_leaks(common._replace(build=joined("available_ns")))
    assert honest_one.is_clean and honest_one.ran == ["future"]
    leaks = find_leaks(common._replace(build=joined("event_ns"))).leaks
    assert [leak.test for leak in leaks] == ["future"] and leaks[0].size < 5 * TICK_NS
    rows = np.arange(0, 600 * TICK_NS, 3 * TICK_NS)
    for by, leaky in (("event_ns", True), ("available_ns", False)):
        at = np.searchsorted(events[by], rows, side="right") - 1
        used = np.where(at >= 0, events["available_ns"][np.maximum(at, 0)], 0)
        assert (told(Suspect(starts_ns=rows, used_ns=used)) == {"availability"}) == leaky


def test_a_feature_that_is_the_next_move_is_gone_a_row_later() -> None:
    moves, _ = market("walk", ROWS, 8)
    leaks = find_leaks(Suspect(x=moves[:, None].copy(), names=["oracle"], moves=moves)).leaks
    assert {leak.test for leak in leaks} == {"shift", "reconstruction"}


def test_an_honest_purged_fold_is_no_leak_and_neither_is_a_short_sample() -> None:
    case = suspect("strong", ROWS, 9)
    assert case.starts_ns is not None
    count = len(case.starts_ns)
    folds = []
    for train, test in whole_folds(count, 5):
        near = (train >= test[0] - HORIZON) & (train <= test[-1] + HORIZON)
        folds.append((train[~near], test))
    assert told(case._replace(splits=folds)) == set()
    assert told(suspect("strong", 120, 1)) == set()
    with pytest.raises(ValueError, match="expected a name for each of 2 features, found 1"):
        find_leaks(Suspect(x=np.zeros((9, 2)), names=["a"]))
    empty = find_leaks(Suspect())
    assert empty.is_clean and empty.ran == [] and empty.lacked.keys() == TESTS.keys()


def live(frames: Frames, ticks: list[int], every_ns: int = 100 * MS) -> Suspect:
    """The live path: features over frames on the grid, moves of the mid from row to row, walk-forward parts."""
    build = live_features(ticks, 0, every_ns, SECOND)
    built = build(frames)
    at = np.searchsorted(frames["recv_ns"], built.times_ns, side="right") - 1
    path = np.log((frames["bid"][at, 0] + frames["ask"][at, 0]).astype(float)) * 1e4
    count = len(path) - HORIZON
    starts = built.times_ns[:count]
    ends = built.times_ns[HORIZON:]
    return Suspect(
        build=build,
        events=frames,
        known_ns=frames["recv_ns"],
        keep=("recv_ns", "symbol"),
        starts_ns=starts,
        x=built.x[:count],
        names=built.names,
        y=path[HORIZON:] - path[:count],
        ends_ns=ends,
        moves=np.diff(path)[:count],
        used_ns=frames["recv_ns"][at[:count]],
        splits=list(walk_forward(starts, ends, 3)),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_live_path_over_a_made_up_market_raises_nothing(seed: int) -> None:
    verdict = find_leaks(live(walk(6000, seed=seed), [1]))
    assert verdict.is_clean and not verdict.lacked, verdict.leaks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["usdm-btcusdt_20240718.gz", "spot-btcusdt_20240808.gz"])
def test_the_live_path_over_a_recording_raises_nothing(name: str) -> None:
    instrument, batch = recorded([recordings() / "binance" / name])
    frames = frames_of(instrument, batch)
    verdict = find_leaks(live(frames[:60_000], [instrument.tick], 200 * MS))
    assert verdict.is_clean and not verdict.lacked, verdict.leaks


def test_a_live_path_that_peeks_is_found() -> None:
    frames = walk(3000, seed=4)
    inner = live_features([1], 0, 100 * MS, SECOND)

    def peeks(events: Frames) -> Built:
        early = events.copy()
        early["recv_ns"] -= 30 * MS  # frames are taken for older than they are
        return inner(early)

    case = live(frames, [1])._replace(build=peeks)
    assert {leak.test for leak in find_leaks(case).leaks} == {"future"}
