"""The quick way through a depth frame and the long way must be one: same rows, same refusals, on anything."""

from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest

from adapters import conformance_mutants as mutants
from adapters.binance import BinanceCoinm, BinanceSpot, BinanceUsdm, _Binance
from adapters.conformance_player import Subject
from adapters.contract import AdapterError
from adapters.entry import EntryKind
from adapters.registry import venue_class
from adapters.tape import read_tape
from tests.data import recordings

VENUES = (BinanceSpot, BinanceUsdm, BinanceCoinm)


def outcome(venue: _Binance, is_reply: bool, token: str, body: bytes, ns: int) -> list[object]:
    try:
        outputs = venue.replied(token, body, ns) if is_reply else venue.received(body, ns)
    except AdapterError as error:
        return [type(error), str(error)]
    return [each.tobytes() if isinstance(each, np.ndarray) else each for each in outputs]


def pair(cls: type[_Binance], subject: Subject) -> tuple[_Binance, _Binance]:
    quick, long = cls(subject.instruments), cls(subject.instruments)
    long._quick.clear()
    return quick, long


def is_quick(venue: _Binance, frame: bytes) -> bool:
    """Did the kernel take it? Then the decoder was never asked."""
    name_end = frame.find(b'"', 11)
    _, packed = venue._quick[frame[:name_end]]
    scanner = venue._scanner
    return venue._depth_frame(scanner.rows, scanner.at, frame, name_end, packed, 1, venue._ids) > 0


@pytest.mark.parametrize("cls", VENUES)
def test_a_good_depth_frame_when_it_comes_then_it_goes_the_quick_way(cls: type[_Binance]) -> None:
    subject = Subject(cls)
    venue = cls(subject.instruments)
    frames = [line.body for line in subject.talk if b"depthUpdate" in line.body]
    assert len(frames) >= 5 and all(is_quick(venue, frame) for frame in frames)


@pytest.mark.parametrize("cls", VENUES)
def test_a_broken_depth_frame_when_it_comes_then_both_ways_agree(cls: type[_Binance]) -> None:
    subject = Subject(cls)
    for number, line in enumerate(subject.talk):
        if b"depthUpdate" not in line.body:
            continue
        broken = [*mutants.leaves_of(line.body), *mutants.bytes_of(line.body, random.Random(number))]
        for body in broken:
            quick, long = pair(cls, subject)
            for earlier in subject.talk[:number]:
                for venue in (quick, long):
                    outcome(venue, earlier.kind == "reply", earlier.token, earlier.body, 5)
            assert outcome(quick, False, "", body, 6) == outcome(long, False, "", body, 6), body
            for later in subject.talk[number + 1 :]:
                found = [outcome(venue, later.kind == "reply", later.token, later.body, 7) for venue in (quick, long)]
                assert found[0] == found[1], (body, later.body)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"E":', b'"E": '),
        (b'"e":"depthUpdate",', b""),
        (b'"b":[[', b'"b":[ ['),
        (b'"U":', b'"x":1,"U":'),
        (b'}}', b'},"x":1}'),
        (b'}}', b',"st":2}}'),
        (b'}}', b'}}\n'),
        (b'"s":"', b'"s":"x'),
        (b'"u":1', b'"u":01'),
        (b'"u":1', b'"u":99999999999999991'),
        (b'"E":1', b'"E":0,"E2":1'),
        (b"btcusd", b"ethusd"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cls", VENUES)
def test_an_unusual_depth_frame_when_it_comes_then_both_ways_agree(cls: type[_Binance], old: bytes, new: bytes) -> None:
    subject = Subject(cls)
    quick, long = pair(cls, subject)
    for number, line in enumerate(subject.talk):
        body = line.body.replace(old, new, 1) if number % 2 else line.body
        found = [outcome(venue, line.kind == "reply", line.token, body, number + 1) for venue in (quick, long)]
        assert found[0] == found[1]


@pytest.mark.parametrize("file", ["spot-btcusdt_20240808", "usdm-btcusdt_20240718", "cm-btcusd_perp_20240808"])
def test_a_recording_when_read_both_ways_then_the_rows_are_the_same(file: str) -> None:
    header, entries = read_tape(recordings() / "binance" / f"{file}.gz")
    taped = [entry for entry in islice(entries, 8000) if entry.kind in (EntryKind.RECEIVED, EntryKind.REPLIED)]
    cls = venue_class(next(iter(header.venues.values())).use)
    assert issubclass(cls, _Binance)
    known = {s: (0, each) for s, each in cls.infer_instruments("v", [entry.data for entry in taped]).items()}
    quick, long = cls(known), cls(known)
    long._quick.clear()
    for entry in taped:
        found = [
            outcome(venue, entry.kind is EntryKind.REPLIED, entry.token, entry.data, entry.ns)
            for venue in (quick, long)
        ]
        assert found[0] == found[1]
    depths = [entry.data for entry in taped if b"@depth" in entry.data[:60]]
    assert all(is_quick(quick, frame) for frame in depths[:500])
