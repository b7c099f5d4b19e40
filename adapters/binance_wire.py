"""The wire structs of Binance: only the fields that are used, and exact about what they may hold."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.contract import MalformedFrame

Id = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 2)]
Time = Annotated[int, msgspec.Meta(ge=0, le=9_200_000_000_000_000)]
_EMPTY = msgspec.Raw()


class Data(msgspec.Struct, gc=False):
    """The fields used of every channel: one decode serves all. ``b`` and ``a`` are levels, prices or order ids."""

    E: Time = 0
    T: Time = 0
    s: str = ""
    U: Id = -1
    u: Id = -1
    pu: Id = -1
    b: msgspec.Raw = _EMPTY
    a: msgspec.Raw = _EMPTY
    B: msgspec.Raw = _EMPTY
    A: msgspec.Raw = _EMPTY
    t: Id = -1
    p: msgspec.Raw = _EMPTY
    q: msgspec.Raw = _EMPTY
    m: bool | None = None
    l: Id = -1  # noqa: E741 - Binance's name
    r: msgspec.Raw = _EMPTY
    X: str = "MARKET"


class Frame(msgspec.Struct, gc=False):
    stream: str
    data: Data


class Other(msgspec.Struct, gc=False):
    """Whatever else comes: raw payloads, answers to requests, errors, notices."""

    stream: str = ""
    e: str = ""
    s: str = ""
    result: msgspec.Raw = _EMPTY
    error: msgspec.Raw = _EMPTY
    code: int = 0
    msg: str = ""


class Depth(msgspec.Struct, gc=False):
    """The answer to a depth request, or an error."""

    lastUpdateId: Id = -1  # noqa: N815 - Binance's name
    E: Time = 0
    T: Time = 0
    bids: msgspec.Raw = _EMPTY
    asks: msgspec.Raw = _EMPTY
    code: int = 0
    msg: str = ""


DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
decode_frame = msgspec.json.Decoder(Frame).decode
decode_data = msgspec.json.Decoder(Data).decode
decode_other = msgspec.json.Decoder(Other).decode
decode_depth = msgspec.json.Decoder(Depth).decode


def venue_ns(data: Data | Depth) -> int:
    """Transaction time, else event time, in ns; Binance writes ms, or µs with ``timeUnit=MICROSECOND``."""
    return to_ns(data.T or data.E)


def to_ns(time: int) -> int:
    """A time of Binance in ns UTC.

    >>> to_ns(1_700_000_000_000) == to_ns(1_700_000_000_000_000)
    True
    """
    return time * 1_000_000 if time < 9_000_000_000_000 else time * 1_000


def aggregate_trade_id(data: Data) -> int:
    """The id of an aggregate trade, which stands where a depth frame has its asks.

    Raises:
        MalformedFrame: it is none.
    """
    try:
        return msgspec.json.decode(data.a, type=Id)
    except msgspec.DecodeError as error:
        raise MalformedFrame(f"{data.s}: expected an aggregate trade id, found {error}") from error
