"""What goes onto a tape comes off it, and nothing else ever does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.entry import Entry, EntryKind
from adapters.tape import TapeError, TapeHeader, TapeWriter, VenueHeader, read_tape

HEADER = TapeHeader(started_ns=5, venues={"sim": VenueHeader("binance-spot", ["BTCUSDT"])}, papertape="0.1.0")

WORDS = st.text(max_size=12)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(EntryKind),
    ns=st.integers(0, 2**63 - 1),
    source=WORDS,
    token=WORDS,
    data=st.binary(max_size=60) | st.sampled_from([b"", b"\n", b"end 1", b" - ", b'{"stream":"a@trade"}', b"\xff\n"]),
)


def written(folder: str, entries: list[Entry]) -> Path:
    path = Path(folder) / "tape.ptz"
    with TapeWriter(path, HEADER) as writer:
        for entry in entries:
            writer.write(entry)
    return path


def read(path: Path, *, allow_torn: bool) -> list[Entry]:
    header, entries = read_tape(path, allow_torn)
    assert header == HEADER
    return list(entries)


@given(st.lists(ENTRIES, max_size=20))
@settings(max_examples=100, deadline=None)
def test_arbitrary_entries_round_trip(entries: list[Entry]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert read(written(folder, entries), allow_torn=False) == entries


@given(st.lists(ENTRIES, min_size=1, max_size=8), st.data())
@settings(max_examples=80, deadline=None)
def test_a_cut_tape_is_refused_or_gives_a_prefix(entries: list[Entry], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, entries)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        try:
            read(path, allow_torn=False)
        except TapeError:
            pass
        else:
            raise AssertionError("a cut tape was taken for a whole one")
        try:
            kept = read(path, allow_torn=True)
        except TapeError:
            return  # cut within the header
        assert kept == entries[: len(kept)]


@given(st.lists(ENTRIES, min_size=1, max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_never_changes_an_entry_silently(entries: list[Entry], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, entries)
        damaged = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        for allow_torn in (False, True):
            try:
                kept = read(path, allow_torn=allow_torn)
            except TapeError:
                continue
            assert kept == entries[: len(kept)]
            assert allow_torn or kept == entries
