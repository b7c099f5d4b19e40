"""What side streams say, as entries of the tape and back; exact, so that a replay knows what the run knew."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.entry import Entry, EntryKind
from engine.core.events import Judged, Observed


class _Row(msgspec.Struct, omit_defaults=True):
    event_ns: int
    values: dict[str, float]
    quality: float
    print: str = ""
    text: str = ""


class _Judgement(msgspec.Struct):
    good: bool
    reason: str
    quality: float


_encode = msgspec.json.Encoder(order="deterministic").encode


def to_entry(item: Observed | Judged) -> Entry:
    """The entry of an input.

    >>> entry = to_entry(Observed(7, "funding", 5, {"rate": 0.1}))
    >>> entry.token, entry.data
    ('funding', b'{"event_ns":5,"values":{"rate":0.1},"quality":1.0}')
    >>> from_entry(entry) == Observed(7, "funding", 5, {"rate": 0.1})
    True
    """
    kind, data = (
        (EntryKind.OBSERVED, _Row(item.event_ns, item.values, item.quality, item.print, item.text))
        if isinstance(item, Observed)
        else (EntryKind.JUDGED, _Judgement(item.good, item.reason, item.quality))
    )
    return Entry(kind, item.recv_ns, "", item.stream, _encode(data))


def from_entry(entry: Entry) -> Observed | Judged:
    """The input of an entry of kind OBSERVED or JUDGED.

    Raises:
        ValueError: its data is not what ``to_entry`` writes.
    """
    try:
        if entry.kind is EntryKind.OBSERVED:
            row = msgspec.json.decode(entry.data, type=_Row)
            return Observed(entry.ns, entry.token, row.event_ns, row.values, row.quality, row.print, row.text)
        judged = msgspec.json.decode(entry.data, type=_Judgement)
    except msgspec.DecodeError as error:
        found: Any = entry.data[:60]
        raise ValueError(f"side stream {entry.token}: expected an entry of this program, found {found!r}") from error
    return Judged(entry.ns, entry.token, judged.good, judged.reason, judged.quality)
