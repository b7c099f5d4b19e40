"""The recordings of others, and files that are no tape at all."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.entry import Entry, EntryKind
from adapters.tape import FLUSH_BYTES, TapeError, TapeHeader, TapeWriter, VenueHeader, read_tape, read_tapes
from adapters.tape_bytes import ZSTD_MAGIC, compress_frame

DEPTH = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":2,"u":3,"b":[],"a":[]}}'
TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.0","q":"2.0","T":1,"m":true}}'
SNAPSHOT = b'{"lastUpdateId":2,"bids":[],"asks":[]}'
COINM_SNAPSHOT = b'{"lastUpdateId":2,"E":1,"T":1,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":[],"asks":[]}'


def line_file(path: Path, start_ns: int, frames: list[bytes], unit: int = 1) -> Path:
    path.write_bytes(gzip.compress(b"".join(b"%d %b\n" % ((start_ns + n) // unit, f) for n, f in enumerate(frames))))
    return path


def test_the_line_format_tells_frames_and_answers_apart(tmp_path: Path) -> None:
    path = line_file(tmp_path / "anything", 1_700_000_000_000_000_000, [DEPTH, SNAPSHOT, TRADE, COINM_SNAPSHOT])
    header, entries = read_tape(path)
    assert header.venues == {"binance-spot": VenueHeader("binance-spot", ["BTCUSDT"])}
    assert [(entry.kind, entry.token, entry.data) for entry in entries] == [
        (EntryKind.OPENED, "", b""),
        (EntryKind.RECEIVED, "", DEPTH),
        (EntryKind.REPLIED, "depth:BTCUSDT", SNAPSHOT),
        (EntryKind.RECEIVED, "", TRADE),
        (EntryKind.REPLIED, "depth:BTCUSD_PERP", COINM_SNAPSHOT),
    ]


@pytest.mark.parametrize("unit", [1, 1000])
def test_times_in_nanoseconds_and_microseconds(tmp_path: Path, unit: int) -> None:
    path = line_file(tmp_path / "t.gz", 1_700_000_000_000_000_000, [DEPTH], unit)
    assert [entry.ns for entry in read_tape(path)[1]] == [1_700_000_000_000_000_000] * 2


def test_two_files_of_one_recording_join(tmp_path: Path) -> None:
    first = line_file(tmp_path / "1.gz", 1_700_000_000_000_000_000, [DEPTH, SNAPSHOT])
    second = line_file(tmp_path / "2.gz", 1_700_000_001_000_000_000, [DEPTH, TRADE])
    kinds = [entry.kind.value for entry in read_tapes([first, second])[1]]
    assert kinds == ["o", "r", "h", "r", "r"]
    with pytest.raises(TapeError, match=r"expected a receive time of \d+ or later"):
        list(read_tapes([second, first])[1])


def test_files_of_different_venues_do_not_join(tmp_path: Path) -> None:
    first = line_file(tmp_path / "1.gz", 1_700_000_000_000_000_000, [DEPTH])
    second = line_file(tmp_path / "2.gz", 1_700_000_001_000_000_000, [DEPTH.replace(b'"u":3', b'"u":3,"pu":1')])
    with pytest.raises(TapeError, match=r"the venues: expected .*binance-spot.* found .*binance-usdm"):
        read_tapes([first, second])


def cryptofeed(path: Path, lines: list[dict[str, object]]) -> Path:
    header: dict[str, object] = {"t": "header", "format": 2, "exchange": "HTX", "config": {}, "recorded": 1.5}
    path.write_bytes(compress_frame(b"".join(json.dumps(line).encode() + b"\n" for line in [header, *lines])))
    return path


def test_cryptofeed_is_put_into_the_order_of_time(tmp_path: Path) -> None:
    path = cryptofeed(
        tmp_path / "x",
        [
            {"t": "http", "conn": "h", "ts": 9.25, "url": "u2", "data": "late"},
            {"t": "http", "conn": "h", "ts": 1.75, "url": "u1", "data": "early"},
            {"t": "connect", "conn": "a", "ts": 2.0, "addr": "wss://x/stream?streams=btcusdt@trade/ethusdt@trade"},
            {"t": "send", "conn": "a", "ts": 2.5, "addr": "", "data": "sub"},
            {"t": "recv", "conn": "a", "ts": 3.000000001, "data": "a1"},
            {"t": "recv", "conn": "a", "ts": 5.5, "data": "a2"},
            {"t": "connect", "conn": "a", "ts": 7.5, "addr": ""},
            {"t": "connect", "conn": "b", "ts": 2.25, "addr": ""},
            {"t": "recv", "conn": "b", "ts": 4, "b64": base64.b64encode(b"\x1f\x8b\x00").decode()},
        ],
    )
    header, entries = read_tape(path)
    assert header.venues == {"htx": VenueHeader("", ["BTCUSDT", "ETHUSDT"])}
    assert header.started_ns == 1_500_000_000
    assert [(entry.kind.value, entry.ns, entry.token, entry.data) for entry in entries] == [
        ("h", 1_750_000_000, "u1", b"early"),
        ("o", 2_000_000_000, "", b""),
        ("r", 3_000_000_001, "", b"a1"),
        ("r", 4_000_000_000, "", b"\x1f\x8b\x00"),
        ("r", 5_500_000_000, "", b"a2"),
        ("l", 7_500_000_000, "connection", b""),
        ("o", 7_500_000_000, "", b""),
        ("h", 9_250_000_000, "u2", b"late"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: expected a tape, found an empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "line 1: expected a tape"),
        (b"hello world, this is no tape\n", "found b'hello world"),
        (gzip.compress(b"1700000000000000000 {}\n" * 99, mtime=0)[:-9], "torn after line"),
        (gzip.compress(b"1700000000000000000 {}\n", mtime=0)[:9], "expected a tape"),
        (b"1700000000000000000 {}\n17000", "torn after line 1"),
        (b"1700000000000000000 {}\nxyz {}\n", "line 2: expected '<receive time> <frame>', found b'xyz {}'"),
        (compress_frame(b'{"t":"header","exchange":"X"}\n{"t":'), "torn after line 1"),
        (compress_frame(b'{"t":"header","exchange":"X"}\n[]\n'), "line 2: expected a line of a cryptofeed recording"),
        (compress_frame(b"papertape 1 {}\n"), "line 1: expected a tape header"),
        (compress_frame(b'papertape 9 {"started_ns":1,"venues":{}}\n'), "expected tape format 1"),
        (compress_frame(b'papertape 1 {"started_ns":1,"venues":{}}\n'), "torn at entry 1"),
    ],
)
def test_what_is_no_whole_tape_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(content)
    with pytest.raises(TapeError) as caught:
        list(read_tape(path)[1])
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"7 z sim - x\nend 1\n", "entry 1: expected a kind of o, r"),
        (b"x r sim - x\nend 1\n", "entry 1: expected a whole entry"),
        (b"7 R sim - ***\nend 1\n", "entry 1: expected a whole entry"),
        (b"7 r sim - x\nend 2\n", "expected an entry or the last line 'end 1', found b'end 2'"),
        (b"end 0\n7 r sim - x\n", "entry 1: expected an entry or the last line 'end 0'"),
    ],
)
def test_a_tape_of_ours_with_wrong_lines_is_refused(tmp_path: Path, lines: bytes, message: str) -> None:
    path = tmp_path / "bad.ptz"
    head = compress_frame(b'papertape 1 {"started_ns":1,"venues":{}}\n')
    path.write_bytes(head + compress_frame(lines) + compress_frame(b"end 1\n"))
    with pytest.raises(TapeError) as caught:
        list(read_tape(path)[1])
    assert message in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="expected a readable tape, found No such file"):
        read_tape(tmp_path / "none.ptz")
    with pytest.raises(TapeError, match="at least one tape"):
        read_tapes([])


def test_a_tape_is_never_overwritten_and_never_written_after_its_end(tmp_path: Path) -> None:
    header = TapeHeader(started_ns=1, venues={})
    writer = TapeWriter(tmp_path / "a.ptz", header)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="expected an open tape"):
        writer.write(Entry(EntryKind.CLOCK, 1, ""))
    with pytest.raises(FileExistsError):
        TapeWriter(tmp_path / "a.ptz", header)


def test_what_was_written_a_moment_ago_survives_a_kill(tmp_path: Path) -> None:
    """The writer stores by itself: nobody closes this tape, and yet its entries can be read."""
    path = tmp_path / "killed.ptz"
    stored = threading.Event()

    class Watched(TapeWriter):
        def _store(self, text: bytes) -> None:
            super()._store(text)
            if b"BTCUSDT" in text:
                stored.set()

    writer = Watched(path, TapeHeader(started_ns=1, venues={}), flush_s=0.001)
    writer.write(Entry(EntryKind.RECEIVED, 1, "sim", "", DEPTH))
    assert stored.wait(30)
    assert [entry.data for entry in read_tape(path, allow_torn=True)[1]] == [DEPTH]
    with pytest.raises(TapeError, match="torn at entry 2"):
        read_tape(path)
    writer.close()
    assert len(list(read_tape(path)[1])) == 1


def test_entries_keep_their_order_over_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.ptz"
    entries = [Entry(EntryKind.RECEIVED, ns, "sim", "", DEPTH) for ns in range(30_000)]
    with TapeWriter(path, TapeHeader(started_ns=1, venues={})) as writer:
        for entry in entries:
            writer.write(entry)
    read = list(read_tape(path)[1])
    assert read == entries
    assert all(one.ns < two.ns for one, two in pairwise(read))


def test_frames_when_cut_by_size_alone_then_no_pause_of_the_writer_shows_in_the_bytes(tmp_path: Path) -> None:
    class Paused(TapeWriter):
        """Its thread is woken at every entry, as a slow machine might."""

        def write(self, entry: Entry) -> None:
            super().write(entry)
            with self._changed:
                self._changed.notify_all()

    for name, kind in (("a", TapeWriter), ("b", Paused)):
        with kind(tmp_path / name, TapeHeader(started_ns=1, venues={}), flush_s=None) as writer:
            for ns in range(20_000):
                writer.write(Entry(EntryKind.RECEIVED, ns, "sim", "", DEPTH))
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    line_bytes = 20_000 * len(DEPTH)
    assert content.count(ZSTD_MAGIC) >= 2 + line_bytes // FLUSH_BYTES  # the header's, the end's, a block's each
