"""``papertape validate --leaks``: does what the models see of a tape know what it could not have known?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, Frames
from engine.core.types import Instrument
from engine.features.set import WARM_UP_NS, usable
from engine.learn.estimates import Floats
from engine.learn.experts.primary import Primary
from engine.learn.purge import walk_forward
from engine.live.build import build_engine
from engine.live.config import parse_config
from engine.live.durations import duration_text
from engine.research.leaks import Suspect, find_leaks, live_features
from engine.research.loading import load_tape
from engine.research.player import Player

MOST_FRAMES: Final = 60_000
"""Of a symbol; features are built again and again, and a leak shows in the first hours as well as in all."""

LEAST_ROWS: Final = 200
PARTS: Final = 3


class Checked(msgspec.Struct, frozen=True):
    """What was looked at, by which tests, and what they say; no ``leaks`` and some ``ran`` is a clean bill."""

    symbol: str
    horizon: str
    rows: int
    ran: list[str]
    lacked: dict[str, str]
    leaks: list[str]


def check_tape(tapes: Sequence[Path], *, horizons_ns: Sequence[int], every_ns: int) -> list[Checked]:
    """Look for leaks in the features and labels that the primary model has on each symbol and horizon of a tape.

    Raises:
        As ``load_tape``.
    """
    instruments, frames = frames_of(tapes)
    checked = []
    for symbol, instrument in enumerate(instruments):
        mine = frames[frames["symbol"] == symbol][:MOST_FRAMES].copy()
        mine["symbol"] = 0
        for horizon_ns in horizons_ns:
            told = _check(mine, instrument.tick, horizon_ns, every_ns)
            rows, ran, lacked, leaks = told
            checked.append(Checked(instrument.name, duration_text(horizon_ns), rows, ran, lacked, leaks))
    return checked


def frames_of(tapes: Sequence[Path]) -> tuple[list[Instrument], Frames]:
    """The instruments of a tape and all its frames, in order, as the engine was given them.

    Raises:
        As ``load_tape``.
    """
    tape = load_tape(tapes)
    found: list[Frames] = []
    config = parse_config({**tape.settings.plain(), "strategy": [], "model": []}, "papertape validate")
    built = build_engine(
        config,
        tape.instruments,
        inline_training=True,
        frames_tap=lambda frames: found.append(frames.copy()),
        venues={name: feed.venue_class for name, feed in tape.feeds.items()},
    )
    player = Player(built.engine, tape.feeds)
    player.play(tape.entries())
    player.finish()
    return tape.instruments, np.concatenate(found) if found else np.zeros(0, FRAME)


def _check(
    frames: Frames, tick: int, horizon_ns: int, every_ns: int
) -> tuple[int, list[str], dict[str, str], list[str]]:
    build = live_features([tick], 0, every_ns, WARM_UP_NS, Primary.features)
    built = build(frames)
    ahead = max(1, horizon_ns // every_ns)
    count = len(built.times_ns) - ahead
    if count < LEAST_ROWS:
        return max(0, count), [], {"all": f"needs {LEAST_ROWS} rows, found {max(0, count)}"}, []
    path, used_ns = mids_at(frames, built.times_ns)
    starts, ends = built.times_ns[:count], built.times_ns[ahead:]
    verdict = find_leaks(
        Suspect(
            build=build,
            events=frames,
            known_ns=frames["recv_ns"],
            keep=("recv_ns", "symbol"),
            starts_ns=starts,
            x=built.x[:count],
            names=built.names,
            y=path[ahead:] - path[:count],
            ends_ns=ends,
            moves=np.diff(path)[:count],
            used_ns=used_ns[:count],
            splits=list(walk_forward(starts, ends, PARTS)),
        )
    )
    return count, verdict.ran, verdict.lacked, [leak.detail for leak in verdict.leaks]


def mids_at(frames: Frames, times_ns: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The log of twice the mid of the last usable frame at or before each time, in bps, and when that frame came."""
    good = frames[np.array([usable(frame) for frame in frames])]
    at = np.searchsorted(good["recv_ns"], times_ns, side="right") - 1
    return np.log((good["bid"][at, 0] + good["ask"][at, 0]).astype(float)) * 1e4, good["recv_ns"][at]
